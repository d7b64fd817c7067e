"""Assets and CIs make and change each other (servicenow-api.md 11.2); deleted records take what belongs to them along."""

from datetime import UTC, datetime

import pytest

from tests.nowtwin.talk import Record, Talk

pytestmark = pytest.mark.behaviour(
    "11.2", evidence="documentation: c_ManagingAssets.md, r_InstalledWithAssetManagement.md"
)

STARTED = datetime(2026, 3, 1, 9, 4, tzinfo=UTC)


@pytest.fixture
def computers(talk: Talk) -> str:
    """The category Computer: its CI class, its asset class."""
    made = talk.post(
        "cmdb_model_category",
        {"name": "Computer", "cmdb_ci_class": "cmdb_ci_computer", "asset_class": "alm_hardware"},
    )
    sys_id: str = made.result["sys_id"]
    return sys_id


@pytest.fixture
def model(talk: Talk, computers: str) -> str:
    apple = talk.post("core_company", {"name": "Apple", "manufacturer": "true"}).result["sys_id"]
    values = {"name": "MacBook Pro 15", "manufacturer": apple, "cmdb_model_category": computers}
    sys_id: str = talk.post("cmdb_hardware_product_model", values).result["sys_id"]
    return sys_id


def laptop(talk: Talk, model: str, category: str, **values: str) -> Record:
    reply = talk.post("alm_hardware", {"model": model, "model_category": category, "asset_tag": "P1", **values})
    assert reply.status == 201, reply.body
    record: Record = reply.result
    return record


def set_property(talk: Talk, name: str, value: str) -> None:
    talk.post("sys_properties", {"name": name, "value": value})


@pytest.mark.behaviour("11.2", evidence="assumption: the composition", switch="model_named_with_manufacturer")
def test_a_model_may_display_as_its_name_alone(talk: Talk, model: str) -> None:
    talk.control("PUT", "switches", {"model_named_with_manufacturer": False})
    talk.patch("cmdb_model", model, {"name": "MacBook"})
    assert talk.rows("cmdb_model")[0]["display_name"] == "MacBook"


def test_a_model_and_an_asset_get_their_display_names_from_the_platform(talk: Talk, model: str, computers: str) -> None:
    assert talk.rows("cmdb_model")[0]["display_name"] == "Apple MacBook Pro 15"
    assert laptop(talk, model, computers, display_name="mine")["display_name"] == "P1 - Apple MacBook Pro 15"
    assert talk.post("alm_asset", {}).result["display_name"] == "Unknown"
    talk.patch("cmdb_model", model, {"name": "Apple Silicon"})
    assert talk.rows("cmdb_model")[0]["display_name"] == "Apple Silicon"


def test_a_new_asset_makes_a_ci_of_its_category_s_class(talk: Talk, model: str, computers: str) -> None:
    asset = laptop(talk, model, computers, serial_number="S1", install_status="6")
    (ci,) = talk.rows("cmdb_ci")
    assert (ci["sys_class_name"], ci["name"], ci["serial_number"]) == ("cmdb_ci_computer", "Apple MacBook Pro 15", "S1")
    assert (ci["asset"]["value"], asset["ci"]["value"]) == (asset["sys_id"], ci["sys_id"])
    assert (ci["model_id"]["value"], ci["asset_tag"], ci["install_status"]) == (model, "P1", "6")
    assert asset["substatus"] == "available"


def test_an_asset_of_a_category_without_ci_class_makes_none(talk: Talk, model: str) -> None:
    bulk = talk.post("cmdb_model_category", {"name": "Cables", "asset_class": "alm_consumable"}).result["sys_id"]
    assert laptop(talk, model, bulk)["ci"] == ""
    assert talk.rows("cmdb_ci") == []
    refused = talk.patch("cmdb_model_category", bulk, {"cmdb_ci_class": "cmdb_ci_computer"})
    assert refused.error[:2] == (403, "Operation Failed")


def test_mapped_columns_follow_from_the_asset_to_the_ci_and_back(talk: Talk, model: str, computers: str) -> None:
    asset = laptop(talk, model, computers)
    ci = asset["ci"]["value"]
    admin = talk.rows("sys_user", "user_name=admin")[0]["sys_id"]
    talk.patch("alm_hardware", asset["sys_id"], {"assigned_to": admin, "install_status": "3"})
    row = talk.rows("cmdb_ci_computer")[0]
    assert (row["assigned_to"]["value"], row["install_status"], row["hardware_status"]) == (
        admin,
        "3",
        "in_maintenance",
    )
    talk.patch("cmdb_ci", ci, {"serial_number": "S7", "assigned_to": "", "install_status": "1"})
    changed = talk.rows("alm_hardware")[0]
    assert (changed["serial_number"], changed["assigned_to"]) == ("S7", "")
    assert changed["install_status"] == "3", "for hardware only the asset decides on the state"


def test_a_change_does_not_echo(talk: Talk, model: str, computers: str) -> None:
    asset = laptop(talk, model, computers)
    before = int(talk.rows("alm_hardware")[0]["sys_mod_count"]), int(talk.rows("cmdb_ci")[0]["sys_mod_count"])
    talk.patch("alm_hardware", asset["sys_id"], {"serial_number": "S2"})
    after = int(talk.rows("alm_hardware")[0]["sys_mod_count"]), int(talk.rows("cmdb_ci")[0]["sys_mod_count"])
    assert after == (before[0] + 1, before[1] + 1)
    talk.patch("alm_hardware", asset["sys_id"], {"comments": "costly"})
    assert int(talk.rows("cmdb_ci")[0]["sys_mod_count"]) == after[1], "comments are not mapped"


def test_a_new_ci_with_a_model_makes_its_asset_at_once(talk: Talk, model: str, computers: str) -> None:
    ci = talk.post("cmdb_ci_linux_server", {"name": "srv", "model_id": model, "asset_tag": "P9"}).result
    (asset,) = talk.rows("alm_hardware")
    assert (asset["ci"]["value"], asset["model"]["value"], asset["asset_tag"]) == (ci["sys_id"], model, "P9")
    assert asset["model_category"]["value"] == computers
    assert ci["asset"]["value"] == asset["sys_id"]
    assert len(talk.rows("cmdb_ci")) == 1


def test_a_ci_gets_its_asset_when_it_gets_its_model(talk: Talk, model: str) -> None:
    ci = talk.post("cmdb_ci_computer", {"name": "pc"}).result
    assert ci["asset"] == ""
    changed = talk.patch("cmdb_ci", ci["sys_id"], {"model_id": model}).result
    assert changed["asset"]["value"] == talk.rows("alm_hardware")[0]["sys_id"]


def test_a_model_may_forbid_assets_or_ask_for_consumables(talk: Talk, model: str) -> None:
    talk.patch("cmdb_model", model, {"asset_tracking_strategy": "do_not_track"})
    talk.post("cmdb_ci_computer", {"model_id": model})
    assert talk.rows("alm_asset") == []
    talk.patch("cmdb_model", model, {"asset_tracking_strategy": "track_as_consumable"})
    talk.post("cmdb_ci_computer", {"model_id": model})
    assert talk.rows("alm_asset")[0]["sys_class_name"] == "alm_consumable"


def test_with_delayed_creation_the_asset_comes_with_the_next_run_of_the_job(talk: Talk, model: str) -> None:
    talk.instance.clock.set(STARTED)
    talk.instance.clock.freeze()
    set_property(talk, "glide.create_alm_asset.async", "true")
    talk.post("cmdb_ci_computer", {"name": "pc", "model_id": model})
    assert talk.rows("alm_asset") == []
    assert len(talk.rows("alm_asset_creation_queue", "state=pending")) == 1
    talk.instance.clock.advance(10 * 60)
    assert talk.rows("alm_asset") == [], "09:14: the job runs at a quarter past"
    talk.instance.clock.advance(60)
    assert len(talk.rows("alm_asset")) == 1
    assert talk.rows("cmdb_ci")[0]["asset"]["value"] == talk.rows("alm_asset")[0]["sys_id"]
    assert talk.rows("alm_asset_creation_queue") == []
    assert talk.rows("asset_job_log")[0]["status_message"] == "1 assets created"


@pytest.mark.behaviour("11.2", evidence="documentation: c_ManagingAssets.md", switch="asset_job_minutes")
def test_the_delayed_job_runs_as_often_as_the_switch_says(talk: Talk, model: str) -> None:
    talk.instance.clock.set(STARTED)
    talk.instance.clock.freeze()
    talk.control("PUT", "switches", {"assets_created_async": True, "asset_job_minutes": 5})
    talk.post("cmdb_ci_computer", {"name": "pc", "model_id": model})
    talk.instance.clock.advance(60)
    assert len(talk.rows("alm_asset")) == 1


@pytest.mark.behaviour("11.2", evidence="assumption: the default", switch="assets_created_async")
def test_the_delayed_job_can_be_run_through_the_control_api(talk: Talk, model: str) -> None:
    talk.control("PUT", "switches", {"assets_created_async": True})
    talk.post("cmdb_ci_computer", {"name": "pc", "model_id": model})
    assert talk.rows("alm_asset") == []
    talk.control("POST", "jobs")
    assert len(talk.rows("alm_asset")) == 1


def test_in_ire_mode_hardware_needs_a_serial_number_of_its_own(talk: Talk, model: str, computers: str) -> None:
    set_property(talk, "glide.asset.create_ci_with_ire", "true")
    asset = laptop(talk, model, computers, serial_number="S1")
    ci = talk.rows("cmdb_ci")[0]
    assert (ci["name"], ci["discovery_source"]) == ("S1 - MacBook Pro 15", "SNAssetManagement")
    assert asset["ci"]["value"] == ci["sys_id"]
    for values in ({}, {"serial_number": "S1"}):
        refused = talk.post("alm_hardware", {"model": model, "model_category": computers, **values})
        assert refused.error[:2] == (403, "Operation Failed")
    assert len(talk.rows("alm_asset")) == 1


@pytest.mark.behaviour("11.2", evidence="assumption: the default", switch="asset_ci_with_ire")
def test_ire_mode_may_be_the_default(talk: Talk, model: str, computers: str) -> None:
    talk.control("PUT", "switches", {"asset_ci_with_ire": True})
    assert talk.post("alm_hardware", {"model": model, "model_category": computers}).status == 403
    set_property(talk, "glide.asset.create_ci_with_ire", "false")
    assert talk.post("alm_hardware", {"model": model, "model_category": computers}).status == 201


def test_a_retired_asset_gives_up_its_people_and_places(talk: Talk, model: str, computers: str) -> None:
    admin = talk.rows("sys_user", "user_name=admin")[0]["sys_id"]
    asset = laptop(talk, model, computers, assigned_to=admin, reserved_for=admin)
    retired = talk.patch("alm_hardware", asset["sys_id"], {"install_status": "7"}).result
    assert (retired["assigned_to"], retired["reserved_for"]) == ("", "")
    assert retired["retired"] == talk.instance.clock.stamp()[:10]
    assert talk.rows("cmdb_ci")[0]["install_status"] == "7"


def test_a_record_marked_skip_sync_is_not_mirrored(talk: Talk, model: str, computers: str) -> None:
    assert laptop(talk, model, computers, skip_sync="true")["ci"] == ""


def test_deleting_one_side_clears_the_link_on_the_other(talk: Talk, model: str, computers: str) -> None:
    asset = laptop(talk, model, computers)
    talk.delete("cmdb_ci", asset["ci"]["value"])
    assert talk.rows("alm_hardware")[0]["ci"] == ""
    second = laptop(talk, model, computers, serial_number="S2")
    talk.delete("alm_hardware", second["sys_id"])
    assert talk.rows("cmdb_ci")[0]["asset"] == ""


def test_relations_and_attachments_go_with_a_deleted_ci(talk: Talk) -> None:
    ends = [talk.post("cmdb_ci_server", {"name": name}).result["sys_id"] for name in ("a", "b")]
    talk.post("cmdb_rel_ci", {"parent": ends[0], "child": ends[1]})
    target = f"/api/now/attachment/file?table_name=cmdb_ci_server&table_sys_id={ends[1]}&file_name=f"
    assert talk.call("POST", target, b"x", {"Content-Type": "text/plain"}).status == 201
    talk.delete("cmdb_ci", ends[1])
    assert talk.rows("cmdb_rel_ci") == []
    assert talk.rows("sys_audit_delete", "tablename=cmdb_rel_ci") == []
    assert talk.rows("sys_attachment") == []
    assert talk.rows("sys_attachment_doc") == []
