"""Orders of the service catalog: a request, an item for each thing ordered with its answers, tasks to fulfil it (11.1).

After the stock workflow: a request below the limit is approved at once and its tasks are made; one above waits for an
approval. The limit and one task per item (where no execution plan lists others) are assumptions, switches both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nowtwin.accounts.users import User
from nowtwin.errors import Refused
from nowtwin.instance import Instance
from nowtwin.query.parse import parse
from nowtwin.records.pipeline import Record
from nowtwin.records.selecting import Row, equalities, select
from nowtwin.values import number_of

_UNANSWERED = frozenset({"11", "12", "14", "15", "17", "19", "20", "24"})
"""Types of variables that take no answer: labels, breaks, containers, UI pages and macros."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing to order."""

    item: Row
    quantity: int
    answers: Mapping[str, str]
    """By the name of the variable."""
    guide: str = ""
    """The order guide that it came from."""


def item_of(instance: Instance, sys_id: str) -> Row:
    """An active catalogue item, record producer or order guide. Raises Refused 404."""
    rows = select(instance, "sc_cat_item", equalities({"sys_id": sys_id}))
    if rows and rows[0].get("active", "") != "false":
        return rows[0] | {"sys_class_name": rows[0].get("sys_class_name") or "sc_cat_item"}
    raise Refused(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")


def variables_of(instance: Instance, item: str) -> list[Row]:
    """Active variables in their order."""
    rows = select(instance, "item_option_new", equalities({"cat_item": item, "active": "true"}))
    return sorted(rows, key=lambda row: (int(row["order"] or 0), row["name"]))


def line_of(instance: Instance, sys_id: str, quantity: str, answers: Mapping[str, str]) -> Line:
    """Raises Refused 400 for a quantity that is none, or where a mandatory variable has no answer."""
    item = item_of(instance, sys_id)
    count = number_of(quantity)
    if count is None or count < 1 or count != int(count):
        raise Refused(400, "Invalid Quantity value", "")
    asked = [row for row in variables_of(instance, sys_id) if row["type"] not in _UNANSWERED]
    given = {row["name"]: answers.get(row["name"], row["default_value"]) for row in asked}
    if any(row["mandatory"] == "true" and not given[row["name"]] for row in asked):
        raise Refused(400, "Mandatory Variables are required", "")
    return Line(item, int(count), given)


def price_of(line: Line) -> float:
    return float(number_of(line.item.get("price", "")) or 0) * line.quantity


class Orders:
    """Places orders in the name of one user."""

    def __init__(self, instance: Instance, user: User) -> None:
        self._instance = instance
        self._user = user

    def place(self, lines: Sequence[Line], requested_for: str, details: Mapping[str, str]) -> Record:
        """One request for all lines; returns it."""
        total = sum(price_of(line) for line in lines)
        approved = total < self._instance.switches.catalog_approval_limit
        state = "in_process" if approved else "requested"
        request = self._insert(
            "sc_request",
            {
                **details,
                "requested_for": requested_for,
                "opened_by": self._user.sys_id,
                "price": _amount(total),
                "request_state": state,
                "approval": "approved" if approved else "requested",
                "stage": state,
            },
        )
        for line in lines:
            self._order(request, line, requested_for, approved=approved)
        return request

    def _order(self, request: Record, line: Line, requested_for: str, *, approved: bool) -> None:
        catalogs = line.item.get("sc_catalogs", "").split(",")
        item = self._insert(
            "sc_req_item",
            {
                "request": request.sys_id,
                "parent": request.sys_id,
                "cat_item": line.item["sys_id"],
                "order_guide": line.guide,
                "short_description": line.item.get("short_description") or line.item["name"],
                "quantity": str(line.quantity),
                "price": _amount(price_of(line)),
                "requested_for": requested_for,
                "opened_by": self._user.sys_id,
                "sc_catalog": catalogs[0],
                "approval": "approved" if approved else "requested",
                "stage": "fulfillment" if approved else "waiting_for_approval",
            },
        )
        self._answer(item, line)
        if approved:
            self._make_tasks(request, item, line)

    def _answer(self, item: Record, line: Line) -> None:
        """The answers, each an option row tied to the requested item."""
        for order, row in enumerate(variables_of(self._instance, line.item["sys_id"]), start=1):
            if row["name"] in line.answers:
                values = {"item_option_new": row["sys_id"], "value": line.answers[row["name"]], "order": str(order)}
                option = self._insert("sc_item_option", values)
                self._insert("sc_item_option_mtom", {"request_item": item.sys_id, "sc_item_option": option.sys_id})

    def _make_tasks(self, request: Record, item: Record, line: Line) -> None:
        plan = line.item.get("delivery_plan", "")
        steps = (
            select(self._instance, "sc_cat_item_delivery_task", parse(f"delivery_plan={plan}^ORDERBYorder"))
            if plan
            else []
        )
        if not steps and not self._instance.switches.catalog_makes_task:
            return
        for step in steps or [{"name": line.item["name"], "group": line.item.get("group", "")}]:
            self._insert(
                "sc_task",
                {
                    "request": request.sys_id,
                    "request_item": item.sys_id,
                    "parent": item.sys_id,
                    "cat_item": line.item["sys_id"],
                    "sc_catalog": item.values.get("sc_catalog", ""),
                    "short_description": step.get("short_description") or step.get("name", ""),
                    "assignment_group": step.get("group", ""),
                    "assigned_to": step.get("assigned_to", ""),
                    "opened_by": self._user.sys_id,
                },
            )

    def _insert(self, table: str, values: Mapping[str, str]) -> Record:
        filled = {element: text for element, text in values.items() if text}
        return self._instance.records.insert(table, filled, self._user, self._instance.switches)


def _amount(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:.2f}"
