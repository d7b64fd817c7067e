"""pysnow, the oldest client of them all, as a judge: its stories run in an environment of their own, over HTTPS."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nowtwin.behaviour.faults import FaultRule
from nowtwin.instance import OAUTH_CLIENT, OAUTH_SECRET
from tests.nowtwin_judges.conftest import Site
from tests.support.judges import run_program

pytestmark = pytest.mark.behaviour(
    "1, 2, 4, 5, 6.2, 7.1", evidence="measured by others: pysnow reads instances this way"
)

BETH = "b" * 32

Tell = Callable[..., Any]


@pytest.fixture
def tell(site: Site, pysnow_python: Path) -> Tell:
    """Run a story against the twin; what it printed comes back."""
    site.instance.load("sys_user", [{"sys_id": BETH, "user_name": "beth", "name": "Beth Anglin"}])

    def run(story: str, **arguments: object) -> Any:  # noqa: ANN401 - whatever JSON the story tells
        place = {"address": site.address, "certificate": str(site.certificate)}
        return run_program(pysnow_python, "pysnow_stories.py", story, **place, **arguments)

    return run


def test_thousands_of_records_buffered_and_streamed(site: Site, tell: Tell) -> None:
    site.instance.load("incident", ({"sys_id": f"{n:032x}", "number": f"INC{n:07d}"} for n in range(2_000)))
    expected = [f"INC{n:07d}" for n in range(2_000)]
    assert tell("read_all") == {"buffered": expected, "streamed": expected}


def test_conditions_of_the_query_builder(site: Site, tell: Tell) -> None:
    site.instance.load(
        "incident",
        [
            {"short_description": "printer on fire", "priority": "1", "caller_id": BETH},
            {"short_description": "printer out of paper", "priority": "4"},
            {"short_description": "mail is slow", "priority": "3"},
        ],
    )
    found = tell("conditions")
    assert found == {"starts": 2, "contains and priority": 1, "either": 2, "in": 2, "empty": 2, "new query": 2}


def test_display_values_of_a_choice_and_a_reference(site: Site, tell: Tell) -> None:
    site.instance.load("incident", [{"number": "INC1", "state": "2", "caller_id": BETH}])
    link = f"{site.url}/api/now/table/sys_user/{BETH}"
    assert tell("display_values") == {
        "False": {"state": "2", "caller_id": {"link": link, "value": BETH}},
        "True": {"state": "In Progress", "caller_id": {"display_value": "Beth Anglin", "link": link}},
        "all": {
            "state": {"display_value": "In Progress", "value": "2"},
            "caller_id": {"display_value": "Beth Anglin", "link": link, "value": BETH},
        },
        "plain": {"caller_id": BETH},
    }


def test_a_record_is_made_changed_and_deleted(tell: Tell) -> None:
    story = tell("write")
    assert story["made"]["priority"] == "1"
    assert (story["changed"]["short_description"], story["changed"]["sys_mod_count"]) == ("changed", "1")
    assert story["deleted"] == {"status": "record deleted"}
    assert story["gone"] is None


def test_errors_have_the_status_and_body_that_pysnow_shows(tell: Tell) -> None:
    told = tell("errors")
    assert told["table"] == {
        "status": 400,
        "body": {"error": {"message": "Invalid table no_such_table", "detail": None}, "status": "failure"},
    }
    assert told["path"]["status"] == 400
    assert told["path"]["body"]["error"]["message"] == "Requested URI does not represent any resource"
    assert told["password"] == {
        "status": 401,
        "body": {
            "error": {"message": "User Not Authenticated", "detail": "Required to provide Auth information"},
            "status": "failure",
        },
    }
    assert told["none"] is None


def test_rows_before_an_error_are_delivered_by_the_streaming_parser(site: Site, tell: Tell) -> None:
    """pysnow's own parser looks for `error` only while it has seen no result, so a cut answer looks whole to it."""
    site.instance.load("incident", [{"number": f"INC{n}"} for n in range(5)])
    site.instance.faults.arm([FaultRule(kind="error_in_body", table="incident", rows=2)])
    assert tell("cut_off") == {"rows": 2, "error": None}


def test_an_accepted_answer_without_content_is_an_exception(site: Site, tell: Tell) -> None:
    site.instance.faults.arm([FaultRule(kind="accepted", table="incident")])
    assert tell("accepted") == "EmptyContent"


def test_a_file_is_attached_listed_and_deleted(site: Site, tell: Tell, tmp_path: Path) -> None:
    site.instance.load("incident", [{"sys_id": "1" * 32, "number": "INC1"}])
    (tmp_path / "note.txt").write_text("a note")
    told = tell("attachments", file=str(tmp_path / "note.txt"))
    assert (told["uploaded"]["file_name"], told["uploaded"]["size_bytes"]) == ("note.txt", "6")
    assert [entry["table_sys_id"] for entry in told["listed"]] == ["1" * 32]
    assert told["deleted"] == {"status": "record deleted"}
    assert told["left"] == []


def test_counts_by_group(site: Site, tell: Tell) -> None:
    site.instance.load("incident", [{"priority": "1"}, {"priority": "1"}, {"priority": "3"}])
    assert tell("aggregates") == {"1": "2", "3": "1"}


def test_a_batch_answers_each_item(site: Site, tell: Tell) -> None:
    site.instance.load("incident", [{"number": "INC1"}])
    answer = tell("batch")
    assert answer["batch_request_id"] == "7"
    assert sorted(item["id"] for item in answer["serviced_requests"]) == ["0", "1", "2"]
    assert {item["status_code"] for item in answer["serviced_requests"]} == {200}
    bodies = [json.loads(base64.b64decode(item["body"])) for item in answer["serviced_requests"]]
    assert [[row["number"] for row in body["result"]] for body in bodies] == [["INC1"]] * 3
    assert answer["unserviced_requests"] == []


def test_oauth_tokens_are_granted_and_refused(tell: Tell) -> None:
    told = tell("oauth", client_id=OAUTH_CLIENT, client_secret=OAUTH_SECRET)
    assert told == {"user": "admin", "scope": ["useraccount"], "refused": "access_denied"}
