"""Seals the credentials of connections, so that neither the database nor a backup of it gives them away.

AES-256-GCM under a master key that lives in a file (mode 0600, made by `nowbridge init`) and in no database (decision
X27). A sealed value is bound to its context, so it cannot be moved to another row: whoever may write the table still
cannot make Nowbridge send one instance's password to another.

A sealed value is: version (1 byte) | key id (4) | nonce (12) | ciphertext and tag. The id says which key of the file
opens it; the file may hold several, one a line, of which the first seals.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from nowbridge.model.errors import Stop

_VERSION: Final = b"\x01"
_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_HEADER_BYTES: Final = len(_VERSION) + _ID_BYTES
_ENTER_AGAIN: Final = "Put the key file back. If it is lost, enter the credentials again with `nowbridge connect`."


class Keyring:
    """The keys of one file. Shows none of them, not even in a traceback."""

    __slots__ = ("_ciphers", "_current", "_first", "_path")

    def __init__(self, path: Path, keys: tuple[bytes, ...]) -> None:
        self._path = path
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._current = _key_id(keys[0])
        self._first = keys[0]

    def __repr__(self) -> str:
        return f"Keyring({str(self._path)!r})"

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make a new key. Never replaces one: what it sealed could not be opened any more."""
        key = AESGCM.generate_key(bit_length=_KEY_BYTES * 8)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise Stop(
                "key.exists",
                asked=f"make the master key {path}",
                answered="there is a file of that name already",
                hint="It is kept: without it no stored credential can be opened.",
            ) from None
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(key) + b"\n")
            file.flush()
            os.fsync(descriptor)
        return cls(path, (key,))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the key file. Refused when anybody but its owner can read it."""
        try:
            with path.open("rb") as file:
                _refuse_if_shared(path, os.fstat(file.fileno()).st_mode)
                lines = file.read().split()
        except FileNotFoundError:
            raise _stop(
                "key.lost", path, "there is no such file", f"`nowbridge init` makes one. {_ENTER_AGAIN}"
            ) from None
        except (PermissionError, IsADirectoryError) as error:
            raise _stop("key.unreadable", path, error.strerror or "not readable", "Check who owns it.") from error
        return cls(path, _parsed(path, lines))

    @property
    def current(self) -> str:
        """The id of the key that seals."""
        return self._current.hex()

    @property
    def held(self) -> tuple[str, ...]:
        """The ids of all keys of the file, the one that seals first."""
        return tuple(identifier.hex() for identifier in self._ciphers)

    @classmethod
    def renew(cls, path: Path) -> Self:
        """Put a new key before the others: it seals from now on, and the others still open what they sealed."""
        cls.open(path)
        new = base64.b64encode(AESGCM.generate_key(bit_length=_KEY_BYTES * 8))
        _replace(path, [new, *path.read_bytes().split()])
        return cls.open(path)

    @classmethod
    def add(cls, path: Path, lines: list[bytes]) -> Self:
        """Keys from elsewhere, behind those of the file: they open, and do not seal."""
        held = cls.open(path)
        new = [line for line in lines if _key_id(_parsed(path, [line])[0]).hex() not in held.held]
        _replace(path, [*path.read_bytes().split(), *new])
        return cls.open(path)

    @classmethod
    def forget_old(cls, path: Path) -> Self:
        """Leave the key that seals alone in the file. Only when nothing is sealed with another one any more."""
        cls.open(path)
        _replace(path, path.read_bytes().split()[:1])
        return cls.open(path)

    def derived(self, purpose: str) -> bytes:
        """A key for something else than sealing, which gives nothing away of the master key. Another one after a rotation."""
        return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=f"nowbridge {purpose}".encode()).derive(
            self._first
        )

    def seal(self, plaintext: str, context: str) -> bytes:
        """Encrypt under the current key. Only the same context opens it."""
        header = _VERSION + self._current
        nonce = os.urandom(_NONCE_BYTES)
        return (
            header + nonce + self._ciphers[self._current].encrypt(nonce, plaintext.encode(), header + context.encode())
        )

    def unseal(self, sealed: bytes, context: str) -> str:
        """Raises Stop `key.wrong` when another key sealed it, `secret.damaged` when it was altered or moved."""
        asked = "open a stored credential"
        header, rest = sealed[:_HEADER_BYTES], sealed[_HEADER_BYTES:]
        if header[:1] != _VERSION or len(rest) < _NONCE_BYTES + _TAG_BYTES:
            raise Stop("secret.damaged", asked=asked, answered="it has a form that is not known", hint=_ENTER_AGAIN)
        cipher = self._ciphers.get(header[1:])
        if cipher is None:
            raise Stop(
                "key.wrong",
                asked=asked,
                answered=f"it was sealed with the key {header[1:].hex()}, and {self._path} holds {self._held()}",
                hint=_ENTER_AGAIN,
            )
        try:
            opened = cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], header + context.encode())
        except InvalidTag:
            raise Stop(
                "secret.damaged",
                asked=asked,
                answered="it was altered since it was sealed, or belongs to another connection",
                hint="Enter the credentials again with `nowbridge connect`.",
            ) from None
        return opened.decode()

    def _held(self) -> str:
        return ", ".join(identifier.hex() for identifier in self._ciphers)


def key_of(sealed: bytes) -> str:
    """The id of the key that sealed a value."""
    return sealed[len(_VERSION) : _HEADER_BYTES].hex()


def _replace(path: Path, lines: list[bytes]) -> None:
    """The whole file or nothing: who is killed in the middle leaves the old one."""
    half = path.with_name(f"{path.name}.new")
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(b"\n".join(lines) + b"\n")
        file.flush()
        os.fsync(descriptor)
    half.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"nowbridge key id\0" + key).digest()[:_ID_BYTES]


def _parsed(path: Path, lines: list[bytes]) -> tuple[bytes, ...]:
    keys = []
    for line in lines:
        try:
            keys.append(base64.b64decode(line, validate=True))
        except binascii.Error:
            keys.append(b"")
    if not keys or any(len(key) != _KEY_BYTES for key in keys):
        answered = "it does not hold 32 random bytes in base64 on each line"
        raise _stop("key.malformed", path, answered, _ENTER_AGAIN)
    return tuple(keys)


def _refuse_if_shared(path: Path, mode: int) -> None:
    if stat.S_IMODE(mode) & (stat.S_IRWXG | stat.S_IRWXO):
        answered = f"other users of this machine may use it (mode {stat.S_IMODE(mode):04o})"
        raise _stop("key.shared", path, answered, f"Run: chmod 600 {path}")


def _stop(code: str, path: Path, answered: str, hint: str) -> Stop:
    return Stop(code, asked=f"read the master key {path}", answered=answered, hint=hint)
