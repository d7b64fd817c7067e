"""Writing server scripts through the Table API, and looking at what they did."""

from typing import Any

from tests.nowtwin.talk import Reply, Talk


def add_rule(talk: Talk, script: str = "", **columns: object) -> str:
    """An active before-insert rule on incident, unless the columns say otherwise. Returns its sys_id."""
    body: dict[str, object] = {"name": "Rule", "collection": "incident", "when": "before", "advanced": True}
    body |= {"active": True, "action_insert": True, "script": script}
    reply = talk.post("sys_script", body | columns)
    assert reply.status == 201, reply.body
    sys_id: str = reply.result["sys_id"]
    return sys_id


def add_include(talk: Talk, name: str, script: str, **columns: object) -> None:
    body = {"name": name, "api_name": f"global.{name}", "script": script, "active": True}
    assert talk.post("sys_script_include", body | columns).status == 201


def evaluated(talk: Talk, expression: str) -> str:
    """The text of an expression, worked out in a rule on a new incident."""
    rule = add_rule(talk, f"current.description = String({expression});", name="Evaluated")
    found: str = insert(talk)["description"]
    talk.delete("sys_script", rule)
    assert errors(talk) == []
    return found


def insert(talk: Talk, **values: object) -> dict[str, Any]:
    reply = talk.post("incident", {"short_description": "printer on fire", **values})
    assert reply.status == 201, reply.body
    found: dict[str, Any] = reply.result
    return found


def logged(talk: Talk, level: str = "0") -> list[str]:
    return talk.names("syslog", f"level={level}^ORDERBYsys_created_on^ORDERBYsys_id", "message")


def errors(talk: Talk) -> list[str]:
    return logged(talk, "2")


def settle(talk: Talk) -> None:
    """Run what is queued, and wait for it."""
    assert talk.control("POST", "jobs") == {"settled": True, "pending": 0}


def aborted(reply: Reply) -> str:
    """The detail of a write that a rule aborted."""
    status, message, detail = reply.error
    assert (status, message) == (403, "Operation Failed")
    return detail or ""
