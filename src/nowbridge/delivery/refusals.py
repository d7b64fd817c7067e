"""Why a step was not carried out, in the words and with the SQLSTATE that a SQL client is given. Pure. docs/errors.md lists
the SQLSTATEs; DETAIL holds ServiceNow's own words.
"""

from __future__ import annotations

from nowbridge.delivery import compare
from nowbridge.delivery.compare import Difference, Record
from nowbridge.model.errors import NowbridgeError, Park, Stop
from nowbridge.model.plan import Operation, Refusal, Step

SHOWN = 80  # characters of a value
NO_ANSWER = "[ServiceNow] The instance gave no answer to a write."


def refusal_of(error: NowbridgeError) -> Refusal:
    """What a SQL client is told of an error of the instance. The SQLSTATEs are listed in docs/errors.md."""
    said = error.answered
    state = "08006"
    if "Data Policy Exception" in said and "mandatory" in said:
        state = "23502"
    elif "aborted by Business Rule" in said or "Data Policy" in said:
        state = "23514"
    elif "Unique Key violation" in said:
        state = "23505"
    elif error.code == "record.missing":
        state = "40001"
    elif error.code.startswith(("rights.", "record.")):
        state = "42501"
    elif error.code.startswith(("auth.", "login.")):
        state = "28000"
    return Refusal(state, f"[ServiceNow] {_first_words(error)}", said, error.hint)


def _first_words(error: NowbridgeError) -> str:
    what = error.asked[:1].upper() + error.asked[1:]
    return f"{what}: refused." if isinstance(error, (Park, Stop)) else f"{what}: not possible now."


def stale(step: Step, record: Record | None) -> Refusal | None:
    if record is None:
        return Refusal(
            "40001",
            f"[ServiceNow] A record of {step.table} is not there any more.",
            f"sys_id {step.sys_id}",
            "Nothing was sent. Read again and decide again.",
        )
    unseen = [name for name, _ in step.fields if name not in record and name in step.before]
    if unseen:
        return Refusal(
            "42501",
            f"[ServiceNow] The account may not read `{unseen[0]}`, so it cannot be written safely.",
            f"{step.table} {step.sys_id}. Nothing was sent.",
            "Leave the column out, or let the account read it.",
        )
    moved = compare.moved(step, record) if step.operation is Operation.UPDATE else _moved_version(step, record)
    if not moved:
        return None
    return Refusal(
        "40001",
        f"[ServiceNow] `{moved[0]}` was changed in ServiceNow meanwhile.",
        f"sys_id {step.sys_id}",
        "Nothing was sent. Read again and decide again.",
    )


def nothing_found(step: Step, moved: Refusal) -> Refusal:
    """A write without an answer, of which nothing is to be seen, and that must not be sent again."""
    seen = f"{step.table} {step.sys_id}: no answer came to this write, and the record shows nothing of it."
    return Refusal(moved.sqlstate, moved.message, seen, "Read again and decide again.")


def _moved_version(step: Step, record: Record) -> tuple[str, ...]:
    held = step.before.get("sys_mod_count")
    return ("sys_mod_count",) if held and record.get("sys_mod_count", held) != held else ()


def other_sys_id(step: Step, got: str) -> Refusal:
    return Refusal(
        "42501",
        "[ServiceNow] `sys_id` was not taken: ServiceNow gave the record another one.",
        f"{step.table}: sent {step.sys_id}, it is {got}",
        "A rule of the instance sets it. Create records of this table there.",
    )


def dropped(step: Step, lost: Difference) -> Refusal:
    return Refusal(
        "42501",
        f"[ServiceNow] `{lost.field}` was not changed: ServiceNow ignored the value.",
        f"{step.table} {step.sys_id}: sent {_short(lost.sent)}, it is {_short(lost.got)}",
        "The account may lack the right to write this column, or it is set by a rule.",
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")
