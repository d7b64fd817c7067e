"""Who is asking (servicenow-api.md 7.2): Basic, Bearer, API key, client certificate or session cookie, and what
keeps a right proof out.

Refusals look alike, 401 `User Not Authenticated`. An account that is inactive or locked out is nobody. Basic has
further conditions: a one-time code behind the password where the account has multi-factor authentication
(D:c_MFAforREST.md, r_MFAResponses.md), and the restriction of Basic (D:basic-auth-restriction.md). An API access policy
may take some ways only.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from nowtwin import errors
from nowtwin.accounts.users import User
from nowtwin.clock import STAMP
from nowtwin.errors import Refused
from nowtwin.http.messages import Request
from nowtwin.instance import Instance
from nowtwin.limits.rate_limits import call_of
from nowtwin.permission import certificates

KEY: Final = "x-sn-apikey"
_MISSING_CODE: Final = (("X-MFA_TOKEN", "invalid"),)
_RESTRICTION: Final = "glide.authenticate.basic_auth.restriction."


@dataclass(frozen=True, slots=True)
class Proof:
    """A user name and how it was shown; `way` as in `inbound_policies.Ways`."""

    user_name: str
    way: str


def authenticate(instance: Instance, request: Request) -> User:
    """The user behind a request. Raises Refused 401."""
    proof = _proof(instance, request)
    user = instance.user(proof.user_name) if proof else None
    if proof is None or user is None:
        raise errors.not_authenticated()
    if proof.way == "basic_auth":
        _refuse_restricted(instance, user)
    call = call_of(request)
    ways = instance.inbound_policies.ways(call) if call else None
    keyed = proof.way.startswith("key:")
    if ways is None:
        refused = keyed and instance.switches.api_key_needs_policy
    else:
        refused = proof.way not in ways and (keyed or proof.way != "session")
    if refused:
        raise errors.not_authenticated()
    return user


def claimed_user(instance: Instance, request: Request) -> str | None:
    """The name a request signs in with, proven or not: for the journal of calls and for fault rules."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        pair = _pair(secret)
        return pair[0] if pair else None
    proof = _token_proof(instance, request)
    return proof.user_name if proof else None


def cookie(request: Request, name: str) -> str:
    for part in request.headers.get("cookie", "").split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""


def may_use_pages(instance: Instance, user: User) -> bool:
    """Accounts for web services only cannot log in to pages."""
    return not _flag(instance, user, "web_service_access_only")


# -- proofs --------------------------------------------------------------------------------------------------------


def _proof(instance: Instance, request: Request) -> Proof | None:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return _basic(instance, secret) if scheme.lower() == "basic" else _token_proof(instance, request)


def _token_proof(instance: Instance, request: Request) -> Proof | None:
    """Bearer, API key, access token in the URL (D:c_OAuthAuthorizationCodeFlow.md), client certificate, else the session."""
    scheme = request.headers.get("authorization", "").partition(" ")[0]
    access = _access_token(request)
    if access is not None:
        user_name = instance.accounts.bearer(access, instance.clock.now())
        return Proof(user_name, "oauth") if user_name else None
    if scheme:
        return None
    for place, key in (("auth_header", request.headers.get(KEY, "")), ("query_param", request.param(KEY))):
        if key:
            return _key(instance, key, f"key:{place}:{KEY}")
    user_name = certificates.user_of(instance, request.certificate)
    if user_name:
        return Proof(user_name, "mutual_auth")
    user_name = instance.accounts.session_user(cookie(request, "JSESSIONID"))
    return Proof(user_name, "session") if user_name else None


def _access_token(request: Request) -> str | None:
    """None where the request is not signed in by one."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return secret.strip() or request.param("access_token")
    return None if scheme else request.param("access_token") or None


def client_of(instance: Instance, request: Request) -> str:
    """The OAuth client whose token signs a request in; empty where something else does."""
    access = _access_token(request)
    return "" if access is None else instance.accounts.client_of(access)


def _pair(secret: str) -> tuple[str, str] | None:
    try:
        user_name, _, password = base64.b64decode(secret, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user_name, password


def _basic(instance: Instance, secret: str) -> Proof | None:
    """Raises Refused 401 with a header of its own when only the one-time code is missing or wrong."""
    pair = _pair(secret)
    if pair is None:
        return None
    user_name, password = pair
    accounts = instance.accounts
    user = instance.user(user_name)
    if user is None or not _flag(instance, user, "enable_multifactor_authn"):
        return Proof(user_name, "basic_auth") if accounts.verify(user_name, password) else None
    code = accounts.one_time_code(user_name)
    if code and password.endswith(code) and accounts.verify(user_name, password.removesuffix(code)):
        return Proof(user_name, "basic_auth")
    stripped = password.rstrip("0123456789")
    if any(accounts.verify(user_name, password[:end]) for end in range(len(stripped), len(password) + 1)):
        refused = errors.not_authenticated()
        raise Refused(refused.status, refused.message, refused.detail, _MISSING_CODE)
    return None


def _key(instance: Instance, key: str, way: str) -> Proof | None:
    sys_id = instance.vault.holder("token", key)
    row = instance.storage.get("api_key", sys_id) if sys_id else None
    if row is None or row.get("active") == "false":
        return None
    expires = str(row.get("expires") or "")
    if expires and expires <= instance.clock.now().strftime(STAMP):
        return None
    user = instance.storage.get("sys_user", str(row.get("user") or ""))
    return Proof(str(user.get("user_name") or ""), way) if user else None


# -- conditions ----------------------------------------------------------------------------------------------------


def _refuse_restricted(instance: Instance, user: User) -> None:
    """Raises Refused 401 for an account that the restriction of Basic shuts out."""
    if instance.property(f"{_RESTRICTION}active") != "true" or instance.property(f"{_RESTRICTION}enforce") != "true":
        return
    begins = instance.property(f"{_RESTRICTION}enforcement_date")
    if begins and instance.clock.now().strftime(STAMP) < begins:
        return
    named = instance.property("glide.authenticate.basic_auth.allowed_users").replace(" ", "").split(",")
    allowed = user.user_name in named or user.sys_id in named or "snc_basic_auth_api_access" in user.roles
    exempt = _flag(instance, user, "web_service_access_only") or _flag(instance, user, "enable_multifactor_authn")
    if not allowed and not exempt:
        raise errors.not_authenticated()


def _flag(instance: Instance, user: User, column: str) -> bool:
    row = instance.storage.get("sys_user", user.sys_id)
    return row is not None and row.get(column) == "true"
