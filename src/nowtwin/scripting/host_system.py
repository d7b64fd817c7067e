"""What `gs`, dates, digests and outbound messages ask of the host."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import msgspec

from nowtwin.clock import STAMP
from nowtwin.query import dates
from nowtwin.reading.display import Displays, duration, strftime_of
from nowtwin.records.pipeline import texts_of
from nowtwin.schema import metadata
from nowtwin.scripting.scope import Scope
from nowtwin.values import Stored

_LEVELS = frozenset({"-1", "0", "1", "2"})
_MESSAGE = 4_000
_LARGEST = 2**31 - 1
_LONGEST_TEXT = 10_000
_DIGESTS = {"md5": hashlib.md5, "sha1": hashlib.sha1, "sha256": hashlib.sha256}
_MACS = {"hmacmd5": "md5", "hmacsha1": "sha1", "hmacsha224": "sha224", "hmacsha256": "sha256"}
_MACS |= {"hmacsha384": "sha384", "hmacsha512": "sha512"}
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class Nothing(msgspec.Struct, frozen=True):
    pass


class Name(msgspec.Struct, frozen=True):
    name: str


class Text(msgspec.Struct, frozen=True):
    text: str


class Value(msgspec.Struct, frozen=True):
    value: str


class Property(msgspec.Struct, frozen=True):
    name: str
    value: str
    description: str


class Line(msgspec.Struct, frozen=True):
    level: str
    message: str
    source: str


class Event(msgspec.Struct, frozen=True):
    name: str
    table: str
    sys_id: str
    parm1: str
    parm2: str
    process_on: str
    queue: str


class Digest(msgspec.Struct, frozen=True):
    algorithm: str
    text: str
    form: str


class Mac(msgspec.Struct, frozen=True):
    key: str
    algorithm: str
    data: str


class Bound(msgspec.Struct, frozen=True):
    bound: int


class Length(msgspec.Struct, frozen=True):
    length: int


class Helper(msgspec.Struct, frozen=True):
    name: str
    args: tuple[str, ...]


# -- the instance --------------------------------------------------------------------------------------------------


def url(scope: Scope, _: Nothing) -> str:
    return scope.platform.url


def new_id(scope: Scope, _: Nothing) -> str:
    return scope.platform.records.new_id()


def zone(scope: Scope, _: Nothing) -> str:
    return scope.user.zone.key


def user_column(scope: Scope, asked: Name) -> str:
    row = scope.platform.storage.get("sys_user", scope.user.sys_id)
    return texts_of(row or {}).get(asked.name, "")


def property_value(scope: Scope, asked: Name) -> str | None:
    """None where there is no such property or it is empty."""
    return scope.platform.property(asked.name) or None


def set_property(scope: Scope, asked: Property) -> None:
    platform = scope.platform
    rows = platform.storage.rows("SELECT sys_id FROM sys_properties WHERE name = ? COLLATE NOCASE", (asked.name,))
    sys_id = str(rows[0][0]) if rows else metadata.row_id("sys_properties", asked.name)
    stamp, author = platform.clock.stamp(), scope.user.user_name
    known = platform.storage.get("sys_properties", sys_id)
    row: dict[str, Stored] = known or {"type": "string", "sys_created_on": stamp, "sys_created_by": author}
    row |= {"sys_id": sys_id, "sys_class_name": "sys_properties", "name": asked.name, "value": asked.value}
    row |= {"sys_updated_on": stamp, "sys_updated_by": author}
    if asked.description:
        row["description"] = asked.description
    platform.storage.put_many("sys_properties", list(row), [list(row.values())])


def log(scope: Scope, line: Line) -> None:
    """One row of syslog; a level that does not exist counts as information."""
    level = line.level if line.level in _LEVELS else "0"
    platform = scope.platform
    stamp = platform.clock.stamp()
    row = {"sys_id": platform.records.new_id(), "level": level, "message": line.message[:_MESSAGE]}
    row |= {"source": line.source or "*** Script", "sys_class_name": "syslog", "sys_created_on": stamp}
    platform.storage.insert("syslog", {**row, "sys_created_by": scope.user.user_name})


def event(scope: Scope, asked: Event) -> None:
    """An event is a row of sysevent in state ready until script actions have run for it."""
    platform = scope.platform
    stamp = platform.clock.stamp()
    row = {"sys_id": platform.records.new_id(), "name": asked.name, "table": asked.table, "instance": asked.sys_id}
    row |= {"parm1": asked.parm1, "parm2": asked.parm2, "queue": asked.queue, "state": "ready"}
    row |= {"process_on": asked.process_on or stamp, "user_id": scope.user.sys_id, "user_name": scope.user.user_name}
    row |= {"sys_class_name": "sysevent", "sys_created_on": stamp, "sys_created_by": scope.user.user_name}
    stored = {name: text for name, text in row.items() if text}
    platform.storage.insert("sysevent", stored)
    platform.scripts.events.raised(stored)


def execute_now(scope: Scope, asked: Name) -> bool:
    return scope.platform.scripts.schedules.execute_now(asked.name)


def xml_to_json(_scope: Scope, asked: Text) -> Mapping[str, object]:
    """`gs.xmlToJSON`: an element of text is a text, repeated elements are a list, attributes begin with `@`."""
    if "<!DOCTYPE" in asked.text or "<!ENTITY" in asked.text:
        raise ValueError("The XML declares a document type")
    try:
        root = ET.fromstring(asked.text)  # noqa: S314 - documents with declarations are refused above
    except ET.ParseError as error:
        raise ValueError(f"The XML cannot be read: {error}") from error
    return {root.tag: _plain(root)}


def _plain(element: ET.Element) -> object:
    if not len(element) and not element.attrib:
        return element.text or ""
    members: dict[str, object] = {f"@{name}": value for name, value in element.attrib.items()}
    for name in dict.fromkeys(child.tag for child in element):
        values = [_plain(child) for child in element.findall(name)]
        members[name] = values[0] if len(values) == 1 else values
    return members | ({"#text": element.text} if (element.text or "").strip() else {})


# -- dates ---------------------------------------------------------------------------------------------------------


def date_helper(scope: Scope, asked: Helper) -> str | None:
    """`gs.daysAgo(3)` and its like, in the session's zone; the same code as for encoded queries."""
    arguments = ",".join(text if _is_whole(text) else f"'{text}'" for text in asked.args)
    return dates.evaluate(f"gs.{asked.name}({arguments})", scope.platform.moment(scope.user))


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _displays(scope: Scope) -> Displays:
    platform = scope.platform
    return Displays(platform.dictionary, platform.storage, platform.switches, scope.user)


def show_date_time(scope: Scope, asked: Value) -> str:
    return _displays(scope).date_time(asked.value)


def show_date(scope: Scope, asked: Value) -> str:
    return _displays(scope).date(asked.value)


def show_duration(_scope: Scope, asked: Value) -> str:
    return duration(asked.value)


def local_date(scope: Scope, _: Nothing) -> str:
    return scope.platform.clock.now().astimezone(scope.user.zone).strftime("%Y-%m-%d")


def zone_offset(scope: Scope, asked: Value) -> int:
    """Milliseconds by which the session's zone is ahead of UTC at a stored date-time."""
    try:
        moment = datetime.strptime(asked.value, STAMP).replace(tzinfo=UTC)
    except ValueError:
        return 0
    offset = moment.astimezone(scope.user.zone).utcoffset()
    return int(offset.total_seconds() * 1000) if offset else 0


def read_date_time(scope: Scope, asked: Text) -> str:
    """The stored form of a date-time in the user's format; what is not one stays as it is."""
    form = f"{strftime_of(scope.user.date_format)} {strftime_of(scope.user.time_format)}"
    try:
        local = datetime.strptime(asked.text, form).replace(tzinfo=scope.user.zone)
    except ValueError:
        return asked.text
    return local.astimezone(UTC).strftime(STAMP)


# -- codes ---------------------------------------------------------------------------------------------------------


def encode_base64(_scope: Scope, asked: Text) -> str:
    return base64.b64encode(asked.text.encode()).decode()


def decode_base64(_scope: Scope, asked: Text) -> str:
    return _bytes_of(asked.text).decode("utf-8", "replace")


def _bytes_of(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error


def digest(_scope: Scope, asked: Digest) -> str:
    made = _DIGESTS[asked.algorithm](asked.text.encode())
    return made.hexdigest() if asked.form == "hex" else base64.b64encode(made.digest()).decode()


def mac(_scope: Scope, asked: Mac) -> str:
    """`CertificateEncryption.generateMac`: the key is base64, and so is the result (servicenow-api.md 8.1)."""
    algorithm = _MACS.get(asked.algorithm.lower())
    if algorithm is None:
        raise ValueError(f"Algorithm {asked.algorithm} not available")
    return base64.b64encode(hmac.digest(_bytes_of(asked.key), asked.data.encode(), algorithm)).decode()


def random_int(scope: Scope, asked: Bound) -> int:
    """From the instance's seed, so that runs repeat."""
    return (
        scope.platform.random.randrange(asked.bound) if asked.bound > 0 else scope.platform.random.randrange(_LARGEST)
    )


def random_text(scope: Scope, asked: Length) -> str:
    count = max(0, min(asked.length, _LONGEST_TEXT))
    return "".join(scope.platform.random.choices(_LETTERS, k=count))
