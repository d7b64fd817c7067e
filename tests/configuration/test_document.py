"""The configuration file: what is written is read as it was, and everything odd is refused with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nowbridge.configuration.difference import Kind, plan
from nowbridge.configuration.document import SETTINGS, ConnectionEntry, Document, TableEntry, json_schema, read, write
from nowbridge.model.errors import Stop
from nowbridge.settings import checked_number

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
TEXTS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=30)
MANY = st.lists(NAMES, unique=True, max_size=3).map(lambda names: tuple(sorted(names)))
TABLES = st.builds(
    TableEntry,
    source=NAMES,
    name=NAMES,
    filter=TEXTS,
    include=MANY,
    exclude=MANY,
    rename=st.dictionaries(NAMES, NAMES, max_size=3).map(lambda names: tuple(sorted(names.items()))),
    contract=st.sampled_from(["evolve", "freeze", "discard"]),
    deletes=st.sampled_from(["hard", "soft"]),
    sql_deletes=st.sampled_from(["allow", "refuse", "0", "25", "007"]),
    paused=st.booleans(),
    line=st.just(0),
)
CONNECTIONS = st.builds(
    ConnectionEntry,
    name=NAMES,
    url=st.just("https://acme.service-now.com"),
    auth=st.sampled_from(["basic", "api_key"]),
    username=TEXTS,
    client_id=TEXTS,
    proxy=st.sampled_from(["", "none", "http://ada@p:3128"]),
    ca_file=TEXTS,
    client_certificate=st.just(""),
    secret_expires=st.dates().map(str),
    secrets=st.just(()),
    settings=st.sets(st.sampled_from(sorted(set(SETTINGS)))).map(lambda names: tuple(sorted((n, 4) for n in names))),
    tables=st.lists(TABLES, unique_by=lambda t: t.source, max_size=3).map(
        lambda found: tuple(sorted(found, key=lambda t: t.source))
    ),
    line=st.just(0),
)
DOCUMENTS = st.lists(CONNECTIONS, unique_by=lambda c: c.name, max_size=3).map(
    lambda found: Document(tuple(sorted(found, key=lambda c: c.name)))
)


@given(DOCUMENTS)
@settings(
    max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
def test_what_is_exported_differs_in_nothing(tmp_path: Path, document: Document) -> None:
    file = tmp_path / "nowbridge.yaml"
    file.write_text(write(document), encoding="utf-8")
    again = read(file, checked_number)
    assert again == document
    assert plan(document, again) == []


@given(DOCUMENTS, DOCUMENTS)
@settings(max_examples=100, deadline=None)
def test_a_plan_names_all_that_differs_and_nothing_else(is_now: Document, wanted: Document) -> None:
    steps = plan(is_now, wanted)
    assert (steps == []) == (is_now == wanted)
    before = {(c.name, t.source) for c in is_now.connections for t in c.tables}
    after = {(c.name, t.source) for c in wanted.connections for t in c.tables}
    tables = [step for step in steps if step.source]
    assert {(s.connection, s.source) for s in tables if s.kind is Kind.ADD} == after - before
    assert {(s.connection, s.source) for s in tables if s.kind is Kind.REMOVE} == before - after


GOOD = """\
version: 1
connections:
  acme:
    url: https://acme.service-now.com
    auth: basic
    username: svc
    tables:
      incident:
        filter: active=true
"""


@pytest.mark.parametrize(
    ("old", "new", "code", "line", "said"),
    [
        ("filter:", "filtre:", "config.key", 9, "Did you mean filter?"),
        ("auth: basic", "auth: baisc", "config.value", 5, "oauth_password"),
        ("    auth: basic\n", "", "config.key", 4, "auth is missing"),
        ("username: svc", "username: [svc]", "config.value", 6, "no text"),
        ("acme:", "Acme:", "config.value", 4, "small letters"),
        ("version: 1", "version: 2", "config.value", 1, "1"),
        ("username: svc", "secrets: {password: hunter2}", "config.value", 6, "env:NAME"),
        ("username: svc", "settings: {poll_seconds: 0}", "config.value", 6, "above 0"),
        ("username: svc", "secret_expires: soon", "config.value", 6, "2027-01-31"),
        ("username: svc", "auth: basic", "config.key", 6, "twice"),
        ("filter: active=true", "paused: maybe", "config.value", 9, "true, false"),
        ("filter: active=true", "columns: {rename: {state: A B}}", "config.value", 9, "form"),
        ("      incident:", "      in-cident:", "config.value", 9, "name of a table"),
    ],
)
def test_what_is_odd_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, code: str, line: int, said: str
) -> None:
    file = tmp_path / "n.yaml"
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(Stop) as refused:
        read(file, checked_number)
    assert refused.value.code == code
    assert f"n.yaml:{line} " in refused.value.asked
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "a: [", "- 1", "version: 1"])
def test_what_is_no_configuration_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "n.yaml"
    file.write_text(text)
    with pytest.raises(Stop) as refused:
        read(file, checked_number)
    assert refused.value.code.startswith("config.")


def test_the_schema_for_editors_knows_the_example_of_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "config.md").read_text()
    example = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])
    _check(example, json_schema())


def _check(value: Any, schema: dict[str, Any]) -> None:  # noqa: ANN401 - any YAML
    """As much of JSON Schema as ours uses for names."""
    if not isinstance(value, dict):
        return
    more = schema.get("additionalProperties", True)
    options = schema.get("properties", {})
    for key, inner in value.items():
        found = options.get(key) or (more if isinstance(more, dict) else None)
        assert found is not None, key
        _check(inner, found.get("anyOf", [found])[0])
