"""What demo records need and the shipped schema lacks: a few choice lists.

`nowtwin.schema.shipped` holds the tables; the lists here matter to the seeds alone (labels as the demo records display them,
subcategories as on a stock instance). Facts only, in the form that `Instance.load_schema` takes; what an instance
knows already wins.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

_SOURCE: Final = "nowtwin"

CHOICES: Final[Mapping[tuple[str, str], str]] = {
    ("problem", "category"): "software=Software;hardware=Hardware;network=Network;database=Database",
    ("problem", "resolution_code"): (
        "fix_applied=Fix Applied;risk_accepted=Risk Accepted;duplicate=Duplicate;canceled=Canceled"
    ),
    ("change_request", "phase"): "requested=Requested;accepted=Accepted;plan=Plan;build=Build;complete=Complete",
    ("change_request", "phase_state"): "open=Open;work in progress=Work in Progress;complete=Complete;on hold=On Hold",
    ("change_request", "close_code"): (
        "successful=Successful;successful_issues=Successful with issues;unsuccessful=Unsuccessful"
    ),
    ("kb_knowledge", "workflow_state"): "draft=Draft;review=Review;published=Published;retired=Retired",
}

# incident and problem share the stock list; each value belongs to one category.
SUBCATEGORIES: Final[Mapping[str, str]] = {
    "inquiry": "antivirus=Antivirus;email=Email;internal application=Internal Application",
    "database": "db2=DB2;sql server=MS SQL Server;oracle=Oracle",
    "hardware": "cpu=CPU;disk=Disk;keyboard=Keyboard;memory=Memory;monitor=Monitor;mouse=Mouse",
    "network": "dhcp=DHCP;dns=DNS;ip address=IP Address;vpn=VPN;wireless=Wireless",
    "software": "email=Email;os=Operating System",
}

_MAX_LENGTHS: Final[Mapping[str, int]] = {"string": 255, "reference": 32, "GUID": 32, "table_name": 80}


def choice_entries(table: str, element: str, listed: str, dependent_value: str = "") -> list[dict[str, Any]]:
    """`value=Label;…` (a bare `Label` stands for both) as entries of a schema file, in sequence."""
    pairs = [entry.partition("=") for entry in listed.split(";")]
    return [
        {
            "table": table,
            "element": element,
            "value": value,
            "label": label or value,
            "sequence": sequence,
            "dependent_value": dependent_value,
            "inactive": False,
            "language": "en",
            "sources": [_SOURCE],
        }
        for sequence, (value, _, label) in enumerate(pairs, start=1)
    ]


def column_entry(table: str, spec: str, *, label: str = "", choice: int = 0) -> dict[str, Any]:
    """`element:type[>reference]` as a column of a schema file."""
    element, _, kind = spec.partition(":")
    internal_type, _, reference = kind.partition(">")
    entry: dict[str, Any] = {
        "table": table,
        "element": element,
        "sources": [_SOURCE],
        "label": label or element.removeprefix("u_").replace("_", " ").capitalize(),
        "internal_type": internal_type,
        "max_length": _MAX_LENGTHS.get(internal_type, 40),
        "mandatory": False,
        "read_only": False,
        "choice": choice,
    }
    return entry | ({"reference": reference} if reference else {})


def table_entry(name: str, label: str, parent: str | None, display: str = "") -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "label": label, "super_class": parent, "sources": [_SOURCE]}
    return entry | ({"display": display} if display else {})


def schema_of(
    tables: Sequence[dict[str, Any]], columns: Sequence[dict[str, Any]], choices: Iterable[dict[str, Any]]
) -> dict[str, Any]:
    return {"meta": {"note": _SOURCE}, "tables": list(tables), "columns": list(columns), "choices": list(choices)}


def platform_schema() -> dict[str, Any]:
    """All facts of this module, in the form of a schema file."""
    choices = [
        entry for (table, element), listed in CHOICES.items() for entry in choice_entries(table, element, listed)
    ]
    for table in ("incident", "problem"):
        for category, listed in SUBCATEGORIES.items():
            choices += choice_entries(table, "subcategory", listed, category)
    return schema_of((), (), choices)
