"""Definitions of function fields, such as `glidefunction:concat(number,' ',caller_id.name)`, as texts: what they consist of
and which columns they name. `query.functions` makes SQL of them.
"""

import re
from typing import Final

PREFIX: Final = "glidefunction:"
TOKEN: Final = re.compile(r"\s*(?:'(?P<constant>[^']*)'|(?P<name>[A-Za-z_][\w.]*)(?P<called>\s*\()?|(?P<sign>[(),]))")


def fields_of(definition: str) -> tuple[str, ...]:
    """The columns that a definition names, dot-walked ones as paths."""
    tokens = TOKEN.finditer(definition.removeprefix(PREFIX))
    return tuple(dict.fromkeys(token["name"] for token in tokens if token["name"] and not token["called"]))


def prefixed(definition: str, prefix: str) -> str:
    """The definition as a database view needs it, where columns have the prefix of their table."""

    def named(token: "re.Match[str]") -> str:
        return f"{prefix}_{token['name']}" if token["name"] and not token["called"] else token[0]

    return PREFIX + TOKEN.sub(named, definition.removeprefix(PREFIX))
