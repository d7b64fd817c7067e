"""`/sys_attachment.do?sys_id=...` sends the file of an attachment, never shown in place: it may hold anything."""

from nowtwin import errors
from nowtwin.http.messages import Answer, Request
from nowtwin.instance import Instance
from nowtwin.rules import attachments
from nowtwin.web.reading import read_record


def send_file(instance: Instance, request: Request) -> Answer:
    """Raises Refused 404 for an attachment, or one of a record, that the visitor may not read."""
    sys_id = request.param("sys_id")
    row = read_record(instance, request, "sys_attachment", sys_id)
    table, owner = row["table_name"].value, row["table_sys_id"].value
    if table not in instance.dictionary.tables:
        raise errors.no_record()
    read_record(instance, request, table, owner)
    name = "".join(c if c.isprintable() and c.isascii() and c not in '"\\' else "_" for c in row["file_name"].value)
    headers = (("Content-Disposition", f'attachment; filename="{name}"'), ("X-Content-Type-Options", "nosniff"))
    body = attachments.content(instance, sys_id)
    return Answer(200, body, headers, content_type="application/octet-stream", rows=1)
