"""Service requests, generated: a request with its items, each item with its tasks and the answers to its variables.

Items, variables and people are those of the demo. A request is new, at work, delivered or cancelled, and its items,
tasks and approvals tell the same story: closed together, active together, opened in this order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Final

from nowtwin.seeds.demo import shipped
from nowtwin.seeds.demo_content import catalog_tables
from nowtwin.seeds.demo_records import Tables
from nowtwin.seeds.display_values import stored
from nowtwin.seeds.estate import FIRST_SEEN, Ids
from nowtwin.seeds.generator_pool import Person, Pool, demo_pool
from nowtwin.seeds.references import Row
from nowtwin.seeds.sys_ids import sys_id_of

FIRST_NUMBER: Final = 10_001
_MINUTES_BETWEEN: Final = 55
_LATEST_DELIVERY: Final = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class _Story:
    """One course of events: the state of the request and its items, of the tasks, and of the approval."""

    share: int
    request_state: str
    state: str
    stage: str
    approval: str
    tasks: tuple[str, ...]
    closed: bool


# shares per hundred; states as in servicenow-api.md 11.1 and the choice lists of the base platform
_STORIES: Final = (
    _Story(10, "requested", "1", "waiting_for_approval", "requested", (), closed=False),
    _Story(25, "in_process", "2", "fulfillment", "approved", ("3", "1"), closed=False),
    _Story(60, "closed_complete", "3", "completed", "approved", ("3", "3"), closed=True),
    _Story(5, "closed_cancelled", "4", "Request Cancelled", "rejected", (), closed=True),
)


class Requests:
    """`count` requests made from `seed`, among the people and catalogue items of the demo."""

    def __init__(self, seed: int, count: int, pool: Pool) -> None:
        self._random = Random(f"{seed} requests")  # noqa: S311 - data, not secrets
        self._count = count
        self._pool = pool
        self._tables: Tables = {}
        self._ids = {table: Ids(seed, table) for table in _TABLES}
        content = catalog_tables(shipped("catalog_items.workarena.json"))
        self._items = content["sc_cat_item"]
        self._variables = content["item_option_new"]
        self._choices = content["question_choice"]

    def tables(self) -> Tables:
        """Rows by table, requests first."""
        self._tables = {table: [] for table in _TABLES}
        for index in range(self._count):
            self._request(FIRST_SEEN + timedelta(minutes=index * _MINUTES_BETWEEN))
        return self._tables

    def _add(self, table: str, by: str, at: datetime, values: Row) -> str:
        """Add a row; returns its sys_id."""
        rows = self._tables[table]
        sys_id = self._ids[table][len(rows)]
        stamps = {
            "sys_created_on": stored(at),
            "sys_created_by": by,
            "sys_updated_on": stored(at),
            "sys_updated_by": by,
        }
        filled = {element: value for element, value in values.items() if value}
        rows.append({"sys_id": sys_id, **stamps, "sys_mod_count": "0", **filled})
        return sys_id

    def _task(self, table: str, by: Person, at: datetime, values: Row) -> str:
        number = f"{_PREFIXES[table]}{FIRST_NUMBER + len(self._tables[table]):07d}"
        common = {
            "number": number,
            "task_effective_number": number,
            "opened_by": by.sys_id,
            "opened_at": stored(at),
            "company": by.company,
            "location": by.location,
            "impact": "3",
            "urgency": "3",
            "priority": "4",
            "escalation": "0",
            "made_sla": "true",
            "knowledge": "false",
            "reassignment_count": "0",
            "upon_approval": "proceed",
            "upon_reject": "cancel",
            "sys_domain": "global",
            "sys_domain_path": "/",
        }
        return self._add(table, by.user_name, at, common | values)

    def _request(self, at: datetime) -> None:
        random = self._random
        person = random.choice(self._pool.callers)
        story = random.choices(_STORIES, [story.share for story in _STORIES])[0]
        delivered = at + timedelta(minutes=random.randrange(60, int(_LATEST_DELIVERY.total_seconds()) // 60))
        closing = {"closed_at": stored(delivered), "closed_by": random.choice(self._pool.resolvers).sys_id}
        ending = {"state": story.state, "active": "false" if story.closed else "true", "approval": story.approval}
        ending |= closing if story.closed else {}
        items = random.choices(self._items, k=random.choice((1, 1, 1, 2, 3)))
        values = {"requested_for": person.sys_id, "request_state": story.request_state, "short_description": "Request"}
        stage = {"stage": "requested" if not story.closed else story.request_state}
        request = self._task("sc_request", person, at, values | ending | stage)
        for item in items:
            self._item(person, at, request, item, story, ending)

    def _item(self, person: Person, at: datetime, request: str, item: Row, story: _Story, ending: Row) -> None:
        values = {
            "request": request,
            "parent": request,
            "requested_for": person.sys_id,
            "cat_item": item["sys_id"],
            "sc_catalog": sys_id_of("sc_catalog", "Service Catalog"),
            "short_description": item["name"],
            "quantity": str(self._random.choice((1, 1, 1, 2))),
            "stage": story.stage,
            "due_date": stored(at + _LATEST_DELIVERY),
            "estimated_delivery": stored(at + _LATEST_DELIVERY),
            "backordered": "false",
            "billable": "false",
        }
        requested = self._task("sc_req_item", person, at, values | ending)
        for variable in self._variables:
            if variable["cat_item"] == item["sys_id"]:
                self._answer(person, at, requested, variable)
        for position, state in enumerate(story.tasks):
            self._fulfil(at + timedelta(hours=position + 1), request, requested, item, state)

    def _answer(self, person: Person, at: datetime, requested: str, variable: Row) -> None:
        choices = [row["value"] for row in self._choices if row["question"] == variable["sys_id"]]
        value = self._random.choice(choices) if choices else _ANSWERS.get(variable["type"], "As usual")
        order = {"order": variable["order"]}
        answer = self._add(
            "sc_item_option", person.user_name, at, {"item_option_new": variable["sys_id"], "value": value} | order
        )
        link = {"request_item": requested, "sc_item_option": answer}
        self._add("sc_item_option_mtom", person.user_name, at, link)

    def _fulfil(self, at: datetime, request: str, requested: str, item: Row, state: str) -> None:
        agent = self._random.choice(self._pool.resolvers)
        group = self._random.choice(_groups(self._pool))
        closed = state == "3"
        values = {
            "request": request,
            "request_item": requested,
            "parent": requested,
            "cat_item": item["sys_id"],
            "short_description": f"{'Order' if closed else 'Deliver'}: {item['name']}",
            "assignment_group": group,
            "assigned_to": agent.sys_id,
            "state": state,
            "active": "false" if closed else "true",
            "approval": "not requested",
        }
        end = {"closed_at": stored(at + timedelta(hours=3)), "closed_by": agent.sys_id} if closed else {}
        self._task("sc_task", agent, at, values | end)


_PREFIXES: Final = {"sc_request": "REQ", "sc_req_item": "RITM", "sc_task": "SCTASK"}
_TABLES: Final = (*_PREFIXES, "sc_item_option", "sc_item_option_mtom")
_ANSWERS: Final = {"7": "true"}
"""Answers by type of variable: a box that is ticked; anything else is a text."""


def _groups(pool: Pool) -> Sequence[str]:
    return list(pool.groups.values())


def generate_requests(seed: int, count: int) -> Iterator[tuple[str, list[Row]]]:
    """That many requests with all that belongs to them, by table; the rows they point at are those of the demo."""
    yield from Requests(seed, count, demo_pool()).tables().items()
