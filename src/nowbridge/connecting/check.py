"""Can this account, from this machine, read everything that the replica needs?

Three kinds of trouble are told apart, because three different people mend them: credentials, roles, network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from nowbridge.connecting.presets import CHECKED, METADATA
from nowbridge.model.errors import NowbridgeError
from nowbridge.replica.spec import layout_of
from nowbridge.servicenow import identity
from nowbridge.servicenow.identity import Introduction
from nowbridge.servicenow.instance import Instance
from nowbridge.servicenow.rights import Probe, Right, probe
from nowbridge.store.rows.tables import TableRow

_COPIED = "Its rows are copied."
Cause = Literal["", "credentials", "roles", "network", "instance"]


@dataclass(frozen=True, slots=True)
class Look:
    """What one read of one table showed. `total` counts rows that the account may not see too."""

    table: str
    cause: Cause
    total: int | None
    answered: str
    hint: str
    code: str = ""

    @property
    def ok(self) -> bool:
        return not self.cause


@dataclass(frozen=True, slots=True)
class Report:
    """`introduction` is None when the sign-in failed; then nothing else was tried."""

    introduction: Introduction | None
    sign_in: Look
    looks: tuple[Look, ...] = ()
    rights: tuple[Right, ...] = ()

    @property
    def ok(self) -> bool:
        return self.sign_in.ok and all(look.ok for look in self.looks)

    @property
    def missing(self) -> list[Right]:
        """What an administrator can grant: refusals for want of rights, not those of network or instance."""
        return [right for right in self.rights if not right.ok and cause_of(right.code or "rights.") == "roles"]


def wanted_of(replicated: Sequence[TableRow], preset: str | None) -> dict[str, tuple[str, ...]]:
    """Which columns of which tables: what is replicated, else the preset, else itsm."""
    if replicated and not preset:
        return {row.source: layout_of(row).fetched for row in replicated}
    return {spec.partition("=")[0]: () for spec in CHECKED[preset or "itsm"]}


async def examine(
    instance: Instance, user_name: str | None, wanted: Mapping[str, tuple[str, ...]], now: Callable[[], datetime]
) -> Report:
    """Sign in, compare clocks, try every right. What goes wrong is in the report; nothing is raised for it."""
    try:
        introduction = await identity.introduce(instance, user_name=user_name, now=now)
    except NowbridgeError as error:
        return Report(None, failed(error))
    probes = {
        table: await probe(instance, table, wanted.get(table, ()), METADATA.get(table, _COPIED))
        for table in dict.fromkeys([*METADATA, *wanted])
    }
    looks = tuple(_look(table, found) for table, found in probes.items())
    rights = tuple(right for found in probes.values() for right in found.rights)
    return Report(introduction, Look("", "", None, "signed in", ""), looks, rights)


def failed(error: NowbridgeError) -> Look:
    """A sign-in that failed."""
    return Look("", cause_of(error.code), None, error.answered, error.hint, error.code)


def cause_of(code: str) -> Cause:
    """Who can mend it: credentials, roles, network, or the instance and its settings."""
    match code.partition(".")[0], code:
        case "auth", _:
            return "credentials" if code != "auth.unavailable" else "instance"
        case ("rights", _) | (_, "query.rights" | "user.unknown"):
            return "roles"
        case "network", _:
            return "network"
    return "instance"


def introduction_lines(introduction: Introduction) -> list[tuple[str, str]]:
    """What is known of account and instance, for people."""
    skew = introduction.skew.total_seconds()
    return [
        ("signed in as", f"{introduction.user.user_name} ({introduction.user.name})"),
        ("release", introduction.release or "not readable for this account"),
        ("time zone", introduction.time_zone or "not readable for this account"),
        ("clock", f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this machine's"),
    ]


def _look(table: str, found: Probe) -> Look:
    """The first right that the table cannot do without and the account lacks."""
    lacking = next((right for right in found.rights if not right.ok and right.required), None)
    if lacking is None:
        return Look(table, "", found.total, "readable", "")
    cause = cause_of(lacking.code) if lacking.code else "roles"
    answered = f"{lacking.column}: {lacking.answered}" if lacking.column else lacking.answered
    return Look(table, cause, found.total, answered, lacking.fix, lacking.code)
