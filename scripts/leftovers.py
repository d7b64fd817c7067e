"""Find what must not be committed: notes to ourselves, paths of one machine, addresses of package registries, merge marks.

Looks at every file that git tracks or would add. Exit 1 with one line per finding.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent

# Written so that this file does not find itself.
PATTERNS = (
    ("a note to ourselves", re.compile(rb"\b(?:TO" rb"DO|FIX" rb"ME)\b")),
    ("a path of one machine", re.compile(rb"(?<![\w.])/(?:wo" rb"rk|ro" rb"ot|ho" rb"me)/[a-z.]|\.lib" rb"rary\b")),
    (
        "the address of a package registry",
        re.compile(rb"(?:py" rb"pi\.org|python" rb"hosted\.org|registry\.npm" rb"js)"),
    ),
    ("a merge mark", re.compile(rb"^(?:<<<<" rb"<<<|>>>>" rb">>>)", re.MULTILINE)),
    ("a private key", re.compile(rb"BEGIN [A-Z ]*PRIVATE" rb" KEY")),
)
# Text of others that we ship or render, not ours to change.
NOT_OURS = re.compile(r"\.(?:xml|svg|png|gif|gz|zst|woff2?)$|^src/nowtwin/(?:data|seeds)/.*\.(?:json|jsonl|csv)$")


def candidates() -> list[str]:
    listed = subprocess.run(
        ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"),
        cwd=REPO,
        capture_output=True,
        check=True,
    )
    return sorted(name for name in listed.stdout.decode().split("\0") if name and not NOT_OURS.search(name))


def findings(name: str, content: bytes) -> Iterator[str]:
    for what, pattern in PATTERNS:
        for match in pattern.finditer(content):
            line = content.count(b"\n", 0, match.start()) + 1
            yield f"{name}:{line}: {what}: {match.group().decode(errors='replace')}"


def main() -> int:
    found = [
        finding
        for name in candidates()
        if (REPO / name).is_file()
        for finding in findings(name, (REPO / name).read_bytes())
    ]
    print("\n".join(found) or "nothing found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
