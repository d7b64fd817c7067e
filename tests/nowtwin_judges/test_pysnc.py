"""PySNC, by ServiceNow, as a judge: what its own users do, through its public classes, over HTTPS.

Evidence of what an instance answers is PySNC's own test suite against a real one (servicenow-api.md, key PySNC).
"""

import json
from dataclasses import replace
from pathlib import Path

import pysnc
import pytest
from pysnc.auth import ServiceNowClientCredentialsFlow, ServiceNowPasswordGrantFlow
from pysnc.exceptions import AuthenticationException, NotFoundException, RequestException, RoleException

from nowtwin.behaviour.faults import FaultRule
from nowtwin.instance import OAUTH_CLIENT, OAUTH_SECRET
from nowtwin.limits.fault_answers import CANCELLED
from tests.nowtwin_judges.conftest import Site

pytestmark = pytest.mark.behaviour("1, 2, 5, 6.2, 7.1", evidence="measured by others: PySNC's tests")

BETH = "b" * 32


def sign_in(site: Site, user: str = "admin", password: str = "admin") -> pysnc.ServiceNowClient:
    return pysnc.ServiceNowClient(site.url, (user, password), verify=str(site.certificate))


@pytest.fixture
def client(site: Site) -> pysnc.ServiceNowClient:
    site.instance.load(
        "sys_user", [{"sys_id": BETH, "user_name": "beth", "name": "Beth Anglin", "email": "b@example.com"}]
    )
    return sign_in(site)


def load_incidents(site: Site, count: int) -> None:
    site.instance.load(
        "incident",
        (
            {"sys_id": f"{n * 7919:032x}", "number": f"INC{n:07d}", "short_description": f"no {n}", "active": "true"}
            for n in range(count)
        ),
    )


def test_thousands_of_records_are_paged_through_without_loss(site: Site, client: pysnc.ServiceNowClient) -> None:
    load_incidents(site, 3_000)
    record = client.GlideRecord("incident", batch_size=250)
    record.fields = ["sys_id", "number"]
    record.order_by("sys_id")
    record.query()
    assert len(record) == 3_000
    numbers = [str(entry.number) for entry in record]
    assert numbers == [f"INC{n:07d}" for n in range(3_000)]


@pytest.mark.parametrize(("limit", "batch"), [(10, 100), (100, 10), (95, 10), (1, 1), (10, 10)])
def test_a_limit_holds_whatever_the_size_of_a_batch(
    site: Site, client: pysnc.ServiceNowClient, limit: int, batch: int
) -> None:
    load_incidents(site, 150)
    record = client.GlideRecord("incident", batch_size=batch)
    record.limit = limit
    record.order_by("sys_id")
    record.query()
    assert len([entry.sys_id for entry in record]) == limit


def test_values_display_values_and_links_of_one_record(site: Site, client: pysnc.ServiceNowClient) -> None:
    site.instance.load(
        "incident", [{"sys_id": "1" * 32, "state": "2", "caller_id": BETH, "opened_at": "2025-01-02 03:04:05"}]
    )
    record = client.GlideRecord("incident")
    record.exclude_reference_link = False
    assert record.get("1" * 32)
    assert (record.get_value("state"), record.get_display_value("state")) == ("2", "In Progress")
    assert (record.get_value("caller_id"), record.get_display_value("caller_id")) == (BETH, "Beth Anglin")
    assert record.caller_id.get_link() == f"{site.url}/api/now/table/sys_user/{BETH}"
    assert record.opened_at.date_value().isoformat() == "2025-01-02T03:04:05+00:00"
    assert record.problem_id.nil()


def test_dot_walked_fields_come_back_under_their_dotted_names(site: Site, client: pysnc.ServiceNowClient) -> None:
    site.instance.load("incident", [{"sys_id": "1" * 32, "caller_id": BETH}])
    record = client.GlideRecord("incident")
    record.fields = ["sys_id", "caller_id.name", "caller_id.email"]
    record.query()
    assert record.next()
    assert record.get_value("caller_id.email") == "b@example.com"
    assert record.serialize()["caller_id.name"] == "Beth Anglin"


def test_conditions_of_every_kind_find_what_they_say(site: Site, client: pysnc.ServiceNowClient) -> None:
    site.instance.load(
        "incident",
        [
            {"short_description": "printer on fire", "priority": "1", "active": "true", "caller_id": BETH},
            {"short_description": "printer out of paper", "priority": "4", "active": "true"},
            {"short_description": "mail is slow", "priority": "3", "active": "false"},
        ],
    )

    def found(*conditions: tuple[str, ...]) -> int:
        record = client.GlideRecord("incident")
        for condition in conditions:
            record.add_query(*condition)
        record.query()
        return len(record)

    assert found(("short_description", "STARTSWITH", "printer")) == 2
    assert found(("short_description", "CONTAINS", "fire"), ("priority", "<", "3")) == 1
    assert found(("priority", "IN", "1,3")) == 2
    assert found(("short_description", "DOES NOT CONTAIN", "printer")) == 1
    assert found(("sys_class_name", "INSTANCEOF", "task")) == 3
    assert found(("caller_id.name", "Beth Anglin")) == 1


def test_or_conditions_null_queries_active_queries_and_orders(site: Site, client: pysnc.ServiceNowClient) -> None:
    site.instance.load(
        "incident",
        [
            {"short_description": "a", "priority": "1", "active": "true", "caller_id": BETH},
            {"short_description": "b", "priority": "2", "active": "false"},
            {"short_description": "c", "priority": "5", "active": "true"},
        ],
    )
    record = client.GlideRecord("incident")
    record.add_query("priority", "1").add_or_condition("priority", "5")
    record.order_by_desc("priority")
    record.query()
    assert [str(entry.short_description) for entry in record] == ["c", "a"]
    for add, names in (("add_null_query", ["b", "c"]), ("add_not_null_query", ["a"])):
        record = client.GlideRecord("incident")
        getattr(record, add)("caller_id")
        record.order_by("short_description")
        record.query()
        assert [str(entry.short_description) for entry in record] == names
    record = client.GlideRecord("incident")
    record.add_active_query()
    record.add_encoded_query("priority=5")
    record.query()
    assert len(record) == 1


def test_related_list_queries(site: Site, client: pysnc.ServiceNowClient) -> None:
    site.instance.load(
        "sys_user_group", [{"sys_id": "1" * 32, "name": "with"}, {"sys_id": "2" * 32, "name": "without"}]
    )
    site.instance.load("sys_user_grmember", [{"group": "1" * 32, "user": BETH}])
    record = client.GlideRecord("sys_user_group")
    record.add_rl_query("sys_user_grmember", "group", ">0", True).add_query("user.name", "Beth Anglin")
    record.query()
    assert [str(entry.name) for entry in record] == ["with"]


def test_join_queries(site: Site, client: pysnc.ServiceNowClient) -> None:
    site.instance.load("sys_user_group", [{"sys_id": "1" * 32, "name": "with"}])
    site.instance.load("sys_user_grmember", [{"group": "1" * 32, "user": BETH}])
    record = client.GlideRecord("sys_user")
    record.add_join_query("sys_user_grmember", join_table_field="user").add_query("group.name", "with")
    record.query()
    assert [str(entry.name) for entry in record] == ["Beth Anglin"]


def test_a_query_too_long_for_a_url_goes_through_the_batch_api(site: Site, client: pysnc.ServiceNowClient) -> None:
    load_incidents(site, 400)
    record = client.GlideRecord("incident", batch_size=100)
    record.add_query("sys_id", "IN", ",".join(f"{n * 7919:032x}" for n in range(350)))
    record.order_by("sys_id")
    record.query()
    assert len(record) == 350
    assert len({str(entry.sys_id) for entry in record}) == 350
    assert {call.path for call in site.instance.calls.entries if call.method == "POST"} == {"/api/now/v1/batch"}


def test_a_record_is_inserted_read_changed_and_deleted(client: pysnc.ServiceNowClient) -> None:
    record = client.GlideRecord("problem")
    record.initialize()
    record.short_description = "Unit test"
    record.description = "Second"
    record.bogus_field = "Bogus"
    assert record.insert() is not None
    assert record.number.get_value().startswith("PRB")
    again = client.GlideRecord("problem")
    assert again.get(str(record.sys_id))
    again.short_description = "ABCDEFG0123"
    assert again.changes()
    assert again.update() == record.sys_id
    assert again.get_value("short_description") == "ABCDEFG0123"
    assert again.delete()
    assert not client.GlideRecord("problem").get(str(record.sys_id))


def test_a_guid_of_ones_own_is_honoured(client: pysnc.ServiceNowClient) -> None:
    record = client.GlideRecord("problem")
    record.initialize()
    record.set_new_guid_value("7e57" * 8)
    record.short_description = "own id"
    assert record.insert() == "7e57" * 8


def test_display_values_may_be_written(client: pysnc.ServiceNowClient) -> None:
    record = client.GlideRecord("incident")
    record.initialize()
    record.state = "2"
    record.caller_id = BETH
    record.work_notes = "A note"
    sys_id = record.insert()
    again = client.GlideRecord("incident")
    assert again.get(str(sys_id))
    assert again.get_display_value("caller_id") == "Beth Anglin"
    assert again.get_value("work_notes") == ""
    assert "A note" in again.get_display_value("work_notes")


def test_a_password_is_shown_as_stars(site: Site, client: pysnc.ServiceNowClient) -> None:
    site.instance.load("sys_user", [{"sys_id": "c" * 32, "user_name": "carl", "user_password": "hash"}])
    record = client.GlideRecord("sys_user")
    assert record.get("c" * 32)
    assert record.get_display_value("user_password") == "********"


def test_many_records_are_updated_and_deleted_through_the_batch_api(site: Site, client: pysnc.ServiceNowClient) -> None:
    load_incidents(site, 30)
    record = client.GlideRecord("incident")
    record.query()
    while record.next():
        record.short_description = f"changed {record.number}"
    assert record.update_multiple()
    assert site.instance.count("incident", "short_descriptionSTARTSWITHchanged") == 30
    record = client.GlideRecord("incident")
    record.add_query("number", "<", "INC0000010")
    record.query()
    assert record.delete_multiple()
    assert site.instance.count("incident") == 20
    writes = {call.path for call in site.instance.calls.entries if call.method != "GET"}
    assert writes == {"/api/now/v1/batch"}


def test_attachments_are_added_listed_read_and_deleted(
    site: Site, client: pysnc.ServiceNowClient, tmp_path: Path
) -> None:
    load_incidents(site, 1)
    record = client.GlideRecord("incident")
    assert record.get("number", "INC0000000")
    content = b"this is a sample attachment\nwith\nmulti\nlines"
    location = record.add_attachment("test.txt", content, content_type="text/plain")
    attachments = record.get_attachments()
    assert len(attachments) == 1
    assert attachments.next()
    assert location.endswith(f"/attachment/{attachments.sys_id}")
    assert (attachments.file_name, attachments.size_bytes) == ("test.txt", str(len(content)))
    assert attachments.read() == content
    assert attachments.readlines() == content.decode().split("\n")
    assert attachments.write_to(tmp_path).read_bytes() == content
    with attachments.as_temp_file() as file:
        assert file.read() == content
    attachments.delete()
    assert len(record.get_attachments()) == 0


def test_errors_become_the_exceptions_that_pysnc_knows(site: Site, client: pysnc.ServiceNowClient) -> None:
    with pytest.raises(AuthenticationException):
        sign_in(site, password="wrong").GlideRecord("incident").query()
    with pytest.raises(RequestException, match="Invalid table no_such_table"):
        client.GlideRecord("no_such_table").query()
    assert not client.GlideRecord("incident").get("0" * 32)
    site.instance.switches = replace(site.instance.switches, access_control=True)
    site.instance.add_user("nobody", "secret")
    record = sign_in(site, "nobody", "secret").GlideRecord("sys_user_group")
    record.initialize()
    record.name = "x"
    with pytest.raises(RoleException):
        record.insert()


def test_what_the_platform_refuses_has_its_words(site: Site, client: pysnc.ServiceNowClient) -> None:
    load_incidents(site, 1)
    record = client.GlideRecord("incident")
    assert record.get("number", "INC0000000")
    record.state = "7"
    with pytest.raises(RoleException, match="The following fields are mandatory: Resolution code, Resolution notes"):
        record.update()
    assert site.instance.count("incident", "state=7") == 0
    site.instance.delete("incident", f"{0:032x}")
    with pytest.raises(NotFoundException, match="Record doesn't exist or ACL restricts the record retrieval"):
        record.delete()


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_call_that_should_be_made_again_is(site: Site, client: pysnc.ServiceNowClient, status: int) -> None:
    load_incidents(site, 3)
    rule = FaultRule(kind="status", status=status, headers={"Retry-After": "0"}, table="incident", count=2)
    site.instance.faults.arm([rule])
    record = client.GlideRecord("incident")
    record.query()
    assert len(record) == 3
    statuses = [call.status for call in site.instance.calls.entries if call.path == "/api/now/table/incident"]
    assert statuses == [status, status, 200]


def test_a_cancelled_transaction_is_recognised_when_nothing_was_delivered(
    site: Site, client: pysnc.ServiceNowClient
) -> None:
    """Where rows come before the error PySNC takes them for the page: it looks at the text only when `result` is missing."""
    body = json.dumps({"error": {"message": CANCELLED, "detail": None}, "status": "failure"})
    site.instance.faults.arm([FaultRule(kind="status", status=200, body=body, table="incident", count=1)])
    record = client.GlideRecord("incident")
    with pytest.raises(RequestException, match="Maximum execution time exceeded"):
        record.query()


def test_sign_in_with_oauth(site: Site) -> None:
    flow = ServiceNowPasswordGrantFlow("admin", "admin", OAUTH_CLIENT, OAUTH_SECRET)
    client = pysnc.ServiceNowClient(site.url, flow, verify=str(site.certificate))
    record = client.GlideRecord("sys_user")
    assert record.get("user_name", "admin")
    record.title = "Administrator"
    assert record.update()


def test_sign_in_with_client_credentials(site: Site) -> None:
    enabled = {"name": "glide.oauth.inbound.client.credential.grant_type.enabled", "value": "true"}
    site.instance.load("sys_properties", [enabled])
    site.instance.add_oauth_client("c1", "s1", user_name="admin")
    flow = ServiceNowClientCredentialsFlow("c1", "s1")
    client = pysnc.ServiceNowClient(site.url, flow, verify=str(site.certificate))
    record = client.GlideRecord("sys_user")
    assert record.get("user_name", "admin")
