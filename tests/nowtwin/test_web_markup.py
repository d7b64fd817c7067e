"""The markup of the web face: what records hold shows as characters, and every page can be used by keyboard and read aloud."""

from urllib.parse import quote

import pytest

from nowtwin.testing import RunningServer
from nowtwin.web.markup import tag
from tests.nowtwin.browser import USER, Browser

pytestmark = pytest.mark.behaviour("3.1", evidence="assumption: what the pages look like")

MARKUP = '<script>alert("x")</script> & "quoted" \'too\''


def _incident(twin: RunningServer, **values: str) -> str:
    return twin.instance.insert("incident", {"impact": "2", "urgency": "2", **values}).sys_id


def test_markup_in_records_shows_as_characters(twin: RunningServer, browser: Browser) -> None:
    sys_id = _incident(twin, short_description=MARKUP, description=MARKUP, work_notes=MARKUP)
    for path in ("/incident_list.do", f"/incident.do?sys_id={sys_id}"):
        page = browser.get(path)
        assert "<script" not in page.body
        assert MARKUP in page.body.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace(
            "&#x27;", "'"
        ).replace("&amp;", "&")
    form = browser.get(f"/incident.do?sys_id={sys_id}").form
    assert form["incident.short_description"] == form["incident.description"] == MARKUP
    evil = quote('"><script>', safe="")
    paths = (
        "/incident_list.do?sysparm_query=",
        "/?sysparm_search=",
        "/login.do?sysparm_goto_url=",
        "/incident.do?sys_id=",
    )
    assert all("<script" not in browser.get(path + evil).body for path in paths)


def test_markup_in_labels_choices_names_and_files_shows_as_characters(twin: RunningServer, browser: Browser) -> None:
    """What a stranger may name: tables, columns, choices, users, files, groups of the menu."""
    twin.instance.load_schema(
        {
            "tables": [{"name": "u_evil", "label": MARKUP, "super_class": "task"}],
            "columns": [{"table": "u_evil", "element": "u_odd", "label": MARKUP, "hint": MARKUP, "choice": 1}],
            "choices": [{"table": "u_evil", "element": "u_odd", "value": '"><script>1', "label": MARKUP}],
        }
    )
    twin.instance.load("sys_user", [{**USER, "name": MARKUP}])
    columns = twin.instance.dictionary.columns("u_evil")
    texts = {name: MARKUP for name, column in columns.items() if column.type in {"string", "html", "url"}}
    row = texts | {
        "sys_class_name": "u_evil",
        "assigned_to": USER["sys_id"],
        "u_odd": '"><script>1',
        "sys_id": "e" * 32,
    }
    twin.instance.load("u_evil", [row | {"sys_created_by": "beth"}])
    twin.instance.load("sys_attachment", [{"file_name": MARKUP, "table_name": "u_evil", "table_sys_id": "e" * 32}])
    twin.instance.load("sys_app_module", [{"title": MARKUP, "name": "u_evil", "link_type": "LIST", "active": "true"}])
    twin.instance.update("u_evil", "e" * 32, {"short_description": MARKUP + "2", "work_notes": MARKUP}, user="beth")
    for path in ("/u_evil_list.do?sysparm_query=u_odd=%22%3E%3Cscript%3E1", f"/u_evil.do?sys_id={'e' * 32}", "/"):
        page = browser.get(path)
        assert page.status == 200
        assert "<script" not in page.body
        assert "&lt;script&gt;alert" in page.body


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/",
            "/?sysparm_search=inc",
            "/incident_list.do?sysparm_query=active=true^ORDERBYDESCnumber",
            "/nope_list.do",
        ),
        *("/incident.do?sys_id=-1", "/incident.do?sysparm_query=active=true", "/incident.do?sys_id=none"),
    ],
)
def test_a_page_can_be_used_by_keyboard_and_read_aloud(twin: RunningServer, browser: Browser, path: str) -> None:
    _incident(twin, short_description="printer jam", caller_id=USER["sys_id"])
    page = browser.get(path)
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("title")) == 1
    assert page.all("html")[0].attributes["lang"] == "en"
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    labelled = {e.attributes.get("for") for e in page.all("label") if e.text.strip()}
    for control in (*page.all("input"), *page.all("select"), *page.all("textarea")):
        named = control.attributes.get("aria-label") or control.attributes.get("id") in labelled
        assert named or control.attributes.get("type") == "hidden", control
    for clickable in (*page.all("a"), *page.all("button")):
        assert clickable.text.strip(), clickable
        assert "tabindex" not in clickable.attributes
    assert not [e for e in page.elements if any(name.startswith("on") for name in e.attributes)]
    sorted_by = [(e.text, e.attributes["aria-sort"]) for e in page.all("th") if "aria-sort" in e.attributes]
    assert sorted_by == ([("Number ▼", "descending")] if "ORDERBYDESC" in path else [])


def test_only_markup_made_by_tags_is_markup() -> None:
    made = tag("a", "<b>", tag("i", "&"), None, href='"x" & y', hidden=True, title=None)
    assert made.text == '<a href="&quot;x&quot; &amp; y" hidden>&lt;b&gt;<i>&amp;</i></a>'
