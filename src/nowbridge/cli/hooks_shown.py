"""What `nowbridge hooks` prints: what was done, and how the hints of each table stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from nowbridge import wiring
from nowbridge.cli import screen

if TYPE_CHECKING:
    from nowbridge.servicenow.hook_rule import Rule
    from nowbridge.servicenow.hooks import Done
    from nowbridge.store.instances.hooks import HookTable
    from nowbridge.store.work.loss import Loss


@dataclass(frozen=True, slots=True)
class Line:
    """One table as `hooks status` shows it. `rule` is what stands in the instance, None when that could not be seen."""

    table: str
    covered_by: str | None
    rule: Rule | None
    installed: HookTable | None
    loss: Loss | None
    seen: bool


def show_done(done: Sequence[Done], *, as_json: bool) -> None:
    if as_json:
        screen.print_json({"done": [{"what": one.what, "done": one.done} for one in done]})
        return
    for one in done:
        screen.output().print(f"{one.what:45} {one.done}", markup=False)
    if any(one.done.startswith("kept: ") for one in done):
        screen.say("What somebody has edited was left alone; --force puts it back.", "yellow")


def show_status(lines: Sequence[Line], *, as_json: bool) -> None:
    now = wiring.now()
    if as_json:
        screen.print_json({"tables": [_as_json(line, now) for line in lines]})
        return
    shown = screen.columns("table", "told by", "rule", "version", "last hint", "changes/day", "lost", "hints")
    for line in lines:
        loss, last = line.loss, line.loss.last_hint_at if line.loss else None
        shown.add_row(
            line.table,
            line.covered_by or "-",
            _rule_state(line),
            str(line.rule.version if line.rule else line.installed.version if line.installed else "-"),
            f"{screen.ago(now - last)} ago" if last else "-",
            screen.count(loss.changes if loss else None),
            f"{loss.lost:,} ({loss.share:.1%})" if loss else "-",
            loss.state(now) if loss else "-",
        )
    screen.output().print(shown)


def _rule_state(line: Line) -> str:
    """What stands in the instance; where that could not be seen, what was installed."""
    if line.seen:
        return line.rule.state.value if line.rule is not None else "missing"
    return "installed" if line.installed is not None else "missing"


def _as_json(line: Line, now: datetime) -> dict[str, object]:
    loss = line.loss
    return {
        "table": line.table,
        "told_by": line.covered_by,
        "rule": _rule_state(line),
        "seen": line.seen,
        "active": line.rule.values["active"] == "true" if line.rule is not None else None,
        "version": line.rule.version if line.rule else line.installed.version if line.installed else None,
        "last_hint_at": loss.last_hint_at if loss else None,
        "changes": loss.changes if loss else None,
        "lost": loss.lost if loss else None,
        "hints": loss.state(now) if loss else None,
    }
