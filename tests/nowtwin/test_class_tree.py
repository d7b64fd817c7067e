"""The shipped class tree against what is known of the real one (servicenow-api.md 3.3)."""

import csv

import pytest

from nowtwin.schema.class_paths import class_path
from nowtwin.schema.dictionary import Table
from nowtwin.schema.shipped import shipped_dictionary
from tests.nowtwin.documented import snapshot
from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour(
    "3.3", evidence="documentation: cmdb-tables-details.md, public sys_class_path values"
)


def test_parents_agree_with_documented_ones_and_with_class_paths() -> None:
    """A class's path is its parent's and two characters more, so a known prefix names an ancestor."""
    dictionary = shipped_dictionary()
    with snapshot("cmdb_classes.csv").open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["table"] in dictionary.tables]
    paths = {row["sys_class_path"]: row["table"] for row in rows if row["sys_class_path"]}
    wrong = []
    for row in rows:
        lineage = dictionary.lineage(row["table"])
        if row["super_class_evidence"] == "documented" and row["super_class"] and row["super_class"] not in lineage:
            wrong.append((row["table"], "documented", row["super_class"]))
        steps = row["sys_class_path"].split("/")[1:]
        if steps and len(lineage) != len(steps) + 1:  # /!! is cmdb_ci, below cmdb
            wrong.append((row["table"], "depth", str(len(steps))))
        above = {paths.get("/" + "/".join(steps[:n])) for n in range(1, len(steps))} - {None}
        wrong += [(row["table"], "path", str(table)) for table in above if table not in lineage]
    assert wrong == []
    assert len(paths) > 30


@pytest.mark.parametrize(
    ("table", "parent"),
    [
        ("cmdb_ci_db_instance", "cmdb_ci_appl"),
        ("cmdb_ci_database", "cmdb_ci"),
        ("cmdb_ci_web_server", "cmdb_ci_infra_service"),
        ("cmdb_ci_app_server_tomcat", "cmdb_ci_app_server"),
        ("cmdb_ci_esx_server", "cmdb_ci_vcenter_server_obj"),
        ("cmdb_ci_disk", "cmdb_ci_storage_device"),
        ("cmdb_ci_peripheral", "cmdb_ci"),
    ],
)
def test_classes_stand_under_their_parents(table: str, parent: str) -> None:
    assert shipped_dictionary().lineage(table)[1] == parent


@pytest.mark.behaviour(
    "3.1, 3.2", evidence="recorded exchange: /!!/!2/!(/!!/!0; documentation: SDKCORE, sys_class_path"
)
def test_a_ci_has_the_path_of_its_class(talk: Talk) -> None:
    made = talk.post("cmdb_ci_win_server", {"name": "win"}).result
    assert made["sys_class_path"] == "/!!/!2/!(/!!/!0"
    talk.instance.load("cmdb_ci_computer", [{"name": "laptop"}])
    talk.post("cmdb_ci_appl", {"name": "app"})
    assert talk.names("cmdb_ci", "sys_class_pathSTARTSWITH/!!/!2^ORDERBYname", "name") == ["laptop", "win"]
    changed = talk.patch("cmdb_ci", made["sys_id"], {"sys_class_name": "cmdb_ci_linux_server"}).result
    server, _, linux = changed["sys_class_path"].rpartition("/")
    assert (server, linux != "!0") == ("/!!/!2/!(/!!", True)
    row = talk.rows("sys_db_object", "name=cmdb_ci_linux_server", sysparm_fields="sys_class_code,sys_class_path")
    assert row == [{"sys_class_code": linux, "sys_class_path": changed["sys_class_path"]}]


@pytest.mark.behaviour("3.1", evidence="assumption: codes of classes are kept")
def test_no_two_classes_have_one_path_and_a_new_class_moves_none() -> None:
    dictionary = shipped_dictionary()
    classes = dictionary.classes("cmdb")
    paths = {table: class_path(dictionary, table) for table in classes}
    assert len({path.upper() for path in paths.values()}) == len(classes)
    for table in classes[1:]:
        above, _, code = paths[table].rpartition("/")
        assert (above or "/", len(code)) == (paths[dictionary.lineage(table)[1]], 2)
    dictionary.add_table(Table("u_cmdb_ci_robot", super_class="cmdb_ci"))
    dictionary.drop_table(dictionary.children("cmdb_ci_server")[0])
    kept = dictionary.classes("cmdb_ci_server")
    assert {table: class_path(dictionary, table) for table in kept} == {table: paths[table] for table in kept}
    assert class_path(dictionary.copy(), "u_cmdb_ci_robot") not in paths.values()
    assert class_path(dictionary, "incident") == ""
