"""The CMDB Instance API (servicenow-api.md 6.3; cmdb-instance-api.md): CIs with their relations, written through IRE.

Statuses of POST and DELETE: the documentation lists 200 for all of them, the certified servicenow.itsm collection
needs 201 and 204; the switch `cmdb_instance_documented_statuses` decides. What a failed identification answers is
documented for dependent classes only (500, `Exception while executing request: null`); the 400 is an assumption.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from nowtwin import errors
from nowtwin.apis.roles_needed import require_cmdb_role
from nowtwin.apis.seen import is_visible, page_of
from nowtwin.apis.table import DEFAULT_LIMIT, list_query, one_record, refuse_negative_offset, whole_number
from nowtwin.errors import Refused
from nowtwin.http.messages import Answer, Request, json_answer
from nowtwin.instance import Instance
from nowtwin.ire.engine import Engine
from nowtwin.ire.outcome import Options, Outcome
from nowtwin.ire.payload import Item, Payload, Relation
from nowtwin.permission.record import require_deletable, updatable
from nowtwin.query.fields import Field
from nowtwin.query.parse import parse
from nowtwin.reading.display import Displays
from nowtwin.records.selecting import Row, find, select

_ROOT = r"/api/now(?:/v\d)?/cmdb/instance/(?P<table>[^/]+)"
_CLASS = re.compile(_ROOT + r"/?")
_CI = re.compile(_ROOT + r"/(?P<sys_id>[^/]+)/?")
_RELATIONS = re.compile(_ROOT + r"/(?P<sys_id>[^/]+)/relation/?")
_RELATION = re.compile(_ROOT + r"/(?P<sys_id>[^/]+)/relation/(?P<relation>[^/]+)/?")


class End(msgspec.Struct, frozen=True):
    """A relation to make: sys_ids of its type and of the CI at the other end."""

    type: str = ""
    target: str = ""


class DependsOn(msgspec.Struct, frozen=True):
    outbound_relations: End | tuple[End, ...] = ()
    inbound_relations: End | tuple[End, ...] = ()


class Body(msgspec.Struct, frozen=True):
    source: str = ""
    attributes: dict[str, Any] = {}
    outbound_relations: tuple[End, ...] = ()
    inbound_relations: tuple[End, ...] = ()
    depends_on: DependsOn = DependsOn()

    @property
    def outbound(self) -> tuple[End, ...]:
        return (*self.outbound_relations, *_many(self.depends_on.outbound_relations))

    @property
    def inbound(self) -> tuple[End, ...]:
        return (*self.inbound_relations, *_many(self.depends_on.inbound_relations))


def _many(ends: End | tuple[End, ...]) -> tuple[End, ...]:
    return (ends,) if isinstance(ends, End) else ends


# -- reading -------------------------------------------------------------------------------------------------------


def list_or_create(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    table = _class(instance, request, found)
    if request.method == "POST":
        with instance.storage.lock:
            return _create(instance, request, table)
    _only(request, "GET", "HEAD")
    refuse_negative_offset(instance, request)
    window = (
        whole_number(request.param("sysparm_limit"), DEFAULT_LIMIT),
        whole_number(request.param("sysparm_offset"), 0),
    )
    rows, _ = page_of(instance, request, table, list_query(instance, request, table), ("sys_id", "name"), window)
    result = [{"sys_id": row["sys_id"], "name": row.get("name", "")} for row in rows]
    return json_answer(200, {"result": result}, rows=len(result))


def read_or_update(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    table, sys_id = _class(instance, request, found), found["sys_id"]
    _only(request, "GET", "HEAD", "PUT", "PATCH")
    with instance.storage.lock:
        if not is_visible(instance, request, table, sys_id):
            raise errors.no_record()
        if request.method in {"PUT", "PATCH"}:
            _update(instance, request, sys_id)
        return _shown(instance, request, table, sys_id, 200)


def _class(instance: Instance, request: Request, found: "re.Match[str]") -> str:
    require_cmdb_role(instance, request)
    table = found["table"]
    if "cmdb" not in instance.dictionary.lineage(table):
        raise errors.invalid_table(table)
    return table


def _shown(instance: Instance, request: Request, table: str, sys_id: str, status: int) -> Answer:
    """A CI with all columns and its relations in both directions."""
    record = instance.records.read("cmdb", sys_id)
    actual = record.table if record else table
    result = {
        "outbound_relations": _relations(instance, request, sys_id, "parent", "child"),
        "attributes": _attributes(instance, request, actual, sys_id),
        "inbound_relations": _relations(instance, request, sys_id, "child", "parent"),
    }
    return json_answer(status, {"result": result}, rows=1)


def _attributes(instance: Instance, request: Request, table: str, sys_id: str) -> dict[str, Any]:
    """Stored values, references as display value, link and value, empty ones as empty texts."""
    record = one_record(instance, request, table, sys_id)
    displays = Displays(instance.dictionary, instance.storage, instance.switches, request.caller)
    shown: dict[str, Any] = {}
    for element, value in record.items():
        column = instance.dictionary.column(table, element)
        if isinstance(value, dict) and column is not None:
            text = str(value["value"])
            field = Field("", column, table)
            shown[element] = {"display_value": displays.texts(field, {text})[text], **value}
        else:
            shown[element] = value
    return shown


def _relations(instance: Instance, request: Request, sys_id: str, mine: str, other: str) -> list[dict[str, Any]]:
    rows = select(instance, "cmdb_rel_ci", parse(f"{mine}={sys_id}^ORDERBYsys_created_on^ORDERBYsys_id"))
    rows = [row for row in rows if is_visible(instance, request, "cmdb_ci", row[other])]
    displays = Displays(instance.dictionary, instance.storage, instance.switches, request.caller)
    kinds = displays.names("cmdb_rel_type", "sys_id", {row["type"] for row in rows})
    names = displays.names("cmdb_ci", "sys_id", {row[other] for row in rows})
    return [
        {
            "sys_id": row["sys_id"],
            "type": _reference(instance, "table/cmdb_rel_type", row["type"], kinds),
            "target": _reference(instance, "cmdb/instance/cmdb_ci", row[other], names),
        }
        for row in rows
    ]


def _reference(instance: Instance, path: str, sys_id: str, names: Mapping[str, str]) -> dict[str, str]:
    return {"display_value": names.get(sys_id, ""), "link": f"{instance.url}/api/now/{path}/{sys_id}", "value": sys_id}


# -- writing -------------------------------------------------------------------------------------------------------


def _body(request: Request) -> Body:
    try:
        body = msgspec.json.decode(request.body or b"{}", type=Body, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, "Exception while reading request", str(error)) from error
    if not body.source:
        raise Refused(400, "Invalid request", "Missing required parameter: source")
    return body


def _create(instance: Instance, request: Request, table: str) -> Answer:
    """Insert, or update what IRE identifies."""
    body = _body(request)
    class_name = str(body.attributes.get("sys_class_name") or table)
    if "cmdb" not in instance.dictionary.lineage(class_name):
        raise errors.invalid_table(class_name)
    outcome = _run(instance, request, body, Item(class_name, body.attributes))
    status = 200 if instance.switches.cmdb_instance_documented_statuses else 201
    return _shown(instance, request, outcome.item.class_name, outcome.sys_id, status)


def _update(instance: Instance, request: Request, sys_id: str) -> None:
    """Relations in the body of an update are ignored, as documented."""
    body = _body(request)
    record = instance.record("cmdb", sys_id)
    attributes = updatable(instance, request.caller, record, Item(record.table, body.attributes).texts)
    class_name = str(attributes.get("sys_class_name") or record.table)
    alone = Body(body.source, body.attributes)
    _run(instance, request, alone, Item(class_name, {**attributes, "sys_id": sys_id}), keyed=True)


def _run(instance: Instance, request: Request, body: Body, item: Item, *, keyed: bool = False) -> Outcome:
    """The item and the CIs it is related to through IRE. Raises Refused where the item fails."""
    ends = [*((end, True) for end in body.outbound), *((end, False) for end in body.inbound)]
    items, relations = [item], []
    for end, outbound in ends:
        target = instance.records.read("cmdb_ci", end.target)
        kind = find(instance, "cmdb_rel_type", {"sys_id": end.type}, ("name",))
        if target is None or kind is None:
            raise _failed_call()
        index = next((n for n, known in enumerate(items) if n and known.values["sys_id"] == end.target), len(items))
        if index == len(items):
            items.append(Item(target.table, {"sys_id": end.target}))
        relations.append(Relation(kind["name"], *((0, index) if outbound else (index, 0))))
    payload = Payload(tuple(items), tuple(relations))
    result = Engine(instance, payload, body.source, request.caller, Options()).run()
    outcome = result.outcomes[0]
    if outcome.failed and any(error.code == "MISSING_DEPENDENCY" for error in outcome.errors) and not keyed:
        raise _failed_call()
    if outcome.failed:
        detail = "; ".join(f"{error.code}: {error.message}" for error in outcome.errors)
        raise Refused(400, "Failed to create or update the CI", detail)
    return outcome


def _failed_call() -> Refused:
    message = "Exception while executing request: null"
    more = "Check logs for error trace or enable glide.rest.debug property to verify REST request processing"
    return Refused(500, message, f"{message} {more}")


def relate(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    """Add relations to a CI; those that exist stay as they are."""
    table, sys_id = _class(instance, request, found), found["sys_id"]
    _only(request, "POST")
    with instance.storage.lock:
        if not is_visible(instance, request, table, sys_id):
            raise errors.no_record()
        body = _body(request)
        pairs = [
            *((end, sys_id, end.target) for end in body.outbound),
            *((end, end.target, sys_id) for end in body.inbound),
        ]
        _check_ends(instance, body.outbound + body.inbound)
        for end, parent, child in pairs:
            values = {"parent": parent, "child": child, "type": end.type}
            if find(instance, "cmdb_rel_ci", values, ("sys_id",)) is None:
                instance.records.insert("cmdb_rel_ci", values, request.caller, instance.switches)
        status = 200 if instance.switches.cmdb_instance_documented_statuses else 201
        return _shown(instance, request, table, sys_id, status)


def _check_ends(instance: Instance, ends: Sequence[End]) -> None:
    for end in ends:
        known: Row | None = find(instance, "cmdb_rel_type", {"sys_id": end.type}, ("sys_id",)) if end.type else None
        if known is None or instance.records.read("cmdb_ci", end.target) is None:
            raise Refused(400, "Invalid request", f"No such relation type or target: {end.type}, {end.target}")


def delete_relation(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    table = _class(instance, request, found)
    _only(request, "DELETE")
    with instance.storage.lock:
        record = instance.records.read("cmdb_rel_ci", found["relation"])
        ends = {record.values.get("parent"), record.values.get("child")} if record else set()
        if record is None or found["sys_id"] not in ends or not is_visible(instance, request, table, found["sys_id"]):
            raise errors.no_record()
        require_deletable(instance, request.caller, record)
        instance.records.delete(record, request.caller)
    return Answer(200 if instance.switches.cmdb_instance_documented_statuses else 204, content_type=None, rows=1)


def _only(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise Refused(405, "Method not supported", f"{request.method} is not supported here")


ROUTES = ((_CLASS, list_or_create), (_RELATIONS, relate), (_RELATION, delete_relation), (_CI, read_or_update))
