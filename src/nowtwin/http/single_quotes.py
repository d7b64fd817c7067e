"""JSON whose strings stand in single quotes: the examples of ServiceNow's API reference send it and get 201 and 200
(c_TableAPI.md, batch-api.md), so an instance reads it. Tried only where strict reading has failed.
"""

import re

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?P<inside>(?:[^\'\\]|\\.)*)\'', re.DOTALL)
_MARK = re.compile(r'\\(?P<escaped>.)|"', re.DOTALL)


def double_quoted(text: str) -> str:
    """The same text with every string in double quotes."""
    return _STRING.sub(_string, text)


def _string(found: re.Match[str]) -> str:
    inside = found["inside"]
    return found[0] if inside is None else f'"{_MARK.sub(_mark, inside)}"'


def _mark(found: re.Match[str]) -> str:
    if found["escaped"] is None:
        return '\\"'
    return "'" if found["escaped"] == "'" else found[0]
