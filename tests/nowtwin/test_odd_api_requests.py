"""Whatever is sent to the further APIs is answered: attachments, imports, CMDB, IRE, catalog, tiny URLs, XML.

500 comes only where the documentation shows one (a malformed `options`, a dependent CI without its host).
"""

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nowtwin.http.messages import Request
from nowtwin.instance import Instance
from nowtwin.rules.stock import relation_type_id
from nowtwin.serving import routes
from tests.nowtwin.talk import basic

pytestmark = pytest.mark.behaviour(
    "1.8", evidence="assumption: what no source shows is refused in the documented words"
)

AUTHORIZATION = {"authorization": basic("admin", "admin")}
CI, ITEM, FILE = "1" * 32, "2" * 32, "3" * 32
DOCUMENTED = ("Chunk [", "Exception while executing request: null")

_words = st.sampled_from(
    [
        "",
        "NULL",
        "true",
        "-1",
        "1e999",
        "nan",
        "a^b,c@d",
        "'",
        '"',
        "\x00",
        "ü",
        "😀",
        "javascript:gs.now()",
        CI,
        "ServiceNow",
        "cmdb_ci_linux_server",
        "cmdb_ci_web_server",
        "cmdb_serial_number",
        "incident",
        "Runs on::Runs",
    ],
) | st.text(max_size=12)
_keys = st.sampled_from(
    [
        "items",
        "relations",
        "referenceItems",
        "className",
        "values",
        "lookup",
        "related",
        "settings",
        "internal_id",
        "parent",
        "child",
        "type",
        "parent_id",
        "sys_object_source_info",
        "source_name",
        "source_native_key",
        "name",
        "serial_number",
        "sys_id",
        "sys_class_name",
        "attributes",
        "source",
        "outbound_relations",
        "inbound_relations",
        "target",
        "depends_on",
        "records",
        "variables",
        "sysparm_quantity",
        "sysparm_requested_for",
        "url",
        "file_name",
        "key",
        "value",
        "user_id",
        "first_name",
        "manager",
        "department",
        "ip_address",
        "mac_address",
        "duplicate_of",
    ],
)
_scalars = st.none() | st.booleans() | st.integers(-2, 3) | st.floats(allow_nan=False) | _words
_trees = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys | _words, inner, max_size=4),
    max_leaves=12,
)
_items = st.fixed_dictionaries(
    {"className": _words, "values": st.dictionaries(_keys, _scalars, max_size=4)},
    optional={
        "lookup": st.lists(
            st.fixed_dictionaries({"className": _words, "values": st.dictionaries(_keys, _words)}), max_size=2
        ),
        "internal_id": _words,
        "sys_object_source_info": st.dictionaries(_keys, _words, max_size=3),
        "settings": st.dictionaries(_words, _words, max_size=2),
    },
)
_ends = st.integers(-1, 3)
_payloads = st.fixed_dictionaries(
    {"items": st.lists(_items, max_size=3)},
    optional={
        "relations": st.lists(st.fixed_dictionaries({"parent": _ends, "child": _ends, "type": _words}), max_size=3)
    },
)
_bodies = st.binary(max_size=40) | (_trees | _payloads).map(lambda value: json.dumps(value).encode())
_paths = st.sampled_from(
    [
        "/api/now/identifyreconcile",
        "/api/now/identifyreconcile/query",
        "/api/now/identifyreconcile/enhanced",
        "/api/now/identifyreconcile/queryEnhanced",
        "/api/now/cmdb/instance/cmdb_ci_linux_server",
        f"/api/now/cmdb/instance/cmdb_ci_linux_server/{CI}",
        f"/api/now/cmdb/instance/cmdb_ci/{CI}/relation",
        f"/api/now/cmdb/instance/cmdb_ci/{CI}/relation/{CI}",
        "/api/now/cmdb/meta/cmdb_ci_server",
        "/api/now/import/imp_user",
        "/api/now/import/imp_user/insertMultiple",
        f"/api/now/import/imp_user/{CI}",
        "/api/now/attachment",
        "/api/now/attachment/file",
        "/api/now/attachment/upload",
        f"/api/now/attachment/{FILE}",
        f"/api/now/attachment/{FILE}/file",
        f"/api/now/attachment/{FILE}/attributes/x",
        "/api/now/tinyurl",
        f"/api/now/attachment/{FILE}/attributes",
        "/api/now/doc/table/schema/incident",
        "/api/now/ui/meta/incident",
        f"/api/sn_sc/servicecatalog/items/{ITEM}/order_now",
        f"/api/sn_sc/servicecatalog/items/{ITEM}/add_to_cart",
        "/api/sn_sc/servicecatalog/items",
        f"/api/sn_sc/servicecatalog/items/{ITEM}",
        "/api/sn_sc/servicecatalog/cart",
        "/api/sn_sc/servicecatalog/cart/submit_order",
        f"/api/sn_sc/servicecatalog/cart/{ITEM}",
        "/stats.do",
    ],
)
_odd_paths = st.tuples(_paths, _words).map("/".join) | _paths
_params = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "sysparm_data_source",
                "options",
                "sysparm_query",
                "sysparm_limit",
                "sysparm_offset",
                "table_name",
                "sysparm_text",
                "table_sys_id",
                "file_name",
                "creation_time",
                "multi_import_set_id",
                "run_after",
                "sysparm_tiny",
            ],
        ),
        _words | st.sampled_from(["generate_summary:true", "x", "incident", "nameLIKEa^ORDERBYname"]),
    ),
    max_size=3,
)
_kinds = st.sampled_from(["application/json", "application/xml", "multipart/form-data; boundary=x", "text/plain", ""])
_methods = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"])
_accepts = st.sampled_from(["application/json", "application/xml", "*/*"])


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    with Instance() as made:
        made.load("cmdb_ci_linux_server", [{"sys_id": CI, "name": "host"}])
        made.load("sc_cat_item", [{"sys_id": ITEM, "name": "item", "price": "1", "active": "true"}])
        made.load("sys_attachment", [{"sys_id": FILE, "file_name": "f", "table_name": "cmdb_ci", "table_sys_id": CI}])
        yield made


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(method=_methods, path=_odd_paths, params=_params, body=_bodies, form=st.tuples(_kinds, _accepts))
def test_every_request_is_answered(
    instance: Instance, method: str, path: str, params: list[tuple[str, str]], body: bytes, form: tuple[str, str]
) -> None:
    headers = {**AUTHORIZATION, "content-type": form[0], "accept": form[1]}
    answer = routes.answer(instance, Request(method, path, tuple(params), headers, body))
    assert answer.status < 500 or any(text.encode() in answer.body for text in DOCUMENTED), answer


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    payload=_payloads,
    source=st.sampled_from(["", "ServiceNow", "x"]),
    mode=st.sampled_from(["", "/enhanced", "/query"]),
)
def test_every_payload_has_an_outcome_for_each_item_and_relation(
    instance: Instance, payload: dict[str, list[object]], source: str, mode: str
) -> None:
    headers = {**AUTHORIZATION, "content-type": "application/json"}
    query = (("sysparm_data_source", source),)
    request = Request("POST", f"/api/now/identifyreconcile{mode}", query, headers, json.dumps(payload).encode())
    answer = routes.answer(instance, request)
    if answer.status == 400:
        return
    result = json.loads(answer.body)["result"]
    indices = sorted(index for item in result["items"] for index in item["inputIndices"])
    assert indices == list(range(len(payload["items"])))
    assert len(result["relations"]) == len(payload.get("relations", []))
    for item in result["items"]:
        assert item["errorCount"] == len(item.get("errors", ()))


def test_a_relation_to_nowhere_is_the_documented_failure(instance: Instance) -> None:
    end = {"type": relation_type_id("Runs on::Runs"), "target": "nowhere"}
    body = {"attributes": {"name": "a"}, "source": "ServiceNow", "outbound_relations": [end]}
    headers = {**AUTHORIZATION, "content-type": "application/json"}
    path = "/api/now/cmdb/instance/cmdb_ci_web_server"
    answer = routes.answer(instance, Request("POST", path, (), headers, json.dumps(body).encode()))
    assert answer.status == 500
    assert DOCUMENTED[1].encode() in answer.body
