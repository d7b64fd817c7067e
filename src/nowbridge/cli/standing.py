"""How everything stands, on a terminal: `status`, `up`, `replicate` and the demo show the same (`api.standing` reads it)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from nowbridge.api import standing as standings
from nowbridge.api.standing import Standing, age_of, as_json, load_seconds, name_of, rows_per_second
from nowbridge.cli import screen

if TYPE_CHECKING:
    from nowbridge.settings import Settings
    from nowbridge.store.database import Database
    from nowbridge.store.rows.tables import TableStatus

__all__ = ["Standing", "age_of", "as_json", "as_table", "load_seconds", "name_of", "read_standing", "rows_per_second"]
_PHASES = {"planned": "yellow", "backfill": "cyan", "live": "green"}


async def read_standing(database: Database, settings: Settings) -> Standing:
    from nowbridge import wiring

    seen_within = timedelta(seconds=settings.stalled_after_seconds)
    return await standings.read_standing(database, at=wiring.now(), seen_within=seen_within)


def as_table(standing: Standing) -> Table:
    shown = screen.columns(
        "table",
        "phase",
        "rows",
        "of",
        "hidden",
        "rows/s",
        "fresh",
        "changes",
        "hints lost",
        "calls",
        "calls/day",
        "proof",
    )
    for table in standing.tables:
        speed = rows_per_second(table, standing.at)
        shown.add_row(
            name_of(table),
            Text("paused", "yellow") if table.paused_at else Text(table.phase, _PHASES.get(table.phase, "")),
            ("~" if table.estimated else "") + screen.count(table.rows),
            standings.total_words(table, standing.at),
            Text(screen.count(table.hidden), "yellow") if table.hidden else "0",
            f"{speed:,.0f}" if speed else "-",
            screen.ago(age_of(table, standing.at)),
            screen.count(table.changes),
            loss_of(standing, table),
            screen.count(table.calls),
            screen.count(standing.calls_per_day.get(table.relation, 0)),
            proof_of(standing, table),
        )
    return shown


def loss_of(standing: Standing, table: TableStatus) -> Text:
    """Of the last 24 hours, changes that no hint had told of, and what part of all that is; - without hooks."""
    loss = standing.losses.get(table.relation)
    if loss is None:
        return Text("-")
    said = f"{loss.lost:,} ({loss.share:.1%})" if loss.lost else "0"
    return Text(said, "yellow" if loss.state(standing.at) in {"loses", "silent"} else "")


def proof_of(standing: Standing, table: TableStatus) -> Text:
    words, holds = standings.proof_words(standing, table)
    return Text(words, "" if words == "-" else "green" if holds else "red")


def trouble(standing: Standing) -> list[Text]:
    """What somebody should know."""
    return [Text(line.words, "red" if line.grave else "yellow") for line in standings.trouble(standing)]
