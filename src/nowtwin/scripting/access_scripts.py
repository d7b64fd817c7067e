"""Scripts of access rules (D:platform-security/access-control, "Advanced"): `answer`, or what the last statement came to.

They run with the rights of the system and see the record as `current`. What they set on it is not stored. A script that
fails, or is stopped, denies; one that was stopped is not tried on the other records of a page.
"""

from collections.abc import Mapping, Sequence
from json import dumps

from nowtwin.access.acl import Scripted
from nowtwin.accounts.users import User
from nowtwin.query.dates import Moment
from nowtwin.scripting.engine import Engine
from nowtwin.scripting.platform import Platform
from nowtwin.scripting.scope import Running
from nowtwin.scripting.session import Frame

_ANSWER = "var answer; var $last = eval({source}); return String(answer === undefined ? $last : answer);"


class AccessScripts:
    def __init__(self, platform: Platform, engine: Engine) -> None:
        self._platform = platform
        self._engine = engine

    def passes(self, script: Scripted, table: str, values: Mapping[str, str], user: User) -> bool:
        """Whether the script grants a record of this class, stored (with a sys_id) or new."""
        return self._answer(script, table, values, user) is True

    def passing(self, script: Scripted, table: str, sys_ids: Sequence[str], moment: Moment) -> Sequence[str]:
        """Those of the records of a table that the script grants to whom the moment names."""
        user = self._platform.user(moment.user_name)
        if user is None:
            return ()
        passed = []
        with self._engine.scope(user):
            for sys_id in sys_ids:
                record = self._platform.records.read(table, sys_id)
                answer = self._answer(script, record.table, record.values, user) if record else False
                if answer is None:
                    break
                if answer:
                    passed.append(sys_id)
        return passed

    def _answer(self, script: Scripted, table: str, values: Mapping[str, str], user: User) -> bool | None:
        """None where the script was stopped."""
        sys_id = values.get("sys_id", "")
        frame = Frame(
            key=f"acl {script.sys_id}:{hash(script.script)}",
            script=_ANSWER.format(source=dumps(script.script)),
            table=table,
            operation="" if sys_id else "insert",
            when="before",
            values=values,
            previous=values if sys_id else None,
        )
        running = Running(f"ACL {script.name}", script.sys_id, sys_id, "sys_security_acl")
        outcome = self._engine.run(frame, running, user)
        return None if outcome is None else outcome.error is None and outcome.value == "true"
