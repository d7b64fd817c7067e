"""Scripts of a transform map, run for each row: that of the map and those of sys_transform_script (6.1).

They see `source`, `target`, `map`, `log`, `action`, and may set `ignore`, `error`, `error_message`, `status_message`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from nowtwin.instance import Instance
from nowtwin.records import Record
from nowtwin.selecting import Row, equalities, select
from nowtwin.users import User

_HEAD = """
var source = %(source)s;
source.getValue = function (name) { return this[name] === undefined ? null : this[name]; };
source.getDisplayValue = source.getValue;
var target = current, action = %(action)s, map = %(map)s;
var ignore = false, error = false, error_message = '', status_message = '';
var log = {info: function (text) { gs.info(text); }, warn: function (text) { gs.warn(text); },
  error: function (text) { gs.error(text); }};
"""
_TAIL = """
;JSON.stringify({ignore: ignore === true, error: error === true, error_message: String(error_message),
  status_message: String(status_message),
  values: %(columns)s.reduce(function (all, name) { all[name] = String(target.getValue(name) || ''); return all; }, {})})
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the scripts made of a row."""

    ignored: bool = False
    failed: bool = False
    message: str = ""
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def refuses(self) -> bool:
        return self.ignored or self.failed

    @property
    def status(self) -> str:
        return "error" if self.failed else "ignored"


class _Said(msgspec.Struct, frozen=True):
    ignore: bool
    error: bool
    error_message: str
    status_message: str
    values: dict[str, str]


class TransformScripts:
    def __init__(self, instance: Instance, user: User) -> None:
        self._instance = instance
        self._user = user

    def before(self, transform_map: Row, row: Record, target: Mapping[str, str], *, inserting: bool) -> Verdict:
        """Run the map's script and `onBefore` scripts on the target as it would be written."""
        scripts = [transform_map["script"]] if transform_map["run_script"] == "true" else []
        scripts += self._of(transform_map["sys_id"], "onBefore")
        verdict = Verdict(values=target)
        for script in filter(None, scripts):
            said = self._run(script, transform_map, row, dict(verdict.values), "insert" if inserting else "update")
            if said is None:
                continue
            message = said.error_message if said.error else said.status_message
            verdict = Verdict(said.ignore, said.error, message or verdict.message, {**verdict.values, **said.values})
            if verdict.refuses:
                break
        return verdict

    def after(self, transform_map: Row, row: Record, target: Mapping[str, str]) -> None:
        for script in self._of(transform_map["sys_id"], "onAfter"):
            self._run(script, transform_map, row, target, "update")

    def _of(self, map_id: str, when: str) -> list[str]:
        query = equalities({"map": map_id, "when": when, "active": "true"})
        rows = select(self._instance, "sys_transform_script", query)
        return [row["script"] for row in sorted(rows, key=lambda row: int(row["order"] or 100))]

    def _run(
        self, script: str, transform_map: Row, row: Record, target: Mapping[str, str], action: str
    ) -> _Said | None:
        """None where the script failed; the system log says why."""
        table = transform_map["target_table"]
        head = _HEAD % {
            "source": json.dumps(dict(row.values)),
            "action": json.dumps(action),
            "map": json.dumps({"name": transform_map["name"], "target_table": table}),
        }
        tail = _TAIL % {"columns": json.dumps(list(self._instance.dictionary.columns(table)))}
        value = self._instance.scripts.default_value(head + script + tail, table, target, self._user)
        try:
            return msgspec.json.decode(value, type=_Said)
        except msgspec.DecodeError:
            return None
