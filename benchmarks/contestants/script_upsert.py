"""What people write themselves: requests, pages of 1,000 by offset, and psycopg's executemany of an upsert of the 90
columns, one commit a page.
"""

from __future__ import annotations

import time

import psycopg
import requests  # type: ignore[import-untyped,unused-ignore]

from benchmarks.contest import Outcome, Task, enter
from benchmarks.incidents import plain_definitions

PAGE = 1_000


def load(task: Task) -> Outcome:
    with psycopg.connect(task.dsn) as connection, requests.Session() as session:
        session.auth = ("admin", "admin")
        connection.execute(f"CREATE TABLE {task.table} ({plain_definitions(task.fields)}, PRIMARY KEY (sys_id))")
        connection.commit()
        begun = time.perf_counter()
        offset = 0
        while rows := _page(session, task, offset):
            values = [[row[field] or None for field in task.fields] for row in rows]
            with connection.cursor() as cursor:
                cursor.executemany(_upsert(task), values)
            connection.commit()
            offset += PAGE
        seconds = time.perf_counter() - begun
        found = connection.execute(f"SELECT count(*) FROM {task.table}").fetchone()
    return Outcome(seconds, found[0] if found else 0, f"pages of {PAGE:,}, no labels")


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
