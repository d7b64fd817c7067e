"""Order guides of the service catalog: which items a guide orders for the answers given (t_CreateARule.md, order-guide-form.md).

A rule (sc_cat_item_guide_items) includes its item where its condition holds; conditions name variables of the guide as
`IO:<sys_id>`. Other columns than variables (keywords, requested for) are not looked at: such a term does not hold.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from nowtwin.catalog.items import item_of, variables_of
from nowtwin.errors import Refused
from nowtwin.instance import Instance
from nowtwin.query.parse import Condition, Term, parse
from nowtwin.records.selecting import Row, equalities, select

GUIDE = "sc_cat_item_guide"
RULE = "sc_cat_item_guide_items"
_VARIABLE = re.compile(r"IO:([0-9A-Za-z]+?)(?==|!=|LIKE|NOT|IN|IS|STARTS|ENDS|>|<|EMPTY|ANYTHING)")


@dataclass(frozen=True, slots=True)
class Included:
    """An item that a rule includes, with the values that cascade into its variables."""

    item: Row
    quantity: str
    values: Mapping[str, str]


def guide_of(instance: Instance, sys_id: str) -> Row:
    """An active order guide. Raises Refused 404."""
    rows = select(instance, GUIDE, equalities({"sys_id": sys_id}))
    if not rows or rows[0].get("active") == "false":
        raise Refused(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")
    return rows[0]


def included(instance: Instance, guide: Row, answers: Mapping[str, str]) -> list[Included]:
    """Items of the rules that hold, in their order. Raises Refused 400 where a mandatory variable has no answer."""
    variables = variables_of(instance, guide["sys_id"])
    given = {row["name"]: answers.get(row["name"], row["default_value"]) for row in variables}
    if any(row["mandatory"] == "true" and not given[row["name"]] for row in variables):
        raise Refused(400, "Mandatory Variables are required", "")
    by_id = {row["sys_id"]: given[row["name"]] for row in variables}
    rules = select(instance, RULE, equalities({"guide": guide["sys_id"]}))
    rules = [rule for rule in rules if rule["active"] != "false" and _holds(rule["condition"], by_id)]
    return [
        _included(instance, rule, given if guide.get("cascade") == "true" else {})
        for rule in sorted(rules, key=lambda rule: (int(rule["order"] or 0), rule["sys_id"]))
    ]


def _included(instance: Instance, rule: Row, cascading: Mapping[str, str]) -> Included:
    item = item_of(instance, rule["item"])
    names = {row["name"] for row in variables_of(instance, item["sys_id"])}
    values = {name: text for name, text in cascading.items() if name in names and text}
    return Included(item, rule["quantity"] or "1", values)


def _holds(condition: str, answers: Mapping[str, str]) -> bool:
    """Whether a rule's condition holds; none always does."""
    groups = parse(_VARIABLE.sub(r"\1", condition)).groups if condition else ()
    return not groups or any(all(any(_true(term, answers) for term in clause) for clause in group) for group in groups)


def _true(term: Condition, answers: Mapping[str, str]) -> bool:
    if not isinstance(term, Term) or term.field not in answers:
        return False
    text, value = answers[term.field].lower(), term.value.lower()
    meanings = {
        "=": text == value,
        "!=": text != value,
        "IN": text in value.split(","),
        "NOT IN": text not in value.split(","),
        "LIKE": value in text,
        "NOT LIKE": value not in text,
        "STARTSWITH": text.startswith(value),
        "ENDSWITH": text.endswith(value),
        "ISEMPTY": not text,
        "ISNOTEMPTY": bool(text),
        "ANYTHING": True,
    }
    return meanings.get(term.operator, False)
