"""What a Business Rule of ours posts: its headers, its signature, its body. Pure.

    X-Nowbridge-Time: 1795373673                  seconds since 1970, by the instance's clock
    X-Nowbridge-Signature: base64(HMAC-SHA256(secret, time + "." + body))
    {"nonce": "...", "hints": [{"table": "incident", "sys_id": "...", "operation": "update", "sys_mod_count": "4",
                                "sys_updated_on": "2026-01-01 10:00:00", "rule": "task"}]}

`table` is the record's class, `rule` the table that the rule stands on. No values of fields: a hint can neither leak nor
lie. The nonce makes every body another one, so that a signature is never met twice but in a replay.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from nowbridge.servicenow import query as queries

TIME_HEADER: Final = "X-Nowbridge-Time"
SIGNATURE_HEADER: Final = "X-Nowbridge-Signature"
MOST_BYTES: Final = 65_536
_MOST_HINTS: Final = 500
_STAMP_LENGTH: Final = 19

Name = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_$]{0,79}$")]


class _Hint(msgspec.Struct, frozen=True):
    table: Name
    sys_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    operation: Literal["insert", "update", "delete"]
    rule: Name
    sys_mod_count: Annotated[str, Meta(pattern=r"^[0-9]{0,9}$")] = ""
    sys_updated_on: Annotated[str, Meta(max_length=_STAMP_LENGTH)] = ""


class _Body(msgspec.Struct, frozen=True):
    nonce: Annotated[str, Meta(min_length=16, max_length=64)]
    hints: Annotated[tuple[_Hint, ...], Meta(min_length=1, max_length=_MOST_HINTS)]


@dataclass(frozen=True, slots=True)
class HintMessage:
    """One changed record: `operation` is insert, update or delete; the version as the rule saw it, as far as it did."""

    table: str
    sys_id: str
    rule_table: str
    operation: str
    mod_count: int | None
    updated_on: datetime | None


def signature(secret: bytes, time: str, body: bytes) -> str:
    """As ServiceNow's CertificateEncryption makes it (servicenow-api.md 8.1)."""
    return base64.b64encode(hmac.digest(secret, time.encode() + b"." + body, hashlib.sha256)).decode()


def is_signed(secret: bytes, time: str, body: bytes, given: str) -> bool:
    """Compared in constant time."""
    wanted = signature(secret, time, body).encode()
    return hmac.compare_digest(wanted, given.encode("utf-8", "replace"))


def digest_of(given: str) -> bytes:
    """What is remembered of a signature that was taken."""
    return hashlib.sha256(given.encode()).digest()


def seconds_of(time: str) -> int | None:
    """The header's time; None when it is none."""
    return int(time) if re.fullmatch(r"[0-9]{1,12}", time) else None


def read_body(body: bytes) -> tuple[HintMessage, ...]:
    """Raises ValueError when it is no body of ours."""
    try:
        read = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError("not a body of hints") from error
    return tuple(_message(hint) for hint in read.hints)


def secret_of(text: str) -> bytes:
    """The secret from its base64 form. Raises ValueError."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _message(hint: _Hint) -> HintMessage:
    try:
        moment = queries.read_stamp(hint.sys_updated_on) if hint.sys_updated_on else None
    except ValueError:
        moment = None  # another format: the version is then told by the count alone
    count = int(hint.sys_mod_count) if hint.sys_mod_count else None
    return HintMessage(hint.table, hint.sys_id, hint.rule, hint.operation, count, moment)
