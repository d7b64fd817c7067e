"""`nowbridge deletes`: how deletes of each table stand, what waits for somebody, hard or soft."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nowbridge.cli.entry import AsJson, examples, open_database, run, settings_of

if TYPE_CHECKING:
    from nowbridge.settings import Settings
    from nowbridge.store.database import Connection
    from nowbridge.store.rows.tables import TableRow
    from nowbridge.store.work.watches import DeleteStatus

EXAMPLES = examples(
    "nowbridge deletes",
    "nowbridge deletes incident --confirm",
    "nowbridge deletes incident --soft",
    "nowbridge deletes cmdb_ci --by-sql refuse",
)


def deletes(
    context: typer.Context,
    tables: Annotated[
        list[str] | None, typer.Argument(metavar="[TABLE]...", help="All tables when none is named.")
    ] = None,
    *,
    confirm: Annotated[bool, typer.Option("--confirm", help="Let the deletes that wait be carried out.")] = False,
    soft: Annotated[
        bool | None,
        typer.Option("--soft/--hard", help="Keep deleted records in `_sync_deleted`, or only that they existed."),
    ] = None,
    by_sql: Annotated[
        str | None,
        typer.Option(
            "--by-sql",
            metavar="POLICY",
            help="What SQL users may delete: `allow` (write_deletes limits it), `refuse`, or a number of records of a"
            " transaction above which they must confirm.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how deletes stand, and decide what waits for somebody.

    A row is deleted only when ServiceNow's journal or a comparison of keys names it and the count of its sys_id, which
    does not look at access rules, is 0. `journal` says whether the account may read that journal. `invisible` rows exist
    and are no longer shown to the account; they are kept.

    Deletes of a table are held when one pass wants more than 50 rows and 2 % of them, when hints and the journal want
    more than 50 rows and 20 % of them within an hour, or when many rows vanished that still count. --confirm allows the
    number that is shown, in a comparison that is due at once.
    """
    from nowbridge.configuration.document import SQL_DELETES

    if by_sql is not None and not SQL_DELETES.fullmatch(by_sql):
        raise typer.BadParameter("Allowed: allow, refuse, or a whole number.", param_hint="--by-sql")
    lines = run(_deletes(settings_of(context), tables or [], confirm=confirm, soft=soft, by_sql=by_sql))
    _show(lines, as_json=as_json)


async def _deletes(
    settings: Settings, named: list[str], *, confirm: bool, soft: bool | None, by_sql: str | None
) -> list[DeleteStatus]:
    from nowbridge.store.rows import tables
    from nowbridge.store.work import watches

    async with open_database(settings) as database, database.transaction() as connection:
        chosen = _chosen(await tables.all_of(connection), named)
        if soft is not None:
            for row in chosen:
                await watches.set_mode(connection, row.id, "soft" if soft else "hard")
        for row in chosen if by_sql is not None else ():
            await watches.set_by_sql(connection, row.id, by_sql or "")
        if confirm:
            await _confirm(connection, chosen)
        relations = {row.relation for row in chosen}
        return [line for line in await watches.status(connection) if line.relation in relations]


def _chosen(rows: list[TableRow], named: list[str]) -> list[TableRow]:
    from nowbridge.model.errors import Stop

    by_name = {row.relation.name: row for row in rows} | {row.source: row for row in rows}
    if unknown := [name for name in named if name not in by_name]:
        raise Stop(
            "table.not_replicated",
            asked=f"look at the deletes of {unknown[0]}",
            answered="it is not replicated",
            hint=f"Replicated are: {', '.join(row.source for row in rows) or 'none'}.",
        )
    return [by_name[name] for name in named] if named else rows


async def _confirm(connection: Connection, chosen: list[TableRow]) -> None:
    from nowbridge import wiring
    from nowbridge.model.errors import Stop
    from nowbridge.store.work import duties, watches

    confirmed = 0
    for row in chosen:
        watch = await watches.load(connection, row.id)
        if watch.held is not None:
            await watches.allow(connection, row.id, int(watch.held["wanted"]))
            await duties.bring_forward(connection, row.id, "compare", now=wiring.now())
            confirmed += 1
    if not confirmed:
        raise Stop(
            "deletes.nothing_held",
            asked="confirm deletes",
            answered="no deletes of these tables wait for anybody",
            hint="`nowbridge deletes` shows how they stand.",
        )


def _show(lines: list[DeleteStatus], *, as_json: bool) -> None:
    from rich.text import Text

    from nowbridge.api.standing import held_line
    from nowbridge.cli import screen

    if as_json:
        screen.print_json({"tables": [_as_json(line) for line in lines]})
        return
    out = screen.output()
    shown = screen.columns("table", "deletes", "by SQL", "journal", "deleted", "invisible", "compared", "held")
    for line in lines:
        compared = line.watch.compared_at
        held = Text("HELD" if line.watch.held and line.watch.allowed is None else "", "red")
        shown.add_row(
            line.source,
            line.mode,
            line.by_sql,
            line.watch.journal,
            screen.count(line.deleted),
            screen.count(line.invisible),
            compared.strftime("%Y-%m-%d %H:%M") if compared else "-",
            held if line.watch.allowed is None else Text("confirmed", "yellow"),
        )
    out.print(shown)
    for line in lines:
        if line.watch.held and line.watch.allowed is None:
            out.print(Text(f"{line.source}: {held_line(line.source, line.watch.held)}", "red"), soft_wrap=True)


def _as_json(line: DeleteStatus) -> dict[str, object]:
    return {
        "table": line.source,
        "deletes": line.mode,
        "by_sql": line.by_sql,
        "journal": line.watch.journal,
        "journal_to": line.watch.journal_to,
        "deleted": line.deleted,
        "invisible": line.invisible,
        "compared_at": line.watch.compared_at,
        "held": line.watch.held,
        "confirmed": line.watch.allowed,
        "error": line.audit_error,
    }
