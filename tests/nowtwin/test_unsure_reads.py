"""What sources leave open about reading: each switch turned, the answer is the other one."""

import pytest

from tests.nowtwin.talk import Talk

ONE, TWO = "1" * 32, "2" * 32
DAY = "2026-03-10 12:00:00"


def switch(talk: Talk, name: str, value: object) -> None:
    talk.control("PUT", "switches", {name: value})


def column(talk: Talk, element: str, kind: str, **more: object) -> None:
    """A column of that type on incident."""
    entry = {"table": "incident", "element": element, "internal_type": kind, **more}
    talk.instance.load_schema({"tables": [], "columns": [entry], "choices": []})


def shown(talk: Talk, element: str, mode: str = "true") -> object:
    return talk.rows("incident", sysparm_fields=element, sysparm_display_value=mode)[0][element]


@pytest.mark.behaviour("1.3", evidence="recorded exchange: elastic integrations", switch="empty_choice_displays_null")
def test_an_empty_choice_displays_as_null_or_as_nothing(talk: Talk) -> None:
    talk.instance.load("incident", [{"sys_id": ONE}])
    assert shown(talk, "close_code", "all") == {"display_value": None, "value": ""}
    switch(talk, "empty_choice_displays_null", value=False)
    assert shown(talk, "close_code", "all") == {"display_value": "", "value": ""}


@pytest.mark.behaviour(
    "1.6, 2.4", evidence="measured by others: LH drops it, others report 403", switch="unknown_column_refused"
)
def test_a_query_on_an_unknown_column_finds_everything_or_is_refused(talk: Talk) -> None:
    talk.instance.load("incident", [{"sys_id": ONE}, {"sys_id": TWO}])
    assert len(talk.rows("incident", "no_such_field=banana")) == 2
    switch(talk, "unknown_column_refused", value=True)
    for query in ("no_such_field=banana", "ORDERBYno_such_field", "caller_id.no_such_field=1"):
        assert talk.get("table/incident", sysparm_query=query).error == (
            403,
            "Insufficient rights to query records",
            "Field(s) present in the query do not have permission to be read",
        )
    assert len(talk.rows("incident", "caller_id.nameISEMPTY^ORDERBYnumber")) == 2


@pytest.mark.behaviour("2.1", evidence="documentation: c_EncodedQueryStrings.md", switch="group_by_sorts_lists")
def test_group_by_says_nothing_to_a_list_or_sorts_it(talk: Talk) -> None:
    talk.instance.load(
        "incident", [{"sys_id": str(n) * 32, "category": c, "number": str(n)} for n, c in enumerate("cab")]
    )
    query = "GROUPBYcategory^ORDERBYnumber"
    assert talk.names("incident", query, "number") == ["0", "1", "2"]
    switch(talk, "group_by_sorts_lists", value=True)
    assert talk.names("incident", query, "number") == ["1", "2", "0"]


@pytest.mark.behaviour(
    "2.2", evidence="documentation: r_OpAvailableFiltersQueries.md", switch="relative_by_whole_units"
)
def test_relative_dates_end_at_the_second_or_with_the_unit(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": DAY, "frozen": True})
    days = {"first": "2026-03-09 01:00:00", "second": "2026-03-09 23:00:00"}
    talk.instance.load("incident", [{"short_description": word, "opened_at": at} for word, at in days.items()])

    def found(operator: str) -> list[str]:
        return talk.names("incident", f"opened_at{operator}@dayofweek@ago@1^ORDERBYopened_at")

    asked = ("RELATIVEGE", "RELATIVELE", "RELATIVEEE")
    assert [found(operator) for operator in asked] == [["second"], ["first"], ["first", "second"]]
    switch(talk, "relative_by_whole_units", value=True)
    assert [found(operator) for operator in asked] == [["first", "second"]] * 3


@pytest.mark.behaviour("2.2", evidence="assumption", switch="tag_exclusions_understood")
def test_tag_exclusions_leave_rows_out_or_are_dropped(talk: Talk) -> None:
    talk.instance.load("incident", [{"sys_id": ONE}, {"sys_id": TWO}])
    talk.instance.load("label_entry", [{"label": "9" * 32, "table": "incident", "table_key": ONE}])
    for operator in ("DOESNOTHAVE", "EXCLUDING"):
        switch(talk, "tag_exclusions_understood", value=True)
        assert talk.names("incident", f"sys_tags{operator}{'9' * 32}", "sys_id") == [TWO]
        switch(talk, "tag_exclusions_understood", value=False)
        assert len(talk.rows("incident", f"sys_tags{operator}{'9' * 32}")) == 2


@pytest.mark.behaviour("2.2", evidence="measured by others: PySNC tests show the form", switch="join_ends_at_caret")
def test_conditions_behind_a_join_are_about_one_table_or_the_other(talk: Talk) -> None:
    talk.instance.load("sys_user", [{"sys_id": ONE, "user_name": "beth"}])
    talk.instance.load("incident", [{"caller_id": ONE, "short_description": "a"}])
    query = "JOINsys_user.sys_id=incident.caller_id!short_description=a^user_name=nobody"
    assert talk.names("sys_user", query, "user_name") == [
        "beth"
    ]  # incident has no user_name: that condition is dropped
    switch(talk, "join_ends_at_caret", value=True)
    assert talk.rows("sys_user", query) == []


@pytest.mark.behaviour("3.1", evidence="assumption: formatted, no source says how", switch="integer_dates_formatted")
def test_integer_dates_display_as_dates_or_as_numbers(talk: Talk) -> None:
    column(talk, "u_day", "integer_date")
    column(talk, "u_time", "integer_time")
    talk.instance.load("incident", [{"u_day": "20260310", "u_time": "93005"}])
    assert (shown(talk, "u_day", "false"), shown(talk, "u_day"), shown(talk, "u_time")) == (
        "20260310",
        "2026-03-10",
        "09:30:05",
    )
    switch(talk, "integer_dates_formatted", value=False)
    assert (shown(talk, "u_day"), shown(talk, "u_time")) == ("20,260,310", "93,005")


@pytest.mark.behaviour("3.1", evidence="assumption: the exact text", switch="money_by_code")
def test_amounts_display_with_a_sign_or_a_code(talk: Talk) -> None:
    for kind in ("currency", "price", "currency2"):
        column(talk, f"u_{kind}", kind)
    talk.instance.load("incident", [{"u_currency": "1234.5", "u_price": "2", "u_currency2": "EUR;100.00"}])
    elements = ("u_currency", "u_price", "u_currency2")
    assert [shown(talk, element) for element in elements] == ["$1,234.50", "$2.00", "€100.00"]
    switch(talk, "money_by_code", value=True)
    assert [shown(talk, element) for element in elements] == ["USD 1,234.50", "USD 2.00", "EUR 100.00"]


@pytest.mark.behaviour("3.1", evidence="assumption: forms like this", switch="currency2_value_is_amount")
def test_the_value_of_an_fx_currency_has_its_code_or_not(talk: Talk) -> None:
    column(talk, "u_fx", "currency2")
    talk.instance.load("incident", [{"u_fx": "USD;100.00"}])
    assert shown(talk, "u_fx", "false") == "USD;100.00"
    switch(talk, "currency2_value_is_amount", value=True)
    assert shown(talk, "u_fx", "false") == "100.00"
    assert shown(talk, "u_fx", "all") == {"display_value": "$100.00", "value": "100.00"}


@pytest.mark.behaviour("3.1", evidence="measured by others: PySNC, of user_password", switch="passwords_masked")
def test_other_passwords_read_as_a_mask_or_as_cipher_text(talk: Talk) -> None:
    secret = {"name": "c", "password": "secret"}
    made = talk.post("discovery_credentials", secret, sysparm_input_display_value="true").result
    assert made["password"] == "********"
    switch(talk, "passwords_masked", value=False)
    cipher = talk.rows("discovery_credentials")[0]["password"]
    assert len(cipher) == 32
    assert "secret" not in cipher
    talk.post("sys_user", {"user_name": "u", "user_password": "x"}, sysparm_input_display_value="true")
    assert talk.names("sys_user", "user_name=u", "user_password") == ["********"]


@pytest.mark.behaviour("3.1", evidence="assumption: url or text", switch="images_display_path")
def test_an_image_displays_as_its_attachment_or_as_a_path(talk: Talk) -> None:
    column(talk, "u_picture", "user_image")
    talk.instance.load("incident", [{"u_picture": ONE}])
    assert shown(talk, "u_picture") == ONE
    switch(talk, "images_display_path", value=True)
    assert shown(talk, "u_picture") == f"{ONE}.iix"
    assert shown(talk, "u_picture", "false") == ONE


@pytest.mark.behaviour("3.2", evidence="assumption", switch="choices_from_parent")
def test_a_child_table_uses_its_parents_choices_or_none(talk: Talk) -> None:
    choice = {"table": "task", "element": "u_mood", "value": "1", "label": "Fine"}
    columns = [{"table": "task", "element": "u_mood", "internal_type": "string", "choice": 1}]
    talk.instance.load_schema({"tables": [], "columns": columns, "choices": [choice]})
    talk.instance.load("incident", [{"u_mood": "1"}])
    assert shown(talk, "u_mood") == "Fine"
    assert talk.post("incident", {"u_mood": "9"}).result["u_mood"] == ""
    switch(talk, "choices_from_parent", value=False)
    assert shown(talk, "u_mood") == "1"
    assert talk.post("incident", {"u_mood": "9"}).result["u_mood"] == "9"  # there is no list to check against


@pytest.mark.behaviour("4", evidence="documentation: c_AggregateAPI.md", switch="aggregates_hide_rows")
def test_counts_know_of_hidden_rows_or_not(talk: Talk) -> None:
    talk.instance.load("incident", [{"category": "a"}, {"category": "b"}])
    talk.instance.add_user("robot", "secret")
    talk.control("PUT", "hidden", [{"table": "incident", "query": "category=a", "user": "robot"}])
    robot = talk.as_user("robot", "secret")

    def counted() -> str:
        answer = robot.get("stats/incident", sysparm_count="true", sysparm_query="categoryISNOTEMPTY")
        return str(answer.result["stats"]["count"])

    assert (len(robot.rows("incident")), counted()) == (1, "2")
    switch(talk, "aggregates_hide_rows", value=True)
    assert counted() == "1"
    assert robot.get("stats/incident", sysparm_count="true").result["stats"]["count"] == "1"


@pytest.mark.behaviour("4", evidence="assumption: no source shows a date", switch="date_maximum_with_fraction")
def test_the_largest_date_has_a_fraction_or_not(talk: Talk) -> None:
    talk.instance.load("incident", [{"opened_at": "2026-03-01 10:00:00", "reassignment_count": "3"}])
    asked = {"sysparm_max_fields": "opened_at,reassignment_count"}
    plain = {"opened_at": "2026-03-01 10:00:00", "reassignment_count": "3"}
    assert talk.get("stats/incident", **asked).result["stats"]["max"] == plain
    switch(talk, "date_maximum_with_fraction", value=True)
    assert talk.get("stats/incident", **asked).result["stats"]["max"] == plain | {"opened_at": "2026-03-01 10:00:00.0"}


@pytest.fixture
def separated(talk: Talk) -> Talk:
    """Two domains, one below the other, one beside them; robot lives in the upper one."""
    groups = [{"sys_id": "a" * 32, "name": "A"}, {"sys_id": "b" * 32, "name": "B", "parent": "a" * 32}]
    talk.instance.load("sys_user_group", [*groups, {"sys_id": "c" * 32, "name": "C"}])
    talk.instance.add_user("robot", "secret", sys_domain="a" * 32)
    places = {"top": "a" * 32, "below": "b" * 32, "beside": "c" * 32, "everywhere": "global", "nowhere": ""}
    rows = [{"sys_id": str(n) * 32, "short_description": w, "sys_domain": d} for n, (w, d) in enumerate(places.items())]
    talk.instance.load("incident", rows)
    return talk


@pytest.mark.behaviour("9.2", evidence="assumption", switch="domains_separated other_domains_counted")
def test_rows_of_other_domains_are_absent_and_counted_or_not(separated: Talk) -> None:
    robot = separated.as_user("robot", "secret")

    def total() -> str:
        return robot.get("table/incident", sysparm_query="ORDERBYnumber").headers["x-total-count"]

    assert (len(robot.rows("incident")), total()) == (5, "5")
    switch(separated, "domains_separated", value=True)
    seen = sorted(robot.names("incident", ""))
    assert (seen, total()) == (["below", "everywhere", "nowhere", "top"], "5")
    assert robot.get(f"table/incident/{'2' * 32}").status == 404
    assert robot.patch("incident", "2" * 32, {"category": "x"}).status == 404
    switch(separated, "other_domains_counted", value=False)
    assert (sorted(robot.names("incident", "")), total()) == (seen, "4")
    assert len(separated.rows("incident")) == 5  # admin is in no domain


@pytest.mark.behaviour("1.2", evidence="documentation: c_TableAPI.md")
def test_only_a_role_looks_across_domains(separated: Talk) -> None:
    switch(separated, "domains_separated", value=True)
    robot = separated.as_user("robot", "secret")
    assert len(robot.rows("incident", sysparm_query_no_domain="true")) == 4
    separated.instance.add_user("robot", "secret", roles=("query_no_domain_table_api",), sys_domain="a" * 32)
    assert len(robot.rows("incident", sysparm_query_no_domain="true")) == 5
    assert len(robot.rows("incident")) == 4
