"""Rows of sys_audit and sys_audit_delete: who changed which column, and what was deleted (servicenow-api.md 9.1).

History is kept for tables whose dictionary says so; deletions of every table except system tables and a default list.
Both are filed under the record's actual class.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from nowtwin.records.write_rules import Manner
from nowtwin.schema.dictionary import Dictionary
from nowtwin.values import Stored

NO_DELETE_AUDIT = (
    *("sys_mutex", "sys_db_cache", "sys_lucene_*", "sys_user_preference", "sys_audit", "sys_trigger", "wf_*"),
    *("sc_cart", "sc_cart_item", "cmdb_ci_windows_service", "cmdb_sam_sw_install", "cmdb_software_instance"),
    *("cmdb_sam_sw_usage", "sam_sw_counter_detail"),
)
"""Tables without deletion audit by default; setting `glide.db.audit.ignore.delete` replaces the list."""
_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
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


@dataclass(frozen=True, slots=True)
class DeletionRules:
    """Which deletions are filed, by properties and switches of the instance."""

    ignored: tuple[str, ...] = NO_DELETE_AUDIT
    """Tables, `*` at the end for any rest."""
    system_tables: frozenset[str] = frozenset()
    """System tables that are filed all the same (`glide.ui.audit_deleted_tables`)."""
    unaudited_tables: bool = True
    quiet: bool = False
    """Deletions with `setWorkflow(false)` too."""
    in_history: bool = True
    """Every deletion is a row of sys_audit as well (KB0634666)."""

    def watch(self, dictionary: Dictionary, table: str) -> bool:
        attributes = dictionary.tables[table].attributes or {}
        ignored = any(fnmatchcase(table, pattern) for pattern in self.ignored)
        if ignored or attributes.get("no_audit_delete"):
            return False
        return table in self.system_tables or not table.startswith("sys_")

    def file(self, dictionary: Dictionary, table: str, manner: Manner) -> bool:
        """Whether sys_audit_delete gets a row for a deletion of this manner."""
        asked = manner.filed if manner.filed is not None else manner.workflow or self.quiet
        known = self.unaudited_tables or changes_filed(dictionary, table)
        return asked and known and self.watch(dictionary, table)


def names_in(text: str) -> tuple[str, ...]:
    """The table names of a property."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


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


def passing(deleted: Deleted, word: str, entry: Entry) -> Row:
    """The sys_audit row that tells of a deletion (`DELETED`) or its undoing (`RECOVERED`; KB0634666)."""
    change = Change(deleted.table, deleted.sys_id, word, word, word)
    return history(change, -1, entry)


def deletion(deleted: Deleted, shown: str, entry: Entry) -> Row:
    """The sys_audit_delete row of a record that displayed as `shown`."""
    return _filed("sys_audit_delete", entry) | {
        "tablename": deleted.table,
        "documentkey": deleted.sys_id,
        "display_value": shown or None,
        "payload": payload(deleted),
    }


def payload(deleted: Deleted) -> str:
    """The record as XML, an element per filled column."""
    fields = "".join(
        f"<{name}>{escape(_NO_XML.sub('', text))}</{name}>" for name, text in sorted(deleted.values.items())
    )
    return f"<{deleted.table}>{fields}</{deleted.table}>"


def read_payload(text: str) -> dict[str, str]:
    """The columns of a payload. Raises ValueError for what is none."""
    try:
        root = ET.fromstring(text)  # noqa: S314 - written by `payload`; expat refuses endless entities
    except ET.ParseError as error:
        raise ValueError(f"payload: {error}") from error
    return {element.tag: element.text or "" for element in root}


def _filed(table: str, entry: Entry) -> Row:
    row: Row = {"sys_id": entry.sys_id, "sys_class_name": table, "sys_mod_count": 0}
    row |= dict.fromkeys(("sys_created_on", "sys_updated_on"), entry.stamp)
    return row | dict.fromkeys(("sys_created_by", "sys_updated_by"), entry.user_name)
