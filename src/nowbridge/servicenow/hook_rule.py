"""The Business Rule that posts hints, and the two properties beside it: their columns, and what a look at them says. Pure.

One rule stands on each table; the platform runs it for every class below, too, so a table whose ancestor has one needs
none. A rule carries its version and a digest of its own columns: an older one is upgraded, and one that somebody has
edited is told apart from both. The secret stands in a property that only administrators may read; no rule holds it, and
changing it touches no rule.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from nowbridge.servicenow.hint_message import SIGNATURE_HEADER, TIME_HEADER

VERSION: Final = 2
COLUMNS: Final = (
    "name",
    "collection",
    "when",
    "order",
    "active",
    "advanced",
    "action_insert",
    "action_update",
    "action_delete",
    "action_query",
    "filter_condition",
    "condition",
    "script",
)
PROPERTY_COLUMNS: Final = ("name", "value", "type", "is_private", "read_roles", "write_roles", "description")
_MARK: Final = re.compile(r"^// nowbridge-hook version=(\d+) digest=([0-9a-f]{16})$", re.MULTILINE)

# ES5, which every release runs. The time-out is short because a rule that waits holds one of the instance's few
# scheduler threads; when nobody has answered three times in a row, the rules post once a minute only. What is not told
# is found by the poll. To set a property makes the instance read its properties anew, so that happens rarely: at each
# of the three failures, then once a minute, and when somebody answers again.
_SCRIPT: Final = """\
(function executeRule(current, previous /*null when async*/) {
  // Tells Nowbridge that a record changed: which one, not what. Made by `nowbridge hooks install`; edits are noticed.
  var url = gs.getProperty('%(prefix)s.url', '');
  var secret = gs.getProperty('%(prefix)s.secret', '');
  if (!url || !secret) {
    return;
  }
  var failing = '%(prefix)s.failing';
  var known = String(gs.getProperty(failing, '') || '0 0').split(' ');
  var failures = Number(known[0]);
  var now = new GlideDateTime().getNumericValue();
  if (now < Number(known[1])) {
    return;
  }
  var answered = false;
  try {
    var body = JSON.stringify({
      nonce: String(gs.generateGUID()),
      hints: [{
        table: String(current.getRecordClassName()),
        sys_id: String(current.getUniqueValue()),
        operation: String(current.operation()),
        sys_mod_count: String(current.getValue('sys_mod_count') || ''),
        sys_updated_on: String(current.getValue('sys_updated_on') || ''),
        rule: '%(table)s'
      }]
    });
    var time = String(Math.floor(now / 1000));
    var request = new sn_ws.RESTMessageV2();
    request.setEndpoint(url);
    request.setHttpMethod('POST');
    request.setHttpTimeout(2000);
    request.setRequestHeader('Content-Type', 'application/json');
    request.setRequestHeader('%(time)s', time);
    request.setRequestHeader('%(signature)s', new CertificateEncryption().generateMac(secret, 'HmacSHA256', time + '.' + body));
    request.setRequestBody(body);
    answered = Number(request.execute().getStatusCode()) > 0;
  } catch (error) {
    gs.debug('Nowbridge was not told: ' + error);
  }
  if (!answered) {
    failures = Math.min(failures + 1, 3);
    gs.setProperty(failing, failures + ' ' + (failures < 3 ? 0 : Number(now) + 60000));
  } else if (failures) {
    gs.setProperty(failing, '0 0');
  }
})(current, previous);
"""


class State(Enum):
    """What a look at a table's rule says."""

    MISSING = "missing"
    CURRENT = "current"
    OLDER = "older version"
    NEWER = "newer version"
    EDITED = "edited by hand"
    OFF = "switched off by hand"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as it stands in the instance. `values` are its columns as stored, by name."""

    sys_id: str
    values: Mapping[str, str]

    @property
    def table(self) -> str:
        return self.values["collection"]

    @property
    def version(self) -> int | None:
        mark = _MARK.search(self.values["script"])
        return int(mark[1]) if mark else None

    @property
    def state(self) -> State:
        mark = _MARK.search(self.values["script"])
        if mark is None:
            return State.EDITED
        if mark[2] != _digest(self.values):
            switched_off = {**self.values, "active": "true"}
            is_off = self.values["active"] != "true" and mark[2] == _digest(switched_off)
            return State.OFF if is_off else State.EDITED
        version = int(mark[1])
        if version == VERSION:
            return State.CURRENT
        return State.OLDER if version < VERSION else State.NEWER


def rule_values(hook_id: str, table: str, *, version: int = VERSION) -> dict[str, str]:
    """The columns of the rule for one table. The order puts it behind the instance's own rules."""
    names = {"prefix": prefix(hook_id), "table": table, "time": TIME_HEADER, "signature": SIGNATURE_HEADER}
    values = {
        "name": rule_name(hook_id),
        "collection": table,
        "when": "async_always",
        "order": "10000",
        "active": "true",
        "advanced": "true",
        "action_insert": "true",
        "action_update": "true",
        "action_delete": "true",
        "action_query": "false",
        "filter_condition": "",
        "condition": "",
        "script": _SCRIPT % names,
    }
    mark = f"// nowbridge-hook version={version} digest={_digest(values)}\n"
    return {**values, "script": mark + values["script"]}


def property_values(hook_id: str, url: str, secret: str) -> list[dict[str, str]]:
    """The columns of the two properties; `secret` in base64. Private: no update set takes them to another instance."""
    kept = {"type": "string", "is_private": "true", "read_roles": "admin", "write_roles": "admin"}
    return [
        {"name": f"{prefix(hook_id)}.url", "value": url, "description": "Where Nowbridge is told of changes", **kept},
        {"name": f"{prefix(hook_id)}.secret", "value": secret, "description": "What its rules sign with", **kept},
    ]


def prefix(hook_id: str) -> str:
    """What the names of the properties begin with."""
    return f"nowbridge.hook.{hook_id}"


def rule_name(hook_id: str) -> str:
    return f"Nowbridge hint {hook_id}"


def sys_id_of(hook_id: str, what: str) -> str:
    """The id that a record of ours gets: always the same, so that making it twice makes one."""
    return hashlib.sha256(f"nowbridge hook {hook_id} {what}".encode()).hexdigest()[:32]


def roots(lineages: Mapping[str, Sequence[str]]) -> list[str]:
    """Of these tables, each with its lineage, those that need a rule: no ancestor of theirs is among them."""
    return sorted(table for table, lineage in lineages.items() if not any(name in lineages for name in lineage[1:]))


def of_table(rules: Iterable[Rule], table: str) -> Rule | None:
    return next((rule for rule in rules if rule.table == table), None)


def _digest(values: Mapping[str, str]) -> str:
    """Of all columns that we set, without the line that holds the digest and without what storing may change."""
    script = _MARK.sub("", values["script"]).replace("\r\n", "\n").strip()
    told = [values[name].strip() if name != "script" else script for name in COLUMNS]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
