"""The Service Catalog API over HTTP (c_ServiceCatalogAPI.md; servicenow-api.md 11.1)."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.nowtwin.documented import differences, example
from tests.nowtwin.talk import Record, Reply, Talk

pytestmark = pytest.mark.behaviour("11.1", evidence="documentation: c_ServiceCatalogAPI.md")

ROOT = "/api/sn_sc/servicecatalog"
CATALOG, HARDWARE, TABLETS = "c" * 32, "d" * 32, "e" * 32
IPAD, PHONE = "1" * 32, "2" * 32


@pytest.fixture(autouse=True)
def catalog(talk: Talk) -> None:
    load = talk.instance.load
    load("sc_catalog", [{"sys_id": CATALOG, "title": "Service Catalog", "active": "true"}])
    load("sc_category", [{"sys_id": HARDWARE, "title": "Hardware", "sc_catalog": CATALOG, "active": "true"}])
    tablets = {"sys_id": TABLETS, "title": "Tablets", "sc_catalog": CATALOG, "parent": HARDWARE, "active": "true"}
    load("sc_category", [tablets])
    shared = {"sc_catalogs": CATALOG, "category": TABLETS, "active": "true"}
    ipad = {"sys_id": IPAD, "name": "Apple iPad 3", "short_description": "iPad", "price": "600", **shared}
    phone = {"sys_id": PHONE, "name": "Apple iPhone 5", "price": "799.99", "recurring_price": "29", **shared}
    load("sc_cat_item", [ipad, phone, {"name": "Gone", **shared, "active": "false"}])
    variable = {"cat_item": PHONE, "active": "true", "question_text": "Which one?"}
    color = {"sys_id": "v1", "name": "color", "type": "5", "mandatory": "true", "order": "100", **variable}
    load("item_option_new", [color, {"sys_id": "v2", "name": "acrobat", "type": "7", "order": "200", **variable}])
    load("question_choice", [{"question": "v1", "text": "Black", "value": "black", "order": "1"}])


def post(talk: Talk, path: str, body: object, method: str = "POST") -> Reply:
    headers = {"Content-Type": "application/json"}
    return talk.call(method, f"{ROOT}/{path}", json.dumps(body).encode(), headers)


def get(talk: Talk, path: str, **params: str | int) -> Any:  # noqa: ANN401 - JSON
    reply = talk.call("GET", f"{ROOT}/{path}?{urlencode(params)}")
    assert reply.status == 200, reply.body
    return reply.result


def order(talk: Talk, item: str, **more: object) -> Record:
    reply = post(talk, f"items/{item}/order_now", {"sysparm_quantity": "1", **more})
    assert reply.status == 200, reply.body
    result: Record = reply.result
    return result


def test_an_order_makes_a_request_with_its_item_and_task(talk: Talk) -> None:
    made = order(talk, IPAD)
    assert made == {
        "sys_id": made["sys_id"],
        "number": made["number"],
        "request_number": made["number"],
        "parent_id": None,
        "request_id": made["sys_id"],
        "parent_table": "task",
        "table": "sc_request",
    }
    (request,) = talk.rows("sc_request")
    assert (request["number"][:3], request["request_state"], request["price"]) == ("REQ", "in_process", "600")
    (item,) = talk.rows("sc_req_item")
    assert (item["request"]["value"], item["cat_item"]["value"], item["number"][:4]) == (made["sys_id"], IPAD, "RITM")
    assert item["short_description"] == "iPad"
    (task,) = talk.rows("sc_task")
    assert (task["request_item"]["value"], task["number"][:5]) == (item["sys_id"], "SCTAS")


def test_answers_to_variables_are_kept_with_the_requested_item(talk: Talk) -> None:
    order(talk, PHONE, variables={"color": "black", "acrobat": True, "unknown": "x"})
    fields = "sc_item_option.item_option_new.name,sc_item_option.value"
    rows = talk.rows("sc_item_option_mtom", "ORDERBYsc_item_option.order", sysparm_fields=fields)
    assert [tuple(row[key] for key in fields.split(",")) for row in rows] == [("color", "black"), ("acrobat", "true")]


def test_an_expensive_order_waits_for_approval(talk: Talk) -> None:
    order(talk, IPAD, sysparm_quantity="2")
    assert talk.rows("sc_request")[0]["approval"] == "requested"
    assert talk.rows("sc_req_item")[0]["stage"] == "waiting_for_approval"
    assert talk.rows("sc_task") == []


@pytest.mark.behaviour("11.1", evidence="assumption: the stock workflow", switch="catalog_approval_limit")
@pytest.mark.behaviour("11.1", evidence="assumption: the stock workflow", switch="catalog_makes_task")
def test_the_limit_and_the_task_can_be_switched(talk: Talk) -> None:
    talk.control("PUT", "switches", {"catalog_approval_limit": 5000, "catalog_makes_task": False})
    order(talk, IPAD, sysparm_quantity="2")
    assert talk.rows("sc_request")[0]["approval"] == "approved"
    assert talk.rows("sc_task") == []


def test_an_order_may_be_for_somebody_else(talk: Talk) -> None:
    beth = talk.instance.add_user("beth", "x")
    order(talk, IPAD, sysparm_requested_for=beth)
    (item,) = talk.rows("sc_req_item")
    assert (item["requested_for"]["value"], item["opened_by"]["value"] == beth) == (beth, False)


@pytest.mark.parametrize(
    ("item", "body", "refusal"),
    [
        (IPAD, {}, (400, "Invalid Quantity value", "")),
        (IPAD, {"sysparm_quantity": "-1"}, (400, "Invalid Quantity value", "")),
        (IPAD, {"sysparm_quantity": "1.5"}, (400, "Invalid Quantity value", "")),
        (PHONE, {"sysparm_quantity": 1}, (400, "Mandatory Variables are required", "")),
        (PHONE, {"sysparm_quantity": 1, "variables": []}, (400, "Mandatory Variables are required", "")),
        (PHONE, {"sysparm_quantity": 1, "variables": ["x"]}, (400, "Exception while reading request", None)),
        (IPAD, {"sysparm_quantity": 1, "sysparm_requested_for": "nobody"}, (400, "Invalid request", None)),
        ("f" * 32, {"sysparm_quantity": 1}, (404, "No Record found", None)),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(
    talk: Talk, item: str, body: Record, refusal: tuple[int, str, str | None]
) -> None:
    status, message, detail = post(talk, f"items/{item}/order_now", body).error
    assert (status, message) == refusal[:2]
    assert refusal[2] is None or detail == refusal[2]
    assert talk.rows("sc_request") == []


def test_items_are_found_by_text_category_and_catalog(talk: Talk) -> None:
    assert [item["name"] for item in get(talk, "items")] == ["Apple iPad 3", "Apple iPhone 5"]
    assert [item["name"] for item in get(talk, "items", sysparm_text="phone")] == ["Apple iPhone 5"]
    assert [item["name"] for item in get(talk, "items", sysparm_limit=1, sysparm_offset=1)] == ["Apple iPhone 5"]
    assert len(get(talk, "items", sysparm_category=TABLETS, sysparm_catalog=CATALOG)) == 2
    assert get(talk, "items", sysparm_category=HARDWARE) == []


def test_an_item_shows_its_price_its_categories_and_its_variables(talk: Talk) -> None:
    item = get(talk, f"items/{PHONE}")
    assert (item["price"], item["recurring_price"]) == ("$799.99", "$29.00")
    assert (item["categories"][0]["title"], item["categories"][0]["category"]["title"]) == ("Hardware", "Tablets")
    color, _ = item["variables"]
    assert (color["name"], color["type"], color["friendly_type"], color["mandatory"]) == (
        "color",
        5,
        "select_box",
        True,
    )
    assert color["choices"] == [{"label": "Black", "value": "black", "index": 0}]
    assert get(talk, f"items/{PHONE}/variables") == item["variables"]


def test_catalogs_and_categories_can_be_walked(talk: Talk) -> None:
    assert [entry["title"] for entry in get(talk, "catalogs")] == ["Service Catalog"]
    assert [entry["title"] for entry in get(talk, f"catalogs/{CATALOG}")["categories"]] == ["Hardware"]
    category = get(talk, f"categories/{HARDWARE}")
    assert category["subcategories"] == [{"sys_id": TABLETS, "title": "Tablets"}]
    assert talk.call("GET", f"{ROOT}/categories/nowhere").status == 404


def test_a_cart_is_filled_changed_and_ordered_at_once(talk: Talk) -> None:
    post(talk, f"items/{IPAD}/add_to_cart", {"sysparm_quantity": "1"})
    body = {"sysparm_quantity": "2", "variables": {"color": "black"}}
    cart = post(talk, f"items/{PHONE}/add_to_cart", body).result
    assert (cart["subtotal"], [line["item_name"] for line in cart["items"]]) == (
        "$2,199.98",
        ["Apple iPad 3", "Apple iPhone 5"],
    )
    phone = cart["items"][1]["cart_item_id"]
    changed = post(talk, f"cart/{phone}", {"sysparm_quantity": "1"}, "PUT")
    assert changed.result["subtotal"] == "$1,399.99"
    placed = post(talk, "cart/submit_order", {})
    assert placed.result["request_number"] == talk.rows("sc_request")[0]["number"]
    assert sorted(talk.names("sc_req_item", "", "cat_item.name")) == ["Apple iPad 3", "Apple iPhone 5"]
    assert get(talk, "cart")["items"] == []
    assert post(talk, "cart/submit_order", {}).error[:2] == (400, "Cart is empty")


def test_lines_are_removed_and_the_cart_is_emptied(talk: Talk) -> None:
    cart = post(talk, f"items/{IPAD}/add_to_cart", {"sysparm_quantity": "1"}).result
    path = "/api/sn_sc/v1/servicecatalog/cart"
    line = cart["items"][0]["cart_item_id"]
    assert talk.call("DELETE", f"{path}/{line}").status == 204
    assert talk.call("DELETE", f"{path}/{line}").status == 404
    post(talk, f"items/{IPAD}/add_to_cart", {"sysparm_quantity": "1"})
    assert talk.call("DELETE", f"{path}/{cart['cart_id']}/empty").status == 204
    assert get(talk, "cart")["items"] == []


def test_answers_have_the_documented_shape(talk: Talk) -> None:
    documented = example("Service Catalog - GET /sn_sc/servicecatalog/items")["responses"][0]["result"]
    assert differences(documented, get(talk, "items")) == []
    documented = example("Service Catalog - GET /sn_sc/servicecatalog/items/{sys_id}")["responses"][0]["result"]
    assert differences(documented, get(talk, f"items/{IPAD}")) == []
    documented = example("Service Catalog - GET /sn_sc/servicecatalog/catalogs/{sys_id}")["responses"][0]["result"]
    assert differences(documented, get(talk, f"catalogs/{CATALOG}")) == []
    documented = example("Service Catalog - POST /sn_sc/servicecatalog/items/{sys_id}/add_to_cart")["responses"][0]
    body = {"sysparm_quantity": "2", "variables": {"color": "black", "acrobat": "true"}}
    assert differences(documented, post(talk, f"items/{PHONE}/add_to_cart", body).json) == []
