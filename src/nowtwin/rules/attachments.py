"""Attachments: metadata in sys_attachment, content gzipped in sys_attachment_doc, as on an instance (6.2).

Content is stored in base64 chunks of `CHUNK` characters. An attachment belongs to a record named by `table_name` and
`table_sys_id`; nothing here checks that the caller may see that record.
"""

import base64
import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from nowtwin.accounts.users import User
from nowtwin.errors import Refused
from nowtwin.records.ground import Ground
from nowtwin.records.pipeline import Record
from nowtwin.values import number_of

TABLE = "sys_attachment"
CONTENT = "sys_attachment_doc"
ATTRIBUTES = "sys_attachment_attribute"
CHUNK = 734_004
"""Base64 characters per sys_attachment_doc row; a multiple of four, so each chunk decodes alone."""
_MEGABYTE = 1_048_576
_MAX_MEGABYTES = 1024


@dataclass(frozen=True, slots=True)
class File:
    """A file as it comes in."""

    name: str
    content_type: str
    content: bytes


def store(instance: Ground, owner: Record, file: File, user: User, *, created_on: str = "") -> Record:
    """Attach a file to a record. Raises Refused where a system property forbids its size or its extension."""
    _refuse_forbidden(instance, file)
    packed = gzip.compress(file.content, mtime=0)
    values = {
        "file_name": file.name,
        "content_type": file.content_type,
        "table_name": owner.table,
        "table_sys_id": owner.sys_id,
        "size_bytes": str(len(file.content)),
        "size_compressed": str(len(packed)),
        "compressed": "true",
        "chunk_size_bytes": "734003",
        "state": "available",
        "hash": hashlib.sha256(file.content).hexdigest(),
    }
    with instance.storage.lock, instance.storage.transaction():
        record = instance.records.insert(TABLE, values, user, instance.switches)
        instance.load(CONTENT, _chunks(record.sys_id, base64.b64encode(packed).decode()))
        if created_on:
            instance.storage.update(TABLE, record.sys_id, {"sys_created_on": created_on})
    return record


def _refuse_forbidden(instance: Ground, file: File) -> None:
    limit = number_of(instance.property("com.glide.attachment.max_size")) or _MAX_MEGABYTES
    if len(file.content) > limit * _MEGABYTE:
        raise Refused(400, "Failed to create the attachment", f"File size exceeds the limit of {limit} MB")
    allowed = {part.strip().lower() for part in instance.property("glide.attachment.extensions").split(",")} - {""}
    extension = file.name.rpartition(".")[2].lower() if "." in file.name else ""
    if allowed and extension not in allowed:
        detail = "File type is not allowed or does not match the content of the file"
        raise Refused(400, "Failed to create the attachment", detail)


def _chunks(sys_id: str, text: str) -> list[Mapping[str, str]]:
    return [
        {
            "sys_attachment": sys_id,
            "position": str(position),
            "length": str(len(text[start : start + CHUNK])),
            "data": text[start : start + CHUNK],
        }
        for position, start in enumerate(range(0, len(text), CHUNK))
    ]


def content(instance: Ground, sys_id: str) -> bytes:
    """The bytes of an attachment; none for one whose content was never stored (a loaded row)."""
    instance.storage.ensure(CONTENT, ("sys_attachment", "data", "position"))
    sql = "SELECT data FROM sys_attachment_doc WHERE sys_attachment = ? ORDER BY position"
    packed = base64.b64decode("".join(str(row[0]) for row in instance.storage.rows(sql, (sys_id,))))
    return gzip.decompress(packed) if packed else b""


def drop_content(instance: Ground, sys_id: str) -> None:
    """Content and attributes go with their attachment."""
    for table in (CONTENT, ATTRIBUTES):
        instance.storage.ensure(table, ("sys_attachment",))
        sql = f'SELECT sys_id FROM "{table}" WHERE sys_attachment = ?'  # noqa: S608 - a name of this module
        for (row_id,) in instance.storage.rows(sql, (sys_id,)):
            instance.storage.delete(table, str(row_id))


def attributes(instance: Ground, sys_id: str) -> dict[str, tuple[str, str]]:
    """Key to (sys_id of the row, value)."""
    instance.storage.ensure(ATTRIBUTES, ("sys_attachment", "key", "value"))
    sql = 'SELECT sys_id, "key", value FROM sys_attachment_attribute WHERE sys_attachment = ? ORDER BY "key"'
    rows = instance.storage.rows(sql, (sys_id,))
    return {str(key): (str(row_id), "" if value is None else str(value)) for row_id, key, value in rows}
