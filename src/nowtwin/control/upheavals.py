"""What befalls an instance as a whole while clients work: roles taken, columns that come, go or change their type, restarts,
upgrades, a clone from another instance over this one.

Each is a function on an instance, for tests in Python and for the control API (`control_operations`).
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Literal

from nowtwin.behaviour.nodes import Outage
from nowtwin.control.operations import clean, write
from nowtwin.instance import Instance
from nowtwin.records.selecting import equalities, find, select
from nowtwin.schema import metadata
from nowtwin.seeds import SeedFileError, load_demo, load_file

Source = Literal["snapshot", "data"]
_RUNNING = ("nodes", "faults", "calls", "writes", "written", "switches")
"""What belongs to the running twin, not to its data."""


# -- roles and columns ---------------------------------------------------------------------------------------------


def set_roles(instance: Instance, user_name: str, roles: Iterable[str]) -> tuple[str, ...]:
    """Give a user these roles instead of those granted to it directly; roles of its groups stay. Raises ValueError for
    an unknown user or role. Returns all roles it has now.
    """
    with instance.storage.lock:
        user = instance.user(user_name)
        if user is None:
            raise ValueError(f"user_name: there is no active user {user_name}")
        ids = {}
        for role in dict.fromkeys(roles):
            found = find(instance, "sys_user_role", {"name": role}, ("sys_id",))
            if found is None:
                raise ValueError(f"roles: there is no role {role}")
            ids[role] = found["sys_id"]
        for row in select(instance, "sys_user_has_role", equalities({"user": user.sys_id}), ("sys_id",)):
            instance.storage.delete("sys_user_has_role", row["sys_id"])
        instance.accounts.set_roles(user_name, frozenset())
        granted = [{"user": user.sys_id, "role": sys_id, "state": "active"} for sys_id in ids.values()]
        instance.load("sys_user_has_role", granted)
        changed = instance.user(user_name)
        return tuple(sorted(changed.roles)) if changed else ()


def put_column(instance: Instance, table: str, element: str, declared: Mapping[str, str]) -> dict[str, str]:
    """Add a column to a table, or change it (`internal_type`, `max_length`, `reference`, …), by its row of sys_dictionary.

    Returns that row. Raises Refused for an unknown table, ValueError for something that sys_dictionary does not have.
    """
    instance.prepare(table)
    unknown = declared.keys() - instance.dictionary.columns("sys_dictionary").keys()
    if unknown:
        raise ValueError(f"sys_dictionary has no column {', '.join(sorted(unknown))}")
    row = find(instance, "sys_dictionary", {"name": table, "element": element}, ("sys_id",))
    values = {"name": table, "element": element, **declared}
    record = write(instance, "sys_dictionary", row["sys_id"] if row else "", values)
    return dict(record.values)


def drop_column(instance: Instance, table: str, element: str) -> None:
    """Delete a column's row of sys_dictionary; its data goes with it. Raises ValueError where the table declares none."""
    instance.prepare(table)
    row = find(instance, "sys_dictionary", {"name": table, "element": element}, ("sys_id",))
    if row is None:
        raise ValueError(f"element: table {table} itself has no column {element}")
    instance.delete("sys_dictionary", row["sys_id"])


# -- the instance --------------------------------------------------------------------------------------------------


def restart(instance: Instance, node: str = "", *, seconds: float = 0.0, status: int = 503) -> int:
    """Restart a node (all without a name): its sessions are gone, and for so many seconds of the twin's clock what stands
    before it answers with the status. Returns how many sessions ended. Raises ValueError for an unknown node.
    """
    return _take_out(instance, node, Outage(instance.clock.now() + timedelta(seconds=seconds), status))


def upgrade(instance: Instance, war: str, name: str, *, seconds: float = 0.0) -> int:
    """Upgrade the instance: every node is out for so many seconds, and the version properties change."""
    ended = _take_out(instance, "", Outage(instance.clock.now() + timedelta(seconds=seconds), upgrading=True))
    tag = war.removesuffix(".zip").partition("__")
    build = "__".join((tag[0], tag[2].partition("_")[0])) if tag[2] else tag[0]
    last = instance.property("glide.buildtag")
    versions = {"glide.war": war, "glide.buildname": name, "glide.buildtag": build, "glide.buildtag.last": last}
    set_properties(instance, versions)
    return ended


def _take_out(instance: Instance, name: str, outage: Outage) -> int:
    ended = 0
    for node in instance.nodes.named(name):
        ended += instance.accounts.end_sessions(node.name)
        instance.nodes.take_out(node, outage)
    return ended


def set_properties(instance: Instance, values: Mapping[str, str]) -> None:
    """Rows of sys_properties, made or replaced by name."""
    rows = []
    for name, value in values.items():
        known = find(instance, "sys_properties", {"name": name}, ("sys_id",))
        sys_id = known["sys_id"] if known else metadata.row_id("sys_properties", name)
        rows.append({"sys_id": sys_id, "name": name, "value": value, "type": "string"})
    instance.load("sys_properties", rows)


def clone_over(instance: Instance, kind: Source, source: str, *, name: str = "", preserve: Iterable[str] = ()) -> str:
    """Replace the data by another instance's: a snapshot, or seeds (`empty`, `demo` or a file). Rows of the tables in
    `preserve` stay. Returns the new instance_id.

    What belongs to the running instance stays: URL, clock, nodes, faults, switches, hide rules, journals of calls and writes,
    and the passwords of users that are there afterwards. OAuth tokens and sessions end.
    """
    with instance.storage.lock:
        before = instance.property("instance_id")
        kept = {table: list(instance.export(table)) for table in preserve}
        running = {place: getattr(instance, place) for place in _RUNNING}
        hidden, accounts, ids = instance.access.rules, instance.accounts.saved(), instance.random.getstate()
        if kind == "snapshot":
            instance.snapshots.restore(source)
            accounts = {**accounts, "_credentials": {**accounts["_credentials"], **instance.accounts.credentials()}}
        else:
            _start_with(instance, source)
        for place, thing in running.items():
            setattr(instance, place, thing)
        instance.access.rules = hidden
        instance.accounts.put_back(accounts)
        instance.accounts.end_all()
        instance.random.setstate(ids)
        for table, rows in kept.items():
            clean(instance, table)
            instance.load(table, rows)
        identity = instance.records.new_id()
        while identity == before:  # the first number of a seed that nothing else was drawn from
            identity = instance.records.new_id()
        set_properties(instance, {"instance_id": identity} | ({"instance_name": name} if name else {}))
        return identity


def _start_with(instance: Instance, data: str) -> None:
    """A fresh instance with these data; as it was, if they turn out to be none."""
    if data not in {"empty", "demo"} and not Path(data).is_file():
        raise ValueError(f"data: there is no file {data}")
    before = instance.snapshots.take()
    instance.reset()
    try:
        if data == "demo":
            load_demo(instance)
        elif data != "empty":
            load_file(instance, Path(data))
    except SeedFileError:
        instance.snapshots.restore(before)
        raise
    finally:
        instance.snapshots.drop(before)
