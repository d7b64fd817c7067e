"""Switches that have no story of their own: turned the other way, the answer is the other one."""

import base64
import hashlib
import hmac
import json
from urllib.parse import urlencode

import pytest

from nowtwin.instance import ADMIN_ID
from tests.nowtwin.talk import Talk

COMPANY = "c" * 32
START = 1_735_689_600
"""2025-01-01 00:00:00 in seconds."""


def switch(talk: Talk, name: str, value: object) -> None:
    talk.control("PUT", "switches", {name: value})


def answers(talk: Talk) -> tuple[str, str]:
    """Asset tag and display name of a hardware asset made now."""
    model = talk.post("cmdb_hardware_product_model", {"name": "T14", "manufacturer": COMPANY}).result["sys_id"]
    made = talk.post("alm_hardware", {"model": model, "asset_tag": "P1"})
    return made.result["asset_tag"], made.result["display_name"]


@pytest.mark.behaviour(
    "11.2", evidence="assumption: composed of manufacturer and name", switch="model_named_with_manufacturer"
)
def test_a_model_may_be_named_without_its_manufacturer(talk: Talk) -> None:
    talk.instance.load("core_company", [{"sys_id": COMPANY, "name": "Lenovo"}])
    assert answers(talk) == ("P1", "P1 - Lenovo T14")
    switch(talk, "model_named_with_manufacturer", value=False)
    assert answers(talk) == ("P1", "P1 - T14")


@pytest.mark.behaviour("11.2", evidence="assumption: what a new instance has", switch="asset_ci_with_ire")
def test_assets_may_make_their_ci_through_ire_without_the_property(talk: Talk) -> None:
    category = {"name": "Computer", "cmdb_ci_class": "cmdb_ci_computer", "asset_class": "alm_hardware"}
    category_id = talk.post("cmdb_model_category", category).result["sys_id"]
    model = talk.post("cmdb_hardware_product_model", {"name": "T14"}).result["sys_id"]
    asset = {"model": model, "model_category": category_id}
    assert talk.post("alm_hardware", asset).status == 201
    switch(talk, "asset_ci_with_ire", value=True)
    assert talk.post("alm_hardware", asset).error[:2] == (403, "Operation Failed")  # it needs a serial number now
    assert talk.post("alm_hardware", asset | {"serial_number": "S1"}).status == 201
    assert talk.names("cmdb_ci_computer", "serial_number=S1", "name") == ["S1 - T14"]


@pytest.mark.behaviour("11.2", evidence="documentation: c_ManagingAssets.md", switch="asset_job_minutes")
def test_the_job_that_makes_delayed_assets_may_run_more_often(talk: Talk) -> None:
    category = {"name": "Computer", "cmdb_ci_class": "cmdb_ci_computer", "asset_class": "alm_hardware"}
    category_id = talk.post("cmdb_model_category", category).result["sys_id"]
    model = {"name": "T14", "cmdb_model_category": category_id}
    talk.control("PUT", "clock", {"set": "2026-03-01 09:04:00", "frozen": True})
    talk.control("PUT", "switches", {"assets_created_async": True, "asset_job_minutes": 5})
    made = talk.post("cmdb_hardware_product_model", model).result["sys_id"]
    talk.post("cmdb_ci_computer", {"name": "pc", "model_id": made})
    assert talk.rows("alm_asset") == []
    talk.control("PUT", "clock", {"advance": 60})
    assert len(talk.rows("alm_asset")) == 1


@pytest.mark.behaviour("6.2", evidence="assumption", switch="attachments_under_class")
def test_a_file_attached_through_a_parent_may_be_filed_under_the_class(talk: Talk) -> None:
    talk.instance.load("incident", [{"sys_id": "1" * 32}])
    target = f"/api/now/attachment/file?table_name=task&table_sys_id={'1' * 32}&file_name=a.txt"
    plain = {"Content-Type": "text/plain"}
    assert talk.call("POST", target, b"a", plain).result["table_name"] == "task"
    switch(talk, "attachments_under_class", value=True)
    assert talk.call("POST", target, b"a", plain).result["table_name"] == "incident"


@pytest.mark.behaviour("1.7", evidence="documentation: read-only-option.md", switch="read_only_columns_protected")
def test_read_only_columns_may_be_protected_from_writes(talk: Talk) -> None:
    read_only = [e for e, c in talk.instance.dictionary.columns("incident").items() if c.read_only]
    assert "calendar_stc" in read_only
    assert talk.post("incident", {"calendar_stc": "5"}).result["calendar_stc"] == "5"
    switch(talk, "read_only_columns_protected", value=True)
    assert talk.post("incident", {"calendar_stc": "5"}).result["calendar_stc"] == ""


@pytest.mark.behaviour("1.2", evidence="assumption: ITSM shows the call, not the status", switch="tiny_url_status")
def test_the_status_of_a_short_url_may_be_another(talk: Talk) -> None:
    long = {"url": f"{talk.url}/api/now/table/incident?sysparm_limit=1"}
    assert talk.send("POST", "tinyurl", long).status == 200
    switch(talk, "tiny_url_status", 201)
    assert talk.send("POST", "tinyurl", long).status == 201


@pytest.mark.behaviour("1.2", evidence="documentation: c_TableAPI.md", switch="encrypted_columns_taken_plain")
def test_encrypted_columns_may_be_taken_without_input_display_values(talk: Talk) -> None:
    def stored(**params: str) -> str:
        made = talk.post("discovery_credentials", {"name": "c", "password": "secret"}, **params)
        return (talk.instance.read("discovery_credentials", made.result["sys_id"]) or {}).get("password", "")

    assert stored() == ""
    assert stored(sysparm_input_display_value="true") != ""
    switch(talk, "encrypted_columns_taken_plain", value=True)
    assert stored() != ""


@pytest.mark.behaviour("7.2", evidence="documentation: configure-api-key.md", switch="api_key_needs_policy")
def test_an_api_key_may_sign_in_without_a_policy(talk: Talk) -> None:
    key = talk.post("api_key", {"name": "reporting", "user": ADMIN_ID}).result["sys_id"]
    keyed = Talk(talk.url, talk.instance, {"x-sn-apikey": talk.instance.vault.reveal(key, "token")})
    assert keyed.get("table/incident").status == 401
    switch(talk, "api_key_needs_policy", value=False)
    assert keyed.get("table/incident").status == 200
    assert Talk(talk.url, talk.instance, {"x-sn-apikey": "now_made_up"}).get("table/incident").status == 401


@pytest.mark.behaviour(
    "1.8", evidence="documentation: inbound-REST-API-rate-limiting.md", switch="rate_limit_commit_seconds"
)
def test_nodes_that_tell_each_other_at_once_do_not_overshoot(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": "2025-01-01 00:00:00", "rate": 0})
    talk.control("PUT", "nodes", [{"name": "one"}, {"name": "two"}])
    switch(talk, "rate_limit_commit_seconds", 0)
    talk.post("sys_rate_limit_rules", {"name": "Two", "rate_limit": "2", "table": "incident"})
    assert [talk.get("table/incident").status for _ in range(5)].count(200) == 2


def assertion(client_id: str, subject: str, number: int) -> str:
    """A signed assertion of the shared key `key`, good around the real time."""

    def packed(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    head = {"alg": "HS256", "kid": "k1"}
    claims = {"iss": client_id, "aud": client_id, "sub": subject, "iat": START, "exp": START + 600, "jti": str(number)}
    signed = ".".join(packed(json.dumps(part).encode()) for part in (head, claims))
    return f"{signed}.{packed(hmac.new(b'key', signed.encode(), hashlib.sha256).digest())}"


@pytest.mark.behaviour("7.1", evidence="assumption: seen on instances", switch="jwt_bearer_refuses_admin")
def test_the_jwt_bearer_grant_may_serve_administrators(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": "2025-01-01 00:00:00", "rate": 0})
    client = {"name": "jwt", "client_id": "c1", "client_secret": "s1", "inbound_grant_type": "jwt", "active": "true"}
    application = talk.post("oauth_jwt", client | {"user_field": "user_name"}, sysparm_input_display_value="true")
    link = {"name": "k", "oauth_jwt": application.result["sys_id"], "kid": "k1"}
    verifier = talk.post("jwt_verifier_map", link).result["sys_id"]
    talk.patch("jwt_verifier_map", verifier, {"shared_key": "key"}, sysparm_input_display_value="true")

    def status(user: str, number: int) -> int:
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "client_id": "c1", "client_secret": "s1"}
        body = urlencode(form | {"assertion": assertion("c1", user, number)}).encode()
        return talk.call("POST", "/oauth_token.do", body, {"Content-Type": "application/x-www-form-urlencoded"}).status

    talk.instance.add_user("robot", "secret")
    assert (status("robot", 1), status("admin", 2)) == (200, 401)
    switch(talk, "jwt_bearer_refuses_admin", value=False)
    assert status("admin", 3) == 200
