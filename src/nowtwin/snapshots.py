"""Snapshots of an instance: rows, schema, accounts with their sessions and tokens, secrets, switches, hide rules.

The clock, faults, limits and journals of calls and writes stay as they are, and so do URL and ports; scripts that wait to
run are no part of a snapshot and are dropped by a restore. A snapshot lives as long as its instance, also over a reset.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Protocol

from nowtwin.access.hiding import Access, HideRule
from nowtwin.accounts.jwt_bearer import Verifier
from nowtwin.accounts.users import Accounts
from nowtwin.accounts.vault import Vault
from nowtwin.behaviour.switches import Switches
from nowtwin.records.pipeline import Records
from nowtwin.schema.dictionary import Dictionary
from nowtwin.scripting.scripts import Scripts
from nowtwin.storage.rows import Storage


class Host(Protocol):
    """The instance, as far as snapshots need it."""

    storage: Storage
    dictionary: Dictionary
    accounts: Accounts
    vault: Vault
    access: Access
    switches: Switches
    random: Random
    records: Records
    scripts: Scripts
    verifier: Verifier


@dataclass(frozen=True, slots=True)
class Snapshot:
    rows: Path
    dictionary: Dictionary
    accounts: Mapping[str, Any]
    vault: Mapping[str, Any]
    hidden: tuple[HideRule, ...]
    switches: Switches
    random: tuple[Any, ...]


class Snapshots:
    def __init__(self, host: Host, folder: Path) -> None:
        self._host = host
        self._folder = folder
        self._made: dict[str, Snapshot] = {}
        self._taken = 0

    def take(self) -> str:
        """Copy everything; returns the id to restore it by."""
        host, name = self._host, str(self._taken + 1)
        with host.storage.lock:
            self._taken += 1
            rows = self._folder / f"snapshot-{name}.sqlite"
            host.storage.save(rows)
            self._made[name] = Snapshot(
                rows=rows,
                dictionary=host.dictionary.copy(),
                accounts=host.accounts.saved(),
                vault=host.vault.saved(),
                hidden=tuple(host.access.rules),
                switches=host.switches,
                random=host.random.getstate(),
            )
        return name

    def restore(self, name: str) -> None:
        """Back to how it was. Raises ValueError for an id that was not given out."""
        kept = self._made.get(name)
        if kept is None:
            raise ValueError(f"there is no snapshot {name}")
        host = self._host
        with host.storage.lock:
            host.scripts.jobs.clear()
            host.storage.restore(kept.rows)
            host.dictionary.become(kept.dictionary)
            host.accounts.put_back(kept.accounts)
            host.vault.put_back(kept.vault)
            host.access.rules = list(kept.hidden)
            host.switches = kept.switches
            host.random.setstate(kept.random)
            host.records.numbering.forget()
            host.verifier.forget()

    def drop(self, name: str) -> None:
        """Forget a snapshot."""
        self._made.pop(name).rows.unlink(missing_ok=True)

    def close(self) -> None:
        for kept in self._made.values():
            kept.rows.unlink(missing_ok=True)
        self._made.clear()
