"""The Table API: pages, records by id, counts, and single writes.

Reads ask for stored values of named columns, without links, without a count unless wanted, and without `Link` headers
(an instance refuses long queries when it has to build those, servicenow-api.md 1.4).

A URL over 8192 bytes is refused (414). A read that would come near is wrapped in one Batch API call, which takes
the URL in a body; ServiceNow's own client PySNC does the same. Batches run under a shorter quota (30 s instead of 60).
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

from nowbridge.model.errors import Park, Retry, Stop
from nowbridge.servicenow import answers
from nowbridge.servicenow.pages import PageRequest
from nowbridge.servicenow.query import EVERYTHING, Query, one_of
from nowbridge.transport.messages import Headers, Request, Response

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nowbridge.servicenow.instance import Answer, Instance, Params

MOST_IDS: Final = 100
_LONGEST_URL: Final = 7_500
_TABLE_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_$]*")


async def read_page(
    instance: Instance,
    table: str,
    request: PageRequest,
    fields: tuple[str, ...],
    *,
    display: bool = False,
    body_checked: bool = True,
) -> Answer:
    """One page; `display` asks for labels beside the values. `total_count` is set when `request.with_count`. A body that is
    not `body_checked` is for a reader that does so (`Answer.check_body`): megabytes are then read once, not twice.
    """
    params = (
        *(() if not request.query else (("sysparm_query", request.query),)),
        ("sysparm_fields", ",".join(fields)),
        ("sysparm_limit", str(request.limit)),
        *(() if not request.offset else (("sysparm_offset", str(request.offset)),)),
        ("sysparm_display_value", "all" if display else "false"),
        ("sysparm_exclude_reference_link", "true"),
        ("sysparm_suppress_pagination_header", "true"),
        *(() if request.with_count else (("sysparm_no_count", "true"),)),
    )
    asked = Request("GET", table_path(table), params, asked=f"read a page of {table}")
    return await read(instance, asked, body_checked=body_checked)


async def read_records(
    instance: Instance, table: str, sys_ids: Sequence[str], fields: tuple[str, ...], *, display: bool = False
) -> Answer:
    """The records with these ids, in no order; those that are missing or unreadable do not come.

    At most 100 ids. `total_count` covers the unreadable ones too (trap 30). Raises Park `query.inexpressible`.
    """
    if not 1 <= len(sys_ids) <= MOST_IDS:
        raise ValueError(f"{len(sys_ids)} ids in one call; it takes 1 to {MOST_IDS}")
    query = Query((one_of("sys_id", sys_ids),)).text
    return await read_page(instance, table, PageRequest(query, MOST_IDS, with_count=True), fields, display=display)


async def count(instance: Instance, table: str, query: Query | str = EVERYTHING) -> int:
    """How many records match, readable or not (servicenow-api.md 1.4). Raises Stop `count.missing`."""
    text = query if isinstance(query, str) else query.text
    answer = await read_page(instance, table, PageRequest(text, 1, with_count=True), ("sys_id",))
    return required_count(answer, table)


def required_count(answer: Answer, table: str) -> int:
    """The answer's `X-Total-Count`. Raises Stop `count.missing`."""
    if answer.total_count is None:
        raise Stop(
            "count.missing",
            asked=f"count {table}",
            answered="the answer has no X-Total-Count header",
            hint="Something between Nowbridge and the instance removes it; without it rows could be lost unnoticed.",
        )
    return answer.total_count


async def create(
    instance: Instance, table: str, values: Mapping[str, str], fields: tuple[str, ...], *, idempotent: bool = False
) -> Answer:
    """Insert one record; the answer holds `fields` as they are after all rules ran. A `sys_id` in `values` is honoured.

    Raises Park `record.refused`; Unsettled `write.unsettled` when no answer came.
    """
    return await instance.post(
        table_path(table), _body(values), _written(fields), asked=f"create a record in {table}", idempotent=idempotent
    )


async def update(
    instance: Instance,
    table: str,
    sys_id: str,
    values: Mapping[str, str],
    fields: tuple[str, ...],
    *,
    idempotent: bool = False,
) -> Answer:
    """Change some columns of one record; the answer holds `fields` as they are after all rules ran.

    ServiceNow ignores what the account may not write and still answers 200: compare. Raises as `create`, and Park
    `record.missing`.
    """
    asked = f"update a record in {table}"
    return await instance.patch(
        record_path(table, sys_id), _body(values), _written(fields), asked=asked, idempotent=idempotent
    )


async def delete(instance: Instance, table: str, sys_id: str) -> None:
    """Delete one record. Raises Park `record.refused`, `record.missing`."""
    await instance.delete(record_path(table, sys_id), asked=f"delete a record in {table}")


def table_path(table: str) -> str:
    """Raises Stop `table.unknown` for what cannot be a table's name, so nothing else gets into a URL."""
    if not _TABLE_NAME.fullmatch(table):
        raise Stop(
            "table.unknown",
            asked="address a table",
            answered="the name has characters that no table name has",
            hint="Check the table's name; it is written as in its URL.",
        )
    return f"/api/now/table/{quote(table)}"


def record_path(table: str, sys_id: str) -> str:
    if not sys_id.strip("."):
        raise Park("record.missing", asked=f"address a record in {table}", answered="it has no usable sys_id")
    return f"{table_path(table)}/{quote(sys_id, safe='')}"


def _written(fields: tuple[str, ...]) -> Params:
    return (("sysparm_fields", ",".join(fields)), ("sysparm_exclude_reference_link", "true"))


def _body(values: Mapping[str, str]) -> bytes:
    return json.dumps(dict(values), ensure_ascii=False).encode()


async def read(instance: Instance, request: Request, *, body_checked: bool = True) -> Answer:
    """A read of any API, in a batch when its URL would be too long."""
    if len(instance.base_url) + len(request.target) <= _LONGEST_URL:
        return await instance.call(request, body_checked=body_checked)
    return await _read_in_batch(instance, request)


class _Line(msgspec.Struct):
    name: str
    value: str


class _Serviced(msgspec.Struct):
    status_code: int
    body: str = ""
    headers: list[_Line] = []


class _Batch(msgspec.Struct):
    serviced_requests: list[_Serviced] = []


async def _read_in_batch(instance: Instance, request: Request) -> Answer:
    """servicenow-api.md 5: the outer status is 200 even when the call inside failed, so that is checked like any other."""
    inner = {
        "id": "1",
        "method": "GET",
        "url": request.target,
        "headers": [{"name": "Accept", "value": "application/json"}],
        "exclude_response_headers": False,
    }
    body = json.dumps({"batch_request_id": "1", "rest_requests": [inner]}).encode()
    outer = await instance.post("/api/now/v1/batch", body, asked=request.asked, idempotent=True)
    try:
        serviced = msgspec.json.decode(outer.body, type=_Batch).serviced_requests
        read = Response(
            status=serviced[0].status_code,
            headers=Headers(tuple((line.name, line.value) for line in serviced[0].headers)),
            body=b64decode(serviced[0].body, validate=True),
            elapsed=outer.elapsed,
            server_time=outer.server_time,
        )
    except IndexError as error:
        raise Retry(
            "busy.quota",
            asked=request.asked,
            answered="the batch ran out of its time before it came to the call",
            hint="A shorter filter or fewer columns would not need a batch.",
        ) from error
    except (msgspec.DecodeError, ValueError) as error:
        raise Retry("answer.cut", asked=request.asked, answered="a batch answer that cannot be read") from error
    answers.check(request, read)
    return instance.answer_of(read)
