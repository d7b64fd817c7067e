"""Whatever is asked of the web face, a page or a redirect of its own is the answer, never a failure."""

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nowtwin.http.messages import Request
from nowtwin.instance import Instance
from nowtwin.web import site
from nowtwin.web.own_paths import own_path
from nowtwin.web.visitor import Visitor

pytestmark = pytest.mark.behaviour("1.8", evidence="assumption: a refusal is a page with words")

TABLES = (
    "incident",
    "task",
    "sys_user",
    "sys_dictionary",
    "sys_metadata",
    "sys_audit",
    "cmdb_ci",
    "no_such",
    "sys_choice",
)
NAMES = (
    "sys_id", "sysparm_query", "sysparm_first_row", "sysparm_limit", "sysparm_goto_field", "sysparm_goto_value",
    "uri", "sysparm_search", "sysparm_goto_url", "sysparm_done", "sysparm_kept", "sysparm_type",
)  # fmt: skip
WORDS = st.sampled_from(
    (
        "",
        "-1",
        "1",
        "0",
        "active=true",
        "ORDERBYDESCnumber",
        "^NQ^OR",
        "caller_id.name=x",
        "stateIN1,2",
        "NULL",
        "né\x00",
    )
)
TEXTS = st.text(max_size=20) | WORDS | st.lists(WORDS, max_size=3).map("^".join)
PATHS = (
    st.sampled_from(TABLES).flatmap(lambda t: st.sampled_from((f"/{t}.do", f"/{t}_list.do")))
    | st.sampled_from(
        ("/", "/nav_to.do", "/login.do", "/logout.do", "/angular.do", "/xmlhttp.do", "/sys_attachment.do")
    )
    | st.text(max_size=20).map(lambda text: f"/now/nav/ui/classic/params/target/{text}")
    | st.just("/sn_appclient_upload_processor.do")
)
PARAMETERS = st.lists(st.tuples(st.sampled_from(NAMES), TEXTS), max_size=4).map(tuple)
FIELDS = st.sampled_from(("state", "caller_id", "opened_at", "priority", "watch_list", "active", "sys_id", "comments"))
ACTIONS = st.sampled_from(("sysverb_update", "sysverb_insert", "sysverb_delete", "x"))


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    with Instance() as instance:
        instance.load("incident", [{"sys_id": "1", "number": "INC1"}])
        yield instance


def _cookie(instance: Instance) -> tuple[str, dict[str, str]]:
    session = instance.accounts.open_session("admin")
    return session, {"cookie": f"JSESSIONID={session}", "host": "h"}


FEW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(method=st.sampled_from(("GET", "HEAD", "POST")), path=PATHS, parameters=PARAMETERS, body=st.binary(max_size=30))
def test_any_request_gets_a_page(
    instance: Instance, method: str, path: str, parameters: tuple[tuple[str, str], ...], body: bytes
) -> None:
    _, headers = _cookie(instance)
    kind = {"content-type": "application/x-www-form-urlencoded"}
    answer = site.answer(instance, Request(method, path, parameters, headers | kind, body))
    assert answer.status in {200, 303, 400, 401, 403, 404, 405}
    for name, value in answer.headers:
        if name == "Location":
            assert value.startswith("/")
            assert not value.startswith(("//", "/\\"))
            assert value.isascii()
            assert value.isprintable()


@FEW
@given(action=ACTIONS, fields=st.dictionaries(FIELDS, TEXTS, max_size=4), sys_id=st.sampled_from(("1", "-1", "", "2")))
def test_any_form_is_saved_or_refused_in_words(
    instance: Instance, action: str, fields: dict[str, str], sys_id: str
) -> None:
    session, headers = _cookie(instance)
    form = {"sysparm_ck": Visitor(None, session).token, "sys_uniqueValue": sys_id, "sys_action": action}
    for element, text in fields.items():
        form |= {f"incident.{element}": text, f"sys_original.incident.{element}": "was"}
    kind = {"content-type": "application/x-www-form-urlencoded"}
    body = urlencode(form, errors="replace").encode()
    answer = site.answer(instance, Request("POST", "/incident.do", (), headers | kind, body))
    assert answer.status in {200, 303, 400, 403, 404}
    if not instance.count("incident"):
        instance.load("incident", [{"sys_id": "1", "number": "INC1"}])


@given(st.text(max_size=40) | st.text(alphabet="/\\.:@?#%ado\t\r\n", max_size=12).map(lambda text: f"{text}x.do"))
def test_a_target_never_leaves_the_site(target: str) -> None:
    own = own_path(target)
    if own is not None:
        assert own[0] == "/"
        assert own[1] not in "/\\"
        assert own.isascii()
        assert own.isprintable()
