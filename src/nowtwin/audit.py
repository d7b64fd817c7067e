"""Rows of sys_audit and sys_audit_delete: who changed which column, and what was deleted (servicenow-api.md 9.1).

History is kept for tables whose dictionary says so; deletions of every table except system tables and a default list.
Both are filed under the record's actual class.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

from nowtwin.dictionary import Dictionary
from nowtwin.values import Stored

NO_DELETE_AUDIT = frozenset(
    {"sys_user_preference", "sys_audit", "sys_trigger", "sc_cart", "sc_cart_item", "cmdb_ci_windows_service"}
    | {"cmdb_sam_sw_install", "cmdb_software_instance", "cmdb_sam_sw_usage", "sam_sw_counter_detail"},
)
"""Tables without deletion audit by default (`glide.db.audit.ignore.delete`)."""
UNAUDITED = frozenset({"sys_updated_on", "sys_updated_by", "sys_mod_count", "task_effective_number"})

Row = dict[str, Stored]


@dataclass(frozen=True, slots=True)
class Entry:
    """What every filed row has: its own sys_id, who, when."""

    sys_id: str
    user_name: str
    stamp: str


@dataclass(frozen=True, slots=True)
class Change:
    table: str
    sys_id: str
    element: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Deleted:
    table: str
    sys_id: str
    values: Mapping[str, str]


def changes_filed(dictionary: Dictionary, table: str) -> bool:
    """A class is audited when it or an ancestor is."""
    return any(dictionary.tables[name].audit for name in dictionary.lineage(table))


def deletions_filed(dictionary: Dictionary, table: str) -> bool:
    attributes = dictionary.tables[table].attributes or {}
    return not (table in NO_DELETE_AUDIT or table.startswith("sys_") or attributes.get("no_audit_delete"))


def history(change: Change, checkpoint: int, entry: Entry) -> Row:
    """The sys_audit row of one changed column; `checkpoint` is the record's sys_mod_count after the write."""
    return _filed("sys_audit", entry) | {
        "tablename": change.table,
        "documentkey": change.sys_id,
        "fieldname": change.element,
        "oldvalue": change.old or None,
        "newvalue": change.new or None,
        "user": entry.user_name,
        "record_checkpoint": checkpoint,
    }


def deletion(deleted: Deleted, shown: str, entry: Entry) -> Row:
    """The sys_audit_delete row of a record that displayed as `shown`."""
    fields = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in sorted(deleted.values.items()))
    return _filed("sys_audit_delete", entry) | {
        "tablename": deleted.table,
        "documentkey": deleted.sys_id,
        "display_value": shown or None,
        "payload": f"<{deleted.table}>{fields}</{deleted.table}>",
    }


def _filed(table: str, entry: Entry) -> Row:
    row: Row = {"sys_id": entry.sys_id, "sys_class_name": table, "sys_mod_count": 0}
    row |= dict.fromkeys(("sys_created_on", "sys_updated_on"), entry.stamp)
    return row | dict.fromkeys(("sys_created_by", "sys_updated_by"), entry.user_name)
