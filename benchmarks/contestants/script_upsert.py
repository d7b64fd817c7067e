"""What people write themselves: requests, pages of 1,000 by offset, and `executemany` of an upsert of the 90 columns,
one commit a page. By psycopg2, which sends a statement and waits for its answer row by row, or by psycopg 3, whose
`executemany` prepares the statement and pipelines it.
"""

from __future__ import annotations

import time
from typing import Any

import psycopg
import psycopg2  # type: ignore[import-untyped,import-not-found,unused-ignore]
import requests  # type: ignore[import-untyped,import-not-found,unused-ignore]

from benchmarks.contest import Outcome, Task, enter
from benchmarks.incidents import plain_definitions

PAGE = 1_000


def load(task: Task) -> Outcome:
    connection: Any = psycopg2.connect(task.dsn) if task.variant == "psycopg2" else psycopg.connect(task.dsn)
    cursor = connection.cursor()
    with requests.Session() as session:
        session.auth = ("admin", "admin")
        cursor.execute(f"CREATE TABLE {task.table} ({plain_definitions(task.fields)}, PRIMARY KEY (sys_id))")
        connection.commit()
        begun = time.perf_counter()
        offset = 0
        while rows := _page(session, task, offset):
            cursor.executemany(_upsert(task), [[row[field] or None for field in task.fields] for row in rows])
            connection.commit()
            offset += PAGE
        seconds = time.perf_counter() - begun
    cursor.execute(f"SELECT count(*) FROM {task.table}")
    (found,) = cursor.fetchone()
    connection.close()
    return Outcome(seconds, found, f"requests, pages of {PAGE:,}, no labels")


def _page(session: requests.Session, task: Task, offset: int) -> list[dict[str, str]]:
    params = task.params | {"sysparm_limit": str(PAGE), "sysparm_offset": str(offset)}
    answer = session.get(f"{task.url}/api/now/table/{task.table}", params=params, timeout=90)
    answer.raise_for_status()
    rows: list[dict[str, str]] = answer.json()["result"]
    return rows


def _upsert(task: Task) -> str:
    names = ", ".join(f'"{field}"' for field in task.fields)
    marks = ", ".join(["%s"] * len(task.fields))
    taken = ", ".join(f'"{field}" = excluded."{field}"' for field in task.fields if field != "sys_id")
    return f"INSERT INTO {task.table} ({names}) VALUES ({marks}) ON CONFLICT (sys_id) DO UPDATE SET {taken}"


if __name__ == "__main__":
    enter(load)
