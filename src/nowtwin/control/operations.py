"""What scripts and the platform's own jobs do to records behind the back of clients (servicenow-api.md 9): writes that
nothing tells of, late commits, the table cleaner, archiving, undeleting.

Each is a function on an instance, for tests in Python and for the control API (`control_operations`). `upheavals` has what
befalls the instance as a whole.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from nowtwin.clock import STAMP, skewed
from nowtwin.instance import Instance
from nowtwin.query.parse import parse
from nowtwin.records import audit
from nowtwin.records.pipeline import Record
from nowtwin.records.selecting import find, select
from nowtwin.records.write_rules import Manner

_SYSTEM: Final = "system"
ARCHIVE: Final = "ar_"
_LOG: Final = "sys_archive_log"
_SHOWN: Final = 255


# -- records -------------------------------------------------------------------------------------------------------


_AS_REQUESTED: Final = Manner()


@dataclass(frozen=True, slots=True)
class Act:
    """How something is written: in whose name, in which manner, with the stamps of how long ago (a transaction that was
    long and commits now).
    """

    user: str = "admin"
    manner: Manner = _AS_REQUESTED
    seconds_ago: float = 0.0


_USUAL: Final = Act()


def write(instance: Instance, table: str, sys_id: str, values: Mapping[str, str], act: Act = _USUAL) -> Record:
    """Insert (`sys_id` empty or unknown) or update as a server script does. Raises Refused."""
    instance.prepare(table)
    with instance.storage.lock, skewed(-act.seconds_ago, onto=True):
        user, records, switches = instance.acting(act.user), instance.records, instance.switches
        record = records.read(table, sys_id) if sys_id else None
        if record is None:
            new = {**values, "sys_id": sys_id} if sys_id else values
            return records.insert(table, new, user, switches, manner=act.manner)
        return records.update(record, values, user, switches, manner=act.manner)


def delete(instance: Instance, table: str, sys_id: str, act: Act = _USUAL) -> None:
    """Delete as a server script does. Raises Refused."""
    with instance.storage.lock, skewed(-act.seconds_ago, onto=True):
        instance.records.delete(instance.record(table, sys_id), instance.acting(act.user), manner=act.manner)


def clean(instance: Instance, table: str, query: str = "", *, cascade: bool = False) -> int:
    """The table cleaner: delete what a query finds, with no rule and no entry in sys_audit. Returns how many."""
    manner = Manner(workflow=False, filed=instance.switches.cleaned_rows_filed)
    done = 0
    with instance.storage.lock, instance.storage.transaction():
        for record in _found(instance, table, query):
            instance.records.delete(record, instance.acting(_SYSTEM), manner=manner)
            if cascade:
                instance.consequences.cascades.follow(record.table, record.sys_id)
            done += 1
    return done


def clean_by_rules(instance: Instance) -> dict[str, int]:
    """Run the active rules of the table cleaner (sys_auto_flush): rows whose `matchfield` is older than `age` seconds."""
    done: dict[str, int] = {}
    for rule in select(instance, "sys_auto_flush", parse("active=true^tablenameISNOTEMPTY^matchfieldISNOTEMPTY")):
        age = min(int(rule["age"] or 0), 10**9)
        limit = (instance.clock.now() - timedelta(seconds=age)).strftime(STAMP)
        more = f"^{rule['conditions']}" if rule["conditions"] else ""
        query = f"{rule['matchfield']}<{limit}{more}"
        cascade = rule["cascade_delete"] == "true"
        done[rule["tablename"]] = done.get(rule["tablename"], 0) + clean(
            instance, rule["tablename"], query, cascade=cascade
        )
    return done


def _found(instance: Instance, table: str, query: str) -> Iterable[Record]:
    """The records that a query finds now, whatever happens to them meanwhile. Raises Refused for an unknown table."""
    rows = select(instance, table, parse(query), ("sys_id",))
    for row in rows:
        record = instance.records.read(table, row["sys_id"])
        if record is not None:
            yield record


# -- archive and undelete ------------------------------------------------------------------------------------------


def archive(instance: Instance, table: str, query: str = "") -> dict[str, int]:
    """Move what a query finds to the archive table of its class, `ar_<class>`: flat, references as the texts they
    displayed, the original as XML in sys_archive_log (D:c_ArchiveData.md). Returns how many by archive table.
    """
    manner = Manner(workflow=False, filed=instance.switches.archived_rows_filed)
    moved: dict[str, int] = {}
    with instance.storage.lock, instance.storage.transaction():
        for record in list(_found(instance, table, query)):
            target = _archive_table(instance, record.table)
            instance.load(target, [_archived(instance, record)])
            instance.load(_LOG, [_log_entry(instance, record, target)])
            instance.records.delete(record, instance.acting(_SYSTEM), manner=manner)
            moved[target] = moved.get(target, 0) + 1
    return moved


def unarchive(instance: Instance, table: str, query: str = "") -> int:
    """Bring rows of an archive table back as they were, stamps included. Returns how many."""
    done = 0
    with instance.storage.lock, instance.storage.transaction():
        for record in list(_found(instance, table, query)):
            entry = find(
                instance, _LOG, {"id": record.sys_id, "to_table": table, "restored": ""}, ("payload", "from_table")
            )
            if entry is None:
                raise ValueError(f"{table}: nothing in {_LOG} tells what {record.sys_id} was")
            instance.load(entry["from_table"], [audit.read_payload(entry["payload"])])
            instance.storage.delete(instance.dictionary.root(table), record.sys_id)
            instance.storage.update(_LOG, entry["sys_id"], {"restored": instance.clock.stamp()})
            done += 1
    return done


def _archive_table(instance: Instance, table: str) -> str:
    """The archive table of a class, made when it is first wanted."""
    name = ARCHIVE + table
    if name not in instance.dictionary.tables:
        columns: list[dict[str, object]] = [
            {"table": name, "element": "sys_archived", "internal_type": "glide_date_time"}
        ]
        for element, column in instance.dictionary.columns(table).items():
            if element in {"sys_id", "sys_class_name"}:
                continue
            kind, size = ("string", _SHOWN) if column.reference else (column.type, column.max_length)
            columns.append(
                {"table": name, "element": element, "internal_type": kind, "label": column.label, "max_length": size}
            )
        label = f"Archive {instance.dictionary.table_label(table)}"
        shown = instance.dictionary.display_column(table)
        instance.load_schema({"tables": [{"name": name, "label": label, "display": shown}], "columns": columns})
    return name


def _archived(instance: Instance, record: Record) -> dict[str, str]:
    row = {element: text for element, text in record.values.items() if element != "sys_class_name"}
    for element, column in instance.dictionary.columns(record.table).items():
        if column.reference and row.get(element):
            row[element] = _shown(instance, column.reference, row[element])
    kept = instance.dictionary.columns(ARCHIVE + record.table)
    return {element: text for element, text in row.items() if element in kept} | {
        "sys_archived": instance.clock.stamp()
    }


def _shown(instance: Instance, table: str, sys_id: str) -> str:
    """What a reference displays; the sys_id where its record is gone."""
    record = instance.records.read(table, sys_id) if table in instance.dictionary.tables else None
    return record.values.get(instance.dictionary.display_column(record.table), sys_id) if record else sys_id


def _log_entry(instance: Instance, record: Record, target: str) -> dict[str, str]:
    return {
        "from_table": record.table,
        "to_table": target,
        "id": record.sys_id,
        "display_value": record.values.get(instance.dictionary.display_column(record.table), ""),
        "payload": audit.payload(audit.Deleted(record.table, record.sys_id, record.values)),
    }


def undelete(instance: Instance, query: str = "") -> list[str]:
    """Bring back what rows of sys_audit_delete tell of, under its own sys_id. Returns the sys_ids.

    Raises ValueError where a payload is none, Refused where the record cannot be inserted (one with its sys_id is there).
    """
    switches, restored = instance.switches, []
    manner = Manner(workflow=switches.undelete_runs_rules, auto_sys_fields=not switches.undelete_keeps_stamps)
    with instance.storage.lock:
        for entry in select(instance, "sys_audit_delete", parse(query)):
            values = audit.read_payload(entry["payload"])
            record = write(instance, entry["tablename"], "", values, Act(_SYSTEM, manner))
            deleted = audit.Deleted(record.table, record.sys_id, values)
            told = audit.Entry(instance.records.new_id(), _SYSTEM, instance.clock.stamp())
            instance.storage.insert("sys_audit", audit.passing(deleted, "RECOVERED", told))
            if switches.undelete_drops_audit_row:
                instance.storage.delete("sys_audit_delete", entry["sys_id"])
            restored.append(record.sys_id)
    return restored
