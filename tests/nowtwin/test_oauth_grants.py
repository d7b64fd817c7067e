"""OAuth clients as records, and the grants beyond the password: authorization code with PKCE, JWT bearer."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from html import unescape
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.nowtwin.talk import Reply, Talk

pytestmark = pytest.mark.behaviour(
    "7.1", evidence="documentation: authorization-workflow.md, configure-an-oauth-jwt-bearer-grant.md"
)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BACK = "https://client.example/callback"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
DENIED = {"error": "server_error", "error_description": "access_denied"}
NOW = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp())


@pytest.fixture
def frozen(talk: Talk) -> Talk:
    talk.control("PUT", "clock", {"set": "2025-01-01 00:00:00", "rate": 0})
    return talk


def _client(talk: Talk, table: str = "oauth_entity", **columns: str) -> dict[str, str]:
    body = {"name": "mine", "client_id": "c" * 32, "client_secret": "hush", "redirect_url": BACK, **columns}
    made: dict[str, str] = talk.post(table, body, sysparm_input_display_value="true").result
    return made


def _ask(talk: Talk, **form: str) -> Reply:
    nobody = Talk(talk.url, talk.instance, {})
    return nobody.call("POST", "/oauth_token.do", urlencode(form).encode(), FORM)


def _works(talk: Talk, token: str) -> bool:
    return Talk(talk.url, talk.instance, {"Authorization": f"Bearer {token}"}).get("table/incident").status == 200


# -- clients -------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour(
    "1.2, 7.1",
    evidence="documentation: c_TableAPI.md (encrypted columns); measured by others: set-up scripts",
    switch="encrypted_columns_taken_plain",
)
def test_a_client_made_as_a_record_gets_tokens(frozen: Talk) -> None:
    made = _client(frozen, access_token_lifespan="60")
    assert made["client_secret"] == "********"
    form = {"grant_type": "password", "client_id": "c" * 32, "username": "admin", "password": "admin"}
    token = _ask(frozen, **form, client_secret="hush").json
    assert token["expires_in"] == 60
    assert _works(frozen, token["access_token"])
    assert _ask(frozen, **form, client_secret="other").json == DENIED
    frozen.patch("oauth_entity", made["sys_id"], {"client_secret": "plain"})
    assert _ask(frozen, **form, client_secret="plain").status == 401
    frozen.control("PUT", "switches", {"encrypted_columns_taken_plain": True})
    frozen.patch("oauth_entity", made["sys_id"], {"client_secret": "plain"})
    assert _ask(frozen, **form, client_secret="plain").status == 200
    frozen.patch("oauth_entity", made["sys_id"], {"active": "false"})
    assert _ask(frozen, **form, client_secret="plain").json == DENIED


def test_a_client_without_id_or_secret_is_given_both(frozen: Talk) -> None:
    made = frozen.post("oauth_entity", {"name": "bare"}).result
    assert re.fullmatch("[0-9a-f]{32}", made["client_id"])
    secret = frozen.control("GET", f"secret?sys_id={made['sys_id']}&element=client_secret")["secret"]
    form = {"grant_type": "password", "username": "admin", "password": "admin"}
    assert _ask(frozen, **form, client_id=made["client_id"], client_secret=secret).status == 200


def test_a_client_says_how_long_its_refresh_tokens_live_and_that_it_is_a_client(frozen: Talk) -> None:
    made = _client(frozen, access_token_lifespan="60", refresh_token_lifespan="120")
    client = {"client_id": "c" * 32, "client_secret": "hush"}
    asked = {"grant_type": "password", "username": "admin", "password": "admin"}
    again = {"grant_type": "refresh_token", "refresh_token": _ask(frozen, **client, **asked).json["refresh_token"]}
    frozen.control("PUT", "clock", {"advance": 119})
    assert _ask(frozen, **client, **again).status == 200
    frozen.control("PUT", "clock", {"advance": 1})
    assert _ask(frozen, **client, **again).json == DENIED
    assert _ask(frozen, **client, **asked).status == 200
    frozen.instance.load("oauth_entity", [{"sys_id": made["sys_id"], "client_id": "c" * 32, "type": "oauth_provider"}])
    assert _ask(frozen, **client, **asked).json == DENIED


def test_a_client_is_for_the_grant_it_names(frozen: Talk) -> None:
    made = _client(frozen, inbound_grant_type="client_credential")
    name = "glide.oauth.inbound.client.credential.grant_type.enabled"
    frozen.post("sys_properties", {"name": name, "value": "true"})
    form = {"client_id": "c" * 32, "client_secret": "hush"}
    assert _ask(frozen, **form, grant_type="password", username="admin", password="admin").status == 401
    assert _ask(frozen, **form, grant_type="client_credentials").status == 401
    (admin,) = frozen.rows("sys_user", "user_name=admin")
    frozen.patch("oauth_entity", made["sys_id"], {"user": admin["sys_id"]})
    assert _works(frozen, _ask(frozen, **form, grant_type="client_credentials").json["access_token"])


def test_a_profile_is_a_record_of_its_client(talk: Talk) -> None:
    made = _client(talk)
    profile = {"name": "mine default", "oauth_entity": made["sys_id"], "grant_type": "password", "default": "true"}
    assert talk.post("oauth_entity_profile", profile).result["oauth_entity"]["value"] == made["sys_id"]


def test_two_properties_close_the_password_grant_and_open_the_url(frozen: Talk) -> None:
    _client(frozen)
    form = {"grant_type": "password", "client_id": "c" * 32, "client_secret": "hush"}
    form |= {"username": "admin", "password": "admin"}
    frozen.post("sys_properties", {"name": "glide.oauth.allow.parameters.in.post.body.only", "value": "false"})
    assert frozen.call("POST", f"/oauth_token.do?{urlencode(form)}", b"", FORM).status == 200
    frozen.post("sys_properties", {"name": "glide.oauth.inbound.ropc.grant_type.disabled", "value": "true"})
    assert _ask(frozen, **form).json == DENIED


# -- authorization code --------------------------------------------------------------------------------------------


def _browser(talk: Talk) -> Talk:
    """A session of admin, in a cookie."""
    session = talk.get("table/incident").cookies[0].partition(";")[0]
    return Talk(talk.url, talk.instance, {"Cookie": session})


def _asked(**more: str) -> dict[str, str]:
    return {"response_type": "code", "client_id": "c" * 32, "redirect_uri": BACK, "state": "xyz", **more}


def _decide(browser: Talk, action: str, asked: Mapping[str, str]) -> Reply:
    """Press a button of the consent page."""
    shown = browser.call("GET", f"/oauth_auth.do?{urlencode(asked)}")
    assert shown.status == 200, shown.body
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', shown.body.decode()))
    form = {name: unescape(value) for name, value in fields.items()} | {"sys_action": action}
    return browser.call("POST", "/oauth_auth.do", urlencode(form).encode(), FORM)


def _said(reply: Reply) -> dict[str, str]:
    assert reply.status == 303, reply.body
    address = urlsplit(reply.headers["location"])
    assert f"{address.scheme}://{address.netloc}{address.path}" == BACK
    return {name: values[0] for name, values in parse_qs(address.query or address.fragment).items()}


def test_a_user_allows_and_the_client_exchanges_the_code_once(frozen: Talk) -> None:
    _client(frozen)
    said = _said(_decide(_browser(frozen), "allow", _asked()))
    assert said["state"] == "xyz"
    form = {"grant_type": "authorization_code", "code": said["code"], "redirect_uri": BACK}
    form |= {"client_id": "c" * 32, "client_secret": "hush"}
    token = _ask(frozen, **form).json
    assert _works(frozen, token["access_token"])
    assert token["refresh_token"]
    assert _ask(frozen, **form).json == DENIED


@pytest.mark.parametrize(
    "change", [{"redirect_uri": "https://evil.example/"}, {"client_secret": "wrong"}, {"code": "other"}]
)
def test_a_code_is_bound_to_client_and_address(frozen: Talk, change: dict[str, str]) -> None:
    _client(frozen)
    code = _said(_decide(_browser(frozen), "allow", _asked()))["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK}
    form |= {"client_id": "c" * 32, "client_secret": "hush"}
    assert _ask(frozen, **(form | change)).json == DENIED


def test_a_code_of_yesterday_is_none(frozen: Talk) -> None:
    _client(frozen)
    code = _said(_decide(_browser(frozen), "allow", _asked()))["code"]
    frozen.control("PUT", "clock", {"advance": 86_400})
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK}
    assert _ask(frozen, **form, client_id="c" * 32, client_secret="hush").json == DENIED


def test_a_user_who_denies_sends_the_client_away(talk: Talk) -> None:
    _client(talk)
    assert _said(_decide(_browser(talk), "deny", _asked())) == {"error": "access_denied", "state": "xyz"}


def test_a_public_client_proves_itself_by_pkce(frozen: Talk) -> None:
    _client(frozen, public_client="true")
    verifier = "v" * 50
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    browser = _browser(frozen)
    assert browser.call("GET", f"/oauth_auth.do?{urlencode(_asked())}").status == 400
    asked = _asked(code_challenge=challenge, code_challenge_method="S256")
    form = {"grant_type": "authorization_code", "redirect_uri": BACK, "client_id": "c" * 32}
    wrong = _said(_decide(browser, "allow", asked))["code"]
    assert _ask(frozen, **form, code=wrong, code_verifier="w" * 50).json == DENIED
    right = _said(_decide(browser, "allow", asked))["code"]
    token = _ask(frozen, **form, code=right, code_verifier=verifier).json
    assert _works(frozen, token["access_token"])
    assert "refresh_token" not in token


def test_an_implicit_grant_gives_the_token_in_the_fragment(frozen: Talk) -> None:
    _client(frozen)
    reply = _decide(_browser(frozen), "allow", _asked(response_type="token"))
    assert _works(frozen, _said(reply)["access_token"])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"client_id": "nobody"}, "Invalid client_id"),
        ({"redirect_uri": "https://evil.example/"}, "Invalid redirect_uri"),
        ({"response_type": "magic"}, "Unsupported response_type"),
        ({"state": ""}, "Missing State parameter in request"),
        ({"code_challenge": "x", "code_challenge_method": "MD5"}, "Unsupported code_challenge_method"),
    ],
)
def test_what_cannot_be_asked_is_a_page_and_no_redirect(talk: Talk, change: dict[str, str], text: str) -> None:
    _client(talk)
    reply = _browser(talk).call("GET", f"/oauth_auth.do?{urlencode(_asked(**change))}")
    assert reply.status == 400
    assert "location" not in reply.headers
    assert text in reply.body.decode()


def test_a_property_makes_state_optional(talk: Talk) -> None:
    _client(talk)
    talk.post("sys_properties", {"name": "glide.oauth.state.parameter.required", "value": "false"})
    assert "state" not in _said(_decide(_browser(talk), "allow", _asked(state="")))


def test_who_is_nobody_logs_in_first_and_a_forged_form_is_refused(talk: Talk) -> None:
    _client(talk)
    nobody = Talk(talk.url, talk.instance, {})
    shown = nobody.call("GET", f"/oauth_auth.do?{urlencode(_asked())}")
    assert shown.headers["location"].startswith("/login.do?sysparm_goto_url=%2Foauth_auth.do")
    forged = urlencode(_asked(sys_action="allow", sysparm_ck="guess")).encode()
    assert _browser(talk).call("POST", "/oauth_auth.do", forged, FORM).status == 403


# -- JWT bearer ----------------------------------------------------------------------------------------------------


def _packed(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _claims(**change: object) -> dict[str, object]:
    usual = {"iss": "c" * 32, "aud": "c" * 32, "sub": "beth@x.test", "iat": NOW, "exp": NOW + 300, "jti": "1"}
    return {**usual, **change}


def _signed(claims: Mapping[str, object], key: object, algorithm: str, kid: str = "k1") -> str:
    text = f"{_packed({'alg': algorithm, 'typ': 'JWT', 'kid': kid})}.{_packed(claims)}"
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        numbers = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        signature = b"".join(number.to_bytes(32) for number in numbers)
    else:
        signature = hmac.new(str(key).encode(), text.encode(), hashlib.sha256).digest()
    return f"{text}.{_packed(signature)}"


def _certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "client")])
    begin = datetime(2025, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(begin).not_valid_after(begin + timedelta(days=365))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def _jwt_client(talk: Talk, key: object) -> dict[str, str]:
    made = _client(talk, "oauth_jwt", inbound_grant_type="jwt")
    map_row = {"name": "map", "oauth_jwt": made["sys_id"], "kid": "k1"}
    if isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        pem = {"name": "cert", "type": "trust_store_cert", "pem_certificate": _certificate(key)}
        map_row["sys_certificate"] = talk.post("sys_certificate", pem).result["sys_id"]
    else:
        map_row["shared_key"] = str(key)
    talk.post("jwt_verifier_map", map_row, sysparm_input_display_value="true")
    talk.instance.add_user("beth", "beth", email="beth@x.test")
    return made


@pytest.mark.parametrize("kind", ["RS256", "ES256", "HS256"])
def test_a_signed_assertion_gives_a_token_of_its_subject_without_refresh(frozen: Talk, kind: str) -> None:
    key: object = "shared key"
    if kind == "RS256":
        key = rsa.generate_private_key(65537, 2048)
    elif kind == "ES256":
        key = ec.generate_private_key(ec.SECP256R1())
    _jwt_client(frozen, key)
    form = {"grant_type": JWT_BEARER, "client_id": "c" * 32}
    token = _ask(frozen, **form, assertion=_signed(_claims(), key, kind)).json
    assert "refresh_token" not in token
    beth = Talk(frozen.url, frozen.instance, {"Authorization": f"Bearer {token['access_token']}"})
    assert beth.get("ui/user/current_user").result["user_name"] == "beth"
    assert _ask(frozen, **form, assertion=_signed(_claims(), key, kind)).json == DENIED  # the same jti again
    assert _ask(frozen, **form, assertion=_signed(_claims(jti="2"), key, kind)).status == 200


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "other"},
        {"aud": "other"},
        {"sub": "nobody@x.test"},
        {"exp": NOW - 301},
        {"iat": NOW + 301},
        {"exp": "soon"},
        {"jti": ""},
    ],
)
def test_an_assertion_with_a_wrong_claim_gives_nothing(frozen: Talk, change: dict[str, object]) -> None:
    _jwt_client(frozen, "shared key")
    assertion = _signed(_claims(**change), "shared key", "HS256")
    assert _ask(frozen, grant_type=JWT_BEARER, client_id="c" * 32, assertion=assertion).json == DENIED


@pytest.mark.parametrize("assertion", ["", "a.b", "a.b.c", "e30.e30.", "%%.%%.%%"])
def test_what_is_no_assertion_gives_nothing(frozen: Talk, assertion: str) -> None:
    _jwt_client(frozen, "shared key")
    assert _ask(frozen, grant_type=JWT_BEARER, client_id="c" * 32, assertion=assertion).json == DENIED


def test_another_key_or_algorithm_proves_nothing(frozen: Talk) -> None:
    key = rsa.generate_private_key(65537, 2048)
    _jwt_client(frozen, key)
    form = {"grant_type": JWT_BEARER, "client_id": "c" * 32}
    other = rsa.generate_private_key(65537, 2048)
    for proof, algorithm, kid in (
        (other, "RS256", "k1"),
        (key, "RS256", "k2"),
        ("", "HS256", "k1"),
        (key, "none", "k1"),
    ):
        assert _ask(frozen, **form, assertion=_signed(_claims(), proof, algorithm, kid)).json == DENIED


@pytest.mark.behaviour("7.1", evidence="measured by others: two authors", switch="jwt_bearer_refuses_admin")
def test_an_administrator_gets_no_token_by_assertion(frozen: Talk) -> None:
    made = _jwt_client(frozen, "shared key")
    frozen.patch("oauth_jwt", made["sys_id"], {"user_field": "user_name"})
    form = {"grant_type": JWT_BEARER, "client_id": "c" * 32}
    assert _ask(frozen, **form, assertion=_signed(_claims(sub="admin"), "shared key", "HS256")).json == DENIED
    frozen.control("PUT", "switches", {"jwt_bearer_refuses_admin": False})
    assertion = _signed(_claims(sub="admin", jti="2"), "shared key", "HS256")
    assert _ask(frozen, **form, assertion=assertion).status == 200


# -- scopes --------------------------------------------------------------------------------------------------------


def _scoped(talk: Talk, scope: str, **columns: str) -> str:
    """A scope with a link to the Table API; its sys_id."""
    made: str = talk.post("sys_auth_scope", {"name": scope}).result["sys_id"]
    link = {"name": scope, "api": "Table API", "api_path": "now/table", "auth_scope": made, **columns}
    assert talk.post("sys_api_access_scope", link).status == 201
    return made


@pytest.mark.behaviour(
    "7.1", evidence="documentation: configure-rest-api-auth-scope.md, rest-api-scope-troubleshooting.md"
)
def test_a_linked_api_wants_a_scope_of_the_client_from_its_tokens(frozen: Talk) -> None:
    entity = _client(frozen)["sys_id"]
    form = {"grant_type": "password", "client_id": "c" * 32, "client_secret": "hush"}
    told = _ask(frozen, **form, username="admin", password="admin").json
    assert told["scope"] == "useraccount"
    bearer = Talk(frozen.url, frozen.instance, {"Authorization": f"Bearer {told['access_token']}"})
    assert bearer.get("table/incident").status == 200

    read = _scoped(frozen, "table_read", apply_all_methods="false", http_method="GET")
    _scoped(frozen, "table_write")
    refused = (403, "User Not Authorized")
    got = bearer.get("table/incident").error
    assert (got[:2], (got[2] or "").startswith("Missing required api access scope: table_")) == (refused, True)
    assert frozen.get("table/incident").status == 200, "Basic has no scopes"
    assert bearer.get("stats/incident", sysparm_count="true").status == 200
    item = {"id": "1", "method": "GET", "url": "/api/now/table/incident"}
    batch = bearer.send("POST", "v1/batch", {"batch_request_id": "1", "rest_requests": [item]}).json
    assert batch["serviced_requests"][0]["status_code"] == 403

    mapping = {"oauth_entity": entity, "auth_scope": read}
    assert frozen.post("oauth_entity_auth_scope_mapping", mapping).status == 201
    assert bearer.get("table/incident").status == 200, "the token that there is"
    got = bearer.post("incident", {}).error
    assert got == (*refused, "Missing required api access scope: table_write")
    assert _ask(frozen, **form, username="admin", password="admin").json["scope"] == "table_read"

    (everything,) = frozen.rows("sys_auth_scope", "name=useraccount")
    made = frozen.post("oauth_entity_auth_scope_mapping", mapping | {"auth_scope": everything["sys_id"]}).result
    assert bearer.post("incident", {}).status == 201
    frozen.delete("oauth_entity_auth_scope_mapping", made["sys_id"])
    assert bearer.post("incident", {}).status == 403
    frozen.post("sys_properties", {"name": "com.glide.rest.api.auth.scope.check.enable", "value": "false"})
    assert bearer.post("incident", {}).status == 201


@pytest.mark.behaviour("7.1", evidence="documentation: configure-rest-api-auth-scope.md")
def test_a_link_is_for_a_version_a_resource_or_while_it_is_active(frozen: Talk) -> None:
    _client(frozen)
    form = {"grant_type": "password", "client_id": "c" * 32, "client_secret": "hush"}
    told = _ask(frozen, **form, username="admin", password="admin").json
    bearer = Talk(frozen.url, frozen.instance, {"Authorization": f"Bearer {told['access_token']}"})
    some = {"apply_all_versions": "false", "version": "v1"}
    _scoped(frozen, "old", **some, apply_all_resources="false", api_resource="/now/table/{tableName}")
    _scoped(frozen, "idle", active="false")
    statuses = [bearer.get(path).status for path in ("v1/table/sys_user", "v2/table/sys_user", "table/sys_user")]
    assert statuses == [403, 200, 200]
    one = frozen.rows("sys_user", "user_name=admin")[0]["sys_id"]
    assert bearer.get(f"v1/table/sys_user/{one}").status == 200, "another resource"
