"""Credentials are sealed with AES-256 and open only with their key, in their place, unaltered."""

from __future__ import annotations

import base64
import os
import traceback
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nowbridge.model.errors import Stop
from nowbridge.store.instances.secrets import Keyring

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
KEYS = st.binary(min_size=32, max_size=32)
NOWHERE = Path("no.key")


@pytest.mark.req("H39", "L8")
@given(key=KEYS, plaintext=TEXT, context=TEXT)
def test_what_is_sealed_opens_again_to_the_same_text(key: bytes, plaintext: str, context: str) -> None:
    keyring = Keyring(NOWHERE, (key,))
    assert keyring.unseal(keyring.seal(plaintext, context), context) == plaintext


@pytest.mark.req("H39", "L8")
@given(key=KEYS, plaintext=st.text(st.characters(codec="ascii"), min_size=4))
def test_the_sealed_bytes_do_not_contain_the_text_and_never_repeat(key: bytes, plaintext: str) -> None:
    keyring = Keyring(NOWHERE, (key,))
    first, second = keyring.seal(plaintext, ""), keyring.seal(plaintext, "")
    assert plaintext.encode() not in first
    assert first != second


@given(key=KEYS, plaintext=TEXT, at=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=7))
def test_one_altered_bit_anywhere_is_noticed(key: bytes, plaintext: str, at: int, bit: int) -> None:
    keyring = Keyring(NOWHERE, (key,))
    sealed = bytearray(keyring.seal(plaintext, "here"))
    sealed[at % len(sealed)] ^= 1 << bit
    with pytest.raises(Stop) as refused:
        keyring.unseal(bytes(sealed), "here")
    assert refused.value.code in {"secret.damaged", "key.wrong"}


@given(key=KEYS, plaintext=TEXT, context=TEXT, other=TEXT)
def test_a_sealed_value_opens_in_no_other_place(key: bytes, plaintext: str, context: str, other: str) -> None:
    keyring = Keyring(NOWHERE, (key,))
    sealed = keyring.seal(plaintext, context)
    if other != context:
        with pytest.raises(Stop, match=r"secret\.damaged"):
            keyring.unseal(sealed, other)


@given(key=KEYS, sealed=st.binary(max_size=40))
def test_bytes_that_are_no_sealed_value_are_refused(key: bytes, sealed: bytes) -> None:
    with pytest.raises(Stop):
        Keyring(NOWHERE, (key,)).unseal(sealed, "")


def test_another_key_is_named_as_the_cause_with_what_to_do(tmp_path: Path) -> None:
    sealed = Keyring.create(tmp_path / "first").seal("secret", "")
    with pytest.raises(Stop) as refused:
        Keyring.create(tmp_path / "second").unseal(sealed, "")
    assert refused.value.code == "key.wrong"
    assert "nowbridge connect" in refused.value.hint


def test_a_key_kept_on_a_later_line_still_opens_what_it_sealed(tmp_path: Path) -> None:
    old = Keyring.create(tmp_path / "key")
    sealed = old.seal("secret", "")
    file = tmp_path / "key"
    file.write_bytes(base64.b64encode(os.urandom(32)) + b"\n" + file.read_bytes())
    both = Keyring.open(file)
    assert both.unseal(sealed, "") == "secret"
    with pytest.raises(Stop, match=r"key\.wrong"):
        old.unseal(both.seal("newer", ""), "")


@pytest.mark.req("L8")
def test_the_key_is_256_bits_in_a_file_of_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "home" / "key"
    sealed = Keyring.create(file).seal("secret", "row")
    assert len(base64.b64decode(file.read_bytes())) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert Keyring.open(file).unseal(sealed, "row") == "secret"


def test_an_existing_key_is_never_replaced(tmp_path: Path) -> None:
    Keyring.create(tmp_path / "key")
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(Stop, match=r"key\.exists"):
        Keyring.create(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620])
def test_a_key_that_others_may_use_is_refused_with_the_command_that_mends_it(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "key"
    Keyring.create(file)
    file.chmod(mode)
    with pytest.raises(Stop) as refused:
        Keyring.open(file)
    assert refused.value.code == "key.shared"
    assert refused.value.hint == f"Run: chmod 600 {file}"


def test_a_lost_key_says_that_credentials_are_entered_again(tmp_path: Path) -> None:
    with pytest.raises(Stop) as refused:
        Keyring.open(tmp_path / "key")
    assert refused.value.code == "key.lost"
    assert "nowbridge connect" in refused.value.hint


@pytest.mark.parametrize("content", [b"", b"\n", b"not base64!", base64.b64encode(b"short"), b"\xff\xfe"])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_bytes(content)
    with pytest.raises(Stop, match=r"key\.malformed"):
        Keyring.open(file)


def test_no_key_shows_in_a_representation_or_a_traceback(tmp_path: Path) -> None:
    keyring = Keyring.create(tmp_path / "key")
    key = (tmp_path / "key").read_bytes().strip().decode()
    assert key not in repr(keyring)
    with pytest.raises(Stop) as refused:
        keyring.unseal(b"", "")
    assert key not in "".join(traceback.format_exception(refused.value))


@pytest.mark.req("H39")
def test_the_database_holds_a_password_sealed_only(database_dsn: str, tmp_path: Path) -> None:
    keyring = Keyring.create(tmp_path / "key")
    sealed = keyring.seal("pa55-word", "acme")
    with psycopg.connect(database_dsn) as connection:
        connection.execute(
            "INSERT INTO nowbridge.connection (name, url, auth, username, sealed, schema_name, created_at)"
            " VALUES ('acme', 'https://acme.example', 'basic', 'reader', %s, 'public', now())",
            (sealed,),
        )
        row = connection.execute("SELECT c::text, sealed FROM nowbridge.connection c").fetchone()
    assert row is not None
    assert "pa55-word" not in row[0]
    assert b"pa55-word" not in row[1]
    assert keyring.unseal(row[1], "acme") == "pa55-word"
