"""One execution of scripts: whose name it runs in, what it has open, and how long it may go on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic

from nowtwin.accounts.users import User
from nowtwin.scripting.outbound import Outbound, Sent
from nowtwin.scripting.platform import Platform


@dataclass(slots=True)
class Cursor:
    """Rows that a GlideRecord found, to be fetched as the script goes through them."""

    table: str
    sys_ids: Sequence[str]
    secure: bool
    rows: Sequence[Mapping[str, str]] | None = None
    """The rows themselves where the table is a database view, whose rows cannot be looked up one by one."""


@dataclass(slots=True)
class Running:
    """A rule or other script that is going on; they nest when a script writes."""

    name: str
    sys_id: str
    record: str
    table: str = "sys_script"
    """Where the script stands; empty for one without a record of its own."""


@dataclass(slots=True)
class Scope:
    platform: Platform
    user: User
    outbound: Outbound
    includes: Mapping[str, str]
    """Script includes: source by API name (`global.Name` or `x_scope.Name`)."""
    ends: float
    """On the monotonic clock; waiting for the outside moves it."""
    cursors: list[Cursor] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    running: list[Running] = field(default_factory=list)
    querying: set[str] = field(default_factory=set)
    """Tables whose query rules are running: their own queries run none."""

    def waited(self, since: float) -> None:
        """The time since then was not the script's."""
        self.ends += monotonic() - since
