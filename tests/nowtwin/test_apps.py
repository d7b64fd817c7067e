"""Applications and update sets (issue 3): their XML becomes records, tables, columns and rules that work.

Evidence: the form of `companion/` is that of `now-sdk build` 4.9.0 (servicenow-api.md 8.2), written by hand; the form of
the update set is that of exported ones in public repositories. What a missing table becomes is ours (assumption).
"""

import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nowtwin.apps.package import read_package
from nowtwin.testing import RunningServer
from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour(
    "8.2", evidence="recorded exchange: what now-sdk 4.9.0 builds; assumption: tables that are missing"
)

HERE = Path(__file__).parent
COMPANION = HERE / "companion"
UPDATE_SET = HERE / "companion_update_set.xml"
APP = "c0ffee00000000000000000000000001"


def _zip(folder: Path) -> bytes:
    """As `now-sdk pack` makes it: names with a leading slash and an inventory."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("/package_inventory.csv", "#build=x_nowt_comp\n")
        for file in sorted(folder.rglob("*.xml")):
            archive.writestr(f"/{file.relative_to(folder).as_posix()}", file.read_bytes())
    return packed.getvalue()


def test_an_installed_application_says_what_came_in(twin: RunningServer) -> None:
    installed = twin.instance.install_app(COMPANION)
    assert (installed.kind, installed.name, installed.scope, installed.version) == (
        "application", "Companion", "x_nowt_comp", "1.2.0",
    )  # fmt: skip
    assert installed.records["sys_dictionary"] == 2
    assert installed.learned == ("sys_ux_theme",)
    assert installed.ignored == {"sys_app": ("some_newer_column",)}


def test_a_table_of_an_application_is_a_table(talk: Talk) -> None:
    talk.instance.install_app(COMPANION)
    made = talk.post("x_nowt_comp_visit", {"short_description": "go there", "purpose": "repair"})
    assert made.status == 201
    assert made.result["number"] == "VIS0000501"
    assert made.result["length_in_minutes"] == "30"
    assert talk.names("task", "sys_class_name=x_nowt_comp_visit") == ["go there"]
    shown = talk.rows("x_nowt_comp_visit", sysparm_display_value="true", sysparm_fields="purpose")
    assert shown == [{"purpose": "Repair on site"}]
    parents = talk.rows("sys_db_object", "name=x_nowt_comp_visit", sysparm_fields="sys_id,super_class.name")
    assert parents == [{"sys_id": "c0ffee00000000000000000000000002", "super_class.name": "task"}]


def test_a_column_of_an_application_is_on_the_table_of_the_platform(talk: Talk) -> None:
    talk.instance.install_app(COMPANION)
    assert talk.post("incident", {}).result["x_nowt_comp_site"] == "head office"
    found = talk.rows("sys_dictionary", "name=incident^element=x_nowt_comp_site", sysparm_fields="sys_id")
    assert found == [{"sys_id": "c0ffee00000000000000000000000004"}]


def test_metadata_rows_stay_single_when_more_schema_is_loaded(talk: Talk) -> None:
    talk.instance.install_app(COMPANION)
    talk.instance.load_schema({"tables": [{"name": "u_other"}]})
    for table, query in (
        ("sys_db_object", "name=x_nowt_comp_visit"),
        ("sys_dictionary", "name=incident^element=x_nowt_comp_site"),
        ("sys_choice", "name=x_nowt_comp_visit^element=purpose"),
        ("sys_number", "category=x_nowt_comp_visit"),
    ):
        ids = [row["sys_id"] for row in talk.rows(table, query, sysparm_fields="sys_id")]
        assert len(ids) == 1, table
        assert ids[0].startswith("c0ffee"), table


def test_a_business_rule_of_an_application_runs(talk: Talk) -> None:
    before = talk.post("incident", {"short_description": "quiet"})
    talk.instance.install_app(COMPANION)
    assert talk.post("incident", {"short_description": "hello"}).result["short_description"] == "HELLO"
    assert talk.names("incident", f"sys_id={before.result['sys_id']}") == ["quiet"]
    talk.instance.uninstall_app("x_nowt_comp")
    assert talk.post("incident", {"short_description": "hello"}).result["short_description"] == "hello"


def test_an_application_that_goes_takes_everything_along(talk: Talk) -> None:
    counted = {table: talk.instance.count(table) for table in ("sys_db_object", "sys_dictionary", "sys_choice")}
    talk.instance.install_app(COMPANION)
    talk.post("x_nowt_comp_visit", {})
    counted["sys_db_object"] += 1  # sys_ux_theme is the platform's, so it stays known
    counted["sys_dictionary"] += talk.instance.count("sys_dictionary", "name=sys_ux_theme")
    assert talk.instance.uninstall_app("Companion") >= 8
    assert talk.get("table/x_nowt_comp_visit").error == (400, "Invalid table x_nowt_comp_visit", None)
    assert talk.rows("task", "") == []
    assert talk.rows("sys_scope", "scope=x_nowt_comp") == []
    assert talk.rows("sys_properties", "nameSTARTSWITHx_nowt_comp") == []
    assert "x_nowt_comp_site" not in talk.post("incident", {}).result
    assert {table: talk.instance.count(table) for table in counted} == counted
    with pytest.raises(ValueError, match="no application Companion is installed"):
        talk.instance.uninstall_app("Companion")


def test_a_new_version_removes_what_it_lacks_and_keeps_the_data(talk: Talk, tmp_path: Path) -> None:
    talk.instance.install_app(COMPANION)
    visit = talk.post("x_nowt_comp_visit", {"short_description": "stays"}).result["sys_id"]
    newer = tmp_path / "companion"
    shutil.copytree(COMPANION, newer)
    (newer / "update" / "sys_script_c0ffee00000000000000000000000008.xml").unlink()
    app = newer / "scope" / f"sys_app_{APP}.xml"
    app.write_text(app.read_text().replace("1.2.0", "1.3.0"))
    installed = talk.instance.install_app(newer)
    assert (installed.version, installed.removed) == ("1.3.0", 1)
    assert talk.rows("sys_script", "collection=incident") == []
    assert talk.names("x_nowt_comp_visit", f"sys_id={visit}") == ["stays"]
    assert talk.rows("sys_app", "scope=x_nowt_comp", sysparm_fields="version,sys_mod_count") == [
        {"version": "1.3.0", "sys_mod_count": "1"},
    ]
    states = {row["state"] for row in talk.rows("sys_update_version", f"source={APP}", sysparm_fields="state")}
    assert states == {"current", "previous"}


def test_an_update_set_is_retrieved_and_committed(talk: Talk) -> None:
    talk.instance.load("sys_properties", [{"sys_id": "c0ffee000000000000000000000000a5", "name": "old.phone"}])
    installed = talk.instance.install_app(UPDATE_SET)
    assert (installed.kind, installed.name, installed.removed) == ("update_set", "Escalation by phone", 1)
    assert talk.post("incident", {"u_phone": "555"}).result["u_phone"] == "555"
    assert talk.rows("sys_properties", "name=old.phone") == []
    fields = "state,update_set.name,update_set.state"
    assert talk.rows("sys_remote_update_set", sysparm_fields=fields) == [
        {"state": "committed", "update_set.name": "Escalation by phone", "update_set.state": "complete"},
    ]
    assert len(talk.rows("sys_update_xml", "remote_update_set=c0ffee000000000000000000000000a1")) == 2


def test_the_control_api_installs_lists_and_uninstalls(talk: Talk) -> None:
    assert talk.control("POST", "apps", {"path": str(COMPANION)})["scope"] == "x_nowt_comp"
    packed = talk.call("POST", "/_nowtwin/apps", _zip(COMPANION))
    assert (packed.status, packed.json["records"]["sys_script"]) == (200, 1)
    listed = talk.control("GET", "apps")["apps"]
    assert [(app["name"], app["version"]) for app in listed] == [("Companion", "1.2.0")]
    assert talk.control("DELETE", "apps?application=x_nowt_comp")["removed"] >= 8
    assert talk.control("GET", "apps") == {"apps": []}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"PK\x03\x04 no zip", "package.xml is not valid XML"),
        (b"<record_update><sys_app", "package.xml is not valid XML"),
        (b"\xff\xfe<", "package.xml is not UTF-8"),
        (b"<html/>", "package.xml is no update XML: its root is <html>"),
        (b"<unload/>", "it holds no update XML"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><unload/>', "package.xml declares a document type"),
        (b'{"path": "/nowhere/at/all"}', "there is no file or folder /nowhere/at/all"),
        (b'{"paht": "x"}', "Object contains unknown field `paht`"),
        (b"<unload><sys_update_xml><sys_id>1</sys_id><payload>no</payload></sys_update_xml></unload>", "payload is not"),
        (b"<database><element type='collection'/></database>", "has a table without a name"),
    ],
)  # fmt: skip
def test_what_is_no_package_is_refused_and_changes_nothing(talk: Talk, body: bytes, reason: str) -> None:
    reply = talk.call("POST", "/_nowtwin/apps", body)
    assert reply.status == 400
    assert reason in reply.json["error"]["detail"]
    assert talk.rows("sys_update_xml", "sys_id=1") == []


@given(st.binary(max_size=200) | st.text(alphabet='<>/record_updatesys"= ', max_size=80).map(str.encode))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_package(data)


def test_the_command_installs_applications_and_says_what_it_cannot(tmp_path: Path) -> None:
    wrong = subprocess.run(
        [sys.executable, "-m", "nowtwin.cli", "serve", "--port", "0", "--data", "empty", "--app", str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert wrong.returncode == 1
    assert "it holds no update XML" in wrong.stderr
    assert "Traceback" not in wrong.stderr
