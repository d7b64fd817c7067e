"""Roles and access control lists of a fresh instance as rows: data/access.toml says which and on what evidence."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files

from nowtwin.schema.metadata import INSTALLED_AT, row_id

Row = dict[str, str]
Tables = Mapping[str, tuple[Row, ...]]
_APIS = ("Table API", "Aggregate API", "Import Set API", "Attachment API")
"""REST APIs whose access rules ship inactive (D:c_RESTAPI.md); those of the others are `apis.roles_needed`."""
_OPERATIONS = ("read", "write", "create", "delete")
_LINE = re.compile(r"(\S+|\"[^\"]+\")\s*=\s*(\[[^\]]*\]|\"[^\"]*\")\s*(?:#\s*\[(\w+)\])?")


def marked_lines() -> Iterator[tuple[str, str, str, str]]:
    """Section, object, value and mark of evidence of each line of data/access.toml; what bears none is assumed."""
    section = ""
    for line in (files("nowtwin") / "data" / "access.toml").read_text("utf-8").splitlines():
        heading = re.fullmatch(r"\[(\w+)\]", line.strip())
        section = heading[1] if heading else section
        entry = _LINE.match(line)
        if section and entry and not line.startswith("#"):
            name, value, mark = entry.groups()
            yield section, name.strip('"'), value, mark or "assumed"


@cache
def assumed_ids() -> frozenset[str]:
    """sys_ids of the rules and of the containments of roles that nothing but their names speaks for."""
    found = set()
    for section, name, value, mark in marked_lines():
        if mark != "assumed":
            continue
        if section == "roles":
            found |= {row_id("sys_user_role_contains", f"{name} {inner}") for inner in re.findall(r'"([^"]+)"', value)}
        else:
            operation = f"{name} read mine" if section == "mine" else f"{name} {section}"
            found.add(row_id("sys_security_acl", operation))
            if section == "write" and "." not in name:
                found.add(row_id("sys_security_acl", f"{name} create"))
    return frozenset(found)


@cache
def access_rows() -> Tables:
    """Rows by table."""
    facts = tomllib.loads((files("nowtwin") / "data" / "access.toml").read_text("utf-8"))
    tables: dict[str, list[Row]] = {}
    for role, contained in facts["roles"].items():
        _add(
            tables, "sys_user_role", role, name=role, elevated_privilege="true" if role == "security_admin" else "false"
        )
        for inner in contained:
            pair = {"role": row_id("sys_user_role", role), "contains": row_id("sys_user_role", inner)}
            _add(tables, "sys_user_role_contains", f"{role} {inner}", **pair)
    # Who may write may create, unless something else is said (D:exploring-access-control-list.md, *.* for create).
    facts.setdefault("create", {name: roles for name, roles in facts["write"].items() if "." not in name})
    for operation in _OPERATIONS:
        _add(tables, "sys_security_operation", operation, name=operation)
        for name, roles in facts[operation].items():
            _add_rule(tables, name, operation, roles=roles)
    for name, condition in facts["mine"].items():
        _add_rule(tables, name, "read", condition=condition)
    _add(tables, "sys_security_type", "record", name="record")
    for api in _APIS:
        rule = {"name": api, "operation": "execute", "type": "REST_Endpoint", "active": "false"}
        _add(tables, "sys_security_acl", api, **rule, admin_overrides="true", decision_type="allow")
    return {table: tuple(rows) for table, rows in tables.items()}


def api_rule(api: str) -> str:
    """The sys_id of the access rule of a REST API."""
    return row_id("sys_security_acl", api)


def _add_rule(
    tables: dict[str, list[Row]], name: str, operation: str, roles: tuple[str, ...] = (), condition: str = ""
) -> None:
    key = f"{name} {operation}{' mine' if condition else ''}"
    columns = {"name": name, "operation": operation, "type": "record", "condition": condition}
    columns |= {"active": "true", "admin_overrides": "true", "decision_type": "allow"}
    _add(tables, "sys_security_acl", key, **columns)
    for role in roles:
        pair = {"sys_security_acl": row_id("sys_security_acl", key), "sys_user_role": row_id("sys_user_role", role)}
        _add(tables, "sys_security_acl_role", f"{key} {role}", **pair)


def _add(tables: dict[str, list[Row]], table: str, key: str, **columns: str) -> None:
    stamps = dict.fromkeys(("sys_created_on", "sys_updated_on"), INSTALLED_AT)
    row = {"sys_id": row_id(table, key), **columns, **stamps}
    tables.setdefault(table, []).append(row)
