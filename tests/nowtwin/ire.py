"""Payloads for the Identification and Reconciliation Engine, and reading what came of them."""

from typing import Any

from tests.nowtwin.talk import Record, Talk

LINUX = "cmdb_ci_linux_server"


def run(talk: Talk, items: list[Record], mode: str = "", source: str = "ServiceNow", **more: Any) -> Record:  # noqa: ANN401 - JSON
    params = {"sysparm_data_source": source} if source else {}
    options = more.pop("options", "")
    if options:
        params["options"] = options
    reply = talk.send("POST", f"identifyreconcile{mode}", {"items": items, **more}, **params)
    assert reply.status == 200, reply.body
    result: Record = reply.result
    return result


def server(name: str = "lnx1", serial: str = "", class_name: str = LINUX, **values: str) -> Record:
    serials = [{"className": "cmdb_serial_number", "values": {"serial_number": serial, "serial_number_type": "uuid"}}]
    return {"className": class_name, "values": {"name": name, **values}, "lookup": serials if serial else []}


def attempts(item: Record) -> list[str]:
    return [attempt["attemptResult"] for attempt in item["identificationAttempts"]]


def codes(item: Record) -> list[str]:
    return [error["error"] for error in item.get("errors", ())]


def said(item: Record) -> str:
    """The message of the first error."""
    message: str = item["errors"][0]["message"]
    return message
