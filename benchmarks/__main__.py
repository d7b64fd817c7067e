"""The command line of the benchmarks: `./scripts/bench [NAME ...]`. A missed bar is printed, not an error: exit 0."""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module

from benchmarks.result import Options, as_json, as_text

NAMES = (
    "backfill",
    "freshness",
    "load_calls",
    "memory",
    "nowtwin_speed",
    "rename",
    "sql_reads",
    "sql_writes",
    "verify_calls",
    "workers",
)
BENCHMARKS = {module.NAME: module for module in (import_module(f"benchmarks.{name}") for name in NAMES)}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./scripts/bench", description=sys.modules["benchmarks"].__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(BENCHMARKS)}; all if none")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--rows", type=_positive, default=Options().rows, help="rows of the table (%(default)s)")
    parser.add_argument("--rounds", type=_positive, default=Options().rounds, help="alternating rounds (%(default)s)")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="CONTESTANT",
        help="leave one out: its name or the first word of it",
    )
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if name not in BENCHMARKS]:
        parser.error(f"no such benchmark: {', '.join(unknown)} (there is: {', '.join(BENCHMARKS)})")
    options = Options(given.rows, given.rounds, frozenset(given.without))
    results = []
    for name in given.names or BENCHMARKS:
        result = BENCHMARKS[name].run(options)
        results.append(as_json(result))
        if not given.json:
            print(as_text(result), flush=True)
    if given.json:
        print(json.dumps(results, indent=2))
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("a number from 1 on is wanted")
    return number


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
