"""The web face (issue 3): log-in, list, form, history, redirects, at the URLs that ServiceNow uses.

Evidence: the URLs and names of form fields are the platform's, seen in the shipped menu (app_menu) and in public
links; the pages' look is ours. Refusals are those of servicenow-api.md 1.6 to 1.8, in words.
"""

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

import pytest

from nowtwin.access.hiding import HideRule
from nowtwin.instance import Instance
from nowtwin.seeds import load_demo
from nowtwin.testing import RunningServer, serve
from nowtwin.web.own_paths import own_path
from tests.nowtwin.browser import USER, Browser

pytestmark = pytest.mark.behaviour(
    "3.1", evidence="documentation: navigating by URL; assumption: what the pages look like"
)


def _incident(twin: RunningServer, **values: str) -> str:
    return twin.instance.insert("incident", {"impact": "2", "urgency": "2", **values}).sys_id


# -- log-in --------------------------------------------------------------------------------------------------------


def test_a_link_leads_over_the_log_in_page_to_its_record(twin: RunningServer) -> None:
    sys_id = _incident(twin, short_description="printer jam")
    browser = Browser(twin.url)
    page = browser.get(f"/nav_to.do?uri={quote(f'incident.do?sys_id={sys_id}', safe='')}")
    assert page.texts("h1") == ["Log in"]
    goto = page.form["sysparm_goto_url"]
    assert browser.log_in("admin", "wrong", goto).messages == ["User name or password invalid"]
    assert browser.log_in("admin", "admin", goto).form["incident.short_description"] == "printer jam"


def test_a_wrong_password_is_no_session(twin: RunningServer) -> None:
    browser = Browser(twin.url)
    assert browser.log_in("admin", "wrong").status == 401
    assert browser.get("/incident_list.do").texts("h1") == ["Log in"]


def test_an_account_for_web_services_only_has_no_pages(twin: RunningServer) -> None:
    twin.instance.add_user("robot", "pw", roles=("admin",), web_service_access_only="true")
    assert Browser(twin.url).log_in("robot", "pw").messages == ["User name or password invalid"]


def test_logging_out_ends_the_session_also_for_the_api(browser: Browser) -> None:
    cookies = dict(browser.cookies)
    assert browser.send("GET", "/api/now/table/incident").status == 200
    browser.get("/logout.do")
    browser.cookies = cookies
    assert browser.send("GET", "/api/now/table/incident").status == 401


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/x.do",
        "//evil.example/x.do",
        "/\\evil.example/x.do",
        "javascript:alert(1)",
        "\r\nX: y",
        "a/../b.do",
    ],
)
def test_redirects_stay_on_the_site(browser: Browser, target: str) -> None:
    assert own_path(target) is None
    assert browser.send("GET", f"/nav_to.do?uri={quote(target, safe='')}").headers["location"] == "/"
    assert browser.send("GET", f"/now/nav/ui/classic/params/target/{quote(target, safe='')}").headers["location"] == "/"
    assert browser.log_in(goto=target).texts("h1") == ["Start"]


def test_classic_targets_lead_to_their_list(browser: Browser) -> None:
    """As the shipped menu has them: the target encoded once, its query twice."""
    target = "incident_list.do%3Fsysparm_query%3Dactive%253Dtrue%255EEQ"
    page = browser.get(f"/now/nav/ui/classic/params/target/{target}")
    assert page.path == "/incident_list.do?sysparm_query=active%3Dtrue%5EEQ"
    assert page.texts("nav", class_="crumbs") == ["AllActive = true"]


# -- lists ---------------------------------------------------------------------------------------------------------


def test_a_list_shows_display_values_and_links(twin: RunningServer, browser: Browser) -> None:
    sys_id = _incident(twin, short_description="no mail", caller_id=USER["sys_id"], state="2")
    page = browser.get("/incident_list.do")
    assert page.texts("th")[1:5] == ["Number", "Caller", "Category", "Priority"]
    row = page.texts("td")
    assert {"Beth Anglin", "3 - Moderate", "2 - Medium", "In Progress", "no mail"} <= set(row)
    assert page.links("Beth Anglin") == [f"/sys_user.do?sys_id={USER['sys_id']}"]
    assert page.links(row[1]) == [f"/incident.do?sys_id={sys_id}"]


def test_a_list_pages_and_sorts(twin: RunningServer, browser: Browser) -> None:
    rows = [{"sys_id": f"{n:032x}", "number": f"INC{n:04}"} for n in range(45)]
    twin.instance.load("incident", rows)
    first = browser.get("/incident_list.do?sysparm_query=ORDERBYnumber")
    assert first.texts("nav", class_="pager") == ["FirstPrevious1 to 20 of 45NextLast"]
    numbers = first.texts("td", class_="named")
    last = browser.get(first.links("Last")[0])
    assert last.texts("nav", class_="pager")[0].startswith("FirstPrevious41 to 45 of 45")
    middle = browser.get(first.links("Next")[0])
    numbers += middle.texts("td", class_="named") + last.texts("td", class_="named")
    assert numbers == [row["number"] for row in rows]
    turned = browser.get(first.links("Number ▲")[0])
    assert turned.texts("td", class_="named")[0] == "INC0044"


def test_the_search_of_a_list_adds_a_condition(twin: RunningServer, browser: Browser) -> None:
    for text in ("red printer", "blue printer", "red phone"):
        _incident(twin, short_description=text)
    target = "/incident_list.do?sysparm_query=short_descriptionLIKEred&sysparm_goto_field=short_description"
    page = browser.get(f"{target}&sysparm_goto_value=printer")
    assert "red printer" in page.texts("td")
    assert page.texts("h1") == ["Incident 1"]
    assert page.texts("nav", class_="crumbs")[0].count("Short description contains") == 2


def test_a_list_says_what_a_query_got_wrong(browser: Browser) -> None:
    page = browser.get("/incident_list.do?sysparm_query=no_such_column%3D1")
    assert page.messages == ["No such column, so its condition is left out: no_such_column"]


def test_a_list_says_how_many_rows_are_withheld(twin: RunningServer) -> None:
    twin.instance.add_user("carol", "pw", roles=("itil",))
    for text in ("open", "secret", "secret"):
        _incident(twin, short_description=text)
    twin.instance.access.rules = [HideRule("incident", "short_description=secret", user="carol")]
    browser = Browser(twin.url)
    browser.log_in("carol", "pw")
    page = browser.get("/incident_list.do")
    assert page.messages == ["Number of rows removed from this list by security constraints: 2"]
    assert "open" in page.texts("td")
    assert "secret" not in page.body


def test_pages_allow_no_script_and_no_foreign_frame(browser: Browser) -> None:
    policy = browser.get("/incident_list.do").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert browser.get("/styles/nowtwin.css").headers["content-type"].startswith("text/css")


# -- forms ---------------------------------------------------------------------------------------------------------


def test_a_form_shows_choices_references_and_history(twin: RunningServer, browser: Browser) -> None:
    sys_id = _incident(twin, caller_id=USER["sys_id"], work_notes="looked at it")
    twin.instance.update("incident", sys_id, {"state": "2"})
    page = browser.get(f"/incident.do?sys_id={sys_id}")
    assert page.form["incident.caller_id"] == "Beth Anglin"
    assert page.form["incident.state"] == "2"
    assert "3 - Moderate" in page.texts("option")
    assert f"/sys_user.do?sys_id={USER['sys_id']}" in page.links("↗")
    entries = page.texts("ol", class_="activity")[0]
    assert "looked at it" in entries
    assert "State In Progress New" in entries


def test_a_form_shows_what_display_rules_make_of_a_record(twin: RunningServer, browser: Browser) -> None:
    rule = {"name": "greet", "collection": "incident", "when": "before_display", "active": "true", "advanced": "true"}
    twin.instance.load("sys_script", [rule | {"script": "current.short_description = 'shown only';"}])
    sys_id = _incident(twin, short_description="stored")
    page = browser.get(f"/incident.do?sys_id={sys_id}")
    assert page.form["incident.short_description"] == "shown only"
    browser.save(page, urgency="1")
    assert (twin.instance.read("incident", sys_id) or {})["short_description"] == "stored"


def test_a_parent_table_leads_to_the_form_of_the_class(twin: RunningServer, browser: Browser) -> None:
    sys_id = _incident(twin)
    assert browser.get(f"/task.do?sys_id={sys_id}").path == f"/incident.do?sys_id={sys_id}"


def test_saving_goes_through_the_rules(twin: RunningServer, browser: Browser) -> None:
    sys_id = _incident(twin)
    page = browser.get(f"/incident.do?sys_id={sys_id}")
    saved = browser.save(page, impact="1", urgency="1", caller_id="Beth Anglin", work_notes="now\r\nurgent")
    assert saved.messages == ["Record updated"]
    stored = twin.instance.read("incident", sys_id) or {}
    assert (stored["priority"], stored["caller_id"], stored["sys_mod_count"]) == ("1", USER["sys_id"], "1")
    assert saved.form["incident.priority"] == "1"
    assert "now\nurgent" in saved.texts("ol", class_="activity")[0]


def test_only_what_was_changed_is_written(twin: RunningServer, browser: Browser) -> None:
    sys_id = _incident(twin, short_description="before", description="two\nlines", watch_list="x@example.com")
    page = browser.get(f"/incident.do?sys_id={sys_id}")
    twin.instance.update("incident", sys_id, {"short_description": "by someone else"})
    browser.save(page, urgency="1")
    stored = twin.instance.read("incident", sys_id) or {}
    assert (stored["short_description"], stored["urgency"]) == ("by someone else", "1")
    calm = browser.get(f"/incident.do?sys_id={sys_id}")
    browser.save(calm)
    assert twin.instance.read("incident", sys_id) == stored, "a save that changes nothing is no update"


def test_dates_are_in_the_visitors_zone(twin: RunningServer) -> None:
    columns = {"time_zone": "US/Pacific", "date_format": "MM/dd/yyyy"}
    twin.instance.add_user("pat", "pw", roles=("admin",), **columns)
    sys_id = _incident(twin, due_date="2024-07-01 10:00:00")
    browser = Browser(twin.url)
    browser.log_in("pat", "pw")
    page = browser.get(f"/incident.do?sys_id={sys_id}")
    assert page.form["incident.due_date"] == "07/01/2024 03:00:00"
    browser.save(page, due_date="07/02/2024 03:00:00")
    assert (twin.instance.read("incident", sys_id) or {})["due_date"] == "2024-07-02 10:00:00"
    wrong = browser.save(page, due_date="tomorrow")
    assert wrong.messages == ["Invalid update: Due date: tomorrow is not of the form MM/dd/yyyy HH:mm:ss"]
    assert wrong.form["incident.due_date"] == "tomorrow"


def test_a_refusal_shows_in_words_above_what_was_typed(twin: RunningServer, browser: Browser) -> None:
    sys_id = _incident(twin)
    page = browser.get(f"/incident.do?sys_id={sys_id}")
    refused = browser.save(page, caller_id="Nobody Known", short_description="kept text")
    assert refused.status == 400
    assert refused.messages == ["Invalid update: Caller: no record of User displays as Nobody Known"]
    assert refused.form["incident.short_description"] == "kept text"
    again = browser.save(refused, caller_id="")
    assert again.messages == ["Record updated"]
    assert (twin.instance.read("incident", sys_id) or {})["short_description"] == "kept text"


def test_a_visitor_without_rights_sees_words_and_changes_nothing(twin: RunningServer, browser: Browser) -> None:
    twin.instance.switches = replace(twin.instance.switches, access_control=True)
    twin.instance.add_user("nora", "pw")
    sys_id = _incident(twin, short_description="mine")
    form = browser.get(f"/incident.do?sys_id={sys_id}").form
    nora = Browser(twin.url)
    nora.log_in("nora", "pw")
    assert nora.get(f"/incident.do?sys_id={sys_id}").texts("h1") == ["No Record found"]
    token = nora.get("/incident.do?sys_id=-1").form.get("sysparm_ck") or ""
    stolen = form | {"incident.short_description": "taken", "sysparm_ck": token}
    assert nora.post("/incident.do", stolen).status in {403, 404}
    assert (twin.instance.read("incident", sys_id) or {})["short_description"] == "mine"


def test_a_new_record_is_made_by_a_form(twin: RunningServer, browser: Browser) -> None:
    page = browser.get("/incident.do?sys_id=-1&sysparm_query=short_description%3Dfrom+a+link^urgency%3D1")
    assert page.form["incident.short_description"] == "from a link"
    made = browser.save(page, impact="1", caller_id="Beth Anglin")
    assert made.messages == ["Record created"]
    rows = list(twin.instance.export("incident"))
    assert [(r["short_description"], r["priority"], r["caller_id"]) for r in rows] == [
        ("from a link", "1", USER["sys_id"]),
    ]


def test_a_record_is_deleted_by_its_form(twin: RunningServer, browser: Browser) -> None:
    sys_id = _incident(twin)
    form = browser.get(f"/incident.do?sys_id={sys_id}").form
    browser.post("/incident.do", form | {"sys_action": "sysverb_delete"})
    assert twin.instance.read("incident", sys_id) is None
    assert twin.instance.count("sys_audit_delete", f"documentkey={sys_id}") == 1


@pytest.mark.parametrize("change", [{"sysparm_ck": ""}, {"sysparm_ck": "f" * 72}], ids=["none", "wrong"])
def test_a_write_without_the_sessions_token_is_refused(
    twin: RunningServer, browser: Browser, change: dict[str, str]
) -> None:
    sys_id = _incident(twin)
    form = browser.get(f"/incident.do?sys_id={sys_id}").form | {"incident.short_description": "forged"} | change
    assert browser.post("/incident.do", form).status == 403
    assert "short_description" not in (twin.instance.read("incident", sys_id) or {})


def test_a_form_of_another_site_is_refused(twin: RunningServer, browser: Browser) -> None:
    sys_id = _incident(twin)
    form = browser.get(f"/incident.do?sys_id={sys_id}").form
    foreign = {"Origin": "https://evil.example"}
    assert browser.post("/incident.do", form, foreign).status == 403
    assert browser.post("/login.do", {"user_name": "admin", "user_password": "admin"}, foreign).status == 403


@pytest.mark.parametrize(
    "table", ["sys_user", "sys_properties", "sys_dictionary", "sys_db_object", "alm_hardware", "cmdb_ci_server"]
)
def test_any_table_has_a_list_and_a_form(twin: RunningServer, browser: Browser, table: str) -> None:
    if not twin.instance.count(table):
        twin.instance.insert(table, {})
    page = browser.get(f"/{table}_list.do")
    assert page.status == 200
    form = browser.get(page.links("↗")[0])
    assert form.status == 200
    assert form.form["sys_target"] == table
    assert browser.save(form).messages == ["Record updated"]


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/no_such_table_list.do", 400, "Invalid table no_such_table"),
        ("GET", "/no_such_table.do?sys_id=1", 400, "Invalid table no_such_table"),
        ("GET", "/incident.do?sys_id=nothing", 404, "No Record found"),
        ("GET", "/incident_list.do?sysparm_first_row=-4&sysparm_limit=x", 200, "Incident 0"),
        ("GET", "/sys_attachment.do?sys_id=nothing", 404, "No Record found"),
        ("POST", "/incident.do", 400, "This page takes forms"),
    ],
)  # fmt: skip
def test_odd_requests_get_words(browser: Browser, method: str, path: str, status: int, words: str) -> None:
    page = browser.send(method, path)
    assert (page.status, page.texts("h1")) == (status, [words])


# -- attachments and start -----------------------------------------------------------------------------------------


def test_an_attachment_is_sent_as_a_file(twin: RunningServer, browser: Browser) -> None:
    sys_id = _incident(twin)
    target = f"/api/now/attachment/file?table_name=incident&table_sys_id={sys_id}&file_name=a%22b.html"
    assert browser.send("POST", target, b"<script>1</script>", {"Content-Type": "text/html"}).status == 201
    page = browser.get(f"/incident.do?sys_id={sys_id}")
    file = browser.send("GET", page.links('a"b.html')[0])
    assert file.body == "<script>1</script>"
    assert file.headers["content-disposition"] == 'attachment; filename="a_b.html"'
    assert file.headers["content-type"] == "application/octet-stream"


@pytest.fixture(scope="module")
def demo() -> Iterator[RunningServer]:
    with Instance() as instance, serve(instance) as server:
        load_demo(instance)
        yield server


def test_the_start_page_finds_modules_tables_and_numbers(demo: RunningServer) -> None:
    browser = Browser(demo.url)
    start = browser.log_in()
    assert start.texts("h1") == ["Start"]
    assert "/incident_list.do" in [e.attributes["href"] for e in start.all("a")]
    found = browser.get("/?sysparm_search=business+rule")
    assert "/sys_script_list.do" in found.links("Business Rule")
    assert any(href.startswith("/sys_script_list.do?sysparm_query=") for href in found.links("Business Rules"))
    assert "/incident.do?sys_id=" in browser.get("/?sysparm_search=INC0000055").path


def test_every_module_of_the_menu_leads_to_a_page_or_is_no_link(demo: RunningServer) -> None:
    browser = Browser(demo.url)
    links = {e.attributes["href"] or "" for e in browser.log_in().all("a")}
    assert len(links) > 300
    lists = sorted(link for link in links if "_list.do" in link)[::25]
    pages = [browser.get(link) for link in lists]
    assert {page.status for page in pages} <= {200, 400}, "400 is the page of a table that the twin does not have"
