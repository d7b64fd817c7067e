"""Scripted REST APIs at work (D:api-reference/rest-api-explorer, "Scripted REST APIs"): the script of a resource answers
a call, with the rights of the system and in the session of the caller.
"""

from nowtwin.accounts.users import User
from nowtwin.scripting.engine import Engine
from nowtwin.scripting.scope import Running
from nowtwin.scripting.session import Answered, Called, Frame, Outcome


class Endpoints:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def run(self, name: str, sys_id: str, script: str, called: Called, user: User) -> Answered | str:
        """What the script answers, or why it did not come to an answer; that is in the log too."""
        frame = Frame(key=f"rest {sys_id}:{hash(script)}", script=script, expression=True, request=called)
        outcome = self._engine.run(frame, Running(name, sys_id, "", "sys_ws_operation"), user)
        return _answer(outcome)


def _answer(outcome: Outcome | None) -> Answered | str:
    if outcome is None:
        return "The script was stopped"
    if outcome.answer is None:
        return outcome.error.message if outcome.error else ""
    return outcome.answer
