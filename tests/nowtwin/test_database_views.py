"""Database views: joins that are defined by records and read as tables (D: c_DatabaseViews.md and the pages below it)."""

import json
from dataclasses import replace

import pytest

from tests.nowtwin.scripts import add_rule, insert
from tests.nowtwin.talk import Record, Talk

pytestmark = pytest.mark.behaviour(
    "1.1, 10", evidence="documentation: c_DatabaseViews.md, t_AddATableToTheDatabaseView.md, KB0534905"
)

PRINTER, MAIL = "a" * 32, "b" * 32
BETH, ABEL = "1" * 32, "2" * 32
SLA = "5" * 32
READ_ONLY = (403, "Operation Failed", "ACL Exception Insert Failed due to security constraints")


@pytest.fixture
def desk(talk: Talk) -> Talk:
    """Two incidents: Beth's breached its SLA, the other has neither caller nor SLA."""
    instance = talk.instance
    instance.load(
        "sys_user",
        [
            {"sys_id": BETH, "user_name": "beth", "name": "Beth Anglin", "email": "beth@example.com"},
            {"sys_id": ABEL, "user_name": "abel", "name": "Abel Tuter", "email": "abel@example.com"},
        ],
    )
    instance.load(
        "incident",
        [
            {"sys_id": PRINTER, "number": "INC1", "state": "2", "priority": "1", "caller_id": BETH, "active": "true"},
            {"sys_id": MAIL, "number": "INC2", "state": "1", "priority": "4", "active": "false"},
        ],
    )
    instance.load("contract_sla", [{"sys_id": SLA, "name": "P1 response", "target": "response"}])
    instance.load("task_sla", [{"task": PRINTER, "sla": SLA, "stage": "breached", "has_breached": "true"}])
    return talk


def make_view(talk: Talk, name: str, *tables: Record) -> None:
    """A view through the Table API; each table with its `table`, `variable_prefix` and whatever else it has."""
    reply = talk.post("sys_db_view", {"name": name, "label": "Callers", "plural": "Callers"})
    assert reply.status == 201, reply.body
    for number, table in enumerate(tables, start=1):
        row = {"view": reply.result["sys_id"], "order": str(100 * number), **table}
        assert talk.post("sys_db_view_table", row).status == 201


def callers(talk: Talk, **more: str) -> None:
    """Incidents joined with their callers; `more` goes to the table of the callers."""
    joined = {"table": "sys_user", "variable_prefix": "usr", "where_clause": "inc_caller_id=usr_sys_id", **more}
    make_view(talk, "u_callers", {"table": "incident", "variable_prefix": "inc"}, joined)


def guard(talk: Talk, name: str, condition: str = "", **more: str) -> None:
    rule = {"name": name, "operation": "read", "type": "record", "active": "true", "condition": condition, **more}
    assert talk.post("sys_security_acl", rule).status == 201


def test_a_stock_view_reads_as_a_table_with_prefixed_columns(desk: Talk) -> None:
    (row,) = desk.rows("incident_sla", sysparm_display_value="all")
    assert row["inc_number"] == {"display_value": "INC1", "value": "INC1"}
    assert row["inc_state"] == {"display_value": "In Progress", "value": "2"}
    assert row["taskslatable_sla"] == {
        "display_value": "P1 response",
        "link": f"{desk.url}/api/now/table/contract_sla/{SLA}",
        "value": SLA,
    }
    assert row["inc_sys_class_name"] == {"display_value": "Incident", "value": "incident"}
    assert row["inc_sys_id"]["value"] == PRINTER
    assert "sys_tags" not in row


def test_queries_walks_and_orders_go_over_columns_of_a_view(desk: Talk) -> None:
    query = "inc_priorityIN1,2^taskslatable_has_breached=true^taskslatable_sla.target=response^inc_caller_idLIKEbeth"
    columns = "inc_number,taskslatable_sla.name,inc_caller_id.email"
    assert desk.rows("incident_sla", query, sysparm_fields=columns) == [
        {"inc_number": "INC1", "taskslatable_sla.name": "P1 response", "inc_caller_id.email": "beth@example.com"}
    ]
    assert desk.names("incident_sla", "inc_number=INC2", "inc_number") == []
    desk.instance.load("task_sla", [{"task": MAIL, "sla": SLA}])
    assert desk.names("incident_sla", "ORDERBYDESCinc_number", "inc_number") == ["INC2", "INC1"]
    plain = desk.get("table/incident_sla", inc_state="New", sysparm_fields="inc_number")
    assert plain.result == [{"inc_number": "INC2"}]


def test_the_metrics_of_an_incident_are_a_view_of_three_tables(desk: Talk) -> None:
    metric = "6" * 32
    desk.instance.load("metric_definition", [{"sys_id": metric, "name": "Open", "table": "incident"}])
    desk.instance.load("metric_instance", [{"definition": metric, "id": PRINTER, "value": "In Progress"}])
    columns = "inc_number,md_name,mi_value"
    expected = {"inc_number": "INC1", "md_name": "Open", "mi_value": "In Progress"}
    assert desk.rows("incident_metric", sysparm_fields=columns) == [expected]


def test_a_view_is_aggregated_and_counted(desk: Talk) -> None:
    callers(desk, left_join="true")
    assert desk.get("stats/u_callers", sysparm_count="true").result == {"stats": {"count": "2"}}
    grouped = desk.get("stats/u_callers", sysparm_group_by="usr_name", sysparm_count="true").result
    assert [(g["groupby_fields"][0]["value"], g["stats"]["count"]) for g in grouped] == [
        ("", "1"),
        ("Beth Anglin", "1"),
    ]
    reply = desk.get("table/u_callers", sysparm_limit=1)
    assert (reply.headers["x-total-count"], len(reply.result)) == ("2", 1)
    assert 'rel="next"' in reply.headers["link"]


def test_an_inner_join_drops_what_a_left_join_keeps_empty(desk: Talk) -> None:
    callers(desk)
    assert desk.names("u_callers", "", "inc_number") == ["INC1"]
    (table,) = desk.rows("sys_db_view_table", "variable_prefix=usr", sysparm_fields="sys_id")
    desk.patch("sys_db_view_table", table["sys_id"], {"left_join": "true"})
    rows = desk.rows("u_callers", "ORDERBYinc_number", sysparm_fields="inc_number,usr_name")
    assert rows == [{"inc_number": "INC1", "usr_name": "Beth Anglin"}, {"inc_number": "INC2", "usr_name": ""}]
    assert desk.names("u_callers", "usr_nameISEMPTY", "inc_number") == ["INC2"]
    desk.patch("sys_db_view_table", table["sys_id"], {"active": "false"})
    assert "usr_name" not in desk.rows("u_callers")[0]


@pytest.mark.parametrize(
    ("clause", "found"),
    [
        ("inc_caller_id = usr_sys_id && inc_active = 1", ["INC1"]),
        ("inc_caller_id = usr_sys_id && inc_priority >= 2", []),
        ("inc.caller_id = usr.sys_id", ["INC1"]),
        ("usr_user_name = 'abel' && (inc_priority = 4 || inc_number = \"INC1\")", ["INC1", "INC2"]),
        ("inc_caller_id=usr_sys_id||inc_state=1 and usr_name!='Beth Anglin'", ["INC1", "INC2"]),
    ],
)
def test_where_clauses_compare_columns_and_values(desk: Talk, clause: str, found: list[str]) -> None:
    callers(desk, where_clause=clause)
    assert desk.names("u_callers", "usr_user_name!=admin^ORDERBYinc_number", "inc_number") == found


@pytest.mark.behaviour(
    "1.1",
    evidence="documentation: t_AddATableToTheDatabaseView.md (no LIKE); assumption",
    switch="broken_views_invalid",
)
@pytest.mark.parametrize(
    "clause",
    [
        "inc_caller_id LIKE usr_sys_id",
        "inc_nothing=usr_sys_id",
        "(inc_caller_id=usr_sys_id",
        "a",
        "'",
        "1=1 2",
        "()" * 99,
    ],
)
def test_a_view_whose_where_clause_cannot_be_read_has_no_rows(desk: Talk, clause: str) -> None:
    callers(desk, where_clause=clause)
    reply = desk.get("table/u_callers")
    assert (reply.status, reply.result, reply.headers["x-total-count"]) == (200, [], "0")
    desk.control("PUT", "switches", {"broken_views_invalid": True})
    assert desk.get("table/u_callers").error == (400, "Invalid table u_callers", None)


def test_a_view_that_joins_nothing_usable_is_an_invalid_table(desk: Talk) -> None:
    make_view(desk, "u_bare")
    make_view(desk, "u_lost", {"table": "u_nowhere", "variable_prefix": "n"})
    make_view(desk, "u_split", {"table": "incident", "variable_prefix": "an_inc"})
    make_view(desk, "u_twice", *[{"table": "incident", "variable_prefix": "inc"}] * 2)
    make_view(desk, "u_nested", {"table": "incident_sla", "variable_prefix": "sla"})
    for name in ("u_bare", "u_lost", "u_split", "u_twice", "u_nested"):
        assert desk.get(f"table/{name}").error == (400, f"Invalid table {name}", None)
    assert desk.get("stats/u_bare", sysparm_count="true").error[:2] == (400, "Invalid table u_bare")


def test_a_view_is_named_as_a_table_would_be_and_like_none(desk: Talk) -> None:
    assert desk.post("sys_db_view", {"name": "U Callers-1", "label": "x"}).result["name"] == "u_callers_1"
    assert desk.post("sys_db_view", {"name": "incident"}).error == (
        403,
        "Operation Failed",
        "Table incident already exists",
    )


@pytest.mark.behaviour("1.1", evidence="documentation: c_SpecifyAFieldToReturn.md")
def test_view_fields_name_all_that_a_table_gives_the_join_included(desk: Talk) -> None:
    callers(desk)
    (table,) = desk.rows("sys_db_view_table", "variable_prefix=usr", sysparm_fields="sys_id")
    desk.post("sys_db_view_table_field", {"view_table": table["sys_id"], "field": "name"})
    assert desk.rows("u_callers") == []  # the join's own column is not among them
    desk.post("sys_db_view_table_field", {"view_table": table["sys_id"], "field": "sys_id"})
    (row,) = desk.rows("u_callers")
    assert {name for name in row if name.startswith("usr_")} == {"usr_name", "usr_sys_id"}


@pytest.mark.behaviour("1.1", evidence="documentation: t_RelabelAColumn.md")
def test_a_column_of_a_view_is_relabelled_by_the_language_file(desk: Talk) -> None:
    callers(desk)
    assert label_of(desk, "usr_email") == "Email"
    desk.post("sys_documentation", {"name": "u_callers", "element": "usr_email", "label": "Caller's address"})
    assert label_of(desk, "usr_email") == "Caller's address"


def label_of(talk: Talk, element: str) -> str:
    columns = talk.get("doc/table/schema/u_callers").result
    (label,) = [column["label"] for column in columns if column["name"] == element]
    return str(label)


def test_a_view_follows_its_tables_and_goes_with_its_record(desk: Talk) -> None:
    callers(desk)
    column = {"name": "incident", "element": "u_site", "internal_type": "string", "column_label": "Site"}
    desk.post("sys_dictionary", column)
    assert desk.rows("u_callers")[0]["inc_u_site"] == ""
    desk.patch("incident", PRINTER, {"u_site": "Berlin"})
    assert desk.names("u_callers", "inc_u_site=Berlin", "inc_number") == ["INC1"]
    (view,) = desk.rows("sys_db_view", "name=u_callers", sysparm_fields="sys_id")
    assert desk.delete("sys_db_view", view["sys_id"]).status == 204
    assert desk.get("table/u_callers").error == (400, "Invalid table u_callers", None)


@pytest.mark.behaviour(
    "3.2",
    evidence="measured by others: the platform's and connectors' lists of tables read sys_db_view besides",
)
def test_views_are_listed_in_sys_db_view_and_not_among_the_tables(desk: Talk) -> None:
    assert desk.names("sys_db_view", "nameSTARTSWITHincident_^ORDERBYname", "name") == [
        "incident_metric",
        "incident_sla",
    ]
    assert desk.names("sys_db_object", "name=incident_sla", "name") == []
    assert desk.names("sys_dictionary", "name=incident_sla", "name") == []


@pytest.mark.behaviour("1.1", evidence="documentation: KB0534905; assumption: the words", switch="view_write_status")
def test_a_view_cannot_be_written(desk: Talk) -> None:
    assert desk.post("incident_sla", {"inc_number": "INC3"}).error == READ_ONLY
    for method in ("PUT", "PATCH", "DELETE"):
        assert desk.send(method, f"table/incident_sla/{PRINTER}", {"inc_number": "INC3"}).error[:2] == (
            404,
            "No Record found",
        )
    desk.control("PUT", "switches", {"view_write_status": 405})
    assert desk.post("incident_sla", {"inc_number": "INC3"}).error == (405, *READ_ONLY[1:])
    load = desk.call("POST", "/_nowtwin/rows", json.dumps({"table": "incident_sla", "rows": [{}]}).encode())
    assert load.status == 400
    assert desk.names("incident", "ORDERBYnumber", "number") == ["INC1", "INC2"]


@pytest.mark.behaviour("1.1", evidence="assumption: no source shows one", switch="view_rows_have_sys_id")
def test_rows_of_a_view_have_no_sys_id_unless_switched(desk: Talk) -> None:
    assert "sys_id" not in desk.rows("incident_sla")[0]
    assert desk.names("incident_sla", "sys_id=nothing", "inc_number") == ["INC1"]  # an unknown column
    desk.control("PUT", "switches", {"view_rows_have_sys_id": True})
    (row,) = desk.rows("incident_sla", "ORDERBYsys_id")
    assert row["inc_sys_id"] in row["sys_id"]
    assert desk.get(f"table/incident_sla/{row['sys_id']}").result["inc_number"] == "INC1"
    assert desk.names("incident_sla", f"sys_id>{row['sys_id']}", "inc_number") == []


@pytest.mark.behaviour(
    "10", evidence="documentation: c_SpecifyTheNumberOfRecordsToReturn.md", switch="view_limit_in_web_services"
)
def test_one_query_over_a_view_gives_so_many_records(desk: Talk) -> None:
    callers(desk, left_join="true")
    desk.post("sys_properties", {"name": "glide.db.max_view_records", "value": "1"})
    reply = desk.get("table/u_callers")
    assert (len(reply.result), reply.headers["x-total-count"]) == (1, "2")
    script = "var n = 0, gr = new GlideRecord('u_callers'); gr.query(); while (gr.next()) n++; current.description = n;"
    add_rule(desk, script)
    assert insert(desk)["description"] == "1"
    desk.control("PUT", "switches", {"view_limit_in_web_services": False})
    assert len(desk.get("table/u_callers").result) == 3
    assert insert(desk)["description"] == "1"  # scripts are limited in any case


def test_scripts_read_a_view_and_cannot_write_it(desk: Talk) -> None:
    add_rule(
        desk,
        """var gr = new GlideRecord('incident_sla'); gr.addQuery('taskslatable_stage', 'breached'); gr.query();
        var found = []; while (gr.next()) found.push(gr.getValue('inc_number') + ' ' + gr.getDisplayValue('inc_state'));
        var made = new GlideRecord('incident_sla'); made.setValue('inc_number', 'INC9');
        current.description = found.join() + ' ' + made.insert();""",
    )
    assert insert(desk)["description"] == "INC1 In Progress null"


def test_the_pages_of_a_view_open(desk: Talk) -> None:
    listed = desk.call("GET", "/incident_sla_list.do")
    assert listed.status == 200
    assert b"1 to 1 of 1" in listed.body
    assert b">New<" not in listed.body
    assert b">New<" in desk.call("GET", "/task_sla_list.do").body
    assert desk.call("GET", "/incident_sla_list.do?CSV").body.startswith(b'"taskslatable_')
    assert desk.call("GET", "/incident_sla.do?sys_id=abc").status == 404


# -- access --------------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(desk: Talk) -> Talk:
    """Access control is on. `joe` may read users and the incident that he called in, `ida` all that itil may."""
    desk.instance.switches = replace(desk.instance.switches, access_control=True)
    joe = desk.instance.add_user("joe", "p", roles=("user_admin",))
    desk.instance.add_user("ida", "p", roles=("itil",))
    desk.instance.load("incident", [{"number": "INC3", "caller_id": joe, "priority": "3", "close_code": "x"}])
    callers(desk, left_join="true")
    return desk


@pytest.mark.behaviour("1.6", evidence="documentation: c_DatabaseViews.md, the rules of the tables count")
def test_without_rules_of_its_own_a_view_shows_rows_whose_records_one_may_read(guarded: Talk) -> None:
    joe, ida = guarded.as_user("joe", "p"), guarded.as_user("ida", "p")
    assert ida.names("u_callers", "ORDERBYinc_number", "inc_number") == ["INC1", "INC2", "INC3"]
    reply = joe.get("table/u_callers", sysparm_fields="inc_number")
    assert (reply.result, reply.headers["x-total-count"]) == ([{"inc_number": "INC3"}], "3")
    guard(guarded, "sys_user", "user_name!=joe^user_name!=beth", decision_type="deny")
    assert joe.names("u_callers", "", "inc_number") == []
    assert ida.names("u_callers", "", "inc_number") == ["INC2"]  # a record that is not there forbids nothing


@pytest.mark.behaviour("1.6", evidence="documentation: c_DatabaseViews.md, rules of the view take precedence")
def test_rules_of_a_view_count_instead_of_those_of_its_tables(guarded: Talk) -> None:
    guard(guarded, "u_callers", "inc_priority<4^usr_nameISNOTEMPTY")
    rows = guarded.as_user("joe", "p").names("u_callers", "ORDERBYinc_number", "inc_number")
    assert rows == ["INC1", "INC3"]
    assert guarded.names("u_callers", "ORDERBYinc_number", "inc_number") == ["INC1", "INC2", "INC3"]


@pytest.mark.behaviour("1.6", evidence="documentation: c_DatabaseViews.md, glide.security.expander.view.legacy")
def test_a_property_asks_for_rules_of_the_view(guarded: Talk) -> None:
    guarded.post("sys_properties", {"name": "glide.security.expander.view.legacy", "value": "true"})
    ida = guarded.as_user("ida", "p")
    assert ida.rows("u_callers") == []
    assert ida.get("stats/u_callers", sysparm_count="true").status == 403
    guard(guarded, "u_callers", "inc_number=INC2")
    assert ida.names("u_callers", "", "inc_number") == ["INC2"]


@pytest.mark.behaviour("1.6", evidence="documentation: c_DatabaseViews.md, field rules are evaluated")
def test_field_rules_of_the_tables_hide_columns_of_a_view(guarded: Talk) -> None:
    ida = guarded.as_user("ida", "p")
    guard(guarded, "sys_user.email")  # an empty rule denies
    guard(guarded, "incident.close_code", "priority=3")
    rows = ida.rows("u_callers", "ORDERBYinc_number", sysparm_fields="inc_number,usr_email,inc_close_code")
    assert rows == [{"inc_number": "INC1"}, {"inc_number": "INC2"}, {"inc_number": "INC3", "inc_close_code": "x"}]
    assert ida.get("table/u_callers", sysparm_query="usr_emailLIKEbeth").status == 403
