"""Every mark [unsure] of servicenow-api.md, with the switch that decides it here, or the reason why none does.

The list is held against the reference where that is at hand, against the switches and their defaults, against the
stories (each switch is turned, and looked at before it is), and against COVERAGE.md.
"""

import ast
import re
from collections import Counter
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import pytest

from nowtwin.behaviour.switches import Switches
from nowtwin.seeds import find_shared_data
from scripts import coverage_page

pytestmark = pytest.mark.behaviour("1.8", evidence="assumption: what is open is a switch")

REPO = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Question:
    """What one mark leaves open, in our words."""

    section: str
    text: str
    switch: str = ""
    default: object = None
    reason: str = ""
    """Why no switch decides it; then a record, a fault or the request does."""
    marks: int = 1
    """Lines of the reference that this question stands for; 0 where a line holds a further question."""


QUESTIONS = (
    Question("1.2", "what sysparm_no_count does to headers", "no_count_drops_total", True),
    Question(
        "1.2",
        "what a query category does",
        reason="it names a read replica; the twin has one database, and unknown categories are ignored (measured)",
    ),
    Question("1.3", "an empty choice displays as null with `all`", "empty_choice_displays_null", True),
    Question("1.6", "a query on a column that does not exist: dropped or 403", "unknown_column_refused", False),
    Question("1.7", "the status of a duplicate key", "duplicate_status", 403),
    Question("1.7", "unknown values of every choice column are dropped", "unknown_choice_dropped", True),
    Question("1.7", "unknown values of custom choice columns", "custom_choices_open", False, marks=0),
    Question("1.7", "a reference to a record that does not exist is stored", "missing_references_kept", True),
    Question("1.7", "a display name in a reference: stored raw or emptied", "reference_names_kept", True),
    Question("1.7", "which system columns ignore the body", "system_columns_written", False),
    Question("1.7", "read-only columns on older releases", "read_only_columns_protected", False),
    Question("1.7", "a text longer than the column: cut or refused", "truncate_long_strings", True),
    Question("1.7", "dictionary-mandatory columns", "mandatory_columns_enforced", False),
    Question("1.8", "the status of an unknown path: 400 or 404", "unknown_path_status", 400),
    Question("1.8", "refusals in the words `Insufficient rights to delete record`", "refusals_name_rights", False),
    Question("1.8", "the text of a 405", "refused_methods_explained", True),
    Question("1.8", "the body of a semaphore's 429", "overload_in_json", False),
    Question(
        "1.9",
        "a sleeping instance as 200, 302 or 503",
        reason="a fault rule: kind `hibernating`, form `page`, `redirect` or `unavailable`",
    ),
    Question("1.9", "200 with the body null", reason="a fault rule: kind `null_body`; never without one"),
    Question("1.9", "a log-in page with 200 or 302", "log_in_by_redirect", True),
    Question("2.1", "GROUPBY in a plain read", "group_by_sorts_lists", False),
    Question("2.2", "the edges of RELATIVEGE, RELATIVELE and RELATIVEEE", "relative_by_whole_units", False),
    Question("2.2", "DOESNOTHAVE and EXCLUDING on tags", "tag_exclusions_understood", True),
    Question("2.2", "how far the condition of a JOIN reaches", "join_ends_at_caret", False),
    Question("2.3", "whether values are compared with case", "case_insensitive_strings", True),
    Question("2.5", "whether ^^ escapes a caret", "double_caret_escapes", False),
    Question("2.6", "literal dates are UTC or in the user's zone", "query_dates_in_user_zone", False),
    Question("3.1", "1 and 0 are taken for booleans", "boolean_digits_taken", True),
    Question("3.1", "integers display grouped", "group_integers", True),
    Question("3.1", "how integer_date and integer_time display", "integer_dates_formatted", True),
    Question("3.1", "the text of a currency and of a price", "money_by_code", False, marks=2),
    Question("3.1", "the value of currency2", "currency2_value_is_amount", False),
    Question("3.1", "masks of other passwords than the user's", "passwords_masked", True),
    Question("3.1", "the display of images", "images_display_path", False),
    Question("3.2", "choices fall back to the parent's", "choices_from_parent", True),
    Question("4", "aggregates know of rows that the caller may not read", "aggregates_hide_rows", False),
    Question("4", "the text of the largest date", "date_maximum_with_fraction", False),
    Question("5", "a batch answers in order", "batch_answers_in_order", True),
    Question("5", "a request in a batch is rate-limited by itself", "batch_items_rate_limited", True),
    Question(
        "6.1",
        "the values of `status` of a transformed row",
        reason="what the transformation did names it: inserted, updated, ignored, error; no other was ever seen",
    ),
    Question("6.1", "the status code of a transformation that failed", "import_error_status", 201, marks=0),
    Question("6.2", "attachments are filed under the child class", "attachments_under_class", False),
    Question("6.5", "the code INSERT_FAILED", "ire_insert_failed_code", True),
    Question(
        "6.5",
        "the numbers of the hardware identifiers",
        reason="rows of cmdb_identifier_entry (`order`), which can be written",
    ),
    Question("6.5", "IRE locks its target", "ire_locks_targets", True),
    Question("6.6", "the impersonation route", "impersonation_session_route", True),
    Question("7.1", "refresh tokens rotate", "refresh_token_rotates", False),
    Question("7.1", "400 invalid_grant", "oauth_invalid_grant", False),
    Question("8.1", "which columns of ecc_queue hold what, by topic", "ecc_endpoint_in_source", True),
    Question("9.1", "deletes on tables that are not audited are recorded", "unaudited_deletes_filed", True),
    Question("9.1", "deletes with setWorkflow(false) are recorded", "quiet_deletes_filed", False),
    Question("9.1", "cascaded deletes are recorded", "cascaded_deletes_filed", True, marks=0),
    Question("9.1", "rows that the table cleaner deletes are recorded", "cleaned_rows_filed", False, marks=0),
    Question("9.1", "archived rows are recorded", "archived_rows_filed", False, marks=0),
    Question("9.2", "related rows touch their parents", "related_rows_touch_parents", False),
    Question("9.2", "rows of other domains are absent", "domains_separated", False),
    Question("9.2", "rows of other domains are counted", "other_domains_counted", True, marks=0),
    Question("11.1", "the priority matrix of a customised instance", "priority_looked_up", True),
    Question("11.1", "numbers are unique", "numbers_unique", False),
    Question("11.1", "a forbidden state of a change: refused or let through", "change_states_checked", True),
    Question("11.1", "a forbidden state of a change: refused or held", "state_jumps_held", False, marks=0),
    Question("11.1", "Closed Skipped is 5 or 7", "task_skipped_state", 7, marks=0),
    Question("11.2", "new instances make assets later", "assets_created_async", False),
    Question("11.2", "skip_sync marks a write that is not mirrored", "skip_sync_honoured", True),
    Question("11.2", "the numbers of asset states", "asset_retired_status", 7),
    Question("11.2", "how a model's display name is composed", "model_named_with_manufacturer", True),
)
DECIDED = [question for question in QUESTIONS if question.switch]


def test_the_list_has_as_many_questions_as_the_reference_has_marks() -> None:
    data = find_shared_data()
    reference = data.parent / "design" / "servicenow-api.md" if data else None
    if reference is None or not reference.is_file():
        pytest.skip("the reference (design/servicenow-api.md beside the shared data) is not here")
    marks: Counter[str] = Counter()
    section = ""
    for line in reference.read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"#{2,3} (\d+(?:\.\d+)?)", line):
            section = heading[1]
        if section and "unsure" in line:
            marks[section] += 1
    listed: Counter[str] = Counter()
    for question in QUESTIONS:
        listed[question.section] += question.marks
    assert listed == marks


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.text)
def test_each_question_has_a_switch_with_its_default_or_a_reason(question: Question) -> None:
    assert bool(question.switch) != bool(question.reason)
    if question.switch:
        (default,) = [field.default for field in fields(Switches) if field.name == question.switch]
        assert default == question.default


def turned(tree: ast.AST, name: str) -> list[tuple[int, object]]:
    """Line and value of each place that sets the switch: `switch(talk, name, value)`, `{name: value}`, `name=value`.
    The value of a variable, as in a loop over both, is None.
    """
    found: list[tuple[int, object]] = []
    for node in ast.walk(tree):
        pairs: list[tuple[ast.expr | None, ast.expr]] = []
        if isinstance(node, ast.Dict):
            pairs = list(zip(node.keys, node.values, strict=True))
        elif isinstance(node, ast.Call):
            said = [*node.args, *(word.value for word in node.keywords if word.arg == "value")]
            pairs = list(pairwise(said))
            pairs += [(ast.Constant(word.arg), word.value) for word in node.keywords if word.arg]
        for key, value in pairs:
            if isinstance(key, ast.Constant) and key.value == name:
                found.append((value.lineno, value.value if isinstance(value, ast.Constant) else None))
    return found


@pytest.mark.parametrize("question", DECIDED, ids=lambda question: question.switch)
def test_each_switch_is_looked_at_in_both_positions(question: Question) -> None:
    """A story that is marked with the switch turns it, and asserts something before it does."""
    stories = [behaviour.test for behaviour in coverage_page.behaviours() if question.switch in behaviour.switches]
    assert stories, "no test is marked with this switch"
    both = []
    for story in stories:
        file, _, name = story.partition("::")
        tree = ast.parse((REPO / file).read_text(encoding="utf-8"))
        (function,) = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and n.name == name]
        other = [line for line, value in turned(function, question.switch) if value != question.default]
        asserts = [node.lineno for node in ast.walk(function) if isinstance(node, ast.Assert)]
        looped = any(value is None for _, value in turned(function, question.switch))
        both.append(bool(other) and (looped or min(asserts) < max(other)) and max(other) < max(asserts))
    assert any(both), stories


def test_coverage_names_every_switch() -> None:
    page = (REPO / "docs" / "COVERAGE.md").read_text(encoding="utf-8")
    assert [question.switch for question in DECIDED if f"`{question.switch}`" not in page] == []
