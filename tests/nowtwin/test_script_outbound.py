"""RESTMessageV2 against a local server: what is sent, what a script sees, and what stays closed.

Evidence: servicenow-api.md 8.1 for the methods; texts of errors are assumptions.
"""

import base64
import hmac
import json

import pytest

from nowtwin.instance import Instance
from nowtwin.testing import serve
from tests.nowtwin.hook import Hook
from tests.nowtwin.scripts import add_rule, errors, evaluated, insert, logged, settle
from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour("8.1", evidence="documentation: RESTMessageV2 API reference")


def test_a_request_carries_what_the_script_set_and_the_answer_comes_back(talk: Talk, hook: Hook) -> None:
    body = f"""(function () {{ var r = new sn_ws.RESTMessageV2(); r.setEndpoint('{hook.url}/in?a=1'); r.setHttpMethod('post');
        r.setRequestHeader('Content-Type', 'application/json'); r.setRequestHeader('content-type', 'text/odd');
        r.setQueryParameter('b', 'x y&z'); r.setRequestBody(JSON.stringify({{n: current.number, t: 'Grüße'}}));
        r.setBasicAuth('joe', 'sécret'); r.setHttpTimeout(5000); var a = r.execute();
        return [a.getStatusCode(), a.getHeader('x-hook'), a.getHeaders()['X-Hook'], a.haveError(), a.getErrorCode(),
            a.getErrorMessage(), JSON.parse(JSON.parse(a.getBody()).got).t].join('|'); }})()"""
    assert evaluated(talk, body) == "200|yes|yes|false|0||Grüße"
    seen = hook.seen.get(timeout=60)
    assert (seen.method, seen.path) == ("POST", "/in?a=1&b=x+y%26z")
    assert seen.headers["content-type"] == "text/odd"
    assert base64.b64decode(seen.headers["authorization"].removeprefix("Basic ")).decode() == "joe:sécret"
    assert json.loads(seen.body)["n"].startswith("INC")


@pytest.mark.parametrize("method", ["get", "PUT", "patch", "delete"])
def test_every_method_can_be_sent(talk: Talk, hook: Hook, method: str) -> None:
    evaluated(
        talk,
        f"(function () {{ var r = new sn_ws.RESTMessageV2(); r.setEndpoint('{hook.url}'); r.setHttpMethod('{method}'); return r.execute().getStatusCode(); }})()",
    )
    assert hook.seen.get(timeout=60).method == method.upper()


SEND = "(function () {{ var r = new sn_ws.RESTMessageV2(); r.setEndpoint('{url}'); r.setHttpTimeout(300); var a = r.execute(); return [a.getStatusCode(), a.haveError(), a.getErrorCode(), a.getErrorMessage()].join('|'); }})()"


@pytest.mark.behaviour("8.1", evidence="assumption: texts of errors", switch="outbound_anywhere")
@pytest.mark.parametrize(
    ("url", "outcome"),
    [
        ("{hook}/404", "404|true|1|Method failed: (/404) with code: 404"),
        ("{hook}/204", "204|false|0|"),
        ("{hook}/silent", "0|true|1|Request timed out"),
        ("https://example.com/", "0|true|1|nowtwin reaches other machines only with the switch outbound_anywhere: example.com"),
        ("http://10.1.2.3:80/", "0|true|1|nowtwin reaches other machines only with the switch outbound_anywhere: 10.1.2.3"),
        ("http://localhost.evil.test/", "0|true|1|nowtwin reaches other machines only with the switch outbound_anywhere: localhost.evil.test"),
        ("file:///etc/passwd", "0|true|1|Invalid uri 'file:///etc/passwd'"),
        ("", "0|true|1|Invalid uri ''"),
        ("http://[half", "0|true|1|Invalid uri 'http://[half': Invalid IPv6 URL"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_told_by_the_response(talk: Talk, hook: Hook, url: str, outcome: str) -> None:
    assert evaluated(talk, SEND.format(url=url.format(hook=hook.url))) == outcome


def test_a_refused_connection_is_an_error_of_the_response(talk: Talk) -> None:
    assert evaluated(talk, SEND.format(url="http://127.0.0.1:9/")).startswith("0|true|1|ConnectionRefusedError")


@pytest.mark.behaviour("8.1", evidence="assumption: certificates count", switch="outbound_verifies_certificates")
def test_a_certificate_that_nobody_trusts_is_refused_unless_a_switch_says_otherwise(talk: Talk) -> None:
    with Instance() as other, serve(other, tls=True) as secure:
        url = secure.url + "/api/now/table/incident"
        refused = evaluated(talk, SEND.format(url=url).replace("300", "9000"))
        assert refused.startswith("0|true|1|SSLCertVerificationError")
        talk.control("PUT", "switches", {"outbound_verifies_certificates": False})
        taken = evaluated(talk, SEND.format(url=url).replace("300", "9000"))
        assert taken == "401|true|1|Method failed: (/api/now/table/incident) with code: 401"


def test_headers_cannot_be_split(talk: Talk, hook: Hook) -> None:
    script = f"""(function () {{ var r = new sn_ws.RESTMessageV2(); r.setEndpoint('{hook.url}');
        r.setRequestHeader('X-A', 'b\\r\\nX-C: d'); return r.execute().getErrorMessage(); }})()"""
    assert evaluated(talk, script).startswith("ValueError: Invalid header value")
    assert hook.seen.empty()


def test_an_asynchronous_request_is_waited_for_when_its_answer_is_asked(talk: Talk, hook: Hook) -> None:
    script = f"""(function () {{ var r = new sn_ws.RESTMessageV2(); r.setEndpoint('{hook.url}/a'); var one = r.executeAsync();
        r.setEndpoint('{hook.url}/silent'); var two = r.executeAsync(); two.waitForResponse(0.2);
        return [one.getStatusCode(), two.getStatusCode(), two.haveError(), two.getErrorMessage()].join('|'); }})()"""
    assert evaluated(talk, script) == "200|0|true|No response received in 0.2 s"


def test_an_async_rule_posts_a_signed_webhook(talk: Talk, hook: Hook) -> None:
    script = f"""(function executeRule(current, previous) {{
        var body = JSON.stringify({{table: current.getTableName(), sys_id: current.getUniqueValue(), operation: current.operation()}});
        var key = gs.base64Encode(gs.getProperty('x.hook.secret'));
        var r = new sn_ws.RESTMessageV2(); r.setEndpoint('{hook.url}/hook'); r.setHttpMethod('POST');
        r.setRequestHeader('Content-Type', 'application/json');
        r.setRequestHeader('X-Signature', new CertificateEncryption().generateMac(key, 'HmacSHA256', body));
        r.setRequestBody(body); var a = r.execute(); if (a.haveError()) gs.error(a.getErrorMessage());
        }})(current, previous);"""
    talk.post("sys_properties", {"name": "x.hook.secret", "value": "topsecret"})
    add_rule(talk, script, when="async_always", action_update=True)
    record = insert(talk)
    settle(talk)
    seen = hook.seen.get(timeout=60)
    assert json.loads(seen.body) == {"table": "incident", "sys_id": record["sys_id"], "operation": "insert"}
    signature = base64.b64encode(hmac.digest(b"topsecret", seen.body.encode(), "sha256")).decode()
    assert seen.headers["x-signature"] == signature
    assert errors(talk) == []


@pytest.mark.parametrize("when", ["before", "after", "async"])
def test_the_place_that_is_called_can_call_the_twin_back(talk: Talk, hook: Hook, when: str) -> None:
    script = (
        f"var r = new sn_ws.RESTMessageV2(); r.setEndpoint('{hook.url}/back'); gs.info(r.execute().getStatusCode());"
    )
    insert(talk)
    add_rule(talk, script, when=when)
    insert(talk)
    settle(talk)
    assert logged(talk) == ["200"]
    assert len(hook.called_back.get(timeout=60).result) == (1 if when == "before" else 2)


def test_a_saved_message_gives_endpoint_method_and_content(talk: Talk, hook: Hook) -> None:
    message = talk.post("sys_rest_message", {"name": "Hook", "rest_endpoint": hook.url}).result["sys_id"]
    function = {"rest_message": message, "function_name": "tell", "http_method": "put"}
    talk.post("sys_rest_message_fn", function | {"rest_endpoint": hook.url + "/${what}", "content": '{"n":"${n}"}'})
    script = """(function () { var r = new sn_ws.RESTMessageV2('Hook', 'tell'); r.setStringParameterNoEscape('what', 'thing');
        r.setStringParameter('n', '<1>'); return r.execute().getStatusCode(); })()"""
    assert evaluated(talk, script) == "200"
    seen = hook.seen.get(timeout=60)
    assert (seen.method, seen.path, seen.body) == ("PUT", "/thing", '{"n":"&lt;1&gt;"}')


def test_a_saved_message_brings_headers_parameters_and_its_profile(talk: Talk, hook: Hook) -> None:
    profile = {"name": "Desk", "username": "desk", "password": "sécret"}
    made = talk.post("sys_auth_profile_basic", profile, sysparm_input_display_value="true")
    signed = {"authentication_type": "basic", "basic_auth_profile": made.result["sys_id"]}
    message = talk.post("sys_rest_message", {"name": "Hook", "rest_endpoint": hook.url, **signed}).result["sys_id"]
    function = {"rest_message": message, "function_name": "tell", "http_method": "post", "content": "{}"}
    tell = talk.post("sys_rest_message_fn", function).result["sys_id"]
    for name, value in (("X-All", "message"), ("X-Both", "message")):
        talk.post("sys_rest_message_headers", {"rest_message": message, "name": name, "value": value})
    talk.post("sys_rest_message_fn_headers", {"rest_message_function": tell, "name": "X-Both", "value": "${how}"})
    talk.post("sys_rest_message_fn_parameters", {"rest_message_function": tell, "name": "q", "value": "a b"})
    script = """(function () { var r = new sn_ws.RESTMessageV2('Hook', 'tell'); r.setStringParameter('how', 'function');
        return r.execute().getStatusCode(); })()"""
    assert evaluated(talk, script) == "200"
    seen = hook.seen.get(timeout=60)
    assert (seen.method, seen.path, seen.headers["x-all"], seen.headers["x-both"]) == (
        "POST",
        "/?q=a+b",
        "message",
        "function",
    )
    assert base64.b64decode(seen.headers["authorization"].removeprefix("Basic ")).decode() == "desk:sécret"


def test_a_profile_is_set_by_its_sys_id(talk: Talk, hook: Hook) -> None:
    profile = {"name": "Desk", "username": "desk", "password": "p"}
    made = talk.post("sys_auth_profile_basic", profile, sysparm_input_display_value="true").result["sys_id"]
    script = """(function () {{ var r = new sn_ws.RESTMessageV2(); r.setEndpoint('{url}'); r.setAuthenticationProfile('basic', '{profile}');
        return r.execute().getStatusCode(); }})()"""
    assert evaluated(talk, script.format(url=hook.url, profile=made)) == "200"
    assert base64.b64decode(hook.seen.get(timeout=60).headers["authorization"].removeprefix("Basic ")) == b"desk:p"
    add_rule(talk, f"gs.info({script.format(url=hook.url, profile='nowhere')});")
    insert(talk)
    assert errors(talk)[0].startswith("Error: There is no basic authentication profile nowhere")


def test_what_the_twin_does_not_have_says_so(talk: Talk) -> None:
    add_rule(talk, "new sn_ws.RESTMessageV2().setMutualAuth('profile');")
    add_rule(talk, "new sn_ws.RESTMessageV2('no such', 'message');", order=200)
    insert(talk)
    found = sorted(line.split("\n")[0] for line in errors(talk))
    assert found == [
        "Error: REST message no such has no function message",
        "Error: nowtwin has no mutual authentication",
    ]


@pytest.mark.behaviour("8.1", evidence="assumption: which column holds what", switch="ecc_endpoint_in_source")
def test_a_message_for_a_mid_server_is_a_row_of_the_queue(talk: Talk) -> None:
    script = """var r = new sn_ws.RESTMessageV2(); r.setEndpoint('http://inside.example/x'); r.setHttpMethod('POST');
        r.setMIDServer('lab'); r.setEccCorrelator('c1'); r.setRequestBody('<&>'); r.setRequestHeader('A', 'b');
        r.setEccParameter('skip_sensor', 'true'); var s = r.execute(); gs.info(s.getStatusCode() + ' ' + s.haveError());"""
    add_rule(talk, script)
    insert(talk)
    (row,) = talk.rows("ecc_queue")
    told = {
        "agent": "mid.server.lab",
        "topic": "RESTProbe",
        "queue": "output",
        "state": "ready",
        "agent_correlator": "c1",
    }
    assert {element: row[element] for element in told} == told
    assert (row["source"], row["name"]) == ("http://inside.example/x", "post")
    for part in (
        'name="content" value="&lt;&amp;&gt;"',
        'name="header_A" value="b"',
        'name="skip_sensor" value="true"',
    ):
        assert part in row["payload"]
    assert logged(talk) == ["0 true"]
    talk.control("PUT", "switches", {"ecc_endpoint_in_source": False})
    insert(talk)
    assert len(talk.rows("ecc_queue", "name=http://inside.example/x^source=post")) == 1
