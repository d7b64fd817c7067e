"""A step as a call to the Table API, and the records in what comes back. Pure."""

from __future__ import annotations

import json

import msgspec

from nowbridge.model.plan import Operation, Step
from nowbridge.servicenow import tables
from nowbridge.servicenow.wire import value_of
from nowbridge.transport.messages import Request


def request_of(step: Step, fields: tuple[str, ...]) -> Request:
    """The call that carries a step. None is marked as repeatable: `Delivery` decides that by looking."""
    params = (("sysparm_fields", ",".join(fields)), ("sysparm_exclude_reference_link", "true")) if fields else ()
    values = {**step.written, **dict(step.journals)}
    if step.operation is Operation.CREATE:
        body = json.dumps({"sys_id": step.sys_id, **values}, ensure_ascii=False).encode()
        return Request(
            "POST",
            tables.table_path(step.table),
            params,
            body=body,
            asked=f"create a record in {step.table}",
            idempotent=False,
        )
    path = tables.record_path(step.table, step.sys_id)
    if step.operation is Operation.DELETE:
        return Request("DELETE", path, asked=f"delete a record in {step.table}", idempotent=False)
    body = json.dumps(values, ensure_ascii=False).encode()
    return Request("PATCH", path, params, body=body, asked=f"update a record in {step.table}", idempotent=False)


def records_of(body: bytes) -> list[dict[str, str]]:
    """The records of a list answer, each field as text; what the account may not see is not there."""
    return [{name: value_of(cell) for name, cell in row.items()} for row in msgspec.json.decode(body)["result"]]


def record_of(body: bytes) -> dict[str, str]:
    return {name: value_of(cell) for name, cell in msgspec.json.decode(body)["result"].items()}
