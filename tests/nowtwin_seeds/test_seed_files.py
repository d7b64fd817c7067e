import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from nowtwin.instance import Instance
from nowtwin.seeds import SeedFileError, find_shared_data, load_file


@pytest.fixture
def instance() -> Iterator[Instance]:
    with Instance() as instance:
        yield instance


def write(path: Path, text: str) -> Path:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def test_plain_rows_are_loaded_as_they_are(instance: Instance, tmp_path: Path) -> None:
    rows = {"sys_user": [{"sys_id": "a" * 32, "user_name": "ada", "name": "Ada"}], "incident": [{"number": "INC7"}]}
    assert load_file(instance, write(tmp_path / "rows.json", json.dumps(rows))) == {"sys_user": 1, "incident": 1}
    stored = instance.read("sys_user", "a" * 32)
    assert stored is not None
    assert stored["name"] == "Ada"
    assert instance.count("incident", "number=INC7") == 1


def test_a_schema_adds_tables_that_can_then_be_filled(instance: Instance, tmp_path: Path) -> None:
    schema = {
        "tables": [{"name": "u_badge", "label": "Badge", "super_class": None}],
        "columns": [{"table": "u_badge", "element": "u_colour", "internal_type": "string"}],
        "choices": [],
    }
    assert load_file(instance, write(tmp_path / "schema.json.gz", json.dumps(schema))) == {"sys_db_object": 1}
    instance.insert("u_badge", {"u_colour": "red"})
    assert instance.count("u_badge", "u_colour=red") == 1


def test_device_types_become_manufacturers_and_models(instance: Instance, tmp_path: Path) -> None:
    known = {"sys_id": "c" * 32, "name": "Cisco", "vendor": "true"}
    instance.load("core_company", [known])
    lines = [
        {"manufacturer": "Cisco", "model": "C9300", "slug": "c9300", "part_number": "C9300-24T", "u_height": 1},
        {"manufacturer": "3Com", "model": "4200G", "slug": "4200g", "u_height": 0.5, "max_draw_watts": 47},
    ]
    path = write(tmp_path / "types.jsonl.gz", "\n".join(map(json.dumps, lines)))
    assert load_file(instance, path) == {"core_company": 1, "cmdb_hardware_product_model": 2}
    models = {row["name"]: row for row in instance.export("cmdb_model")}
    assert models["C9300"]["manufacturer"] == "c" * 32
    assert models["4200G"]["rack_units"] == "1"
    assert models["4200G"]["display_name"] == "3Com 4200G"
    company = instance.read("core_company", "c" * 32)
    assert company is not None
    assert company["vendor"] == "true"


def test_a_class_list_becomes_tables_and_its_stray_headings_do_not(instance: Instance, tmp_path: Path) -> None:
    text = "table,label,super_class\ncmdb_ci_toaster,Toaster,cmdb_ci_hardware\nBusiness criticality,Oops,\n"
    assert load_file(instance, write(tmp_path / "classes.csv", text)) == {"sys_db_object": 1}
    instance.insert("cmdb_ci_toaster", {"name": "Kitchen"})
    assert instance.count("cmdb_ci", "sys_class_name=cmdb_ci_toaster") == 1


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("notes.txt", "hello", "is no seed that is known"),
        ("empty.json", "{}", "is no seed that is known"),
        ("list.json", "[1]", "is no seed that is known"),
        ("numbers.json", '{"incident": [{"priority": 1}]}', "incident.priority is 1, but every value is a string"),
        ("broken.json", '{"incident": [', "cannot be read"),
        ("unknown.json", '{"u_nothing": [{"a": "b"}]}', "no table u_nothing"),
        ("column.json", '{"incident": [{"u_none": "b"}]}', "table incident has no column u_none"),
        ("other.csv", "a,b\n1,2\n", "is no seed that is known"),
        ("other.jsonl", '{"a": 1}\n', "is no seed that is known"),
        ("empty.jsonl", "", "is no seed that is known"),
        ("log.csv", "number,incident_state,sys_mod_count\nINC1,New,0\n", "columns missing"),
    ],
)
def test_anything_else_is_refused_by_name(
    instance: Instance, tmp_path: Path, name: str, text: str, complaint: str
) -> None:
    with pytest.raises(SeedFileError, match=complaint) as caught:
        load_file(instance, write(tmp_path / name, text))
    assert name in str(caught.value)


def test_a_missing_and_a_wrongly_packed_file_are_refused(instance: Instance, tmp_path: Path) -> None:
    with pytest.raises(SeedFileError, match="cannot be read"):
        load_file(instance, tmp_path / "none.json")
    (tmp_path / "plain.json.gz").write_text("{}")
    with pytest.raises(SeedFileError, match="cannot be read"):
        load_file(instance, tmp_path / "plain.json.gz")


def test_shared_data_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOWBRIDGE_SHARED_DATA", str(tmp_path))
    assert find_shared_data() == tmp_path
    monkeypatch.setenv("NOWBRIDGE_SHARED_DATA", str(tmp_path / "gone"))
    assert find_shared_data() is None


def test_every_seed_of_the_shared_data_loads(instance: Instance) -> None:
    folder = find_shared_data()
    if folder is None:
        pytest.skip("the shared data is not here: set NOWBRIDGE_SHARED_DATA to its folder")
    loaded = {
        name: sum(load_file(instance, folder / name).values())
        for name in (
            *("servicenow_schema.json.gz", "cmdb_classes.csv", "cmdb_rel_types.csv", "cmdb_class_relations.csv"),
            *("netbox_device_types.dev.jsonl.gz", "netbox_module_types.dev.jsonl.gz"),
            "recorded_change_requests.stackvista.dev.jsonl.gz",
        )
    }
    assert all(loaded.values())
    assert instance.count("cmdb_hardware_product_model") > 2_000
    assert instance.count("cmdb_rel_type_suggest", "cmdb_rel_type.name=Contains::Contained by") > 50
    assert instance.count("change_request") == 1
