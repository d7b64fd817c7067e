"""The Application Registry (servicenow-api.md 7.1): rows of oauth_entity and of its class oauth_jwt as OAuth clients.

Rows may be made through any API; the client secret is in the vault. What a row leaves open has the platform's default:
access tokens last 1800 s, refresh tokens 8,640,000 s.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from nowtwin.accounts.users import ACCESS_LIFETIME, REFRESH_LIFETIME, Client
from nowtwin.accounts.vault import Vault
from nowtwin.storage.rows import Storage
from nowtwin.values import number_of

_OPEN: Final = frozenset({"", "default", "multiple", "uncertain", "internal"})
_GRANTS: Final[Mapping[str, str]] = {
    "authorization_code": "authz_code",
    "client_credentials": "client_credential",
    "password": "ropc",
    "urn:ietf:params:oauth:grant-type:jwt-bearer": "jwt",
}
"""Grant type of a request to the stored value of `oauth_entity.inbound_grant_type`."""


@dataclass(frozen=True, slots=True)
class Application:
    """One entry of the registry."""

    sys_id: str
    client: Client
    secret: str
    public: bool
    """Cannot keep a secret: shows none, must use PKCE."""
    redirects: frozenset[str]
    inbound_grant: str
    columns: Mapping[str, str]

    def allows(self, grant_type: str) -> bool:
        """Whether the entry is for this grant; a refresh belongs to every grant that gives refresh tokens."""
        if grant_type == "refresh_token":
            return not self.public
        return self.inbound_grant in _OPEN or self.inbound_grant == _GRANTS.get(grant_type)

    def proves(self, secret: str) -> bool:
        return bool(self.secret) and hmac.compare_digest(self.secret.encode(), secret.encode())


class Registry:
    def __init__(self, storage: Storage, vault: Vault) -> None:
        self._storage = storage
        self._vault = vault
        storage.ensure("oauth_entity", ("client_id",))

    def find(self, client_id: str) -> Application | None:
        """The active entry with that client id."""
        rows = self._storage.rows("SELECT sys_id FROM oauth_entity WHERE client_id = ?", (client_id,))
        row = self._storage.get("oauth_entity", str(rows[0][0])) if client_id and rows else None
        if row is None:
            return None
        columns = {name: str(value) for name, value in row.items()}
        if columns.get("active") == "false" or columns.get("type") not in {None, "client"}:
            return None
        return Application(
            sys_id=columns["sys_id"],
            client=Client(
                client_id,
                _seconds(columns.get("access_token_lifespan"), ACCESS_LIFETIME),
                _seconds(columns.get("refresh_token_lifespan"), REFRESH_LIFETIME),
                user_name=self._user_name(columns.get("user")),
            ),
            secret=self._vault.reveal(columns["sys_id"], "client_secret"),
            public=columns.get("public_client") == "true",
            redirects=frozenset(url.strip() for url in columns.get("redirect_url", "").split(",") if url.strip()),
            inbound_grant=columns.get("inbound_grant_type", ""),
            columns=columns,
        )

    def _user_name(self, sys_id: str | None) -> str:
        row = self._storage.get("sys_user", sys_id) if sys_id else None
        return str(row.get("user_name") or "") if row else ""


def _seconds(text: str | None, usual: timedelta) -> timedelta:
    number = number_of(text or "")
    return usual if number is None or number <= 0 else timedelta(seconds=min(int(number), 10**9))
