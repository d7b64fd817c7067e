"""The Aggregate API: how many rows a query finds, by the values of one column (servicenow-api.md 4).

Aggregates are blind to access rules on rows: rows that the account may not see are counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from nowbridge.model.errors import Retry
from nowbridge.servicenow import query as queries
from nowbridge.servicenow.tables import read, table_path
from nowbridge.transport.messages import Request

if TYPE_CHECKING:
    from nowbridge.servicenow.instance import Instance
    from nowbridge.servicenow.query import Query


@dataclass(frozen=True, slots=True)
class Group:
    """Rows with one value of the column: how many, the sum of their `sys_mod_count`, and the extremes of their times;
    None where there are none or the instance writes them in a form that is not known.
    """

    value: str
    rows: int
    changes: int
    first_created: datetime | None
    last_created: datetime | None
    last_updated: datetime | None


@dataclass(frozen=True, slots=True)
class Aggregates:
    """What the instance counted, and its clock when it answered."""

    groups: tuple[Group, ...]
    server_time: datetime


class _Stats(msgspec.Struct):
    count: str = "0"
    sum: Mapping[str, str] = {}
    min: Mapping[str, str] = {}
    max: Mapping[str, str] = {}


class _Field(msgspec.Struct):
    value: str | None = None
    display_value: str | None = None


class _Group(msgspec.Struct):
    stats: _Stats
    groupby_fields: list[_Field]


class _Result(msgspec.Struct):
    result: list[_Group]


async def grouped(instance: Instance, table: str, query: Query, by: str) -> Aggregates:
    """Count the rows that `query` finds, by the values of the column `by`; one call. Raises Retry `answer.cut`."""
    table_path(table)  # refuses what is no table name
    params = (
        ("sysparm_query", query.text),
        ("sysparm_count", "true"),
        ("sysparm_sum_fields", "sys_mod_count"),
        ("sysparm_min_fields", "sys_created_on"),
        ("sysparm_max_fields", "sys_created_on,sys_updated_on"),
        ("sysparm_group_by", by),
        ("sysparm_display_value", "false"),
    )
    asked = f"count {table} by {by}"
    answer = await read(instance, Request("GET", f"/api/now/stats/{quote(table)}", params, asked=asked))
    try:
        groups = msgspec.json.decode(answer.body, type=_Result).result
        return Aggregates(tuple(_group(group) for group in groups), answer.server_time)
    except (msgspec.DecodeError, ValueError, IndexError) as error:
        raise Retry("answer.cut", asked=asked, answered="an answer of the Aggregate API that cannot be read") from error


async def displayed(instance: Instance, table: str, query: Query, column: str) -> dict[str, str]:
    """The values of a column that occur, each with what people read for it, where that is something else; one call."""
    table_path(table)
    params = (
        ("sysparm_query", query.text),
        ("sysparm_count", "true"),
        ("sysparm_group_by", column),
        ("sysparm_display_value", "all"),
    )
    asked = f"learn the words for {table}.{column}"
    answer = await read(instance, Request("GET", f"/api/now/stats/{quote(table)}", params, asked=asked))
    try:
        groups = msgspec.json.decode(answer.body, type=_Result).result
        fields = [group.groupby_fields[0] for group in groups]
    except (msgspec.DecodeError, IndexError) as error:
        raise Retry("answer.cut", asked=asked, answered="an answer of the Aggregate API that cannot be read") from error
    return {
        field.value: field.display_value
        for field in fields
        if field.value and field.display_value and field.display_value not in (field.value, f"({field.value})")
    }


def _group(group: _Group) -> Group:
    stats = group.stats
    return Group(
        value=group.groupby_fields[0].value or "",
        rows=int(stats.count),
        changes=int(float(stats.sum.get("sys_mod_count") or 0)),
        first_created=_moment(stats.min.get("sys_created_on")),
        last_created=_moment(stats.max.get("sys_created_on")),
        last_updated=_moment(stats.max.get("sys_updated_on")),
    )


def _moment(text: str | None) -> datetime | None:
    try:
        return queries.read_stamp(text or "")
    except ValueError:
        return None
