"""Which rights an account has on a table: probed by reads, never inferred from the names of roles (decision X23).

ServiceNow leaves a column that may not be read out of every row, without a word, and answers a table whose rows are all
hidden with an empty page and the full count (servicenow-api.md 1.4, 1.6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from nowbridge.model.errors import NowbridgeError
from nowbridge.servicenow.instance import Instance
from nowbridge.servicenow.pages import PageRequest
from nowbridge.servicenow.tables import read_page
from nowbridge.servicenow.wire import PageDecoder

_LOOK: Final = 100  # rows asked for: an account that may see some of them sees one of these
NEEDED: Final[Mapping[str, str]] = {
    "sys_id": "It is the key of every record.",
    "sys_updated_on": "Changes are followed by it.",
    "sys_mod_count": "It tells which of two versions is newer.",
}
Kind = Literal["read rows", "read column", "filter by column"]


@dataclass(frozen=True, slots=True)
class Right:
    """One right on a table or column: whether the account has it, what came back, why it is needed, how to grant it.
    `code` is the error's, empty where the answer was no error. `required`: without it the table cannot be kept.
    """

    table: str
    right: Kind
    column: str | None
    ok: bool
    answered: str
    why: str
    fix: str
    code: str = ""
    required: bool = True


@dataclass(frozen=True, slots=True)
class Probe:
    """`total` counts the rows that the account may not see too; None when the table cannot be read."""

    rights: tuple[Right, ...]
    total: int | None


async def probe(instance: Instance, table: str, columns: Sequence[str], why: str) -> Probe:
    """Two reads at most. `columns` are wanted beside those that are needed; `why` says what the table is for."""
    fields = tuple(dict.fromkeys([*NEEDED, *columns]))
    try:
        answer = await read_page(instance, table, PageRequest("", _LOOK, with_count=True), fields)
        page = PageDecoder(fields).decode(answer.body)
    except NowbridgeError as error:
        return Probe((_refused(table, "read rows", None, why, error),), None)
    total = answer.total_count
    if total and not page.rows:
        told = f"{total:,} rows, none of the first {min(total, _LOOK)} visible to this account"
        return Probe((Right(table, "read rows", None, ok=False, answered=told, why=why, fix=_fix(table)),), total)
    rows = Right(table, "read rows", None, ok=True, answered="readable", why=why, fix="")
    absent = set(page.absent)
    read = [_column(table, column, missing=column in absent) for column in fields if page.rows]
    return Probe((rows, *read, *await _filtering(instance, table, absent, seen=page.rows > 0)), total)


def _column(table: str, column: str, *, missing: bool) -> Right:
    return Right(
        table,
        "read column",
        column,
        ok=not missing,
        answered="left out of the rows" if missing else "readable",
        why=NEEDED.get(column, "It is a column of the replica."),
        fix=f"Grant read on {table}.{column}, or leave the column out." if missing else "",
        required=column in NEEDED,
    )


async def _filtering(instance: Instance, table: str, absent: set[str], *, seen: bool) -> list[Right]:
    """Whether rows may be filtered by their time: ServiceNow has rules of their own for it (query_range)."""
    if not seen or "sys_updated_on" in absent:
        return []
    why = NEEDED["sys_updated_on"]
    query = "sys_updated_on>=2000-01-01 00:00:00^ORDERBYsys_updated_on"
    try:
        answer = await read_page(instance, table, PageRequest(query, 1, with_count=True), ("sys_id",))
    except NowbridgeError as error:
        return [_refused(table, "filter by column", "sys_updated_on", why, error)]
    found = answer.total_count != 0  # the count, as the one row that comes may be hidden
    told = "possible" if found else "finds no row"
    fix = "" if found else f"Grant query_range on {table}.sys_updated_on."
    return [Right(table, "filter by column", "sys_updated_on", ok=found, answered=told, why=why, fix=fix)]


def _refused(table: str, right: Kind, column: str | None, why: str, error: NowbridgeError) -> Right:
    return Right(table, right, column, ok=False, answered=error.answered, why=why, fix=error.hint, code=error.code)


def _fix(table: str) -> str:
    return f"Grant the account read on {table}: a role that has it, or a rule of its own (`nowbridge check --script FILE`)."
