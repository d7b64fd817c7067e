"""Attachments over HTTP (servicenow-api.md 6.2; c_AttachmentAPI.md of the API reference)."""

import json

import pytest

from nowtwin.access.hiding import HideRule
from tests.nowtwin.documented import differences, example
from tests.nowtwin.talk import Reply, Talk

pytestmark = pytest.mark.behaviour("6.2", evidence="documentation: c_AttachmentAPI.md")

PICTURE = bytes(range(256)) * 9000 + b"\r\n--no boundary--\r\n"
RAW = {"Content-Type": "image/png"}


@pytest.fixture
def incident(talk: Talk) -> str:
    sys_id: str = talk.post("incident", {"short_description": "printer"}).result["sys_id"]
    return sys_id


def upload(talk: Talk, incident: str, name: str = "shot.png", content: bytes = PICTURE) -> Reply:
    target = f"/api/now/attachment/file?table_name=incident&table_sys_id={incident}&file_name={name}"
    return talk.call("POST", target, content, RAW)


def form(*parts: tuple[str, bytes]) -> tuple[bytes, dict[str, str]]:
    pieces = b"".join(b"--cut\r\n" + head.encode() + b"\r\n\r\n" + body + b"\r\n" for head, body in parts)
    return pieces + b"--cut--\r\n", {"Content-Type": "multipart/form-data; boundary=cut"}


def test_a_file_comes_back_byte_for_byte_with_its_metadata_in_a_header(talk: Talk, incident: str) -> None:
    made = upload(talk, incident)
    assert made.status == 201
    sys_id = made.result["sys_id"]
    assert made.headers["location"].endswith(f"/api/now/attachment/{sys_id}")
    assert made.result["size_bytes"] == str(len(PICTURE))
    assert made.result["created_by_name"] == "System Administrator"
    got = talk.call("GET", f"/api/now/attachment/{sys_id}/file", headers={"Accept": "image/*"})
    assert (got.status, got.body, got.headers["content-type"]) == (200, PICTURE, "image/png")
    assert json.loads(got.headers["x-attachment-metadata"])["file_name"] == "shot.png"


@pytest.mark.behaviour("6.2", evidence="assumption: the table's name", switch="attachments_under_class")
def test_an_attachment_made_through_a_parent_table_is_filed_under_it_or_under_the_class(
    talk: Talk, incident: str
) -> None:
    target = f"/api/now/attachment/file?table_name=task&table_sys_id={incident}&file_name=a"
    assert talk.call("POST", target, b"x", RAW).result["table_name"] == "task"
    talk.control("PUT", "switches", {"attachments_under_class": True})
    assert talk.call("POST", target, b"x", RAW).result["table_name"] == "incident"


def test_an_upload_above_the_body_limit_of_other_apis_is_taken(talk: Talk, incident: str) -> None:
    talk.control("PUT", "switches", {"body_limit": 1000})
    assert upload(talk, incident).status == 201


def test_a_file_name_beyond_ascii_survives_the_header(talk: Talk, incident: str) -> None:
    sys_id = upload(talk, incident, "%C3%BCber.png".replace("%C3%BC", "ü")).result["sys_id"]
    got = talk.get(f"attachment/{sys_id}/file")
    assert json.loads(got.headers["x-attachment-metadata"])["file_name"] == "über.png"


def test_a_multipart_upload_keeps_the_content_type_of_its_last_part(talk: Talk, incident: str) -> None:
    body, headers = form(
        ('Content-Disposition: form-data; name="table_name"', b"incident"),
        ('Content-Disposition: form-data; name="table_sys_id"', incident.encode()),
        ('Content-Disposition: form-data; name="uploadFile"; filename="a.bin"\r\nContent-Type: x/y', PICTURE),
    )
    made = talk.call("POST", "/api/now/attachment/upload", body, headers)
    assert (made.status, made.result["file_name"], made.result["content_type"]) == (201, "a.bin", "x/y")
    assert talk.get(f"attachment/{made.result['sys_id']}/file").body == PICTURE


def test_a_file_that_is_not_the_last_part_is_refused(talk: Talk, incident: str) -> None:
    body, headers = form(
        ('Content-Disposition: form-data; name="f"; filename="a.bin"', b"x"),
        ('Content-Disposition: form-data; name="table_name"', b"incident"),
        ('Content-Disposition: form-data; name="table_sys_id"', incident.encode()),
    )
    assert talk.call("POST", "/api/now/attachment/upload", body, headers).status == 400
    two, headers = form(
        ('Content-Disposition: form-data; name="table_name"', b"incident"),
        ('Content-Disposition: form-data; name="table_sys_id"', incident.encode()),
        ('Content-Disposition: form-data; name="f"; filename="a.bin"', b"x"),
        ('Content-Disposition: form-data; name="g"; filename="b.bin"', b"y"),
    )
    refused = talk.call("POST", "/api/now/attachment/upload", two, headers)
    assert refused.error[::2] == (400, "The file must be the last part of the request")
    assert talk.get("attachment").result == []


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "multipart/form-data; boundary=cut"),
        (b"--cut\r\n", "multipart/form-data; boundary=cut"),
        (b"--cut--", "multipart/form-data; boundary=cut"),
        (b"x", "multipart/form-data"),
        (b"{}", "application/json"),
    ],
)
def test_a_malformed_form_is_refused(talk: Talk, body: bytes, content_type: str) -> None:
    answer = talk.call("POST", "/api/now/attachment/upload", body, {"Content-Type": content_type})
    assert answer.status in {400, 415}
    assert answer.json["status"] == "failure"


def test_an_upload_needs_its_parameters_and_an_existing_record(talk: Talk) -> None:
    target = "/api/now/attachment/file?table_name=incident&table_sys_id=x"
    assert talk.call("POST", target, b"x", RAW).status == 400
    assert talk.call("POST", f"{target}&file_name=a", b"x", RAW).status == 404
    unknown = target.replace("incident", "no_such") + "&file_name=a"
    assert talk.call("POST", unknown, b"x", RAW).error == (400, "Invalid table no_such", None)


def test_size_and_extension_are_limited_by_properties(talk: Talk, incident: str) -> None:
    talk.post("sys_properties", {"name": "com.glide.attachment.max_size", "value": "1"})
    assert upload(talk, incident).status == 400
    talk.post("sys_properties", {"name": "glide.attachment.extensions", "value": "txt, csv"})
    assert upload(talk, incident, content=b"x").status == 400
    assert upload(talk, incident, "a.csv", b"x").status == 201


def test_attachments_of_a_record_are_listed_renamed_and_deleted(talk: Talk, incident: str) -> None:
    first, second = (upload(talk, incident, name, b"x").result["sys_id"] for name in ("a.txt", "b.txt"))
    query = f"table_name=incident^table_sys_id={incident}^ORDERBYfile_name"
    listed = talk.get("attachment", sysparm_query=query)
    assert [row["file_name"] for row in listed.result] == ["a.txt", "b.txt"]
    assert listed.headers["x-total-count"] == "2"
    assert len(talk.get("attachment", sysparm_query=query, sysparm_limit=1, sysparm_offset=1).result) == 1
    renamed = talk.send("PATCH", f"attachment/{first}", {"file_name": "z.txt"})
    assert (renamed.status, renamed.body) == (204, b"")
    assert talk.get(f"attachment/{first}").result["file_name"] == "z.txt"
    assert talk.send("PATCH", f"attachment/{first}", {}).status == 400
    assert talk.call("DELETE", f"/api/now/attachment/{second}").status == 204
    assert talk.get(f"attachment/{second}").status == 404
    assert [row["file_name"] for row in talk.get("attachment").result] == ["z.txt"]
    assert talk.rows("sys_attachment_doc", f"sys_attachment={second}") == []


def test_attributes_of_an_attachment_are_created_read_changed_and_deleted(talk: Talk, incident: str) -> None:
    path = f"attachment/{upload(talk, incident).result['sys_id']}/attributes"
    assert talk.send("POST", path, {"key": "alt", "value": "a printer"}).status == 201
    assert talk.send("POST", path, {"key": "alt"}).status == 400
    changed = talk.send("PUT", f"{path}/alt", {"value": "two printers"})
    assert changed.result == {"key": "alt", "value": "two printers"}
    assert talk.get(path).result == [{"key": "alt", "value": "two printers"}]
    assert talk.call("DELETE", f"/api/now/{path}/alt").status == 204
    assert talk.get(f"{path}/alt").status == 404
    talk.send("POST", path, {"key": "k", "value": "v"})
    assert talk.call("DELETE", f"/api/now/{path}").status == 204
    assert talk.get(path).result == []


def test_attachments_of_a_hidden_record_are_not_there(talk: Talk, incident: str) -> None:
    sys_id = upload(talk, incident).result["sys_id"]
    talk.instance.add_user("guest", "guest")
    talk.instance.access.rules.append(HideRule("incident"))
    guest = talk.as_user("guest", "guest")
    assert guest.get("attachment").result == []
    assert guest.get(f"attachment/{sys_id}/file").status == 404
    assert upload(guest, incident).status == 404


def test_attaching_needs_the_right_to_change_the_record(talk: Talk, incident: str) -> None:
    sys_id = upload(talk, incident).result["sys_id"]
    talk.control("PUT", "switches", {"access_control": True})
    talk.instance.add_user("reader", "x", roles=("sn_incident_read", "asset"))
    talk.instance.add_user("fulfiller", "x", roles=("itil",))
    reader, fulfiller = talk.as_user("reader", "x"), talk.as_user("fulfiller", "x")
    refused = (403, "Operation Failed", "ACL Exception Update Failed due to security constraints")
    assert upload(reader, incident).error == refused
    assert reader.get(f"attachment/{sys_id}").status == 200
    assert upload(fulfiller, incident).status == 201
    talk.instance.add_user("guest", "x")
    assert talk.as_user("guest", "x").get(f"attachment/{sys_id}").status == 404


def test_answers_have_the_documented_shape(talk: Talk, incident: str) -> None:
    made = upload(talk, incident)
    (documented,) = example("Attachment - POST /now/attachment/file")["responses"]
    assert differences(documented, made.json) == []
    assert differences(documented, talk.get(f"attachment/{made.result['sys_id']}").json) == []
    path = f"attachment/{made.result['sys_id']}/attributes"
    talk.send("POST", path, {"key": "example_key", "value": "example_value"})
    for operation, answer in (
        ("GET", talk.get(f"{path}/example_key")),
        ("PUT", talk.send("PUT", f"{path}/example_key", {"value": "new_value"})),
    ):
        (documented,) = example(f"Attachment - {operation} /now/attachment/{{sys_id}}/attributes/{{attribute_key}}")[
            "responses"
        ]
        assert answer.json == documented
