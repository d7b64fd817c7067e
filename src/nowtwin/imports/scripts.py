"""Scripts of a transform map: its own and those of sys_transform_script, by event (6.1; r_MapWithTransformationEventScripts.md).

They see `source`, `target`, `import_set`, `map`, `log`, `action`, for created records and choices `name` and `value`. They
may set `ignore`, `error`, `error_message`, `status_message`, and columns of `response` that go out as they are. `target`
takes part in the write only before it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from nowtwin.accounts.users import User
from nowtwin.instance import Instance
from nowtwin.records.pipeline import Record
from nowtwin.records.selecting import Row, equalities, select

_HEAD = """
var __row = function (values) {
  values.getValue = function (name) { return this[name] === undefined ? null : this[name]; };
  values.getDisplayValue = values.getValue;
  return values;
};
var source = __row(%(source)s), import_set = __row(%(import_set)s), map = %(map)s, target = current;
var action = %(action)s, name = %(name)s, value = %(value)s, response = {};
var ignore = false, error = false, error_message = '', status_message = '';
var log = {info: function (text) { gs.info(text); }, warn: function (text) { gs.warn(text); },
  error: function (text) { gs.error(text); }};
"""
_TAIL = """
;JSON.stringify({ignore: ignore === true, error: error === true, error_message: String(error_message),
  status_message: String(status_message),
  response: Object.keys(response).reduce(function (all, key) { all[key] = String(response[key]); return all; }, {}),
  values: %(columns)s.reduce(function (all, name) { all[name] = String(target.getValue(name) || ''); return all; }, {})})
"""


@dataclass(frozen=True, slots=True)
class Context:
    """What the scripts of one row see; for the events of a whole run `row` is its first or last."""

    transform_map: Row
    import_set: Mapping[str, str]
    row: Record
    target: Mapping[str, str]
    action: str = "insert"
    name: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the scripts made of a row."""

    ignored: bool = False
    failed: bool = False
    message: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    response: Mapping[str, str] = field(default_factory=dict)

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
    response: dict[str, str]
    values: dict[str, str]


class TransformScripts:
    def __init__(self, instance: Instance, user: User) -> None:
        self._instance = instance
        self._user = user

    def at(self, event: str, context: Context) -> Verdict:
        """Run the scripts of an event in their order; all of them, whatever one says."""
        map_id = context.transform_map["sys_id"]
        rows = select(
            self._instance, "sys_transform_script", equalities({"map": map_id, "when": event, "active": "true"})
        )
        return self._all([row["script"] for row in sorted(rows, key=lambda row: int(row["order"] or 100))], context)

    def of_map(self, context: Context) -> Verdict:
        """Run the map's own script, where it is to run."""
        transform_map = context.transform_map
        return self._all([transform_map["script"]] if transform_map["run_script"] == "true" else [], context)

    def _all(self, scripts: list[str], context: Context) -> Verdict:
        verdict = Verdict(values=context.target)
        for script in filter(None, scripts):
            said = self._run(script, context, verdict.values)
            if said is None:
                continue
            message = said.error_message if said.error else said.status_message
            verdict = Verdict(
                verdict.ignored or said.ignore,
                verdict.failed or said.error,
                message or verdict.message,
                {**verdict.values, **said.values},
                {**verdict.response, **said.response},
            )
        return verdict

    def _run(self, script: str, context: Context, target: Mapping[str, str]) -> _Said | None:
        """None where the script failed; the system log says why."""
        transform_map = context.transform_map
        table = transform_map["target_table"]
        names = {"sys_id": transform_map["sys_id"], "name": transform_map["name"]}
        seen = {
            "source": dict(context.row.values),
            "import_set": dict(context.import_set),
            "map": names | {"source_table": transform_map["source_table"], "target_table": table},
            "action": context.action,
            "name": context.name,
            "value": context.value,
        }
        head = _HEAD % {key: json.dumps(text) for key, text in seen.items()}
        tail = _TAIL % {"columns": json.dumps(list(self._instance.dictionary.columns(table)))}
        value = self._instance.scripts.default_value(head + script + tail, table, dict(target), self._user)
        try:
            return msgspec.json.decode(value, type=_Said)
        except msgspec.DecodeError:
            return None
