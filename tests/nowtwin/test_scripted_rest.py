"""Scripted REST APIs: resources as records, their scripts answer calls."""

from dataclasses import replace

import pytest

from nowtwin.schema.metadata import row_id
from tests.nowtwin.scripts import errors
from tests.nowtwin.talk import Reply, Talk

pytestmark = pytest.mark.behaviour("8.2", evidence="documentation: r_ScriptedRESTServiceScriptExamples.md")


def process(body: str) -> str:
    return (
        f"(function process(/*RESTAPIRequest*/ request, /*RESTAPIResponse*/ response) {{ {body} }})(request, response);"
    )


@pytest.fixture
def service(talk: Talk) -> str:
    """The API `/api/x_nowt_comp/desk`; returns its sys_id."""
    body = {"name": "Desk", "service_id": "desk", "namespace": "x_nowt_comp", "base_uri": "/api/x_nowt_comp/desk"}
    sys_id: str = talk.post("sys_ws_definition", body | {"active": True}).result["sys_id"]
    return sys_id


def resource(talk: Talk, service: str, script: str, **columns: object) -> str:
    body = {"name": "R", "web_service_definition": service, "active": True, "http_method": "GET", "relative_path": "/"}
    body |= {"operation_script": process(script), "requires_authentication": True}
    made = talk.post("sys_ws_operation", body | columns)
    assert made.status == 201
    sys_id: str = made.result["sys_id"]
    return sys_id


def desk(talk: Talk, path: str = "", method: str = "GET", body: bytes | None = None, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return talk.call(method, f"/api/x_nowt_comp/desk{path}", body, named)


def test_a_resource_answers_what_its_script_returns(talk: Talk, service: str) -> None:
    script = """return {uri: request.uri, url: request.url, params: request.queryParams, text: request.queryString,
        header: request.getHeader('X-Custom'), same: request.headers['x-custom'], id: request.pathParams.id, who: gs.getUserName()};"""
    resource(talk, service, script, relative_path="/visit/{id}")
    reply = desk(talk, "/visit/42?a=1&a=2&b=x", X_Custom="yes")
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json;charset=UTF-8"
    url = f"{talk.instance.url}/api/x_nowt_comp/desk/visit/42?a=1&a=2&b=x"
    assert reply.result == {
        "uri": "/api/x_nowt_comp/desk/visit/42", "url": url, "params": {"a": ["1", "2"], "b": ["x"]}, "text": "a=1&a=2&b=x",
        "header": "yes", "same": "yes", "id": "42", "who": "admin",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'[{"name": "user0", "id": "1234"}, {"name": "user1", "id": "5678"}]'),
        (
            "application/xml",
            b"<request><entry><name>user0</name><id>1234</id></entry><entry><name>user1</name><id>5678</id></entry></request>",
        ),
    ],
)
def test_the_documented_example_reads_json_and_xml_bodies(talk: Talk, service: str, kind: str, body: bytes) -> None:
    script = "var body = request.body.data; return {id: body[0].id, name: body[0].name, id1: body[1].id, name1: body[1].name};"
    resource(talk, service, script, http_method="POST", relative_path="/body")
    reply = desk(talk, "/body", "POST", body, Content_Type=kind)
    assert reply.result == {"id": "1234", "name": "user0", "id1": "5678", "name1": "user1"}


def test_the_body_comes_as_text_and_entry_by_entry_too(talk: Talk, service: str) -> None:
    script = """var names = []; while (request.body.hasNext()) names.push(request.body.nextEntry().n);
        return {text: request.body.dataString, names: names};"""
    resource(talk, service, script, http_method="PUT")
    reply = desk(talk, "", "PUT", b'[{"n":1},{"n":2}]', Content_Type="application/json")
    assert reply.result == {"text": '[{"n":1},{"n":2}]', "names": [1, 2]}


def test_status_headers_and_body_are_the_scripts(talk: Talk, service: str) -> None:
    script = """var r = new GlideRecord('incident'); r.initialize(); r.short_description = request.body.data.text; r.insert();
        response.setStatus(201); response.setHeader('X-Made', 'yes'); response.setLocation('/there');
        response.setBody({number: r.number, priority: r.getDisplayValue('priority')});"""
    resource(talk, service, script, http_method="POST")
    reply = desk(talk, "", "POST", b'{"text": "from the desk"}', Content_Type="application/json")
    assert (reply.status, reply.headers["x-made"], reply.headers["location"]) == (201, "yes", "/there")
    assert reply.result == {"number": talk.names("incident", "", "number")[0], "priority": "5 - Planning"}
    assert talk.names("incident", "") == ["from the desk"]


def test_a_stream_writer_answers_in_a_type_of_its_own(talk: Talk, service: str) -> None:
    script = """response.setContentType('text/csv'); response.setStatus(200); var w = response.getStreamWriter();
        w.writeString('a,b\\n'); w.writeString('1,2\\n');"""
    resource(talk, service, script)
    reply = desk(talk)
    assert (reply.status, reply.headers["content-type"], reply.body) == (200, "text/csv", b"a,b\n1,2\n")


@pytest.mark.parametrize(
    ("script", "answered"),
    [
        ("response.setError(new sn_ws_err.BadRequestError('sample error message'));", (400, "sample error message", None)),
        ("response.setError(new sn_ws_err.NotFoundError('sample error message'));", (404, "sample error message", None)),
        ("return new sn_ws_err.NotFoundError('x') && response.setError(new sn_ws_err.ConflictError('twice'));", (409, "twice", None)),
        ("throw new sn_ws_err.NotAcceptableError('not so');", (406, "not so", None)),
        ("response.setError(new sn_ws_err.UnsupportedMediaTypeError('odd'));", (415, "odd", None)),
        (
            "var e = new sn_ws_err.ServiceError(); e.setStatus(418); e.setMessage('I am a Teapot'); e.setDetail('Here'); response.setError(e);",
            (418, "I am a Teapot", "Here"),
        ),
    ],
)  # fmt: skip
def test_errors_have_the_body_of_every_error(
    talk: Talk, service: str, script: str, answered: tuple[int, str, str | None]
) -> None:
    resource(talk, service, script)
    assert desk(talk).error == answered


@pytest.mark.behaviour(
    "8.2", evidence="assumption: answers of failing and of silent scripts", switch="scripted_api_failure_status"
)
def test_a_script_that_fails_or_says_nothing(talk: Talk, service: str) -> None:
    resource(talk, service, "nowhere.to();", relative_path="/bad")
    resource(talk, service, "", relative_path="/silent")
    resource(talk, service, "return request.body.data;", relative_path="/parsed", http_method="POST")
    status, message, detail = desk(talk, "/bad").error
    assert (status, message) == (500, "Script Evaluation Exception")
    assert "nowhere" in (detail or "")
    assert "sys_ws_operation." in errors(talk)[0]
    talk.control("PUT", "switches", {"scripted_api_failure_status": 400})
    assert desk(talk, "/bad").status == 400
    assert desk(talk, "/silent").json == {"result": {}}
    bad = desk(talk, "/parsed", "POST", b"{", Content_Type="application/json")
    assert bad.error[:2] == (400, "Exception while reading request")


def test_paths_methods_and_inactive_resources(talk: Talk, service: str) -> None:
    made = resource(talk, service, "return 'list';", relative_path="/visit")
    resource(talk, service, "return 'literal';", relative_path="/visit/today")
    resource(talk, service, "return 'one ' + request.pathParams.id;", relative_path="/visit/{id}")
    assert [desk(talk, f"/visit{tail}").result for tail in ("", "/today", "/7")] == ["list", "literal", "one 7"]
    assert desk(talk, "/visit", "POST", b"{}", Content_Type="application/json").status == 405
    assert desk(talk, "/nothing").error == (400, "Requested URI does not represent any resource", None)
    talk.patch("sys_ws_operation", made, {"active": "false"})
    assert desk(talk, "/visit").status == 400


def test_versions_have_paths_of_their_own_and_one_is_the_default(talk: Talk, service: str) -> None:
    for name, default in (("v1", "false"), ("v2", "true")):
        body = {"web_service_definition": service, "version_id": name, "is_default": default, "active": "true"}
        version = talk.post("sys_ws_version", body).result["sys_id"]
        resource(talk, service, f"return '{name}';", web_service_version=version)
    found = [talk.call("GET", f"/api/x_nowt_comp/{path}").result for path in ("v1/desk", "v2/desk", "desk")]
    assert found == ["v1", "v2", "v2"]


def test_authentication_is_asked_for_where_the_resource_says_so(talk: Talk, service: str) -> None:
    resource(talk, service, "return gs.getUserName();", relative_path="/open", requires_authentication=False)
    resource(talk, service, "return gs.getUserName();", relative_path="/shut")
    nobody = Talk(talk.url, talk.instance, {})
    assert desk(nobody, "/open").result == "guest"
    assert desk(nobody, "/shut").error[:2] == (401, "User Not Authenticated")
    assert desk(talk.as_user("admin", "wrong"), "/shut").status == 401


@pytest.mark.behaviour("1.6", evidence="documentation: access control, type REST_Endpoint", switch="access_control")
def test_a_resource_may_ask_for_access_rules(talk: Talk, service: str) -> None:
    instance = talk.instance
    instance.switches = replace(instance.switches, access_control=True)
    instance.add_user("ida", "p", roles=("itil",))
    instance.add_user("joe", "p")
    rule = {"name": "Desk", "operation": "execute", "type": "REST_Endpoint", "active": True}
    sys_id = talk.post("sys_security_acl", rule).result["sys_id"]
    role = {"sys_security_acl": sys_id, "sys_user_role": row_id("sys_user_role", "itil")}
    talk.post("sys_security_acl_role", role)
    resource(talk, service, "return 'in';", requires_acl_authorization=True, enforce_acl=sys_id)
    assert desk(talk.as_user("ida", "p")).result == "in"
    refused = desk(talk.as_user("joe", "p")).error
    assert refused == (403, "User Not Authorized", "Failed API level ACL Validation")
    talk.patch("sys_security_acl", sys_id, {"advanced": True, "script": "answer = gs.getUserName() != 'ida';"})
    assert desk(talk.as_user("ida", "p")).status == 403


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("response.setStatus(42); return 'x';", 500),
        ("response.setStatus(99999); return 'x';", 500),
        ("response.setStatus(204); return 'no body';", 204),
        ("response.setHeader('X-A', 'b\\r\\nX-C: d'); response.setHeader('bad name', 'x'); return 'x';", 200),
        ("response.setHeader('Content-Length', '1'); response.setContentType('a\\nb'); response.getStreamWriter().writeString('long');", 200),
        ("var e = new sn_ws_err.ServiceError('odd'); e.setStatus(7); throw e;", 500),
        ("var o = {}; o.o = o; return o;", 500),
        ("return function () {};", 200),
    ],
)  # fmt: skip
def test_odd_answers_of_a_script_are_still_answers(talk: Talk, service: str, script: str, status: int) -> None:
    resource(talk, service, script)
    reply = desk(talk)
    assert reply.status == status
    assert "x-c" not in reply.headers


@pytest.mark.parametrize("path", ["{", "/{a}/{a}", "/{}", "/[x", "", "//", "/{a}{b}"])
def test_odd_paths_of_resources_keep_the_others_working(talk: Talk, service: str, path: str) -> None:
    resource(talk, service, "return 'odd';", relative_path=path)
    resource(talk, service, "return 'fine';", relative_path="/fine/one")
    assert desk(talk, "/fine/one").result == "fine"
    assert talk.call("GET", "/api/x_nowt_comp/other/nothing").status == 400


def test_a_resource_inside_a_batch_answers_its_item(talk: Talk, service: str) -> None:
    resource(talk, service, "return 'in a batch';")
    body = {"batch_request_id": "1", "rest_requests": [{"id": "a", "method": "GET", "url": "/api/x_nowt_comp/desk"}]}
    (item,) = talk.send("POST", "batch", body).json["serviced_requests"]
    assert (item["status_code"], item["body"]) == (200, "eyJyZXN1bHQiOiJpbiBhIGJhdGNoIn0=")
