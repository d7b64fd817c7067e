"""Secrets of records: what is written to columns of type `password` and `password2`. It lives here and in no table; the
row holds a mark, so that reads show that something is set.

Such columns are taken only with `sysparm_input_display_value=true` (D:c_TableAPI.md, "encrypted columns"), unless a
switch says otherwise. Keys and client secrets that a new record leaves out are made up, as the platform's forms do.
"""

import hmac
from collections.abc import Iterable, Mapping
from random import Random
from typing import Final

from nowtwin.accounts.users import Accounts
from nowtwin.keeping import Kept

MARK: Final = "set"
"""What the row holds in place of a secret."""
_MADE_UP: Final[Mapping[str, tuple[str, str]]] = {
    "oauth_entity": ("client_secret", ""),
    "api_key": ("token", "now_"),
}


class Vault(Kept):
    not_kept = frozenset({"_accounts"})

    def __init__(self, accounts: Accounts, random: Random) -> None:
        self._accounts = accounts
        self._random = random
        self._secrets: dict[tuple[str, str], str] = {}

    def complete(self, lineage: Iterable[str], values: dict[str, str], secrets: dict[str, str]) -> None:
        """What a new record lacks: the client id and secret of an OAuth application, the token of an API key."""
        for table in lineage:
            element, prefix = _MADE_UP.get(table, ("", ""))
            if element and not secrets.get(element) and values.get("public_client") != "true":
                secrets[element] = prefix + self._random.randbytes(32).hex()
            if table == "oauth_entity" and not values.get("client_id"):
                values["client_id"] = self._random.randbytes(16).hex()

    def marks(self, secrets: Mapping[str, str]) -> dict[str, str]:
        return {element: MARK if text else "" for element, text in secrets.items()}

    def keep(self, table: str, values: Mapping[str, str], secrets: Mapping[str, str]) -> None:
        """The record is stored: its secrets count from now on."""
        for element, text in secrets.items():
            self.put(values["sys_id"], element, text)
        if table == "sys_user" and secrets.get("user_password") and values.get("user_name"):
            name = values["user_name"]
            self._accounts.set_password(name, secrets["user_password"], self._accounts.roles(name))

    def put(self, sys_id: str, element: str, text: str) -> None:
        self._secrets[sys_id, element] = text

    def reveal(self, sys_id: str, element: str) -> str:
        """The secret in clear, as the form's lock icon shows it; empty where there is none."""
        return self._secrets.get((sys_id, element), "")

    def holder(self, element: str, text: str) -> str | None:
        """The record whose column holds this secret."""
        given = text.encode()
        found = [
            i for (i, e), s in self._secrets.items() if e == element and s and hmac.compare_digest(s.encode(), given)
        ]
        return found[0] if found else None
