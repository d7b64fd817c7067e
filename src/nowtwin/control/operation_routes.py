"""The control API's operations on data and instance: bodies of requests under `/_nowtwin/` for `operations` and `upheavals`.

Answers say what was done; a body that names what is not there is refused with the member's name.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from nowtwin.control import operations, upheavals
from nowtwin.http.messages import Request
from nowtwin.instance import Instance
from nowtwin.records.write_rules import Manner

Seconds = Annotated[float, Meta(ge=0)]


class Write(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`workflow`, `auto_sys_fields`, `force` as GlideRecord's setWorkflow, autoSysFields, setForceUpdate; `seconds_ago`
    for a commit that comes so late.
    """

    table: str
    values: dict[str, str] = {}
    sys_id: str = ""
    user: str = "admin"
    workflow: bool = True
    auto_sys_fields: bool = True
    force: bool = False
    delete: bool = False
    seconds_ago: Seconds = 0.0


class Rows(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an encoded query finds in a table; all of it without one."""

    table: str
    query: str = ""


class Cleaning(Rows, frozen=True, forbid_unknown_fields=True):
    """Without a table the active rules of sys_auto_flush are run."""

    table: str = ""
    cascade: bool = False


class Undeleting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which rows of sys_audit_delete."""

    query: str = ""


class Roles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    user_name: str
    roles: tuple[str, ...]


class DictionaryEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`values`: columns of sys_dictionary, such as `internal_type`, `max_length`, `reference`, `mandatory`."""

    table: str
    element: str
    values: dict[str, str] = {}


class Restart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`node` empty: all of them."""

    node: str = ""
    seconds: Seconds = 0.0
    status: Literal[502, 503, 504] = 503


class Upgrade(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    war: str
    name: str
    seconds: Seconds = 0.0


class Clone(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From `snapshot` (an id) or `data` (`empty`, `demo` or a file)."""

    snapshot: str = ""
    data: str = ""
    name: str = ""
    preserve: tuple[str, ...] = ()


def _write(instance: Instance, request: Request) -> object:
    asked = msgspec.json.decode(request.body, type=Write)
    manner = Manner(asked.workflow, asked.auto_sys_fields, asked.force)
    act = operations.Act(asked.user, manner, asked.seconds_ago)
    if asked.delete:
        operations.delete(instance, asked.table, asked.sys_id, act)
        return {"deleted": asked.sys_id}
    return {"record": operations.write(instance, asked.table, asked.sys_id, asked.values, act).values}


def _clean(instance: Instance, request: Request) -> object:
    asked = msgspec.json.decode(request.body, type=Cleaning)
    if not asked.table:
        return {"deleted": operations.clean_by_rules(instance)}
    return {"deleted": operations.clean(instance, asked.table, asked.query, cascade=asked.cascade)}


def _archive(instance: Instance, request: Request) -> object:
    asked = msgspec.json.decode(request.body, type=Rows)
    return {"archived": operations.archive(instance, asked.table, asked.query)}


def _unarchive(instance: Instance, request: Request) -> object:
    asked = msgspec.json.decode(request.body, type=Rows)
    return {"restored": operations.unarchive(instance, asked.table, asked.query)}


def _undelete(instance: Instance, request: Request) -> object:
    return {"restored": operations.undelete(instance, msgspec.json.decode(request.body, type=Undeleting).query)}


def _set_roles(instance: Instance, request: Request) -> object:
    asked = msgspec.json.decode(request.body, type=Roles)
    return {"roles": upheavals.set_roles(instance, asked.user_name, asked.roles)}


def _put_column(instance: Instance, request: Request) -> object:
    asked = msgspec.json.decode(request.body, type=DictionaryEntry)
    return {"column": upheavals.put_column(instance, asked.table, asked.element, asked.values)}


def _drop_column(instance: Instance, request: Request) -> object:
    upheavals.drop_column(instance, request.param("table"), request.param("element"))
    return {"ok": True}


def _restart(instance: Instance, request: Request) -> object:
    asked = msgspec.json.decode(request.body, type=Restart)
    ended = upheavals.restart(instance, asked.node, seconds=asked.seconds, status=asked.status)
    return {"sessions_ended": ended}


def _upgrade(instance: Instance, request: Request) -> object:
    asked = msgspec.json.decode(request.body, type=Upgrade)
    return {"sessions_ended": upheavals.upgrade(instance, asked.war, asked.name, seconds=asked.seconds)}


def _clone(instance: Instance, request: Request) -> object:
    asked = msgspec.json.decode(request.body, type=Clone)
    if bool(asked.snapshot) == bool(asked.data):
        raise ValueError("name either a snapshot or data")
    source = asked.snapshot or asked.data
    kind: upheavals.Source = "snapshot" if asked.snapshot else "data"
    return {"instance_id": upheavals.clone_over(instance, kind, source, name=asked.name, preserve=asked.preserve)}


ROUTES: Final[Mapping[tuple[str, str], Callable[[Instance, Request], object]]] = {
    ("POST", "write"): _write,
    ("POST", "clean"): _clean,
    ("POST", "archive"): _archive,
    ("POST", "unarchive"): _unarchive,
    ("POST", "undelete"): _undelete,
    ("PUT", "roles"): _set_roles,
    ("PUT", "columns"): _put_column,
    ("DELETE", "columns"): _drop_column,
    ("POST", "restart"): _restart,
    ("POST", "upgrade"): _upgrade,
    ("POST", "clone"): _clone,
}
