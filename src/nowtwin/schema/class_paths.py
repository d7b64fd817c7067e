"""The path of a class of the CMDB, as `sys_class_path` holds it: `/!!/!2/!(` is cmdb_ci, hardware, computer (servicenow-api.md
3.1, public values). Every class has a code of two characters that no sibling has, and its path is its parent's and that.

Codes of a few classes are known; the others are given in the order in which the classes came to be, and kept.
"""

from itertools import product
from typing import Final

from nowtwin.schema.dictionary import Dictionary

ROOT: Final = "cmdb"
COLUMN: Final = "sys_class_path"
_KNOWN: Final = {
    "cmdb_ci": "!!",
    "cmdb_ci_hardware": "!2",
    "cmdb_ci_computer": "!(",
    "cmdb_ci_server": "!!",
    "cmdb_ci_win_server": "!0",
}
"""From recorded records and from queries that people publish."""
_SIGNS: Final = "!$()*-.0123456789:@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]_{}~"
"""Without what means something in paths and encoded queries, and without letters that differ in case alone."""


def class_code(dictionary: Dictionary, table: str) -> str:
    """The last step of the path; empty for what is no class of the CMDB, or its root."""
    lineage = dictionary.lineage(table)
    if lineage[-1] != ROOT or len(lineage) == 1:
        return ""
    codes = dictionary.class_codes.setdefault(lineage[1], {})
    if table not in codes:
        siblings = dictionary.children(lineage[1])
        codes |= {name: _KNOWN[name] for name in siblings if name in _KNOWN}
        taken = set(codes.values())
        free = (code for pair in product(_SIGNS, repeat=2) if (code := "".join(pair)) not in taken)
        codes |= {name: next(free) for name in siblings if name not in codes}
    return codes[table]


def class_path(dictionary: Dictionary, table: str) -> str:
    """Empty for what is no class of the CMDB."""
    lineage = dictionary.lineage(table)
    if lineage[-1] != ROOT:
        return ""
    return "/" + "/".join(class_code(dictionary, name) for name in reversed(lineage[:-1]))
