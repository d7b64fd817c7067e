"""The Attachment API (servicenow-api.md 6.2; c_AttachmentAPI.md): metadata, bytes, uploads, attributes.

The words of its 400 answers are not documented; they are assumptions.
"""

import json
import re
from typing import Any

from nowtwin import errors
from nowtwin.apis.seen import by_id, is_visible, page_of
from nowtwin.apis.table import body_of, list_query, listing_of, refuse_negative_offset, whole_number
from nowtwin.errors import Refused
from nowtwin.http.messages import Answer, Request, json_answer
from nowtwin.http.multipart import parts_of
from nowtwin.instance import Instance
from nowtwin.permission.record import insertable, require_deletable, updatable
from nowtwin.reading.display import Displays
from nowtwin.records.pipeline import Record
from nowtwin.rules import attachments
from nowtwin.rules.attachments import TABLE, File

PATHS = re.compile(r"/api/now(?:/v\d)?/attachment(?:/.*)?")
_ROOT = r"/api/now(?:/v\d)?/attachment"
_LIST = re.compile(_ROOT + r"/?")
_FILE = re.compile(_ROOT + r"/file/?")
_UPLOAD = re.compile(_ROOT + r"/upload/?")
_ONE = re.compile(_ROOT + r"/(?P<sys_id>[^/]+)/?")
BYTES = re.compile(_ROOT + r"/(?P<sys_id>[^/]+)/file/?")
_ATTRIBUTES = re.compile(_ROOT + r"/(?P<sys_id>[^/]+)/attributes(?:/(?P<key>[^/]+))?/?")
_DEFAULT_LIMIT = 1000
_HEADS = ("average_image_color", "chunk_size_bytes", "compressed", "content_type", "file_name", "hash")
_TAILS = ("image_height", "image_width", "size_bytes", "size_compressed", "state", "sys_created_by", "sys_created_on")
_KEYS = (*_HEADS, *_TAILS, "sys_id", "sys_mod_count", "sys_updated_by", "sys_updated_on", "table_name", "table_sys_id")


# -- metadata ------------------------------------------------------------------------------------------------------


def list_attachments(instance: Instance, request: Request, _found: "re.Match[str]") -> Answer:
    """Metadata of the attachments that a query finds, without those of records the caller may not read."""
    _only(request, "GET", "HEAD")
    limit = whole_number(request.param("sysparm_limit"), _DEFAULT_LIMIT)
    refuse_negative_offset(instance, request)
    offset = listing_of(request).offset
    with instance.storage.lock:
        query = list_query(instance, request, TABLE)
        rows, total = page_of(instance, request, TABLE, query, _KEYS, (limit, offset))
        rows = [row for row in rows if _owner_visible(instance, request, row)]
        result = [_metadata(instance, request, row) for row in rows]
    return json_answer(200, {"result": result}, headers=(("X-Total-Count", str(total)),), rows=len(result))


def read_or_change(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    """Metadata of one attachment, its new name, or its end."""
    _only(request, "GET", "HEAD", "PATCH", "PUT", "DELETE")
    with instance.storage.lock:
        row = _row(instance, request, found["sys_id"])
        record = instance.record(TABLE, row["sys_id"])
        if request.method == "DELETE":
            require_deletable(instance, request.caller, record)
            instance.records.delete(record, request.caller)
            return Answer(204, content_type=None, rows=1)
        if request.method in {"PATCH", "PUT"}:
            name = body_of(request).get("file_name", "")
            if not name:
                raise _missing("file_name")
            allowed = updatable(instance, request.caller, record, {"file_name": name})
            instance.records.update(record, allowed, request.caller, instance.switches)
            return Answer(204, content_type=None, rows=1)
        return json_answer(200, {"result": _metadata(instance, request, row)}, rows=1)


def _metadata(instance: Instance, request: Request, row: dict[str, str]) -> dict[str, Any]:
    displays = Displays(instance.dictionary, instance.storage, instance.switches, request.caller)
    authors = {row["sys_created_by"], row["sys_updated_by"]} - {""}
    names = displays.names("sys_user", "user_name", authors)
    return row | {
        "sys_tags": "",
        "download_link": f"{instance.url}/api/now/attachment/{row['sys_id']}/file",
        "created_by_name": names.get(row["sys_created_by"]) or row["sys_created_by"],
        "updated_by_name": names.get(row["sys_updated_by"]) or row["sys_updated_by"],
    }


def _row(instance: Instance, request: Request, sys_id: str) -> dict[str, str]:
    """The metadata of an attachment that the caller may see. Raises Refused 404."""
    rows, _ = page_of(instance, request, TABLE, by_id(sys_id), _KEYS, (1, 0))
    if not rows or not _owner_visible(instance, request, rows[0]):
        raise errors.no_record()
    return rows[0]


def _owner_visible(instance: Instance, request: Request, row: dict[str, str]) -> bool:
    """An attachment of a record that the caller may not read is not there; one of a record that is gone stays."""
    table, sys_id = row["table_name"], row["table_sys_id"]
    if table not in instance.dictionary.tables or instance.read(table, sys_id) is None:
        return True
    return is_visible(instance, request, table, sys_id)


# -- bytes ---------------------------------------------------------------------------------------------------------


def read_bytes(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    """The file itself; its metadata is in a header."""
    _only(request, "GET", "HEAD")
    with instance.storage.lock:
        row = _row(instance, request, found["sys_id"])
        body = attachments.content(instance, row["sys_id"])
        metadata = json.dumps(_metadata(instance, request, row)).replace("\x7f", "\\u007f")
    name = re.sub(r'[^ -~]|["\\]', "_", row["file_name"])
    headers = (
        ("X-Attachment-Metadata", metadata),
        ("Content-Disposition", f'attachment;filename="{name}"'),
    )
    kind = row["content_type"] if re.fullmatch(r"[!-~][ -~]*", row["content_type"]) else "application/octet-stream"
    return Answer(200, body, headers, content_type=kind, rows=1)


def upload_raw(instance: Instance, request: Request, _found: "re.Match[str]") -> Answer:
    """`POST …/file`: the body is the file, its parameters say where it belongs."""
    _only(request, "POST")
    for name in ("table_name", "table_sys_id", "file_name"):
        if not request.param(name):
            raise _missing(name)
    content_type = request.headers.get("content-type", "")
    if not content_type:
        raise Refused(415, "Unsupported media type", "The header Content-Type is mandatory")
    file = File(request.param("file_name"), content_type, request.body)
    return _attach(instance, request, (request.param("table_name"), request.param("table_sys_id")), file)


def upload_form(instance: Instance, request: Request, _found: "re.Match[str]") -> Answer:
    """`POST …/upload`: multipart, the file in the last part."""
    _only(request, "POST")
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        raise Refused(415, "Unsupported media type", f"Cannot consume content type {content_type or '(none)'}")
    parts = parts_of(content_type, request.body)
    if not parts or parts[-1].file_name is None:
        raise Refused(400, "Failed to create the attachment", "File part might be missing in the request")
    if any(part.file_name is not None for part in parts[:-1]):
        raise Refused(400, "Failed to create the attachment", "The file must be the last part of the request")
    fields = {part.name: part.content.decode(errors="replace").strip() for part in parts[:-1]}
    for name in ("table_name", "table_sys_id"):
        if not fields.get(name):
            raise _missing(name)
    last = parts[-1]
    file = File(last.file_name or "", last.content_type, last.content)
    return _attach(instance, request, (fields["table_name"], fields["table_sys_id"]), file)


def _attach(instance: Instance, request: Request, owner: tuple[str, str], file: File) -> Answer:
    table, sys_id = owner
    instance.prepare(table)
    with instance.storage.lock:
        found = instance.records.read(table, sys_id)
        if found is None or not is_visible(instance, request, table, sys_id):
            raise errors.no_record()
        insertable(instance, request.caller, TABLE, {})
        updatable(instance, request.caller, found, {})
        chosen = found if instance.switches.attachments_under_class else Record(table, sys_id, {})
        created_on = request.param("creation_time")
        made = attachments.store(instance, chosen, file, request.caller, created_on=created_on)
        row = _row(instance, request, made.sys_id)
        location = (("Location", f"{instance.url}/api/now/attachment/{made.sys_id}"),)
        return json_answer(201, {"result": _metadata(instance, request, row)}, headers=location, rows=1)


# -- attributes ----------------------------------------------------------------------------------------------------


def attributes(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    """Key and value pairs of an attachment (sys_attachment_attribute)."""
    with instance.storage.lock:
        sys_id, key = _row(instance, request, found["sys_id"])["sys_id"], found["key"]
        known = attachments.attributes(instance, sys_id)
        if key is None:
            return _all_attributes(instance, request, sys_id, known)
        if key not in known:
            raise errors.no_record()
        row_id, value = known[key]
        if request.method == "DELETE":
            instance.storage.delete(attachments.ATTRIBUTES, row_id)
            return Answer(204, content_type=None, rows=1)
        if request.method in {"PUT", "PATCH"}:
            body = body_of(request)
            if "value" not in body:
                raise _missing("value")
            value = body["value"]
            instance.storage.update(attachments.ATTRIBUTES, row_id, {"value": value})
        elif request.method not in {"GET", "HEAD"}:
            raise _unsupported(request)
    return json_answer(200, {"result": {"key": key, "value": value}}, rows=1)


def _all_attributes(instance: Instance, request: Request, sys_id: str, known: dict[str, tuple[str, str]]) -> Answer:
    if request.method == "DELETE":
        for row_id, _ in known.values():
            instance.storage.delete(attachments.ATTRIBUTES, row_id)
        return Answer(204, content_type=None, rows=len(known))
    if request.method in {"GET", "HEAD"}:
        pairs = [{"key": key, "value": value} for key, (_, value) in known.items()]
        return json_answer(200, {"result": pairs}, rows=len(pairs))
    if request.method != "POST":
        raise _unsupported(request)
    body = body_of(request)
    for name in ("key", "value"):
        if name not in body:
            raise _missing(name)
    if body["key"] in known:
        raise Refused(400, "Attribute exists already", f"The attachment has an attribute {body['key']}")
    row = {"sys_attachment": sys_id, "key": body["key"], "value": body["value"]}
    instance.load(attachments.ATTRIBUTES, [row])
    return json_answer(201, {"result": {"key": body["key"], "value": body["value"]}}, rows=1)


def _only(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise _unsupported(request)


def _unsupported(request: Request) -> Refused:
    return Refused(405, "Method not supported", f"{request.method} is not supported here")


def _missing(name: str) -> Refused:
    return Refused(400, "Invalid parameters", f"Missing required parameter: {name}")


ROUTES = (
    (_LIST, list_attachments),
    (_FILE, upload_raw),
    (_UPLOAD, upload_form),
    (_ONE, read_or_change),
    (BYTES, read_bytes),
    (_ATTRIBUTES, attributes),
)
