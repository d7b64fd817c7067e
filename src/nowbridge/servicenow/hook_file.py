"""The rules and properties as a file for an administrator to load by hand: "Import XML" in the menu of any list. Pure.

Plain records, not an update set: an update set would keep the secret in `sys_update_xml` for good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from nowbridge.servicenow import hook_rule


def as_xml(hook_id: str, wanted: Sequence[str], properties: Sequence[Mapping[str, str]], *, at: str) -> str:
    """`at` is the date of the file, `yyyy-MM-dd HH:mm:ss`. The ids are those that an installation would give."""
    records = [_record("sys_properties", hook_id, values["name"], values) for values in properties]
    records += [_record("sys_script", hook_id, table, hook_rule.rule_values(hook_id, table)) for table in wanted]
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<unload unload_date="{at}">\n{"".join(records)}</unload>\n'


def _record(table: str, hook_id: str, what: str, values: Mapping[str, str]) -> str:
    columns = {"sys_id": hook_rule.sys_id_of(hook_id, what), **values}
    inside = "".join(f"    <{name}>{escape(value)}</{name}>\n" for name, value in columns.items())
    return f'  <{table} action="INSERT_OR_UPDATE">\n{inside}  </{table}>\n'
