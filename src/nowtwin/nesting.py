"""How deep a JSON text is nested, before anything reads it: what reads and what writes it goes down level by level, so
that a few kilobytes of brackets would exhaust the stack. The limit is an assumption; no client comes near it.
"""

import re
from typing import Final

DEEPEST: Final = 100
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)


def too_deep(text: bytes) -> bool:
    """Whether brackets outside of strings are open more than `DEEPEST` levels deep."""
    if text.count(b"[") + text.count(b"{") <= DEEPEST:
        return False
    depth = 0
    for token in _TOKEN.finditer(text):
        first = token[0][:1]
        if first in b"[{":
            depth += 1
            if depth > DEEPEST:
                return True
        elif first in b"]}":
            depth -= 1
    return False
