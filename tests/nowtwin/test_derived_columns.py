"""Columns whose values come from others: function fields, which the database works out at each read, and calculated
columns, whose script runs when a record is saved (servicenow-api.md 3.1).
"""

from dataclasses import replace

import pytest

from tests.nowtwin.scripts import add_rule
from tests.nowtwin.talk import Record, Talk

BETH = "1" * 32
PRINTER, MAIL = "a" * 32, "b" * 32
AGE = "(function calculatedFieldValue(current) { return current.getValue('number') + ':' + current.reopen_count; })(current);"


def add_column(talk: Talk, element: str, **more: str) -> str:
    """A column of incident made through the API; its sys_id in the dictionary."""
    row = {"name": "incident", "element": element, "internal_type": "string", "column_label": element, **more}
    reply = talk.post("sys_dictionary", row)
    assert reply.status == 201, reply.body
    return str(reply.result["sys_id"])


def add_function(talk: Talk, element: str, definition: str, internal_type: str = "string") -> str:
    return add_column(
        talk,
        element,
        internal_type=internal_type,
        function_field="true",
        function_definition=f"glidefunction:{definition}",
    )


@pytest.fixture
def desk(talk: Talk) -> Talk:
    talk.instance.load("sys_user", [{"sys_id": BETH, "user_name": "beth", "name": "Beth Anglin", "city": "Berlin"}])
    rows = [
        {"sys_id": PRINTER, "number": "INC1", "short_description": "printer", "caller_id": BETH, "reopen_count": "3"}
        | {"opened_at": "2025-01-01 08:00:00", "closed_at": "2025-01-03 09:30:00", "impact": "2"},
        {"sys_id": MAIL, "number": "INC2", "short_description": "mail", "opened_at": "2025-01-05 00:00:00"},
    ]
    talk.instance.load("incident", rows)
    return talk


@pytest.mark.behaviour("3.1", evidence="documentation: D:platform-administration, Function field")
@pytest.mark.parametrize(
    ("definition", "internal_type", "printer", "mail"),
    [
        ("concat(number,' of ',caller_id.name)", "string", "INC1 of Beth Anglin", ""),
        ("concat(number, '/', coalesce(caller_id.city, 'nowhere'))", "string", "INC1/Berlin", "INC2/nowhere"),
        ("length(short_description)", "integer", "7", "4"),
        ("substring(short_description, '2', '3')", "string", "rin", "ail"),
        ("position('i',short_description)", "integer", "3", "3"),
        ("position('r',short_description,'3')", "integer", "7", "0"),
        ("coalesce(closed_at,opened_at)", "glide_date_time", "2025-01-03 09:30:00", "2025-01-05 00:00:00"),
        ("add(reopen_count,'2')", "integer", "5", ""),
        ("subtract(reopen_count,impact)", "integer", "1", ""),
        ("divide(multiply(reopen_count,'5'),impact)", "decimal", "7.5", ""),
        ("divide(reopen_count,'0')", "decimal", "", ""),
        ("greatest(opened_at,closed_at)", "glide_date_time", "2025-01-03 09:30:00", ""),
        ("least(reopen_count,impact)", "integer", "2", ""),
        ("datediff(closed_at,opened_at)", "glide_duration", "1970-01-03 01:30:00", ""),
        ("dayofweek(opened_at,'1')", "integer", "4", "1"),
        ("dayofweek(opened_at,'2')", "integer", "3", "7"),
        ("concat(number,'it''s')", "string", "Invalid function", "Invalid function"),
        ("concat(number", "string", "Invalid function", "Invalid function"),
        ("concat(no_such_column,'x')", "string", "Invalid function", "Invalid function"),
        ("hash(number)", "string", "Invalid function", "Invalid function"),
        ("length(number,number)", "integer", "", ""),
        ("number", "string", "Invalid function", "Invalid function"),
        ("concat(u_made,'x')", "string", "Invalid function", "Invalid function"),
    ],
)
def test_a_function_field_is_worked_out_at_each_read(
    desk: Talk, definition: str, internal_type: str, printer: str, mail: str
) -> None:
    add_function(desk, "u_made", definition, internal_type)
    assert desk.names("incident", "ORDERBYnumber", "u_made") == [printer, mail]


@pytest.mark.behaviour("3.1", evidence="documentation: D:platform-administration, Function field")
def test_a_function_field_filters_sorts_groups_and_dot_walks_as_others_do(desk: Talk) -> None:
    add_function(desk, "u_length", "length(short_description)", "integer")
    assert desk.names("incident", "u_length>5") == ["printer"]
    assert desk.names("incident", "ORDERBYu_length") == ["mail", "printer"]
    desk.instance.load("incident", [{"number": "INC3", "short_description": "child", "parent_incident": PRINTER}])
    child = desk.rows("incident", "number=INC3", sysparm_fields="u_length,parent_incident.u_length")
    assert child == [{"u_length": "5", "parent_incident.u_length": "7"}]
    told = desk.get("stats/incident", sysparm_max_fields="u_length", sysparm_sum_fields="u_length").result["stats"]
    assert (told["max"]["u_length"], told["sum"]["u_length"]) == ("7", "16")
    add_function(desk, "u_spent", "datediff(closed_at,opened_at)", "glide_duration")
    shown = desk.rows("incident", "number=INC1", sysparm_fields="u_spent", sysparm_display_value="true")
    assert shown == [{"u_spent": "2 Days 1 Hour 30 Minutes"}]


@pytest.mark.behaviour("3.1", evidence="documentation: D:platform-administration, Function field")
def test_a_function_field_is_written_by_nobody_and_moves_no_stamp(desk: Talk) -> None:
    add_function(desk, "u_made", "concat(number,'!')")
    before = desk.patch("incident", PRINTER, {"impact": "1"}).result
    told = desk.patch("incident", PRINTER, {"u_made": "mine"}).result
    assert (told["u_made"], told["sys_mod_count"]) == ("INC1!", before["sys_mod_count"])
    told = desk.patch("incident", PRINTER, {"number": "INC7"}).result
    assert told["u_made"] == "INC7!"
    made = desk.post("incident", {"number": "INC8", "u_made": "mine"}).result
    assert made["u_made"] == "INC8!"
    assert "u_made" not in (desk.instance.read("incident", made["sys_id"]) or {"u_made": ""})


@pytest.mark.behaviour(
    "3.1, 1.6", evidence="documentation: Function field: security is evaluated on the fields used too"
)
def test_a_function_field_is_absent_where_what_it_is_made_of_may_not_be_read(desk: Talk) -> None:
    instance = desk.instance
    instance.switches = replace(instance.switches, access_control=True)
    instance.add_user("ida", "p", roles=("itil",))
    add_function(desk, "u_number", "concat(number,'!')")
    add_function(desk, "u_whose", "concat(caller_id.city,'!')")
    ida = desk.as_user("ida", "p")
    fields = "number,u_number,u_whose"
    row: Record = {"number": "INC1", "u_number": "INC1!", "u_whose": "Berlin!"}
    assert ida.rows("incident", f"sys_id={PRINTER}", sysparm_fields=fields) == [row]
    for name in ("sys_user.city", "incident.number"):
        rule = {"name": name, "operation": "read", "type": "record", "active": "true", "admin_overrides": "true"}
        rule_id = desk.post("sys_security_acl", rule).result["sys_id"]
        role = desk.rows("sys_user_role", "name=admin", sysparm_fields="sys_id")[0]["sys_id"]
        desk.post("sys_security_acl_role", {"sys_security_acl": rule_id, "sys_user_role": role})
        row = {key: value for key, value in row.items() if key != "u_whose" and name != "incident.number"}
        assert ida.rows("incident", f"sys_id={PRINTER}", sysparm_fields=fields) == [row]
    assert ida.get("table/incident", sysparm_query="u_number=INC1!").status == 403
    assert desk.names("incident", "u_number=INC1!") == ["printer"]


@pytest.mark.behaviour("3.1, 10", evidence="documentation: D:platform-administration, Function field")
def test_a_database_view_has_the_function_fields_of_its_tables(desk: Talk) -> None:
    add_function(desk, "u_made", "concat(number,' ',caller_id.name)")
    view = desk.post("sys_db_view", {"name": "u_view", "label": "View"}).result["sys_id"]
    row = {"view": view, "table": "incident", "variable_prefix": "inc", "order": "100"}
    assert desk.post("sys_db_view_table", row).status == 201
    rows = desk.rows("u_view", "inc_number=INC1", sysparm_fields="inc_u_made")
    assert rows == [{"inc_u_made": "INC1 Beth Anglin"}]


@pytest.mark.behaviour(
    "3.1, 9.2",
    evidence="documentation: platform-support-functions.html, function and calculated fields",
    switch="calculated_columns_stored",
)
def test_a_calculated_column_is_stored_with_its_record_and_stale_from_then_on(desk: Talk) -> None:
    add_column(desk, "u_calculated", virtual="true", calculation="current.caller_id.city + ' ' + current.number;")
    assert desk.names("incident", f"sys_id={PRINTER}", "u_calculated") == [""]
    told = desk.patch("incident", PRINTER, {"short_description": "plotter", "u_calculated": "mine"}).result
    assert told["u_calculated"] == "Berlin INC1"
    desk.patch("sys_user", BETH, {"city": "Bonn"})
    assert desk.names("incident", "u_calculated=Berlin INC1", "short_description") == ["plotter"]
    again = desk.patch("incident", PRINTER, {"short_description": "plotter"}).result
    assert (again["u_calculated"], again["sys_mod_count"]) == ("Berlin INC1", told["sys_mod_count"])

    desk.control("PUT", "switches", {"calculated_columns_stored": False})
    assert desk.names("incident", f"sys_id={PRINTER}", "u_calculated") == ["Bonn INC1"]
    assert desk.names("incident", "u_calculated=Bonn INC1", "u_calculated") == []
    desk.instance.load("incident", [{"number": "INC3", "parent_incident": PRINTER}])
    child = desk.rows("incident", "number=INC3", sysparm_fields="u_calculated,parent_incident.u_calculated")
    assert child == [{"u_calculated": " INC3", "parent_incident.u_calculated": "Bonn INC1"}]


@pytest.mark.behaviour("3.1", evidence="documentation: platform-support-functions.html, function and calculated fields")
def test_a_calculation_comes_after_the_rules_and_in_the_form_of_its_column(desk: Talk) -> None:
    add_rule(desk, "current.reopen_count = 4;", action_update=True)
    add_column(desk, "u_text", virtual="true", calculation=AGE)
    add_column(desk, "u_number", internal_type="integer", virtual="true", calculation="current.reopen_count * 10")
    add_column(desk, "u_none", virtual="true", calculation="null")
    told = desk.patch("incident", PRINTER, {"impact": "1"}).result
    assert (told["u_text"], told["u_number"], told["u_none"]) == ("INC1:4", "40", "")


@pytest.mark.behaviour("3.1", evidence="assumption: as with other scripts that fail")
def test_a_calculation_that_fails_leaves_the_value_and_a_line_in_the_log(desk: Talk) -> None:
    column = add_column(desk, "u_text", virtual="true", calculation="'was ' + current.number")
    assert desk.patch("incident", PRINTER, {"impact": "1"}).result["u_text"] == "was INC1"
    desk.patch("sys_dictionary", column, {"calculation": "nothing.at.all"})
    told = desk.patch("incident", PRINTER, {"impact": "3"})
    assert (told.status, told.result["impact"], told.result["u_text"]) == (200, "3", "was INC1")
    assert any("calculated value of incident.u_text" in line for line in desk.names("syslog", "level=2", "message"))
    desk.patch("sys_dictionary", column, {"virtual": "false"})
    assert desk.patch("incident", PRINTER, {"u_text": "mine"}).result["u_text"] == "mine"


@pytest.mark.behaviour("3.1, 8.2", evidence="documentation: SDK, function_definition of columns")
def test_derived_columns_come_with_schema_documents(desk: Talk) -> None:
    made = {"table": "incident", "element": "u_made", "function_definition": "glidefunction:concat(number,'!')"}
    calculated = {"table": "incident", "element": "u_text", "virtual": True, "calculation": "current.number + '?'"}
    desk.control("POST", "schema", {"columns": [made, calculated]})
    told = desk.patch("incident", PRINTER, {"impact": "1"}).result
    assert (told["u_made"], told["u_text"]) == ("INC1!", "INC1?")
    rows = desk.rows("sys_dictionary", "name=incident^elementINu_made,u_text^ORDERBYelement")
    assert [(row["function_field"], row["virtual"]) for row in rows] == [("true", "false"), ("false", "true")]
