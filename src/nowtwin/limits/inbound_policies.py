"""REST API access policies (D:platform-security/authentication, api-access-policy*.md): which ways of signing in an API
takes. Rows of sys_api_access_policy name APIs, sys_auth_profile_mapping gives them inbound authentication profiles.

A policy without profiles, or none, restricts nothing; with profiles only these ways are taken and others are 401. The
most specific policy counts, a global one last. An API key is taken only where a policy has a key profile.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from nowtwin.limits.rate_limits import Call
from nowtwin.storage.rows import Storage

_TABLES: Final = (
    "sys_api_access_policy",
    "sys_auth_profile_mapping",
    "sys_inbound_auth_profile",
    "sys_token_auth_parameter",
)
_POLICY: Final = ("sys_id", "active", "global", "rest_api", "rest_api_path", "http_method", "table")
_FLAGS: Final = ("apply_all_methods", "apply_all_tables")

Ways = frozenset[str]
"""`basic_auth`, `oauth`, `session`, `mutual_auth`, `key:auth_header:x-sn-apikey`, `key:query_param:x-sn-apikey`."""


@dataclass(frozen=True, slots=True)
class Policy:
    columns: Mapping[str, str]
    ways: Ways

    def weight(self, call: Call) -> int | None:
        """How specifically the policy names this request; None when it does not."""
        named = self.columns
        methods = "" if named["apply_all_methods"] == "true" else named["http_method"].upper()
        tables = "" if named["apply_all_tables"] == "true" else named["table"]
        if methods not in {"", call.method} or tables not in {"", call.table}:
            return None
        if named["global"] == "true":
            return 1 if methods else 0
        names = {call.api.lower(), call.path.strip("/").lower()}
        wanted = {named["rest_api"].lower(), named["rest_api_path"].strip("/").lower()} - {""}
        prefixed = any(call.path.strip("/").lower().startswith(f"{one}/") for one in wanted)
        if not (wanted & names or prefixed):
            return None
        return 2 + 2 * bool(methods) + bool(tables)


class InboundPolicies:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._version: tuple[int, ...] | None = None
        self._policies: tuple[Policy, ...] = ()
        storage.ensure("sys_api_access_policy", (*_POLICY, *_FLAGS))
        storage.ensure("sys_auth_profile_mapping", ("api_access_policy", "inbound_auth_profile"))
        storage.ensure("sys_inbound_auth_profile", ("active", "type", "auth_parameter"))
        storage.ensure("sys_token_auth_parameter", ("parameter_name", "type"))

    def ways(self, call: Call) -> Ways | None:
        """The ways of signing in that are taken for a request; None: no policy says."""
        version = tuple(self._storage.versions.get(table, 0) for table in _TABLES)
        if version != self._version:
            self._version = version
            self._policies = self._read()
        weighed = [(policy.weight(call), policy) for policy in self._policies]
        found = [(weight, policy) for weight, policy in weighed if weight is not None]
        return max(found, key=lambda entry: entry[0])[1].ways if found else None

    def _read(self) -> tuple[Policy, ...]:
        """Active policies that have profiles."""
        profiles: dict[str, set[str]] = {}
        sql = (
            "SELECT m.api_access_policy, p.sys_class_name, p.type, a.type, a.parameter_name "
            "FROM sys_auth_profile_mapping m JOIN sys_inbound_auth_profile p ON p.sys_id = m.inbound_auth_profile "
            "LEFT JOIN sys_token_auth_parameter a ON a.sys_id = p.auth_parameter "
            "WHERE ifnull(p.active, 'true') <> 'false'"
        )
        for policy, kind, standard, place, name in self._storage.rows(sql):
            way = f"key:{place}:{str(name).lower()}" if kind == "http_key_auth" else str(standard)
            profiles.setdefault(str(policy), set()).add(way)
        columns = (*_POLICY, *_FLAGS)
        names = ", ".join(f'"{name}"' for name in columns)
        found = []
        for row in self._storage.rows(f"SELECT {names} FROM sys_api_access_policy"):  # noqa: S608 - fixed names
            texts = {name: "" if value is None else str(value) for name, value in zip(columns, row, strict=True)}
            if texts["active"] != "false" and texts["sys_id"] in profiles:
                found.append(Policy(texts, frozenset(profiles[texts["sys_id"]])))
        return tuple(found)
