"""The schema that nowtwin ships: base tables of the platform (data/NOTICE.md), read once per process."""

import gzip
from functools import cache
from importlib.resources import files

import msgspec

from nowtwin.schema.dictionary import Dictionary
from nowtwin.schema.table_facts import written_schema


@cache
def _shipped() -> Dictionary:
    data = files("nowtwin") / "data"
    dictionary = Dictionary()
    # What the supplements say wins over the registry's declarations, which lack name-keyed references.
    for name in ("supplement.json", "supplement_scripts.json"):
        dictionary.merge(msgspec.json.decode((data / name).read_bytes()))
    packed = (data / "servicenow_schema.registry_only.json.gz").read_bytes()
    dictionary.merge(msgspec.json.decode(gzip.decompress(packed)))
    dictionary.merge(written_schema())
    dictionary.merge(msgspec.json.decode((data / "supplement_apis.json").read_bytes()))
    return dictionary


def shipped_dictionary() -> Dictionary:
    """A dictionary of one's own with the shipped schema."""
    return _shipped().copy()


@cache
def stock_default_scripts() -> frozenset[str]:
    """The `javascript:` defaults of shipped columns. They call script includes of the platform, which are not shipped."""
    shipped = _shipped()
    defaults = (column.default or "" for table in shipped.tables for column in shipped.own_columns(table))
    return frozenset(default for default in defaults if default.startswith("javascript:"))
