"""The demo instance: everything the shipped files hold, as rows, from the package itself.

The rows are computed at load (a tenth of a second) and not shipped, so the files stay what their source published.
Sources and licences: data/NOTICE-RECORDS.md.
"""

import gzip
import json
from functools import cache
from importlib import resources
from typing import Any

from nowtwin.schema.dictionary import Dictionary
from nowtwin.schema.shipped import shipped_dictionary
from nowtwin.seeds.demo_content import catalog_tables, knowledge_tables, layout_tables, menu_tables
from nowtwin.seeds.demo_records import Tables, demo_tables
from nowtwin.seeds.platform_facts import platform_schema


def shipped(name: str) -> Any:  # noqa: ANN401 - parsed JSON, each file with a form of its own
    """The parsed content of a JSON file in `nowtwin/data`, gzipped or not."""
    data = (resources.files("nowtwin") / "data" / name).read_bytes()
    return json.loads(gzip.decompress(data) if name.endswith(".gz") else data)


@cache
def demo_dictionary() -> Dictionary:
    """The shipped schema with the platform's facts: what the demo records are read against. Do not change it."""
    dictionary = shipped_dictionary()
    dictionary.merge(platform_schema())
    return dictionary


def demo_rows() -> Tables:
    """All rows of the demo by table, referenced tables before the records."""
    tables = demo_tables(shipped("demo_records.workarena.json.gz")["records"], demo_dictionary())
    admin = next(user["sys_id"] for user in tables["sys_user"] if user["user_name"] == "admin")
    tables |= knowledge_tables(shipped("kb_articles.workarena.json.gz"), admin)
    tables |= catalog_tables(shipped("catalog_items.workarena.json"))
    tables |= menu_tables(shipped("app_menu.workarena.json.gz"))
    tables |= layout_tables(shipped("form_and_list_layouts.workarena.json"))
    return tables
