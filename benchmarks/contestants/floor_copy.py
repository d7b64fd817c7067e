"""The floor: what no loader in Python goes below. Pages that are in memory already, decoded into typed structs, and one
COPY of the 90 columns into a table without key or index. No HTTP, labels, cursor, or second process.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from benchmarks import recording
from benchmarks.contest import Outcome, Task, enter
from benchmarks.incidents import plain_definitions

PAGE = 2_000
SEPARATOR = "\x1f"
ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", SEPARATOR: "\\x1f"})


def load(task: Task) -> Outcome:
    recorded = recording.read(Path(task.recording))
    pages = [recorded.page(first, first + PAGE) for first in range(0, len(recorded.rows), PAGE)]
    row = msgspec.defstruct("Row", [(field, str) for field in task.fields], gc=False)
    page = msgspec.defstruct("Answer", [("result", list[row])])  # type: ignore[valid-type]
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(page)
    with psycopg.connect(task.dsn) as connection:
        connection.execute(f"CREATE TABLE {task.table} ({plain_definitions(task.fields)})")
        connection.commit()
        statement = f"COPY {task.table} FROM STDIN (FORMAT text, DELIMITER E'\\x1f', NULL '')"
        begun = time.perf_counter()
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            for body in pages:
                copy.write(_lines(decoder.decode(body).result))
        connection.commit()
        seconds = time.perf_counter() - begun
        found = connection.execute(f"SELECT count(*) FROM {task.table}").fetchone()
    return Outcome(seconds, found[0] if found else 0, "decode and one COPY, no HTTP, no key, no labels")


def _lines(rows: list[Any]) -> bytes:
    lines = []
    for values in map(msgspec.structs.astuple, rows):
        line = SEPARATOR.join(values)
        if "\n" in line or "\\" in line or "\r" in line:
            line = SEPARATOR.join([value.translate(ESCAPES) for value in values])
        lines.append(line)
    lines.append("")
    return "\n".join(lines).encode()


if __name__ == "__main__":
    enter(load)
