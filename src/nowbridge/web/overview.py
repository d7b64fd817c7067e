"""How everything stands: what `nowbridge status` shows, as a page."""

from __future__ import annotations

from starlette.responses import Response

from nowbridge.api import standing as standings
from nowbridge.api.access import Visitor
from nowbridge.api.standing import Standing
from nowbridge.api.wording import ago, count
from nowbridge.web.frame import Message, chip, page, table
from nowbridge.web.markup import Child, link, tag

_HEADINGS = ("Table", "State", "Rows", "Hidden", "Fresh", "Changes", "Last proof", "Calls/day")


def overview_page(visitor: Visitor, standing: Standing) -> Response:
    messages = [Message("error" if line.grave else "info", line.words) for line in standings.trouble(standing)]
    number = len(standing.workers)
    about = f"As of {standing.at:%Y-%m-%d %H:%M:%S} UTC. {number} worker{'' if number == 1 else 's'} running."
    if not standing.tables:
        first = link("Connect an instance", "/connections/new") if not standing.connections else "nowbridge replicate"
        content = tag("p", "No table is replicated yet. Next: ", first, class_="nothing")
    else:
        rows = [_row(standing, place) for place in range(len(standing.tables))]
        content = table(_HEADINGS, rows, "Replicated tables")
    return page("Overview", visitor, tag("p", about, class_="quiet"), content, messages=messages)


def _row(standing: Standing, place: int) -> tuple[Child, ...]:
    one = standing.tables[place]
    state = "paused" if one.paused_at else one.phase
    words, holds = standings.proof_words(standing, one)
    proof = words if words == "-" else chip(words, "good" if holds else "bad")
    return (
        tag("b", standings.name_of(one)),
        chip(state, "good" if state == "live" else "soft"),
        ("~" if one.estimated else "")
        + count(one.rows)
        + (f" of {total}" if (total := standings.total_words(one, standing.at)) else ""),
        count(one.hidden),
        ago(standings.age_of(one, standing.at)),
        count(one.changes),
        proof,
        count(standing.calls_per_day.get(one.relation, 0)),
    )
