"""What now-sdk asks of an instance besides the APIs, without the tool: log-in, token, upload, progress, removal.

Evidence: the code of @servicenow/sdk 4.9.0; `test_now_sdk` runs the tool itself.
"""

import io
import zipfile

import pytest

from nowtwin.testing import RunningServer
from tests.nowtwin.browser import Browser
from tests.nowtwin.talk import Talk
from tests.nowtwin.test_apps import COMPANION

pytestmark = pytest.mark.behaviour("8.2", evidence="recorded exchange: the code of now-sdk 4.9.0")

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BOUNDARY = "----x"


def _package() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for file in COMPANION.rglob("*.xml"):
            archive.writestr(f"/{file.relative_to(COMPANION).as_posix()}", file.read_bytes())
    return packed.getvalue()


def _multipart(**parts: bytes) -> bytes:
    pieces = []
    for name, content in parts.items():
        file = '; filename="blob"' if name == "attachFile" else ""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        pieces.append(head.encode() + content + b"\r\n")
    return b"".join(pieces) + f"--{BOUNDARY}--\r\n".encode()


@pytest.fixture
def tool(twin: RunningServer) -> Browser:
    """A tool that has logged in."""
    tool = Browser(twin.url)
    body = b"sysparm_type=login&user_name=admin&user_password=admin"
    assert '"status":"success"' in tool.send("POST", "/angular.do?sysparm_type=view_form.login", body, FORM).body
    return tool


def _token(tool: Browser) -> str:
    refused = tool.send("POST", "/angular.do?sysparm_type=get_user")
    assert refused.status == 401
    return refused.headers["x-usertoken-response"]


def _upload(tool: Browser, token: str, package: bytes) -> str:
    body = _multipart(upload_type=b"file", sysparm_ck=token.encode(), attachFile=package)
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return tool.send("POST", "/sn_appclient_upload_processor.do?sysparm_fluent_scope_name=x", body, kind).body


def test_a_tool_gets_the_token_of_its_session(tool: Browser) -> None:
    token = _token(tool)
    known = tool.send("POST", "/angular.do?sysparm_type=get_user", headers={"X-UserToken": token})
    assert (known.status, '"user_name":"admin"' in known.body) == (200, True)


def test_an_uploaded_application_is_installed_and_its_progress_told(tool: Browser, twin: RunningServer) -> None:
    talk = Talk(twin.url, twin.instance)
    _upload(tool, _token(tool), _package())
    (tracker,) = talk.rows("sys_execution_tracker", sysparm_fields="sys_id")
    progress = talk.call("GET", f"/api/sn_cicd/progress/{tracker['sys_id']}").result
    assert (progress["status"], progress["status_label"], progress["percent_complete"]) == ("2", "Successful", 100)
    assert talk.rows("sys_scope", "scope=x_nowt_comp", sysparm_fields="sys_class_name") == [
        {"sys_class_name": "sys_app"},
    ]


def test_a_broken_upload_is_a_failed_tracker(tool: Browser, twin: RunningServer) -> None:
    talk = Talk(twin.url, twin.instance)
    _upload(tool, _token(tool), b"no package")
    (tracker,) = talk.rows("sys_execution_tracker", sysparm_fields="sys_id")
    progress = talk.call("GET", f"/api/sn_cicd/progress/{tracker['sys_id']}").result
    assert (progress["status"], "not valid XML" in progress["status_message"]) == ("3", True)
    assert talk.get("table/sys_app").result == []
    assert talk.call("GET", "/api/sn_cicd/progress/nothing").status == 404


@pytest.mark.parametrize("path", ["/sn_appclient_upload_processor.do", "/xmlhttp.do"])
def test_applications_come_and_go_only_with_an_admins_token(twin: RunningServer, tool: Browser, path: str) -> None:
    twin.instance.add_user("nora", "pw")
    nobody, nora = Browser(twin.url), Browser(twin.url)
    nora.log_in("nora", "pw")
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"} if "upload" in path else FORM
    body = _multipart(attachFile=_package()) if "upload" in path else b"sysparm_function=deleteApplication"
    assert nobody.send("POST", path, body, kind).status == 401
    assert nora.send("POST", path, body, kind).status == 401
    assert tool.send("POST", path, body, kind).status == 403
    assert tool.send("GET", path).status == 405
    assert twin.instance.count("sys_app") == 0
