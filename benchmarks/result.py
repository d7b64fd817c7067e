"""What a benchmark hands back, and how it is shown. A bar is met or MISSED; a ratio without a bar is information."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks of a benchmark. `left_out` are contestants that are not to run."""

    rows: int = 20_000
    rounds: int = 3
    left_out: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Measure:
    """One contestant: a figure per round, in `unit`, and its highest peak memory in MB."""

    name: str
    unit: str
    rounds: tuple[float, ...]
    peak_mb: float
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)


@dataclass(frozen=True, slots=True)
class Ratio:
    """One contestant against another: the median of the ratios within each round, so that a slow spell of the machine
    weighs on both. `bar` and `aim` are the least that is wanted, None where the ratio is only information.
    """

    name: str
    rounds: tuple[float, ...]
    bar: float | None = None
    aim: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def verdict(self) -> str:
        if self.bar is None:
            return ""
        return "ok" if self.median >= self.bar else "MISSED"


@dataclass(frozen=True, slots=True)
class Result:
    """`setup` says what was measured on what; `noise` what the machine did meanwhile."""

    name: str
    setup: tuple[str, ...]
    measures: tuple[Measure, ...]
    ratios: tuple[Ratio, ...]
    noise: str
    information: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


def ratio(name: str, ours: Measure, theirs: Measure, *, bar: float | None = None, aim: float | None = None) -> Ratio:
    pairs = zip(ours.rounds, theirs.rounds, strict=True)
    return Ratio(name, tuple(mine / other for mine, other in pairs), bar, aim)


def spread(values: Sequence[float]) -> str:
    """`min-max` with as many digits as matter."""
    digits = 0 if max(values) >= 100 else 2
    return f"{min(values):,.{digits}f}-{max(values):,.{digits}f}"


def as_json(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "setup": list(result.setup),
        "measures": [
            {
                "name": m.name,
                "unit": m.unit,
                "median": round(m.median, 2),
                "min": round(min(m.rounds), 2),
                "max": round(max(m.rounds), 2),
                "rounds": [round(value, 2) for value in m.rounds],
                "peak_mb": round(m.peak_mb, 1),
                "note": m.note,
            }
            for m in result.measures
        ],
        "ratios": [
            {
                "name": r.name,
                "median": round(r.median, 3),
                "min": round(min(r.rounds), 3),
                "max": round(max(r.rounds), 3),
                "bar": r.bar,
                "aim": r.aim,
                "verdict": r.verdict,
            }
            for r in result.ratios
        ],
        "noise": result.noise,
        "information": list(result.information),
        "facts": result.facts,
    }


def as_text(result: Result) -> str:
    lines = [f"== {result.name}", *(f"   {line}" for line in result.setup), ""]
    lines.append(f"   {'contestant':<26}{'median':>10}  {'min-max':<18}{'peak MB':>8}  note")
    for m in result.measures:
        digits = 0 if m.median >= 100 else 2
        figures = f"{m.median:>10,.{digits}f}  {spread(m.rounds):<18}{m.peak_mb:>8.0f}"
        lines.append(f"   {f'{m.name} ({m.unit})':<26}{figures}  {m.note}")
    lines.append("")
    for r in result.ratios:
        wanted = "" if r.bar is None else f"bar >= {r.bar:g}" + (f", aim {r.aim:g}" if r.aim else "")
        lines.append(f"   {r.name:<26}{r.median:>10.2f}  {spread(r.rounds):<18}{wanted:<24}{r.verdict}")
    lines += ["", f"   noise: {result.noise}", *(f"   {line}" for line in result.information)]
    return "\n".join(lines)
