"""Records of a fresh instance about signing in, policies and queries: the parameters of API keys, the standard inbound
profiles, the data policy on closing incidents, dynamic filter options, the rules of the state models.

Names and sys_ids as public set-up scripts and exports show them; sys_ids that are not known are derived from names.
"""

from collections.abc import Iterator

from nowtwin.rules.state_models import rule_rows
from nowtwin.schema.metadata import row_id

Row = dict[str, str]

_CLOSING = row_id("sys_data_policy2", "close incident")
_PROFILES = (
    ("BasicAuth for none public processors ", "basic_auth"),
    ("OAuth", "oauth"),
    ("ID Token", "id_token"),
)
_DYNAMIC = (
    ("90d1921e5f510100a9ad2572f2b477fe", "Me", "gs.getUserID()", "sys_user"),
    ("d6435e965f510100a9ad2572f2b477fe", "One of My Groups", "gs.getUser().getMyGroups()", "sys_user_group"),
)


def policy_rows() -> Iterator[tuple[str, list[Row]]]:
    """Every table with its rows."""
    yield "sys_token_auth_parameter", [_parameter(kind) for kind in ("auth_header", "query_param")]
    yield "std_http_auth", [_profile(name, kind) for name, kind in _PROFILES]
    yield "sys_api_access_policy", [_table_policy()]
    yield "sys_data_policy2", [_closing_policy()]
    yield "sys_data_policy_rule", [_closing_rule(field) for field in ("close_code", "close_notes")]
    yield "sys_filter_option_dynamic", [_dynamic(*entry) for entry in _DYNAMIC]
    yield "sys_script", list(rule_rows())


def _parameter(kind: str) -> Row:
    return {
        "sys_id": row_id("sys_token_auth_parameter", kind),
        "parameter_name": "x-sn-apikey",
        "type": kind,
    }


def _profile(name: str, kind: str) -> Row:
    return {"sys_id": row_id("std_http_auth", name), "name": name, "type": kind, "active": "true"}


def _table_policy() -> Row:
    """Ships inactive; with a key profile mapped to it, API keys work for reads of the Table API."""
    return {
        "sys_id": row_id("sys_api_access_policy", "table get"),
        "name": "Table GET API Access Policy",
        "rest_api": "Table API",
        "rest_api_path": "now/table",
        "http_method": "GET",
        "active": "false",
        "apply_all_tables": "false",
    }


def _closing_policy() -> Row:
    return {
        "sys_id": _CLOSING,
        "model_table": "incident",
        "short_description": "Make close info mandatory when resolved or closed",
        "conditions": "stateIN6,7^EQ",
        "active": "true",
        "inherit": "false",
        "reverse_if_false": "true",
        "enforce_ui": "true",
    }


def _closing_rule(field: str) -> Row:
    return {
        "sys_id": row_id("sys_data_policy_rule", "close incident", field),
        "sys_data_policy": _CLOSING,
        "table": "incident",
        "field": field,
        "mandatory": "true",
        "disabled": "ignore",
    }


def _dynamic(sys_id: str, label: str, script: str, table: str) -> Row:
    return {
        "sys_id": sys_id,
        "label": label,
        "script": script,
        "table": table,
        "field_type": "reference",
        "active": "true",
        "available_for_filter": "true",
        "available_for_default": "true",
        "available_for_ref_qual": "true",
    }
