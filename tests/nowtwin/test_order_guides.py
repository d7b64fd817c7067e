"""Order guides, mandatory answers and carts over the Service Catalog API (c_ServiceCatalogAPI.md; servicenow-api.md 11.1)."""

import json

import pytest

from tests.nowtwin.documented import differences, example
from tests.nowtwin.talk import Record, Reply, Talk

pytestmark = pytest.mark.behaviour(
    "11.1", evidence="documentation: c_ServiceCatalogAPI.md, t_CreateARule.md, order-guide-form.md"
)

ROOT = "/api/sn_sc/v1/servicecatalog"
HIRE, LAPTOP, PHONE, DESK = "a" * 32, "1" * 32, "2" * 32, "3" * 32
REMOTE, NEED = "b" * 32, "c" * 32


@pytest.fixture(autouse=True)
def guide(talk: Talk) -> None:
    load = talk.instance.load
    load("sc_cat_item_guide", [{"sys_id": HIRE, "name": "New hire", "active": "true", "cascade": "true"}])
    active = {"active": "true"}
    laptop = {"sys_id": LAPTOP, "name": "Laptop", "price": "1100", "recurring_price": "100", **active}
    phone = {"sys_id": PHONE, "name": "Phone", "price": "50", **active}
    load("sc_cat_item", [laptop | {"recurring_frequency": "yearly"}, phone, {"sys_id": DESK, "name": "Desk", **active}])
    remote = {"sys_id": REMOTE, "cat_item": HIRE, "name": "remote", "type": "6", "mandatory": "true", **active}
    load("item_option_new", [remote, {"sys_id": NEED, "cat_item": HIRE, "name": "need", "type": "6", **active}])
    load("item_option_new", [{"cat_item": PHONE, "name": "need", "type": "6", **active}])
    load("item_option_new", [{"cat_item": DESK, "name": "height", "type": "6", "mandatory": "true", **active}])
    for order, (item, condition) in enumerate(
        ((LAPTOP, ""), (PHONE, f"IO:{REMOTE}=yes"), (DESK, f"IO:{REMOTE}!=yes^IO:{NEED}LIKEdesk^ORIO:{NEED}ISEMPTY^EQ"))
    ):
        rule = {"guide": HIRE, "item": item, "condition": condition, "order": str(order), "quantity": "1", **active}
        load("sc_cat_item_guide_items", [rule])


def send(talk: Talk, method: str, path: str, body: object) -> Reply:
    headers = {"Content-Type": "application/json"}
    return talk.call(method, f"{ROOT}/items/{HIRE}/{path}", json.dumps(body).encode(), headers)


def offered(talk: Talk, **variables: str) -> list[Record]:
    reply = send(talk, "PUT", "submit_guide", {"variables": variables})
    assert reply.status == 200, reply.body
    found: list[Record] = reply.result
    return found


@pytest.mark.parametrize(
    ("answers", "names"),
    [
        ({"remote": "yes"}, ["Laptop", "Phone"]),
        ({"remote": "YES"}, ["Laptop", "Phone"]),
        ({"remote": "no", "need": "a big desk"}, ["Laptop", "Desk"]),
        ({"remote": "no"}, ["Laptop", "Desk"]),
        ({"remote": "no", "need": "lamp"}, ["Laptop"]),
    ],
)
def test_the_answers_decide_which_items_a_guide_offers(talk: Talk, answers: dict[str, str], names: list[str]) -> None:
    assert [item["name"] for item in offered(talk, **answers)] == names
    assert talk.rows("sc_request") == []


def test_answers_cascade_into_variables_of_the_same_name_where_the_guide_says_so(talk: Talk) -> None:
    need = offered(talk, remote="yes", need="big screen")[1]["variables"][0]
    assert (need["name"], need["value"]) == ("need", "big screen")
    talk.patch("sc_cat_item_guide", HIRE, {"cascade": "false"})
    assert offered(talk, remote="yes", need="big screen")[1]["variables"][0]["value"] == ""


def test_a_guide_needs_its_mandatory_answers(talk: Talk) -> None:
    assert send(talk, "PUT", "submit_guide", {"variables": {}}).error == (400, "Mandatory Variables are required", "")
    assert send(talk, "PUT", "submit_guide", {"variables": [1]}).error[:2] == (400, "Exception while reading request")
    missing = talk.call("PUT", f"{ROOT}/items/{LAPTOP}/submit_guide", b"{}", {"Content-Type": "application/json"})
    assert missing.status == 404


def test_a_guide_of_two_steps_is_ordered_in_one_request(talk: Talk) -> None:
    talk.patch("sc_cat_item_guide", HIRE, {"two_step": "true"})
    items = [{"sys_id": LAPTOP, "sysparm_quantity": "2"}, {"sys_id": PHONE, "variables": {"need": "x"}}]
    made = send(talk, "POST", "checkout_guide", {"items": items}).result
    (request,) = talk.rows("sc_request")
    assert made == {"request_number": request["number"], "request_id": request["sys_id"]}
    fields = "cat_item.name,quantity,order_guide.name"
    rows = talk.rows("sc_req_item", "ORDERBYcat_item.name", sysparm_fields=fields)
    assert [tuple(row[key] for key in fields.split(",")) for row in rows] == [
        ("Laptop", "2", "New hire"),
        ("Phone", "1", "New hire"),
    ]


def test_a_guide_of_three_steps_goes_into_the_cart(talk: Talk) -> None:
    items = [{"sys_id": LAPTOP, "sysparm_quantity": "3"}, {"sys_id": PHONE}]
    cart = send(talk, "POST", "checkout_guide", {"items": items}).result
    assert (cart["subtotal_price"], cart["subtotal_recurring_price"]) == ("$3,350.00", "$300.00")
    yearly, once = cart["yearly"], cart["none"]
    assert (yearly["subtotal_recurring_frequency"], yearly["items"][0]["item_name"]) == ("Annually", "Laptop")
    assert [line["item_name"] for line in once["items"]] == ["Phone"]
    assert talk.rows("sc_request") == []
    placed = talk.call("POST", f"{ROOT}/cart/submit_order", b"{}", {"Content-Type": "application/json"})
    assert placed.result["request_number"] == talk.rows("sc_request")[0]["number"]
    assert talk.names("sc_req_item", "order_guideISNOTEMPTY^ORDERBYcat_item.name", "cat_item.name") == [
        "Laptop",
        "Phone",
    ]


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({}, (400, "Exception while reading request")),
        ({"items": ["x"]}, (400, "Exception while reading request")),
        ({"items": [{"sys_id": "f" * 32}]}, (404, "No Record found")),
        ({"items": [{"sys_id": DESK}]}, (400, "Mandatory Variables are required")),
        ({"items": [{"sys_id": LAPTOP, "sysparm_quantity": "0"}]}, (400, "Invalid Quantity value")),
    ],
)
def test_a_checkout_that_makes_no_sense_orders_nothing(talk: Talk, body: Record, refusal: tuple[int, str]) -> None:
    assert send(talk, "POST", "checkout_guide", body).error[:2] == refusal
    assert talk.rows("sc_cart_item") == []


def test_mandatory_answers_of_items_are_checked_in_every_way_of_ordering(talk: Talk) -> None:
    headers = {"Content-Type": "application/json"}
    for path in ("order_now", "add_to_cart"):
        reply = talk.call("POST", f"{ROOT}/items/{DESK}/{path}", b'{"sysparm_quantity": 1}', headers)
        assert reply.error == (400, "Mandatory Variables are required", ""), path
    body = b'{"sysparm_quantity": 1, "variables": {"height": "80"}}'
    assert talk.call("POST", f"{ROOT}/items/{DESK}/order_now", body, headers).status == 200


def test_every_user_has_a_cart_of_their_own(talk: Talk) -> None:
    talk.instance.add_user("beth", "beth", roles=["admin"])
    headers = {"Content-Type": "application/json"}
    talk.call("POST", f"{ROOT}/items/{PHONE}/add_to_cart", b'{"sysparm_quantity": 1}', headers)
    hers = talk.as_user("beth", "beth").call("GET", f"{ROOT}/cart").result
    assert hers["items"] == []
    assert hers["cart_id"] != talk.call("GET", f"{ROOT}/cart").result["cart_id"]


def test_guides_are_items_of_their_own_kind(talk: Talk) -> None:
    guide = talk.call("GET", f"{ROOT}/items/{HIRE}").result
    assert (guide["type"], guide["sys_class_name"]) == ("order_guide", "sc_cat_item_guide")
    assert [variable["name"] for variable in guide["variables"]] == ["need", "remote"]


def test_answers_about_guides_have_the_documented_shape(talk: Talk) -> None:
    documented = example("Service Catalog - PUT /sn_sc/servicecatalog/items/{sys_id}/submit_guide")["responses"][0]
    first = {key: value for key, value in documented["result"][0].items() if key != "variables"}
    assert differences(first, offered(talk, remote="yes")[0]) == []
