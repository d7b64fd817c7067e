"""Scripts of calculated columns (`sys_dictionary.virtual` and `calculation`, servicenow-api.md 3.1): they see the record as
`current`, and what they come to is the value. It is stored when the record is saved, and stale from then on.

A script that fails, or is stopped, leaves the value as it was. What it sets on `current` is not stored.
"""

from collections.abc import Mapping, Sequence

from nowtwin.accounts.users import User
from nowtwin.query.dates import Moment
from nowtwin.records.accept import Acceptance
from nowtwin.records.write_rules import Pending
from nowtwin.schema.dictionary import Column
from nowtwin.scripting.engine import Engine
from nowtwin.scripting.host_records import script_switches
from nowtwin.scripting.platform import Platform
from nowtwin.scripting.scope import Running
from nowtwin.scripting.session import Frame


class Calculations:
    def __init__(self, platform: Platform, engine: Engine) -> None:
        self._platform = platform
        self._engine = engine

    def fill(self, pending: Pending) -> None:
        """Calculate the columns of a record that is about to be saved; an update that changes nothing is not saved."""
        if pending.operation == "update" and pending.values == pending.before and not pending.journals:
            return
        for column in self._platform.dictionary.derived_columns(pending.table):
            if not column.calculation:
                continue
            text = self._text(column, pending.table, pending.values, pending.user)
            if text is not None:
                pending.values[column.element] = text

    def texts(self, column: Column, table: str, sys_ids: Sequence[str], moment: Moment) -> Mapping[str, str]:
        """The value of each record of a table as it would be saved now; what cannot be calculated is as stored."""
        user = self._platform.acting(moment.user_name)
        found: dict[str, str] = {}
        with self._engine.scope(user):
            for sys_id in dict.fromkeys(sys_ids):
                record = self._platform.records.read(table, sys_id)
                if record is None:
                    continue
                text = self._text(column, record.table, record.values, user)
                found[sys_id] = record.values.get(column.element, "") if text is None else text
        return found

    def _text(self, column: Column, table: str, values: Mapping[str, str], user: User) -> str | None:
        platform = self._platform
        name = f"calculated value of {column.table}.{column.element}"
        frame = Frame(
            key=f"{name}:{hash(column.calculation)}",
            script=column.calculation or "",
            expression=True,
            table=table,
            operation="update",
            when="before",
            values=values,
            previous=values,
        )
        outcome = self._engine.run(frame, Running(name, column.element, values.get("sys_id", "")), user)
        if outcome is None or outcome.error:
            return None
        acceptance = Acceptance(platform.dictionary, platform.storage, script_switches(platform.switches), user)
        return acceptance.in_form(column, outcome.value) if outcome.value else ""
