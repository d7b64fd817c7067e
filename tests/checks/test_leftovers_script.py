"""scripts/leftovers.py finds what must not be committed, and does not cry wolf."""

from __future__ import annotations

import pytest

from scripts import leftovers


@pytest.mark.parametrize(
    "line",
    [
        "# TO" + "DO: later",
        "FIX" + "ME",
        "see /wo" + "rk/main/x",
        "open('/ro" + "ot/.ssh')",
        "cd /ho" + "me/alice",
        "index = https://py" + "pi.org/simple",
        "<<<<" + "<<< HEAD",
        "-----BEGIN RSA PRIVATE" + " KEY-----",
    ],
)
def test_a_leftover_is_found_with_its_line(line: str) -> None:
    found = list(leftovers.findings("a.txt", f"fine\n{line}\n".encode()))
    assert len(found) == 1
    assert found[0].startswith("a.txt:2: ")


@pytest.mark.parametrize(
    "line",
    ["our network/work sheet", "src/homework/x", "PyPI", "/var/lib/nowbridge", "MASTODON", "~/.nowbridge", "======="],
)
def test_what_only_looks_like_one_is_left_alone(line: str) -> None:
    assert list(leftovers.findings("a.txt", line.encode())) == []
