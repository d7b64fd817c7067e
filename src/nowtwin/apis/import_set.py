"""The Import Set API (servicenow-api.md 6.1; c_ImportSetAPI.md): one row synchronously, many at once, reading again.

A table that is no staging table is refused with 400, in words that are an assumption.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from nowtwin import errors
from nowtwin.apis.seen import is_visible
from nowtwin.errors import Refused
from nowtwin.http.messages import Answer, Request, json_answer, json_object
from nowtwin.imports.sets import ROW, SET, Imports, Transformed
from nowtwin.instance import Instance
from nowtwin.permission.record import insertable
from nowtwin.reading.display import Displays
from nowtwin.records.selecting import find

_ROOT = r"/api/now(?:/v\d)?/import/(?P<table>[^/]+)"
_STAGE = re.compile(_ROOT + r"/?")
_MANY = re.compile(_ROOT + r"/insertMultiple/?")
_AGAIN = re.compile(_ROOT + r"/(?P<sys_id>[^/]+)/?")
_ASYNC_SECONDS = 0.1


class Records(msgspec.Struct, frozen=True):
    records: tuple[dict[str, Any], ...]


def stage_row(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    """Insert one staging row and transform it, one result per transform map; in an asynchronous set it waits."""
    table = _staging(instance, request, found, "POST")
    body = _texts(_json_body(request, json_object))
    with instance.storage.lock:
        allowed = insertable(instance, request.caller, table, body)
        imports = Imports(instance, request.caller)
        import_set = imports.open_set(table)
        row = imports.stage(table, import_set, allowed)
        if import_set.values.get("mode") == "async":  # rows wait until somebody transforms the set
            results = [Transformed("", table, "inserted", row.sys_id)]
        else:
            results = imports.transform(row)
        answer = _told(instance, request, table, import_set.values.get("number", ""), results)
    failed = any(done.status == "error" for done in results)
    return json_answer(instance.switches.import_error_status if failed else 201, answer, rows=1)


def read_result(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    """What became of a staging row. 404 once the row was purged."""
    table = _staging(instance, request, found, "GET", "HEAD")
    with instance.storage.lock:
        if not is_visible(instance, request, table, found["sys_id"]):
            raise errors.no_record()
        values = instance.record(table, found["sys_id"]).values
        import_set = instance.read(SET, values.get("sys_import_set", "")) or {}
        made = instance.read("sys_transform_map", values.get("sys_transform_map", "")) or {}
        results = []
        if values.get("sys_import_state", "pending") != "pending":
            results.append(
                Transformed(
                    map_name=made.get("name", ""),
                    table=values.get("sys_target_table", ""),
                    status=values["sys_import_state"],
                    sys_id=values.get("sys_target_sys_id", ""),
                    message=values.get("sys_import_state_comment", ""),
                ),
            )
        return json_answer(200, _told(instance, request, table, import_set.get("number", ""), results), rows=1)


def stage_many(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    """Insert many staging rows; they are transformed later, unless sys_rest_insert_multiple says at once."""
    table = _staging(instance, request, found, "POST")
    records = _json_body(request, _records)
    with instance.storage.lock:
        asked = find(instance, "sys_rest_insert_multiple", {"source_table": table, "active": "true"}) or {}
        names = _names(instance, table) if asked.get("column_mapping", "label") != "name" else {}
        imports = Imports(instance, request.caller)
        synchronous = asked.get("transformation_type") == "synchronous"
        import_set = imports.new_set(table, "sync" if synchronous else "async")
        for record in records:
            body = {names.get(key, "") if names else key: text for key, text in _texts(record).items()}
            imports.stage(table, import_set, insertable(instance, request.caller, table, body))
        imports.mark(import_set.sys_id, "loaded")
        multiple = _multiple(instance, request)
        _transform(instance, request, import_set.sys_id, synchronous=synchronous)
    ids = {"import_set_id": import_set.sys_id, "multi_import_set_id": multiple}
    return json_answer(201, ids, rows=len(records))


def _transform(instance: Instance, request: Request, sys_id: str, *, synchronous: bool) -> None:
    after, user = request.param("run_after"), request.caller

    def run() -> None:
        with instance.storage.lock:
            imports = Imports(instance, user)
            if after:
                imports.transform_set(after)
            imports.transform_set(sys_id)

    if synchronous:
        run()
    else:
        instance.scripts.jobs.queue(run, _ASYNC_SECONDS, line="sys_import_set")


def _multiple(instance: Instance, request: Request) -> str:
    """The multiple import set that this one joins; a new one where none is named."""
    given = request.param("multi_import_set_id")
    if given and instance.read("sys_multi_import_set", given) is not None:
        return given
    row = {"sys_id": instance.records.new_id(), "name": "REST API", "state": "pending"}
    instance.load("sys_multi_import_set", [row])
    return row["sys_id"]


def _names(instance: Instance, table: str) -> dict[str, str]:
    """Column names by label."""
    columns = instance.dictionary.columns(table)
    return {column.label or element: element for element, column in columns.items()}


def _staging(instance: Instance, request: Request, found: "re.Match[str]", *methods: str) -> str:
    if request.method not in methods:
        raise Refused(405, "Method not supported", f"{request.method} is not supported here")
    table = found["table"]
    instance.prepare(table)
    if ROW not in instance.dictionary.lineage(table):
        raise Refused(400, f"Invalid staging table {table}", f"{table} does not extend {ROW}")
    return table


def _json_body(request: Request, read: Any) -> Any:  # noqa: ANN401 - what the reader makes of it
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.body and kind not in {"application/json", "text/json"}:
        raise Refused(415, "Unsupported media type", f"Cannot consume content type {kind or '(none)'}")
    return read(request.body)


def _records(body: bytes) -> tuple[dict[str, Any], ...]:
    try:
        return msgspec.json.decode(body or b"{}", type=Records).records
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, "Exception while reading request", str(error)) from error


def _texts(body: Mapping[str, Any]) -> dict[str, str]:
    """Only texts are meant to come; nested values take the form that the platform's maps print in (6.1)."""
    return {element: _text(value) for element, value in body.items()}


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _told(instance: Instance, request: Request, table: str, number: str, results: list[Transformed]) -> dict[str, Any]:
    entries = [_entry(instance, request, done) for done in results]
    return {"import_set": number, "staging_table": table, "result": entries}


def _entry(instance: Instance, request: Request, done: Transformed) -> dict[str, str]:
    shown = instance.dictionary.display_column(done.table) if done.table in instance.dictionary.tables else ""
    entry = {"transform_map": done.map_name, "table": done.table, "status": done.status}
    if done.sys_id and shown:
        displays = Displays(instance.dictionary, instance.storage, instance.switches, request.caller)
        entry |= {
            "display_name": shown,
            "display_value": displays.names(done.table, "sys_id", {done.sys_id}).get(done.sys_id, ""),
            "record_link": f"{instance.url}/api/now/table/{done.table}/{done.sys_id}",
            "sys_id": done.sys_id,
        }
    entry |= done.response
    if done.message:
        entry["error_message" if done.status == "error" else "status_message"] = done.message
    return entry


ROUTES = ((_STAGE, stage_row), (_MANY, stage_many), (_AGAIN, read_result))
