"""Stories told by pysnow 0.7, run in an environment of its own: `pysnow_stories.py STORY JSON-ARGUMENTS`.

Each story uses pysnow's public classes only and prints what it got as JSON; the tests beside this folder judge it.
"""

import json
import sys
import warnings
from typing import Any

import pysnow
import requests


def client_of(arguments: dict[str, Any]) -> Any:  # noqa: ANN401 - pysnow has no types
    session = requests.Session()
    session.auth = (arguments.get("user", "admin"), arguments.get("password", "admin"))
    session.verify = arguments["certificate"]
    return pysnow.Client(host=arguments["address"], session=session)


def read_all(arguments: dict[str, Any]) -> object:
    """Every record twice: buffered, and streamed in pages by limit and offset."""
    table = client_of(arguments).resource(api_path="/table/incident")
    query = pysnow.QueryBuilder().field("sys_id").order_ascending()
    buffered = [row["number"] for row in table.get(query=query, fields=["number"]).all()]
    streamed: list[str] = []
    while True:
        page = list(table.get(query=query, fields=["number"], limit=700, offset=len(streamed), stream=True).all())
        if not page:
            return {"buffered": buffered, "streamed": streamed}
        streamed += [row["number"] for row in page]


def conditions(arguments: dict[str, Any]) -> object:
    table = client_of(arguments).resource(api_path="/table/incident")
    builder = pysnow.QueryBuilder
    queries = {
        "starts": builder().field("short_description").starts_with("printer"),
        "contains and priority": builder()
        .field("short_description")
        .contains("fire")
        .AND()
        .field("priority")
        .less_than(3),
        "either": builder().field("priority").equals("1").OR().field("priority").equals("3"),
        "in": builder().field("priority").equals(["1", "4"]),
        "empty": builder().field("caller_id").is_empty(),
        "new query": builder().field("priority").equals("1").NQ().field("priority").equals("4"),
    }
    return {name: len(table.get(query=query).all()) for name, query in queries.items()}


def display_values(arguments: dict[str, Any]) -> object:
    table = client_of(arguments).resource(api_path="/table/incident")
    shown: dict[str, object] = {}
    for mode in (False, True, "all"):
        shown[str(mode)] = table.get(query={"number": "INC1"}, display_value=mode, fields=["state", "caller_id"]).one()
    shown["plain"] = table.get(
        query={"number": "INC1"}, display_value=False, exclude_reference_link=True, fields=["caller_id"]
    ).one()
    return shown


def write(arguments: dict[str, Any]) -> object:
    table = client_of(arguments).resource(api_path="/table/incident")
    made = table.create(payload={"short_description": "made", "impact": "1", "urgency": "1"}).one()
    changed = table.update(query={"number": made["number"]}, payload={"short_description": "changed"}).one()
    deleted = table.delete(query={"number": made["number"]})
    gone = table.get(query={"number": made["number"]}).one_or_none()
    return {"made": made, "changed": changed, "deleted": deleted, "gone": gone}


def errors(arguments: dict[str, Any]) -> object:
    def told(arguments: dict[str, Any], path: str) -> object:
        try:
            return client_of(arguments).resource(api_path=path).get().all()
        except requests.HTTPError as error:
            answer = error.response
            return answer is not None and {"status": answer.status_code, "body": answer.json()}

    streamed = client_of(arguments).resource(api_path="/table/incident").get(query={"number": "none"}, stream=True)
    return {
        "table": told(arguments, "/table/no_such_table"),
        "path": told(arguments, "/no/such/path"),
        "password": told({**arguments, "password": "wrong"}, "/table/incident"),
        "none": streamed.first_or_none(),
    }


def cut_off(arguments: dict[str, Any]) -> object:
    """A stream whose transaction was cancelled: what arrived, and what pysnow says."""
    response = client_of(arguments).resource(api_path="/table/incident").get(stream=True)
    rows = 0
    try:
        for _ in response.all():
            rows += 1
    except pysnow.exceptions.ResponseError as error:
        return {"rows": rows, "error": str(error)}
    return {"rows": rows, "error": None}


def accepted(arguments: dict[str, Any]) -> object:
    """What pysnow makes of the 202 of a crowded session (pysnow#122)."""
    try:
        return client_of(arguments).resource(api_path="/table/incident").get().all()
    except pysnow.exceptions.EmptyContent as error:
        return type(error).__name__


def attachments(arguments: dict[str, Any]) -> object:
    incidents = client_of(arguments).resource(api_path="/table/incident")
    found = incidents.get(query={"number": "INC1"})
    uploaded = found.upload(file_path=arguments["file"]).one()
    listed = incidents.attachments.get(sys_id=found["sys_id"])
    deleted = incidents.attachments.delete(uploaded["sys_id"])
    left = incidents.attachments.get(sys_id=found["sys_id"])
    return {"uploaded": uploaded, "listed": listed, "deleted": deleted, "left": left}


def aggregates(arguments: dict[str, Any]) -> object:
    stats = client_of(arguments).resource(api_path="/stats/incident")
    stats.parameters.add_custom({"sysparm_count": "true", "sysparm_group_by": "priority"})
    grouped = stats.get().all()
    return {row["groupby_fields"][0]["value"]: row["stats"]["count"] for row in grouped}


def batch(arguments: dict[str, Any]) -> object:
    api = client_of(arguments).resource(api_path="/batch", base_path="/api/now/v1")
    items = [{"id": str(n), "method": "GET", "url": "/api/now/table/incident?sysparm_limit=1"} for n in range(3)]
    body = json.dumps({"batch_request_id": "7", "rest_requests": items})
    response = api.request("POST", data=body)
    return response._response.json()


def oauth(arguments: dict[str, Any]) -> object:
    client = pysnow.OAuthClient(
        client_id=arguments["client_id"], client_secret=arguments["client_secret"], host=arguments["address"]
    )
    client.set_token(client.generate_token("admin", "admin"))
    user = client.resource(api_path="/table/sys_user").get(query={"user_name": "admin"}).one()
    try:
        client.generate_token("admin", "wrong")
        refused = None
    except pysnow.exceptions.TokenCreateError as error:
        refused = error.args[1]
    return {"user": user["user_name"], "scope": client.token["scope"], "refused": refused}


STORIES = (
    *(read_all, conditions, display_values, write, errors, cut_off, accepted),
    *(attachments, aggregates, batch, oauth),
)

if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=ResourceWarning)  # pysnow leaves its sessions open
    told = {story.__name__: story for story in STORIES}
    print(json.dumps(told[sys.argv[1]](json.loads(sys.argv[2]))))  # noqa: T201 - the result of the program
