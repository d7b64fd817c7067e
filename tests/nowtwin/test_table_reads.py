"""Reading through the Table API: shapes, fields, paging headers, error bodies (servicenow-api.md 1.1 to 1.8)."""

import gzip
import json
import re
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.nowtwin.talk import Talk

ADMIN = "6816f79cc0a8016401c5a33be04be441"
BETH = "a" * 32


def _people(talk: Talk) -> None:
    talk.instance.load(
        "sys_user", [{"sys_id": BETH, "user_name": "beth.anglin", "name": "Beth Anglin", "email": "beth@example.com"}]
    )


def _incidents(talk: Talk, count: int) -> None:
    talk.instance.load("incident", [{"sys_id": f"{n:032x}", "short_description": f"no {n}"} for n in range(count)])


@pytest.mark.behaviour("1.3", evidence="documentation: c_TableAPI.md")
def test_a_reference_has_a_link_when_set_and_is_an_empty_string_when_not(talk: Talk) -> None:
    _people(talk)
    talk.instance.load("incident", [{"sys_id": "1" * 32, "caller_id": BETH}, {"sys_id": "2" * 32}])
    with_caller, without = talk.rows("incident", "ORDERBYsys_id", sysparm_fields="caller_id")
    assert with_caller == {"caller_id": {"link": f"{talk.url}/api/now/table/sys_user/{BETH}", "value": BETH}}
    assert without == {"caller_id": ""}


@pytest.mark.behaviour("1.3", evidence="documentation: c_TableAPI.md")
@pytest.mark.parametrize(
    ("display", "links", "expected"),
    [
        ("false", "true", BETH),
        ("true", "true", "Beth Anglin"),
        ("true", "false", {"display_value": "Beth Anglin", "link": f"/api/now/table/sys_user/{BETH}"}),
        ("all", "true", {"display_value": "Beth Anglin", "value": BETH}),
        ("all", "false", {"display_value": "Beth Anglin", "value": BETH, "link": f"/api/now/table/sys_user/{BETH}"}),
    ],
)
def test_the_shapes_of_a_reference(talk: Talk, display: str, links: str, expected: object) -> None:
    _people(talk)
    talk.instance.load("incident", [{"caller_id": BETH}])
    (row,) = talk.rows(
        "incident", sysparm_fields="caller_id", sysparm_display_value=display, sysparm_exclude_reference_link=links
    )
    value = row["caller_id"]
    if isinstance(value, dict) and "link" in value:
        value["link"] = value["link"].removeprefix(talk.url)
    assert value == expected


@pytest.mark.behaviour("1.3", evidence="recorded exchange: StackVista change requests")
def test_an_empty_string_choice_displays_null_and_other_empty_values_display_empty_or_unknown(talk: Talk) -> None:
    talk.instance.load("incident", [{"short_description": "x"}])
    (row,) = talk.rows("incident", sysparm_display_value="all")
    assert row["close_code"] == {"display_value": None, "value": ""}
    assert row["caller_id"] == {"display_value": "", "value": ""}
    assert row["sla_due"] == {"display_value": "UNKNOWN", "value": ""}
    assert row["hold_reason"] == {"display_value": "", "value": ""}


@pytest.mark.behaviour(
    "1.3, 3.1", evidence="recorded exchange: WorkArena records; measured by others: LH", switch="group_integers"
)
def test_display_values_follow_labels_zone_and_format_of_the_caller(talk: Talk) -> None:
    talk.instance.add_user(
        "eva", "secret", roles=("admin",), time_zone="US/Pacific", date_format="MM-dd-yyyy", time_format="hh:mm:ss a"
    )
    talk.instance.load(
        "incident",
        [
            {
                "state": "2",
                "impact": "9",
                "opened_at": "2025-07-01 03:00:00",
                "calendar_stc": "7937181",
                "business_duration": "1970-01-22 21:46:21",
                "active": "true",
                "sys_class_name": "incident",
            }
        ],
    )
    (row,) = talk.as_user("eva", "secret").rows("incident", sysparm_display_value="true")
    assert row["state"] == "In Progress"
    assert row["impact"] == "(9)"
    assert row["opened_at"] == "06-30-2025 08:00:00 PM"
    assert row["calendar_stc"] == "7,937,181"
    assert row["business_duration"] == "21 Days 21 Hours 46 Minutes"
    assert row["active"] == "true"
    assert row["sys_class_name"] == "Incident"


@pytest.mark.behaviour("1.3", evidence="documentation: c_TableAPI.md; measured by others: SL")
def test_every_value_is_a_string(talk: Talk) -> None:
    talk.instance.load("incident", [{"active": "true", "reassignment_count": "3", "calendar_stc": "12"}])
    (row,) = talk.rows("incident")
    kinds = {type(value) for value in row.values()}
    assert kinds == {str}
    assert (row["active"], row["reassignment_count"]) == ("true", "3")


@pytest.mark.behaviour("1.3", evidence="documentation: c_TableAPI.md")
def test_a_glide_list_shows_names_and_has_no_link(talk: Talk) -> None:
    _people(talk)
    talk.instance.load("incident", [{"watch_list": f"{BETH},{ADMIN},guest@example.com"}])
    (row,) = talk.rows("incident", sysparm_fields="watch_list", sysparm_display_value="all")
    assert row["watch_list"] == {
        "display_value": "Beth Anglin, System Administrator, guest@example.com",
        "value": f"{BETH},{ADMIN},guest@example.com",
    }


@pytest.mark.behaviour("1.2", evidence="documentation: c_TableAPI.md")
def test_fields_are_projected_dot_walked_and_unknown_names_ignored(talk: Talk) -> None:
    _people(talk)
    talk.instance.load("incident", [{"caller_id": BETH, "number": "INC0000001"}])
    (row,) = talk.rows(
        "incident", sysparm_fields="number,caller_id.email,caller_id.manager.name,no_such,caller_id.nope"
    )
    assert row == {"number": "INC0000001", "caller_id.email": "beth@example.com", "caller_id.manager.name": ""}


@pytest.mark.behaviour("3.3", evidence="measured by others: LH")
def test_a_parent_table_gives_its_own_columns_and_the_actual_class(talk: Talk) -> None:
    talk.instance.load("incident", [{"sys_id": "1" * 32, "category": "network"}])
    talk.instance.load("problem", [{"sys_id": "2" * 32}])
    rows = talk.rows("task", "ORDERBYsys_id")
    assert [row["sys_class_name"] for row in rows] == ["incident", "problem"]
    assert "category" not in rows[0]
    assert "number" in rows[0]
    assert talk.get(f"table/task/{'1' * 32}").result["sys_class_name"] == "incident"
    assert talk.get(f"table/problem/{'1' * 32}").status == 404


@pytest.mark.behaviour("1.4", evidence="documentation: c_TableAPI.md")
def test_the_link_header_leads_through_the_pages_and_vanishes_on_a_single_one(talk: Talk) -> None:
    _incidents(talk, 25)
    seen: list[str] = []
    target: str | None = "/api/now/table/incident?sysparm_query=ORDERBYsys_id&sysparm_limit=10&sysparm_fields=sys_id"
    while target:
        reply = talk.call("GET", target)
        assert reply.headers["x-total-count"] == "25"
        seen += [row["sys_id"] for row in reply.result]
        rels = {rel: url for url, rel in re.findall(r'<([^>]*)>;rel="(\w+)"', reply.headers["link"])}
        assert ("prev" in rels) == (len(seen) > 10)
        parts = urlsplit(rels["next"]) if "next" in rels else None
        target = f"{parts.path}?{parts.query}" if parts else None
    assert seen == sorted({f"{n:032x}" for n in range(25)})
    assert "link" not in talk.get("table/incident", sysparm_limit=25).headers
    assert "link" not in talk.get("table/incident", sysparm_limit=5, sysparm_suppress_pagination_header="true").headers


@pytest.mark.behaviour("1.4", evidence="documentation: c_TableAPI.md")
def test_a_middle_page_links_to_the_first_the_last_and_its_neighbours(talk: Talk) -> None:
    _incidents(talk, 25)
    reply = talk.get("table/incident", sysparm_query="ORDERBYsys_id", sysparm_limit=4, sysparm_offset=8)
    links = {rel: url for url, rel in re.findall(r'<([^>]*)>;rel="(\w+)"', reply.headers["link"])}
    asked = {rel: dict(parse_qsl(urlsplit(url).query)) for rel, url in links.items()}
    kept = {"sysparm_query": "ORDERBYsys_id", "sysparm_limit": "4"}
    offsets = {"first": "0", "prev": "4", "next": "12", "last": "24"}
    assert asked == {rel: kept | {"sysparm_offset": offset} for rel, offset in offsets.items()}
    assert {url.partition("?")[0] for url in links.values()} == {f"{talk.url}/api/now/table/incident"}
    assert len(talk.call("GET", links["last"].removeprefix(talk.url)).result) == 1


@pytest.mark.behaviour("1.2", evidence="assumption: the exact effect on the headers", switch="no_count_drops_total")
def test_no_count_drops_the_total_and_the_last_link(talk: Talk) -> None:
    _incidents(talk, 5)
    reply = talk.get("table/incident", sysparm_limit=2, sysparm_no_count="true")
    assert "x-total-count" not in reply.headers
    assert 'rel="next"' in reply.headers["link"]
    assert 'rel="last"' not in reply.headers["link"]


@pytest.mark.behaviour("1.4", evidence="measured by others: SL", switch="pagination_url_limit")
def test_a_long_query_cannot_be_paged_unless_the_header_is_suppressed(talk: Talk) -> None:
    _incidents(talk, 5)
    query = "sys_idIN" + ",".join(f"{n:032x}" for n in range(200))
    status, message, _ = talk.get("table/incident", sysparm_query=query, sysparm_limit=2).error
    assert (status, message) == (400, "Pagination not supported")
    cured = talk.get("table/incident", sysparm_query=query, sysparm_limit=2, sysparm_suppress_pagination_header="true")
    assert (cured.status, len(cured.result)) == (200, 2)


@pytest.mark.behaviour("10", evidence="measured by others: LH", switch="url_limit")
def test_a_url_above_8192_bytes_is_too_long(talk: Talk) -> None:
    short = len(f"{talk.url}/api/now/table/incident?sysparm_query=numberSTARTSWITH")
    fits = talk.get("table/incident", sysparm_query="numberSTARTSWITH" + "x" * (8192 - short))
    assert fits.status == 200
    assert talk.get("table/incident", sysparm_query="numberSTARTSWITH" + "x" * (8193 - short)).status == 414


@pytest.mark.behaviour("1.1", evidence="documentation: c_TableAPI.md")
def test_an_empty_list_is_404_on_v1_only(talk: Talk) -> None:
    assert talk.get("table/incident").result == []
    assert talk.get("v2/table/incident").result == []
    assert talk.get("v1/table/incident").error == (
        404,
        "No Record found",
        "Record doesn't exist or ACL restricts the record retrieval",
    )


@pytest.mark.behaviour("1.8", evidence="measured by others: LH; measured by others: public fixtures")
def test_the_error_bodies_are_word_for_word(talk: Talk) -> None:
    assert talk.get("table/no_such_table").error == (400, "Invalid table no_such_table", None)
    assert talk.get("nothing/here").error == (400, "Requested URI does not represent any resource", None)
    assert talk.get(f"table/incident/{'0' * 32}").error == (
        404,
        "No Record found",
        "Record doesn't exist or ACL restricts the record retrieval",
    )
    assert talk.as_user("admin", "wrong").get("table/incident").error == (
        401,
        "User Not Authenticated",
        "Required to provide Auth information",
    )


@pytest.mark.behaviour("1.1", evidence="documentation: c_RESTAPI.md")
def test_a_head_request_has_the_headers_of_a_get_and_no_body(talk: Talk) -> None:
    _incidents(talk, 3)
    reply = talk.call("HEAD", "/api/now/table/incident?sysparm_limit=1")
    assert (reply.status, reply.body, reply.headers["x-total-count"]) == (200, b"", "3")


@pytest.mark.behaviour("10", evidence="measured by others: several clients")
def test_gzip_is_given_when_asked_for(talk: Talk) -> None:
    _incidents(talk, 50)
    reply = talk.call("GET", "/api/now/table/incident", headers={"Accept-Encoding": "gzip"})
    assert reply.headers["content-encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(reply.body))["result"]) == 50


@pytest.mark.behaviour("1.9, 7.2", evidence="documentation: KB0552064")
def test_the_session_cookie_authenticates_and_is_not_given_twice(talk: Talk) -> None:
    first = talk.get("table/sys_user")
    session = next(cookie for cookie in first.cookies if cookie.startswith("JSESSIONID="))
    cookie = session.partition(";")[0]
    nobody = Talk(talk.url, talk.instance, {"Cookie": cookie})
    again = nobody.get("table/sys_user")
    assert (again.status, again.cookies) == (200, ())
    assert Talk(talk.url, talk.instance, {"Cookie": "JSESSIONID=made-up"}).get("table/sys_user").status == 401


@pytest.mark.behaviour("1.2", evidence="documentation: c_TableAPI.md")
def test_plain_filters_take_labels_and_display_values(talk: Talk) -> None:
    _people(talk)
    talk.instance.load(
        "incident",
        [
            {"short_description": "a", "state": "7", "caller_id": BETH},
            {"short_description": "b", "state": "1"},
            {"short_description": "c", "state": "7"},
        ],
    )
    by_label = talk.get("table/incident", state="closed", sysparm_fields="short_description").result
    assert sorted(row["short_description"] for row in by_label) == ["a", "c"]
    both = talk.get("table/incident", state="7", caller_id="Beth Anglin", sysparm_fields="short_description").result
    assert both == [{"short_description": "a"}]


@pytest.mark.behaviour("1.4", evidence="measured by others: SL", switch="shuffle_ties")
def test_pages_over_an_order_with_ties_repeat_and_lose_rows_unless_sys_id_is_in_it(talk: Talk) -> None:
    talk.instance.load(
        "incident", [{"sys_id": f"{n * 7919:032x}"[::-1], "sys_created_on": "2025-01-01 00:00:00"} for n in range(60)]
    )

    def sweep(query: str) -> set[str]:
        return {
            row["sys_id"]
            for offset in range(0, 60, 10)
            for row in talk.rows("incident", query, sysparm_limit=10, sysparm_offset=offset, sysparm_fields="sys_id")
        }

    assert len(sweep("ORDERBYsys_created_on")) < 60
    assert len(sweep("ORDERBYsys_created_on^ORDERBYsys_id")) == 60


@pytest.mark.behaviour("1.2", evidence="assumption")
def test_a_limit_that_is_no_count_counts_as_absent(talk: Talk) -> None:
    _incidents(talk, 3)
    for limit in ("many", "-1", "1.5", ""):
        assert len(talk.rows("incident", sysparm_limit=limit, sysparm_offset="soon")) == 3
    assert talk.rows("incident", sysparm_limit=0) == []


@pytest.mark.behaviour(
    "1.2", evidence="documentation: c_TableAPI.md; assumption: what comes of one", switch="negative_offset_refused"
)
@pytest.mark.parametrize("path", ["table/incident", "attachment", "cmdb/instance/cmdb_ci_server"])
def test_a_negative_offset_is_refused(talk: Talk, path: str) -> None:
    words = (400, "Invalid value for sysparm_offset", "sysparm_offset must not be negative")
    assert talk.get(path, sysparm_offset="-1", sysparm_limit="2").error == words
    assert talk.get(path, sysparm_offset="-0").status == 200
    talk.control("PUT", "switches", {"negative_offset_refused": False})
    assert talk.get(path, sysparm_offset="-1").result == []


@pytest.mark.behaviour("1.1", evidence="documentation: r_RESTAPIHTTPResponseCodes.md")
def test_an_unacceptable_format_is_406(talk: Talk) -> None:
    reply = talk.call("GET", "/api/now/table/incident", headers={"Accept": "image/png"})
    assert reply.status == 406


@pytest.mark.behaviour("6.6", evidence="measured by others: several clients")
def test_the_current_user_is_told(talk: Talk) -> None:
    assert talk.get("ui/user/current_user").result == {
        "user_sys_id": ADMIN,
        "user_name": "admin",
        "user_display_name": "System Administrator",
        "user_initials": "SA",
        "user_avatar": "",
    }


@pytest.mark.behaviour("6.6", evidence="measured by others: LH")
def test_the_version_stands_in_sys_properties(talk: Talk) -> None:
    query = "nameINglide.buildname,glide.war,glide.buildtag,instance_id^ORDERBYname"
    rows = talk.rows("sys_properties", query, sysparm_fields="name,value")
    assert [row["name"] for row in rows] == ["glide.buildname", "glide.buildtag", "glide.war", "instance_id"]
    assert re.fullmatch(r"[0-9a-f]{32}", rows[3]["value"])


def test_dates_of_answers_follow_the_twins_clock(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": "2031-05-06 07:08:09", "rate": 0})
    assert talk.get("table/incident").headers["date"] == "Tue, 06 May 2031 07:08:09 GMT"


@pytest.mark.behaviour(
    "1.2", evidence="documentation: c_TableAPI.md (sysparm_view); assumption: the columns of its form"
)
def test_a_view_names_the_columns_of_its_form(talk: Talk) -> None:
    talk.instance.load("incident", [{"number": "INC1", "short_description": "x"}])
    view = talk.post("sys_ui_view", {"name": "mobile", "title": "Mobile"}).result["sys_id"]
    section = talk.post("sys_ui_section", {"name": "task", "view": view}).result["sys_id"]
    for position, element in enumerate(("short_description", "number", "nonsense")):
        talk.post("sys_ui_element", {"sys_ui_section": section, "element": element, "position": str(position)})
    assert talk.rows("incident", sysparm_view="mobile") == [
        {"number": "INC1", "short_description": "x", "sys_tags": ""}
    ]
    assert talk.rows("incident", sysparm_view="mobile", sysparm_fields="number") == [{"number": "INC1"}]
    assert "category" in talk.rows("incident", sysparm_view="desktop")[0]  # no layout of that name


@pytest.mark.behaviour("3.1", evidence="documentation: r_FieldTypes.md (document ID)")
def test_a_document_displays_as_its_table_and_record(talk: Talk) -> None:
    known, gone = "a" * 32, "b" * 32
    talk.instance.load("incident", [{"sys_id": known, "number": "INC1"}])
    talk.instance.load("metric_instance", [{"table": "incident", "id": i, "value": i[0]} for i in (known, gone)])
    rows = talk.rows("metric_instance", "ORDERBYvalue", sysparm_fields="id", sysparm_display_value="all")
    assert [row["id"] for row in rows] == [
        {"display_value": "Incident: INC1", "value": known},
        {"display_value": gone, "value": gone},
    ]


@pytest.mark.behaviour("3.2", evidence="recorded exchange: public rows with the scope global")
def test_the_scope_of_the_platform_is_a_record_named_global(talk: Talk) -> None:
    (row,) = talk.rows("sys_dictionary", "name=task^element=number", sysparm_display_value="all")
    link = f"{talk.url}/api/now/table/sys_scope/global"
    assert row["sys_scope"] == {"display_value": "Global", "link": link, "value": "global"}
    assert talk.call("GET", link.removeprefix(talk.url)).result["scope"] == "global"
