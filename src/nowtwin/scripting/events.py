"""Script actions: rows of sysevent_script_action that run, as system, when an event of their name is raised.

An event without script actions, or for later, stays in state ready; no notification is sent.
"""

from collections.abc import Mapping, Sequence

from nowtwin.records.pipeline import texts_of
from nowtwin.scripting.engine import Engine
from nowtwin.scripting.jobs import Jobs
from nowtwin.scripting.platform import Platform
from nowtwin.scripting.scope import Running
from nowtwin.scripting.session import Frame

TABLE = "sysevent_script_action"
Row = Mapping[str, str]


class Events:
    def __init__(self, platform: Platform, engine: Engine, jobs: Jobs) -> None:
        self._platform = platform
        self._engine = engine
        self._jobs = jobs

    def raised(self, event: Row) -> None:
        """Queue the script actions of an event that is stored, if its time has come."""
        actions = self._actions(event["name"])
        if actions and event["process_on"] <= self._platform.clock.stamp():
            self._jobs.queue(lambda: self._run(event, actions), 0.0, line=TABLE)

    def _actions(self, name: str) -> Sequence[Row]:
        storage, root = self._platform.storage, self._platform.dictionary.root(TABLE)
        storage.ensure(root, ("active", "event_name", "order"))
        sql = f"SELECT sys_id FROM {root} WHERE sys_class_name = ? AND event_name = ? AND active = 'true' "  # noqa: S608 - a fixed name
        ids = storage.rows(sql + 'ORDER BY CAST("order" AS REAL), sys_id', (TABLE, name))
        return [texts_of(row) for (sys_id,) in ids if (row := storage.get(root, str(sys_id)))]

    def _run(self, event: Row, actions: Sequence[Row]) -> None:
        platform = self._platform
        for action in actions:
            with platform.storage.lock:
                known = event.get("table", "") in platform.dictionary.tables
                record = platform.records.read(event["table"], event.get("instance", "")) if known else None
            frame = Frame(
                key=f"event {action['sys_id']}:{hash(action.get('script', ''))}",
                script=action.get("script", ""),
                condition=action.get("condition_script", "").strip(),
                table=record.table if record else "",
                values=record.values if record else {},
                event=event,
            )
            running = Running(action.get("name", ""), action["sys_id"], event["sys_id"], TABLE)
            raised_by = event.get("user_name", "system")
            user = platform.acting("system" if platform.switches.script_actions_as_system else raised_by)
            self._engine.run(frame, running, user)
        with platform.storage.lock:
            stamp = platform.clock.stamp()
            platform.storage.update("sysevent", event["sys_id"], {"state": "processed", "processed": stamp})
