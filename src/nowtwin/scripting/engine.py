"""Runs one script at a time per thread, nested ones inside, and files in syslog what went wrong.

Nesting has an end, and a script does not run again for a record on which it is already at work, so that rules which
call each other come to rest.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from nowtwin.accounts.users import User
from nowtwin.scripting.host_records import Queries
from nowtwin.scripting.host_system import Line, log
from nowtwin.scripting.outbound import Outbound
from nowtwin.scripting.platform import Platform
from nowtwin.scripting.process import Stopped, Workers
from nowtwin.scripting.scope import Running, Scope
from nowtwin.scripting.session import Frame, Outcome, Revisions, Session, calls_of

_SOURCE = "Evaluator"


class Engine:
    def __init__(self, platform: Platform, queries: Queries) -> None:
        self._platform = platform
        self._calls = calls_of(queries)
        self._workers = Workers()
        self._outbound = Outbound(platform.storage.lock)
        self._local = threading.local()
        self._includes: tuple[int, dict[str, str]] = (-1, {})

    def close(self) -> None:
        """End every process and every wait for the outside."""
        self._workers.close()
        self._outbound.close()

    @contextmanager
    def scope(self, user: User) -> Iterator[Scope]:
        """The scope of what runs in this thread: that of the script that is going on, else a new one."""
        with self._session(user) as session:
            yield session.scope

    def run(self, frame: Frame, running: Running, user: User) -> Outcome | None:
        """What the script came to; None where it did not run, or not to its end."""
        with self._session(user) as session:
            scope = session.scope
            if any(one.sys_id == running.sys_id and one.record == running.record for one in scope.running):
                return None
            if len(scope.running) >= self._platform.switches.script_depth:
                self._complain(scope, running, "Maximum depth of nested scripts reached", 0)
                return None
            if not scope.running:
                scope.ends = monotonic() + self._platform.switches.script_seconds
            scope.running.append(running)
            try:
                outcome = session.run(frame, self._revisions())
            except Stopped as stopped:
                self._complain(scope, running, str(stopped), 0)
                return None
            finally:
                scope.running.pop()
            if outcome.error:
                self._complain(scope, running, outcome.error.message, outcome.error.line)
            return outcome

    def knows_name_in(self, script: str) -> bool:
        """Whether the script names a script include."""
        return any(api.rpartition(".")[2] in script for api in self._script_includes())

    @contextmanager
    def _session(self, user: User) -> Iterator[Session]:
        known: Session | None = getattr(self._local, "session", None)
        if known is not None:
            yield known
            return
        scope = Scope(self._platform, user, self._outbound, self._script_includes(), monotonic())
        session = Session(scope, self._workers, self._calls)
        self._local.session = session
        try:
            yield session
        finally:
            self._local.session = None
            session.close()

    def _revisions(self) -> Revisions:
        return Revisions(self._platform.dictionary.revision, self._includes[0])

    def _script_includes(self) -> dict[str, str]:
        """Source of each active script include by API name, read again when the table was written."""
        storage = self._platform.storage
        version = storage.versions.get("sys_script_include", 0)
        if self._includes[0] != version:
            with storage.lock:
                storage.ensure("sys_script_include", ("active", "name", "api_name", "script"))
                rows = storage.rows(
                    "SELECT ifnull(api_name, 'global.' || name), script FROM sys_script_include "
                    "WHERE active = 'true' AND name IS NOT NULL AND script IS NOT NULL",
                )
                self._includes = (version, {str(api): str(script) for api, script in rows if "." in str(api)})
        return self._includes[1]

    def _complain(self, scope: Scope, running: Running, message: str, line: int) -> None:
        """An error of a script as the system log shows it."""
        place = f"{running.table}.{running.sys_id}.script" if running.sys_id else running.name
        text = f"{message}\n   Caused by error in {place}" + (f" at line {line}" if line else "")
        with self._platform.storage.lock:
            log(scope, Line("2", f"{text} ({running.name})", _SOURCE))
