"""Importing incidents through a staging table of our own."""

from tests.nowtwin.talk import Record, Reply, Talk

STAGING = "u_imp_incident"


def field(talk: Talk, map_id: str, source: str, target: str, **more: str) -> None:
    values = {"map": map_id, "source_table": STAGING, "source_field": source, "target_table": "incident"}
    assert talk.post("sys_transform_entry", {**values, "target_field": target, **more}).status == 201


def load(talk: Talk, **values: object) -> Reply:
    return talk.send("POST", f"import/{STAGING}", values)


def result(talk: Talk, **values: object) -> Record:
    reply = load(talk, **values)
    assert reply.status == 201, reply.body
    (entry,) = reply.result
    found: Record = entry
    return found


def many(talk: Talk, *records: Record, **params: str) -> Record:
    reply = talk.send("POST", f"import/{STAGING}/insertMultiple", {"records": list(records)}, **params)
    assert reply.status == 201, reply.body
    ids: Record = reply.json
    return ids


def make_incident_import(talk: Talk) -> str:
    """A staging table made through the dictionary, with a map to incident; the sys_id of the map."""
    parent = talk.rows("sys_db_object", "name=sys_import_set_row")[0]["sys_id"]
    talk.post("sys_db_object", {"name": STAGING, "label": "Imported incidents", "super_class": parent})
    for element, label in (("u_ticket", "Ticket"), ("u_text", "Text"), ("u_caller", "Caller"), ("u_state", "State")):
        column = {
            "name": STAGING,
            "element": element,
            "column_label": label,
            "internal_type": "string",
            "max_length": "80",
        }
        talk.post("sys_dictionary", column)
    made = talk.post("sys_transform_map", {"name": "Incidents", "source_table": STAGING, "target_table": "incident"})
    sys_id: str = made.result["sys_id"]
    field(talk, sys_id, "u_ticket", "correlation_id", coalesce="true")
    field(talk, sys_id, "u_text", "short_description")
    return sys_id
