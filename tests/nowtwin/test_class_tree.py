"""The shipped class tree against what is known of the real one (servicenow-api.md 3.3)."""

import csv

import pytest

from nowtwin.schema.shipped import shipped_dictionary
from tests.nowtwin.documented import snapshot

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
