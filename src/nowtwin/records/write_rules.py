"""Where rules written as records meet the write pipeline: a write on its way, and the interface that such rules have.

The pipeline knows nothing of scripts. It asks `watches` once per write and pays for no more where nothing watches.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from nowtwin.accounts.users import User

Operation = Literal["insert", "update", "delete"]


@dataclass(frozen=True, slots=True)
class Manner:
    """How a script asked for a write (servicenow-api.md 8.1). Requests write in the default manner."""

    workflow: bool = True
    """False (`setWorkflow(false)`): no business rules, no engines, no history."""
    auto_sys_fields: bool = True
    """False (`autoSysFields(false)`): stamps, their users and the update count stay, unless the write sets them."""
    force: bool = False
    """True (`setForceUpdate(true)`): an update without changes is written too."""
    filed: bool | None = None
    """Whether a deletion leaves its entry in sys_audit_delete; None: as for any write of this manner. With False nothing at
    all tells of it, as with the table cleaner.
    """


@dataclass(slots=True)
class Pending:
    """A write between the request and the database; rules may change what is marked so."""

    operation: Operation
    table: str
    sys_id: str
    before: Mapping[str, str]
    """The stored columns; empty for an insert."""
    values: dict[str, str]
    """Changeable: the columns as they will be stored."""
    journals: dict[str, str]
    """Changeable: the journal entries to file, by element."""
    user: User
    workflow: bool = True
    """Changeable: whether further rules run."""
    auto_sys_fields: bool = True
    """Changeable."""
    explicit: dict[str, str] = field(default_factory=dict)
    """Changeable: system columns that a script set; used only without `auto_sys_fields`."""


class WriteRules(Protocol):
    def watches(self, table: str) -> bool:
        """Whether any rule may run on writes to records of exactly this class."""

    def before(self, pending: Pending, *, engines_ran: bool) -> None:
        """Run the rules that come before the platform's engines, or those that come after them and before the
        database. Raises Refused 403 when one aborts the write.
        """

    def after(self, pending: Pending) -> None:
        """Run or queue the rules that come after the database."""

    def calculate(self, pending: Pending) -> None:
        """Give the calculated columns of the record their values, after all that changes it."""

    def default_value(self, script: str, table: str, values: Mapping[str, str], user: User) -> str:
        """The value of a column's `javascript:` default; empty where it has none."""


class BuiltInRules(Protocol):
    """What the platform does by itself to other records when one is written."""

    def watches(self, pending: Pending) -> bool:
        """Whether any of them looks at this write."""

    def before(self, pending: Pending) -> None:
        """Complete the record on its way. Raises Refused 403 where a rule forbids the write."""

    def after(self, pending: Pending) -> None:
        """The write is in the database; `pending.values` are the stored columns."""


class WriteCheck(Protocol):
    """What forbids writes by the record as it would become, after all rules have run."""

    def require(self, pending: Pending) -> None:
        """Raises Refused 403."""
