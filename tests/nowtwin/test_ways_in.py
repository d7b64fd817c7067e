"""API keys, access policies, multi-factor codes, the restriction of Basic, accounts that may not sign in."""

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

import pytest

from nowtwin.instance import OAUTH_CLIENT, OAUTH_SECRET, Instance
from nowtwin.serving.server import Certificate, make_certificate
from nowtwin.testing import RunningServer, serve
from tests.nowtwin.talk import Talk, basic

START = "2025-06-01 00:00:00"
NOT_AUTHENTICATED = (401, "User Not Authenticated", "Required to provide Auth information")


def _beth(talk: Talk, **columns: str) -> str:
    return talk.instance.add_user("beth", "beth", **columns)


def _by_key(talk: Talk, key: str) -> Talk:
    return Talk(talk.url, talk.instance, {"x-sn-apikey": key})


def _set(talk: Talk, name: str, value: str) -> None:
    rows = talk.rows("sys_properties", f"name={name}")
    if rows:
        talk.patch("sys_properties", rows[0]["sys_id"], {"value": value})
    else:
        talk.post("sys_properties", {"name": name, "value": value})


def _open_to_keys(talk: Talk, place: str = "auth_header") -> str:
    """What the set-up pages say: activate the policy, make a profile for the parameter, map it; the policy's sys_id."""
    (policy,) = talk.rows("sys_api_access_policy", "name=Table GET API Access Policy")
    talk.patch("sys_api_access_policy", policy["sys_id"], {"active": "true", "apply_all_tables": "true"})
    (parameter,) = talk.rows("sys_token_auth_parameter", f"parameter_name=x-sn-apikey^type={place}")
    profile = talk.post("http_key_auth", {"name": "keys", "auth_parameter": parameter["sys_id"]}).result["sys_id"]
    _map(talk, policy["sys_id"], profile)
    found: str = policy["sys_id"]
    return found


def _map(talk: Talk, policy: str, profile: str) -> None:
    talk.post("sys_auth_profile_mapping", {"api_access_policy": policy, "inbound_auth_profile": profile})


def _key(talk: Talk, user: str, **columns: str) -> tuple[str, str]:
    """sys_id and token of a key made as a record."""
    made = talk.post("api_key", {"name": "key", "user": user, **columns}).result
    assert made["token"] == "********"
    sys_id = made["sys_id"]
    return sys_id, talk.control("GET", f"secret?sys_id={sys_id}&element=token")["secret"]


@pytest.mark.behaviour(
    "7.2",
    evidence="documentation: configure-api-key.md; measured by others: set-up scripts",
    switch="api_key_needs_policy",
)
def test_a_key_signs_in_once_a_policy_has_a_profile_for_it(talk: Talk) -> None:
    _, token = _key(talk, _beth(talk))
    assert token.startswith("now_")
    keyed = _by_key(talk, token)
    assert keyed.get("table/incident").error == NOT_AUTHENTICATED
    _open_to_keys(talk)
    assert keyed.get("table/incident").status == 200
    assert talk.control("GET", "calls")["calls"][-1]["user"] == "beth"
    assert keyed.post("incident", {}).status == 401  # the policy is for reads of the Table API
    talk.control("PUT", "switches", {"api_key_needs_policy": False})
    assert keyed.post("incident", {}).result["sys_created_by"] == "beth"


@pytest.mark.behaviour("7.2", evidence="documentation: configure-api-key.md; measured by others: set-up scripts")
def test_a_policy_with_profiles_takes_only_these_ways(talk: Talk) -> None:
    _, token = _key(talk, _beth(talk))
    policy = _open_to_keys(talk)
    assert talk.get("table/incident").error == NOT_AUTHENTICATED
    assert talk.post("incident", {}).status == 201
    talk.control("PUT", "clock", {"set": START, "rate": 0})
    profile = talk.instance.storage.rows("SELECT sys_id FROM sys_inbound_auth_profile WHERE type = 'basic_auth'")
    _map(talk, policy, str(profile[0][0]))
    assert talk.get("table/incident").status == 200
    assert _by_key(talk, token).get("table/incident").status == 200


@pytest.mark.behaviour("7.2", evidence="documentation: configure-api-key.md; measured by others: set-up scripts")
def test_a_key_in_the_url_needs_a_profile_of_its_own_and_is_no_filter(talk: Talk) -> None:
    _, token = _key(talk, _beth(talk))
    talk.post("incident", {})
    _open_to_keys(talk, "query_param")
    nobody = Talk(talk.url, talk.instance, {})
    reply = nobody.call("GET", f"/api/now/table/incident?{urlencode({'x-sn-apikey': token})}")
    assert len(reply.result) == 1
    assert _by_key(talk, token).get("table/incident").status == 401
    (call,) = talk.control("GET", "calls")["calls"][-2:-1]
    assert token not in str(call)


@pytest.mark.behaviour("7.2", evidence="documentation: configure-api-key.md; measured by others: set-up scripts")
def test_a_key_ends_with_its_time_its_flag_its_user(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": START, "rate": 0})
    talk.control("PUT", "switches", {"api_key_needs_policy": False})
    user = _beth(talk)
    sys_id, token = _key(talk, user, expires="2025-06-02 00:00:00")
    keyed = _by_key(talk, token)
    assert keyed.get("table/incident").status == 200
    for change in ({"active": "false"}, {"active": "true", "expires": START}):
        talk.patch("api_key", sys_id, change)
        assert keyed.get("table/incident").status == 401
    talk.patch("api_key", sys_id, {"expires": ""})
    assert keyed.get("table/incident").status == 200
    talk.patch("sys_user", user, {"active": "false"})
    assert keyed.get("table/incident").status == 401
    assert _by_key(talk, "now_guess").get("table/incident").status == 401


@pytest.mark.behaviour("7.1", evidence="documentation: c_OAuthAuthorizationCodeFlow.md")
def test_an_access_token_in_the_url_signs_in_and_is_no_filter(talk: Talk) -> None:
    form = {"grant_type": "password", "client_id": OAUTH_CLIENT, "client_secret": OAUTH_SECRET}
    body = urlencode(form | {"username": "admin", "password": "admin"}).encode()
    granted = talk.call("POST", "/oauth_token.do", body, {"Content-Type": "application/x-www-form-urlencoded"})
    talk.post("incident", {})
    nobody = Talk(talk.url, talk.instance, {})
    assert len(nobody.get("table/incident", access_token=granted.json["access_token"]).result) == 1
    assert nobody.get("table/incident", access_token="guess").status == 401


@pytest.mark.behaviour("1.8, 7.2", evidence="documentation: c_MFAforREST.md, r_MFAResponses.md")
def test_a_multi_factor_account_shows_a_code_behind_its_password(talk: Talk) -> None:
    account = {"user_name": "beth", "password": "beth9", "columns": {"enable_multifactor_authn": "true"}}
    talk.control("POST", "users", account | {"one_time_code": "123456"})
    assert talk.as_user("beth", "beth9123456").get("table/incident").status == 200
    for password in ("beth9", "beth9654321"):
        refused = talk.as_user("beth", password).get("table/incident")
        assert refused.error == NOT_AUTHENTICATED
        assert refused.headers["x-mfa_token"] == "invalid"
    wrong = talk.as_user("beth", "wrong123456").get("table/incident")
    assert (wrong.status, "x-mfa_token" in wrong.headers) == (401, False)


@pytest.mark.behaviour("7.2", evidence="documentation: basic-auth-restriction.md; measured by others: LH")
def test_the_restriction_of_basic_lets_only_named_accounts_in(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": START, "rate": 0})
    user = _beth(talk)
    talk.instance.add_user("robot", "robot", web_service_access_only="true")
    restriction = "glide.authenticate.basic_auth.restriction."
    session = talk.get("table/incident").cookies[0].partition(";")[0]
    inside = Talk(talk.url, talk.instance, {"Cookie": session})
    beth = talk.as_user("beth", "beth")
    _set(inside, f"{restriction}active", "true")
    assert beth.get("table/incident").status == 200
    _set(inside, f"{restriction}enforcement_date", "2025-06-02 00:00:00")
    _set(inside, f"{restriction}enforce", "true")
    assert beth.get("table/incident").status == 200
    talk.control("PUT", "clock", {"advance": 86_400})
    assert beth.get("table/incident").error == NOT_AUTHENTICATED
    assert talk.as_user("robot", "robot").get("table/incident").status == 200
    _set(inside, "glide.authenticate.basic_auth.allowed_users", "abel, beth")
    assert beth.get("table/incident").status == 200
    _set(inside, "glide.authenticate.basic_auth.allowed_users", "")
    assert beth.get("table/incident").status == 401
    role = inside.post("sys_user_role", {"name": "snc_basic_auth_api_access"}).result["sys_id"]
    inside.post("sys_user_has_role", {"user": user, "role": role, "state": "active"})
    assert beth.get("table/incident").status == 200


@pytest.mark.behaviour("7.2", evidence="documentation: sys_user columns (locked_out, active)")
@pytest.mark.parametrize("change", [{"locked_out": "true"}, {"active": "false"}])
def test_a_locked_or_inactive_account_is_nobody_by_every_way(talk: Talk, change: dict[str, str]) -> None:
    user = _beth(talk)
    beth = talk.as_user("beth", "beth")
    session = beth.get("table/incident").cookies[0].partition(";")[0]
    talk.patch("sys_user", user, change)
    assert beth.get("table/incident").error == NOT_AUTHENTICATED
    assert Talk(talk.url, talk.instance, {"Cookie": session}).get("table/incident").status == 401


@pytest.mark.behaviour("7.2", evidence="documentation: sys_user.web_service_access_only")
def test_an_account_for_web_services_cannot_log_in_to_pages(talk: Talk) -> None:
    _beth(talk, web_service_access_only="true")
    form = urlencode({"user_name": "beth", "user_password": "beth", "sys_action": "sysverb_login"}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert Talk(talk.url, talk.instance, {}).call("POST", "/login.do", form, headers).status == 401
    assert Talk(talk.url, talk.instance, {"Authorization": basic("beth", "beth")}).get("table/incident").status == 200


def _ask(server: RunningServer, mine: Certificate, **headers: str) -> tuple[int, str]:
    """Status, and the name of the user as whom a request with a client certificate runs."""
    context = ssl.create_default_context(cafile=str(server.certificate))
    context.load_cert_chain(mine.certificate, mine.key)
    request = urllib.request.Request(f"{server.url}/api/now/ui/user/current_user", headers=headers)
    try:
        with urllib.request.urlopen(request, context=context) as answer:
            return answer.status, json.loads(answer.read())["result"]["user_name"]
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, ""


@pytest.mark.behaviour("7.2", evidence="documentation: set-up-mutual-auth.md; assumption: other proofs come first")
def test_a_client_certificate_signs_in_the_user_that_it_is_mapped_to(tmp_path: Path) -> None:
    mine = make_certificate(tmp_path)
    with Instance() as instance, serve(instance, client_authorities=mine.certificate) as server:
        assert server.certificate
        beth, abel = instance.add_user("beth", "beth"), instance.add_user("abel", "abel")
        other = instance.insert("sys_user_certificate", {"name": "another", "user": abel}).sys_id
        assert _attach(server, mine, other, server.certificate.read_bytes()) == 201
        mapping = instance.insert("sys_user_certificate", {"name": "laptop", "user": beth}).sys_id
        assert _ask(server, mine) == (401, "")
        assert _attach(server, mine, mapping, b"no certificate") == 201
        assert _ask(server, mine) == (401, "")
        assert _attach(server, mine, mapping, mine.certificate.read_bytes()) == 201
        assert _ask(server, mine) == (200, "beth")
        assert _ask(server, mine, Authorization=basic("admin", "admin")) == (200, "admin")
        assert _ask(server, mine, Authorization=basic("admin", "wrong")) == (401, "")
        instance.update("sys_user_certificate", mapping, {"active": "false"})
        assert _ask(server, mine) == (401, "")
        instance.update("sys_user_certificate", mapping, {"active": "true"})
        instance.update("sys_user", beth, {"locked_out": "true"})
        assert _ask(server, mine) == (401, "")
        instance.update("sys_user", beth, {"locked_out": "false"})
        assert _ask(server, mine) == (200, "beth")
        instance.insert("sys_properties", {"name": "glide.authenticate.mutual.enabled", "value": "false"})
        assert _ask(server, mine) == (401, "")


def _attach(server: RunningServer, mine: Certificate, mapping: str, pem: bytes) -> int:
    """Attach a file to a mapping as an administrator does."""
    context = ssl.create_default_context(cafile=str(server.certificate))
    context.load_cert_chain(mine.certificate, mine.key)
    place = urlencode({"table_name": "sys_user_certificate", "table_sys_id": mapping, "file_name": "mine.pem"})
    headers = {"Authorization": basic("admin", "admin"), "Content-Type": "application/x-pem-file"}
    request = urllib.request.Request(f"{server.url}/api/now/attachment/file?{place}", pem, headers)
    with urllib.request.urlopen(request, context=context) as answer:
        status: int = answer.status
        return status
