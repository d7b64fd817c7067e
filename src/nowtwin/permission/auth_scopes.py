"""Scopes of OAuth tokens (D:platform-security/authentication, configure-rest-api-auth-scope.md, rest-api-scope-troubleshooting.md):
rows of sys_api_access_scope link REST APIs with scopes, and a token is then good for such an API only if its client has
one of them (oauth_entity_auth_scope_mapping), or `useraccount`, which is good for all.

Scopes are looked up when a request comes, never kept in a token. Basic, sessions, keys and certificates have no scopes and
are not asked for any. No API is linked by default.
"""

from collections.abc import Mapping
from typing import Final

from nowtwin.errors import Refused
from nowtwin.http.messages import Request
from nowtwin.instance import Instance
from nowtwin.limits.rate_limits import Call, call_of, is_resource
from nowtwin.schema.metadata import row_id

USER_ACCOUNT: Final = row_id("sys_auth_scope", "useraccount")
_LINKS: Final = "sys_api_access_scope"
_MAPPING: Final = "oauth_entity_auth_scope_mapping"
_APPLIES: Final = ("apply_all_methods", "http_method", "apply_all_versions", "version", "apply_all_resources")
_COLUMNS: Final = ("auth_scope", "api", "api_path", "api_resource", *_APPLIES)


def require_scope(instance: Instance, request: Request) -> None:
    """Raises Refused 403 where the token's client has none of the scopes that the API is linked with."""
    call = call_of(request) if request.client_id else None
    if call is None or instance.property("com.glide.rest.api.auth.scope.check.enable") == "false":
        return
    needed = _needed(instance, call)
    if not needed:
        return
    held = scopes_of(instance, request.client_id)
    everything = instance.property("glide.oauth.token.scope.useraccount") or USER_ACCOUNT
    if everything not in held and held.keys().isdisjoint(needed):
        row = instance.storage.get("sys_auth_scope", needed[0])
        name = str(row.get("name") or "") if row else ""
        raise Refused(403, "User Not Authorized", f"Missing required api access scope: {name}")


def scopes_of(instance: Instance, client_id: str) -> Mapping[str, str]:
    """The scopes that a client is linked with: name by sys_id."""
    storage = instance.storage
    storage.ensure(_MAPPING, ("oauth_entity", "auth_scope"))
    storage.ensure("oauth_entity", ("client_id",))
    storage.ensure("sys_auth_scope", ("name",))
    rows = storage.rows(
        "SELECT s.sys_id, ifnull(s.name, '') FROM oauth_entity_auth_scope_mapping m "
        "JOIN oauth_entity e ON e.sys_id = m.oauth_entity JOIN sys_auth_scope s ON s.sys_id = m.auth_scope "
        "WHERE e.client_id = ? ORDER BY s.name",
        (client_id,),
    )
    return {str(sys_id): str(name) for sys_id, name in rows}


def _needed(instance: Instance, call: Call) -> list[str]:
    """The scopes that active links give for a request, any of which will do."""
    storage = instance.storage
    storage.ensure(_LINKS, ("active", *_COLUMNS))
    names = ", ".join(f"ifnull({name}, '')" for name in _COLUMNS)
    sql = f"SELECT {names} FROM {_LINKS} WHERE ifnull(active, 'true') <> 'false' ORDER BY sys_id"  # noqa: S608 - fixed names
    links = (dict(zip(_COLUMNS, map(str, row), strict=True)) for row in storage.rows(sql))
    return [link["auth_scope"] for link in links if link["auth_scope"] and _covers(link, call)]


def _covers(link: Mapping[str, str], call: Call) -> bool:
    path = link["api_path"].strip("/").lower()
    here = call.path.strip("/").lower()
    named = f"{here}/".startswith(f"{path}/") if path else link["api"].lower() == call.api.lower()
    return (
        named
        and (link["apply_all_methods"] == "true" or link["http_method"].upper() in {"", call.method})
        and (link["apply_all_versions"] == "true" or link["version"].lower() in {"", "latest", call.version})
        and (
            link["apply_all_resources"] == "true" or not link["api_resource"] or is_resource(link["api_resource"], call)
        )
    )
