"""The parts of a multipart/form-data body, byte for byte."""

from dataclasses import dataclass
from email.message import Message

from nowtwin.errors import Refused


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    file_name: str | None
    """None for a plain field."""
    content_type: str
    content: bytes


def parts_of(content_type: str, body: bytes) -> tuple[Part, ...]:
    """All parts in order. Raises Refused 400 where the body does not follow its boundary."""
    head = Message()
    head["content-type"] = content_type.encode("ascii", "replace").decode()
    boundary = head.get_boundary()
    if not boundary:
        raise Refused(400, "Exception while reading request", "The request has no multipart boundary")
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("ascii", "replace"))
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):  # noqa: PLR2004 - a preamble and an end
        raise Refused(400, "Exception while reading request", "The multipart body does not end with its boundary")
    return tuple(_part(piece.lstrip(b" \t").removeprefix(b"\r\n")) for piece in pieces[1:-1])


def _part(piece: bytes) -> Part:
    if piece.startswith(b"\r\n"):
        head, content = b"", piece[2:]
    else:
        head, _, content = piece.partition(b"\r\n\r\n")
    headers = Message()
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon and name.strip() and "\n" not in line and "\r" not in line:
            headers[name.strip()] = value.strip()
    field = headers.get_param("name", header="content-disposition")
    return Part(
        name=field if isinstance(field, str) else "",
        file_name=headers.get_filename(),
        content_type=headers.get("content-type", "application/octet-stream"),
        content=content,
    )
