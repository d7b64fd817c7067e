"""The door for seed files: recognises what a file is, and brings it into an instance.

A file is known by its content, not its name: keys of a JSON document, columns of a CSV, keys of the first JSON line.
What is not recognised, or not readable, is a `SeedFileError` that names the file and says what was expected.
"""

import csv
import gzip
import os
import zlib
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec

from nowtwin.instance import Instance
from nowtwin.seeds.demo import demo_rows
from nowtwin.seeds.demo_records import Tables, demo_tables
from nowtwin.seeds.estate import Estate
from nowtwin.seeds.estate_software import catalogue, installs
from nowtwin.seeds.event_log import Replay, log_schema, part
from nowtwin.seeds.event_log_file import EventLogError, read_event_log
from nowtwin.seeds.generator_pool import pool_of
from nowtwin.seeds.inventory import class_relation_rows, class_schema, device_type_tables, relation_type_rows
from nowtwin.seeds.platform_facts import platform_schema
from nowtwin.seeds.recordings import is_recording, recorded_rows
from nowtwin.seeds.requests import Requests

SHARED_DATA: Final = "NOWBRIDGE_SHARED_DATA"
DEMO_SEED, DEMO_CIS, DEMO_REQUESTS = 1, 1_000, 120
"""What the demo generates beside its records."""
_KNOWN: Final = (
    "a schema or demo records or {table: [rows]} (.json), the incident event log or a list of classes, relation types or "
    "relations between classes (.csv), device types or recorded answers (.jsonl), each also gzipped"
)


class SeedFileError(ValueError):
    """A file that is no seed."""


def find_shared_data() -> Path | None:
    """The folder of shared data: what the environment names, else `../shared/data` beside the source checkout."""
    named = os.environ.get(SHARED_DATA)
    folder = Path(named) if named else Path(__file__).resolve().parents[4] / "shared" / "data"
    return folder if folder.is_dir() else None


def load_tables(instance: Instance, tables: Mapping[str, Any]) -> dict[str, int]:
    """Load rows by table; returns how many of each."""
    return {table: instance.load(table, rows) for table, rows in tables.items()}


def load_demo(instance: Instance) -> dict[str, int]:
    """The shipped demo: records with all they point at, knowledge, catalogue, menu, layouts, and a generated estate
    with requests for what no record covers. Rows by table.
    """
    instance.load_schema(platform_schema())
    tables = demo_rows()
    pool = pool_of(tables)
    loaded = Counter(load_tables(instance, tables))
    loaded.update(load_estate(instance, Estate(DEMO_SEED, DEMO_CIS, pool)))
    loaded.update(load_tables(instance, Requests(DEMO_SEED, DEMO_REQUESTS, pool).tables()))
    return dict(loaded)


def load_estate(instance: Instance, estate: Estate) -> Counter[str]:
    """Categories, models and companies, then CIs, relations, assets and installs as they stream by. Rows by table."""
    loaded = Counter(load_tables(instance, catalogue(estate)))
    for table, rows in chain(estate.streams(), installs(estate)):
        loaded[table] += instance.load(table, rows)
    return loaded


def load_event_log(instance: Instance, path: Path, *, until: datetime | float = 1.0) -> Replay:
    """The incident event log up to `until` (a time, or a fraction of its events); the replay holds what follows."""
    events = read_event_log(path)
    replay = part(events, until)
    instance.load_schema(platform_schema())
    instance.load_schema(log_schema(events))
    load_tables(instance, replay.rows)
    return replay


def load_file(instance: Instance, path: Path) -> dict[str, int]:
    """Load any seed file; returns rows by table (tables of a schema count as rows of sys_db_object)."""
    try:
        text = _text(path)
        kind = path.name.removesuffix(".gz").rpartition(".")[2]
        if kind == "json":
            return _load_json(instance, path, msgspec.json.decode(text))
        if kind == "csv":
            return _load_csv(instance, path, text)
        if kind == "jsonl":
            return _load_lines(instance, path, [msgspec.json.decode(line) for line in text.splitlines() if line])
    except (
        RecursionError,
        OSError,
        EOFError,
        zlib.error,
        UnicodeDecodeError,
        msgspec.DecodeError,
        EventLogError,
    ) as error:
        raise SeedFileError(f"{path.name} cannot be read: {error}") from error
    raise _unknown(path)


def _text(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


def _unknown(path: Path) -> SeedFileError:
    return SeedFileError(f"{path.name} is no seed that is known: expected {_KNOWN}")


def _load_json(instance: Instance, path: Path, document: object) -> dict[str, int]:
    if not isinstance(document, dict):
        raise _unknown(path)
    if {"tables", "columns", "choices"} <= document.keys():
        instance.load_schema(document)
        return {"sys_db_object": len(document["tables"])}
    if _is_demo(document):
        instance.load_schema(platform_schema())
        return load_tables(instance, demo_tables(document["records"], instance.dictionary))
    if not document or not all(map(_is_rows, document.values())):
        raise _unknown(path)
    for table, rows in document.items():
        _refuse_other_than_texts(path, table, rows)
    return _load_rows(instance, path, document)


def _is_demo(document: dict[str, Any]) -> bool:
    """Whether it has what `demo_tables` stands on: records of the kinds it ties together, each with id and name."""
    match document:
        case {
            "records": {"incident": list(), "alm_hardware": list(), "sys_user": list(), **others} as records,
            "references": _,
        }:
            return all(
                _is_rows(rows) and all("sys_id" in row for row in rows)
                for rows in (*others.values(), *records.values())
            )
    return False


def _is_rows(rows: object) -> bool:
    return isinstance(rows, list) and all(isinstance(row, dict) for row in rows)


def _refuse_other_than_texts(path: Path, table: str, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        for element, value in row.items():
            if not isinstance(value, str):
                said = msgspec.json.encode(value).decode()
                raise SeedFileError(f'{path.name}: {table}.{element} is {said}, but every value is a string: "..."')


def _load_rows(instance: Instance, path: Path, tables: Tables) -> dict[str, int]:
    for table, rows in tables.items():
        if table not in instance.dictionary.tables:
            raise SeedFileError(f"{path.name}: the instance has no table {table}")
        extra = {element for row in rows for element in row} - instance.dictionary.columns(table).keys()
        if extra:
            raise SeedFileError(f"{path.name}: table {table} has no column {', '.join(sorted(extra))}")
    return load_tables(instance, tables)


def _load_csv(instance: Instance, path: Path, text: str) -> dict[str, int]:
    reader = csv.DictReader(StringIO(text, newline=""))
    columns = set(reader.fieldnames or ())
    if {"number", "incident_state", "sys_mod_count"} <= columns:
        return {table: len(rows) for table, rows in load_event_log(instance, path).rows.items()}
    if {"table", "label", "super_class"} <= columns:
        schema = class_schema(reader)
        instance.load_schema(schema)
        return {"sys_db_object": len(schema["tables"])}
    if {"name", "parent_descriptor", "child_descriptor"} <= columns:
        return load_tables(instance, relation_type_rows(reader))
    if {"parent_class", "relation_type", "child_class"} <= columns:
        return load_tables(instance, class_relation_rows(reader, _sys_ids(instance, "cmdb_rel_type")))
    raise _unknown(path)


def _sys_ids(instance: Instance, table: str) -> dict[str, str]:
    """The sys_ids of the rows that are there, by name."""
    return {row["name"]: row["sys_id"] for row in instance.export(table) if "name" in row}


def _load_lines(instance: Instance, path: Path, lines: list[Any]) -> dict[str, int]:
    if lines and all(map(is_recording, lines)):
        return _load_recordings(instance, lines)
    if not lines or not all(isinstance(line, dict) and {"manufacturer", "model"} <= line.keys() for line in lines):
        raise _unknown(path)
    return load_tables(instance, device_type_tables(lines, _sys_ids(instance, "core_company")))


def _load_recordings(instance: Instance, lines: list[Any]) -> dict[str, int]:
    """A record that is there already stays as it is: of what is pointed at, a recording tells little."""
    loaded: Counter[str] = Counter()
    for line in lines:
        for table, row in recorded_rows(line, instance.dictionary):
            if instance.read(table, row["sys_id"]) is None:
                loaded[table] += instance.load(table, [row])
    return dict(loaded)
