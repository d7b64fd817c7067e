"""The documented exchanges of the API reference [snapshot], and how an answer is compared with one: keys and types."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from nowtwin.seeds import find_shared_data

EXAMPLES = "rest_examples.docs.dev.jsonl.gz"


def snapshot(name: str) -> Path:
    """A file of the shared data that is not committed; the test skips where it is missing."""
    folder = find_shared_data()
    if folder is None or not (folder / name).is_file():
        pytest.skip(f"the snapshot {name} is not here (set NOWBRIDGE_SHARED_DATA)")
    return folder / name


def example(operation: str) -> dict[str, Any]:
    """The first documented exchange of an operation, such as `Attachment - POST /now/attachment/file`."""
    with gzip.open(snapshot(EXAMPLES), "rt") as lines:
        for line in lines:
            entry: dict[str, Any] = json.loads(line)
            if entry["operation"] == operation:
                return entry
    pytest.skip(f"the snapshot has no exchange {operation}")


def differences(documented: object, said: object, at: str = "") -> list[str]:
    """Where `said` lacks a documented key or has another JSON type; what it has beyond is no difference.

    The elements of a documented list are compared with the element at the same place, or with the first.
    """
    if isinstance(documented, dict) and isinstance(said, dict):
        missing = [f"{at}.{key} is missing" for key in documented if key not in said]
        both = (differences(documented[key], said[key], f"{at}.{key}") for key in documented if key in said)
        return missing + [text for texts in both for text in texts]
    if isinstance(documented, list) and isinstance(said, list):
        found: list[str] = []
        for n, entry in enumerate(documented):
            if said:
                found += differences(entry, said[min(n, len(said) - 1)], f"{at}[{n}]")
        return found
    if documented is None or said is None or type(documented) is type(said):
        return []
    return [f"{at} is {type(said).__name__}, documented {type(documented).__name__}"]
