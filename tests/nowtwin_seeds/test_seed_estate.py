"""The generated estate and the generated requests: consistent in themselves, with the demo, and with the dictionary."""

from collections import Counter
from itertools import chain, islice

import pytest

from nowtwin.instance import Instance
from nowtwin.schema.dictionary import Dictionary
from nowtwin.seeds import generate_estate, generate_requests, load_demo
from nowtwin.seeds.demo import demo_dictionary, demo_rows
from nowtwin.seeds.demo_records import Tables
from nowtwin.seeds.estate import KINDS, RELATIONS
from nowtwin.seeds.estate_facts import CATEGORIES, relation_type_id
from nowtwin.seeds.estate_software import catalogue, installs
from nowtwin.values import NUMERIC_TYPES

CIS = 500


@pytest.fixture(scope="module")
def tables() -> Tables:
    """Everything that is generated, by table."""
    estate = generate_estate(7, CIS)
    found: Tables = {table: list(rows) for table, rows in catalogue(estate).items()}
    for table, rows in chain(estate.streams(), installs(estate), generate_requests(7, 60)):
        found.setdefault(table, []).extend(rows)
    return found


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    return demo_dictionary()


def test_no_sys_id_stands_twice_and_none_is_taken_from_the_demo_save_for_what_is_described_again(
    tables: Tables,
) -> None:
    ids = Counter(row["sys_id"] for rows in tables.values() for row in rows)
    assert max(ids.values()) == 1
    demo = {row["sys_id"]: table for table, rows in demo_rows().items() for row in rows}
    assert {demo[sys_id] for sys_id in ids if sys_id in demo} <= {"cmdb_model_category"}


def test_every_column_is_known_and_no_value_is_empty(tables: Tables, dictionary: Dictionary) -> None:
    for table, rows in tables.items():
        columns = dictionary.columns(table).keys()
        for row in rows:
            assert row.keys() <= columns, (table, row.keys() - columns)
            assert all(row.values()), (table, row)


def test_every_reference_points_at_a_row_of_the_right_class(tables: Tables, dictionary: Dictionary) -> None:
    place = {row["sys_id"]: table for source in (demo_rows(), tables) for table, rows in source.items() for row in rows}
    for table, rows in tables.items():
        references = {e: c.reference for e, c in dictionary.columns(table).items() if c.type == "reference"}
        for row in rows:
            for element in references.keys() & row.keys():
                assert references[element] in dictionary.lineage(place[row[element]]), (table, element)


def test_values_of_choice_columns_are_listed_and_numbers_are_numbers(tables: Tables, dictionary: Dictionary) -> None:
    for table, rows in tables.items():
        for element, column in dictionary.columns(table).items():
            used = {row[element] for row in rows if element in row}
            if column.choice in {1, 3} and dictionary.choice_labels(table, element):
                assert used <= dictionary.choice_labels(table, element).keys(), (table, element)
            if column.type in NUMERIC_TYPES:
                assert all(value.lstrip("-").replace(".", "", 1).isdigit() for value in used), (table, element)


def test_the_same_seed_makes_the_same_estate_and_another_seed_another() -> None:
    first, again, other = (list(generate_estate(seed, 100).items(KINDS[0])) for seed in (3, 3, 4))
    assert first == again
    assert {row["sys_id"] for row in first}.isdisjoint(row["sys_id"] for row in other)


def test_a_million_configuration_items_stream_by_without_being_held() -> None:
    estate = generate_estate(1, 1_000_000)
    assert sum(map(estate.count, KINDS)) == 1_000_000
    for _, rows in estate.streams():
        assert len({row["sys_id"] for row in islice(rows, 50)}) == 50


def test_a_process_runs_on_one_server_and_every_relation_joins_the_documented_classes(tables: Tables) -> None:
    place = {row["sys_id"]: table for table, rows in tables.items() for row in rows}
    joined = {(place[row["parent"]], row["type"], place[row["child"]]) for row in tables["cmdb_rel_ci"]}
    assert joined == {(parent.table, relation_type_id(name), child.table) for parent, name, child in RELATIONS}
    hosts = Counter(row["parent"] for row in tables["cmdb_rel_ci"] if row["type"] == relation_type_id("Runs on::Runs"))
    assert set(hosts.values()) == {1}
    assert len({(row["parent"], row["type"], row["child"]) for row in tables["cmdb_rel_ci"]}) == len(
        tables["cmdb_rel_ci"]
    )


def test_an_asset_and_its_ci_point_at_each_other_and_agree(tables: Tables) -> None:
    hardware = [row for kind in KINDS if kind.category for row in tables[kind.table]]
    assets = {row["sys_id"]: row for row in tables["alm_hardware"]}
    assert len(hardware) == len(assets)
    for ci in hardware:
        asset = assets[ci["asset"]]
        assert (asset["ci"], asset["model"]) == (ci["sys_id"], ci["model_id"])
        assert all(asset.get(e) == ci.get(e) for e in ("serial_number", "asset_tag", "install_status", "assigned_to"))
        assert ("substatus" in asset) == (asset["install_status"] == "6")


def test_categories_of_consumables_and_licences_have_no_ci_class_and_hardware_has_both(dictionary: Dictionary) -> None:
    for category in CATEGORIES:
        if category.asset_class in {"alm_consumable", "alm_license"}:
            assert category.cmdb_ci_class == ""
        else:
            assert category.asset_class in dictionary.tables
        assert not category.cmdb_ci_class or "cmdb_ci" in dictionary.lineage(category.cmdb_ci_class)
        assert "cmdb_model" in dictionary.lineage(category.product_model_class)


def test_a_request_its_items_and_their_tasks_tell_one_story(tables: Tables) -> None:
    requests = {row["sys_id"]: row for row in tables["sc_request"]}
    items = {row["sys_id"]: row for row in tables["sc_req_item"]}
    assert {row["request"] for row in items.values()} == requests.keys()
    for item in items.values():
        request = requests[item["request"]]
        assert all(item.get(e) == request.get(e) for e in ("state", "active", "approval", "requested_for", "closed_at"))
    for task in tables["sc_task"]:
        item = items[task["request_item"]]
        assert (task["request"], task["cat_item"]) == (item["request"], item["cat_item"])
        assert item["approval"] == "approved"
        assert task["active"] == "false" or item["active"] == "true"
    assert {row["active"] for row in requests.values()} == {"true", "false"}


def test_an_item_has_an_answer_to_each_of_its_variables(tables: Tables) -> None:
    variables = Counter(row["cat_item"] for row in demo_rows()["item_option_new"])
    answers = Counter(row["request_item"] for row in tables["sc_item_option_mtom"])
    assert all(answers[item["sys_id"]] == variables[item["cat_item"]] for item in tables["sc_req_item"])
    assert len(tables["sc_item_option"]) == len(tables["sc_item_option_mtom"])


def test_the_demo_holds_an_estate_whose_names_of_categories_and_companies_stand_once() -> None:
    with Instance() as instance:
        loaded = load_demo(instance)
        assert loaded["cmdb_rel_ci"] == instance.count("cmdb_rel_ci") > 500
        assert instance.count("sc_req_item") == loaded["sc_req_item"] > 100
        for table in ("cmdb_model_category", "core_company", "cmdb_rel_type", "cmdb_hardware_product_model"):
            names = Counter(row.get("display_name") or row["name"] for row in instance.export(table))
            assert max(names.values()) == 1, names.most_common(3)
        assert instance.insert("sc_request", {}).values["number"] == "REQ0010121"
