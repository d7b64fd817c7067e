"""The script that gives an account the reads that it lacks, for an administrator to look at and run once. Pure.

A rule is added where the deciding rule stands. ServiceNow takes the rules of the most specific name that has any, so
a rule on `incident` beside rules on `task` only would take `incident` away from everybody else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

ROLE: Final = "nowbridge_reader"

_BODY: Final = r"""
  function idOf(table, query) {
    var found = new GlideRecord(table);
    found.addEncodedQuery(query);
    found.setLimit(1);
    found.query();
    return found.next() ? String(found.getUniqueValue()) : '';
  }

  function made(table, query, values) {
    var id = idOf(table, query);
    if (id) {
      return id;
    }
    var row = new GlideRecord(table);
    row.initialize();
    for (var column in values) {
      row.setValue(column, values[column]);
    }
    gs.info('Nowbridge: made a row in ' + table + ' (' + query + ')');
    return String(row.insert());
  }

  function hasRule(name) {
    return idOf('sys_security_acl', 'name=' + name + '^operation=read^active=true') !== '';
  }

  function parentOf(table) {
    var type = new GlideRecord('sys_db_object');
    return type.get('name', table) && type.super_class ? String(type.super_class.name) : '';
  }

  function decides(table, suffix) {
    for (var at = table; at; at = parentOf(at)) {
      if (hasRule(at + suffix)) {
        return at + suffix;
      }
    }
    return '';
  }

  function grant(name) {
    // One rule of ours per name, told by its description.
    var ours = 'name=' + name + '^operation=read^description=' + NOTE;
    var rule = made('sys_security_acl', ours, {
      name: name, operation: 'read', type: 'record', active: 'true', admin_overrides: 'true', description: NOTE
    });
    made('sys_security_acl_role', 'sys_security_acl=' + rule + '^sys_user_role=' + role, {
      sys_security_acl: rule, sys_user_role: role
    });
  }

  var user = idOf('sys_user', 'user_name=' + USER);
  if (!user) {
    gs.error('Nowbridge: there is no user ' + USER);
    return;
  }
  var role = made('sys_user_role', 'name=' + ROLE, { name: ROLE, description: NOTE });
  made('sys_user_has_role', 'user=' + user + '^role=' + role, { user: user, role: role });
  for (var t = 0; t < TABLES.length; t++) {
    grant(decides(TABLES[t], '') || TABLES[t]);
    var fields = decides(TABLES[t], '.*');
    if (fields) {
      grant(fields);
    }
  }
  for (var c = 0; c < COLUMNS.length; c++) {
    var own = decides(COLUMNS[c][0], '.' + COLUMNS[c][1]);
    var all = decides(COLUMNS[c][0], '.*');
    if (own || all) {
      grant(own || all);
    }
  }
"""


def grant_script(user_name: str, tables: Sequence[str], columns: Sequence[tuple[str, str]]) -> str:
    """JavaScript for System Definition > Scripts - Background, in the global scope with security_admin elevated. Running
    it twice does what running it once does. `columns` are (table, column).
    """
    values = {
        "USER": user_name,
        "ROLE": ROLE,
        "NOTE": "Read for Nowbridge",
        "TABLES": sorted(set(tables)),
        "COLUMNS": [list(pair) for pair in sorted(set(columns))],
    }
    head = "\n".join(f"  var {name} = {_literal(value)};" for name, value in values.items())
    return f"""\
// Gives the account of Nowbridge the reads that `nowbridge check` found missing: a role, and read rules that ask for it.
// Run it once as an administrator: elevate to security_admin, then System Definition > Scripts - Background, scope global.
// Running it again changes nothing. To undo it, delete the role {ROLE} and the rules described as "Read for Nowbridge".
(function () {{
{head}
{_BODY}}})();
"""


def _literal(value: object) -> str:
    """A JavaScript literal; JSON is one, but for two line ends."""
    return json.dumps(value)
