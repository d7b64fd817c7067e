"""node-postgres writes ServiceNow. It is installed once into `.cache/node-postgres` of the checkout; without npm, or where
the package cannot be installed, the test is skipped and says so.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.beside import run_beside
from tests.writethrough.conftest import Writing
from tests.writethrough.test_sql_clients import refuse, url

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).parent / "programs" / "node_story.js"
CACHE = ROOT / ".cache" / "node-postgres"
VERSION = "8.23.1"


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The package, installed once for all runs; test processes that run in parallel wait for the one that installs."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"node-postgres is not tried: there is no {missing[0]} on this machine")
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (CACHE / f"made-{VERSION}").is_file():
            (CACHE / "package.json").write_text(json.dumps({"name": "tools", "version": "1.0.0", "private": True}))
            install = ("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", f"pg@{VERSION}")
            done = subprocess.run(install, cwd=CACHE, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                pytest.skip(f"node-postgres is not tried: npm cannot install it: {done.stderr[-400:]}")
            (CACHE / f"made-{VERSION}").touch()
    return CACHE / "node_modules"


@pytest.mark.timeout(400)
@pytest.mark.trap("13")
@pytest.mark.req("Q24", "Q25", "Q26", "Q27", "Q46", "Q48", "Q49", "Q50")
async def test_node_postgres_reads_writes_and_is_refused(node_modules: Path, writing: Writing) -> None:
    refuse(writing)
    ended = await run_beside(
        *("node", str(PROGRAM)),
        environment={"PATH": os.environ["PATH"], "NODE_PATH": str(node_modules), "DATABASE_URL": url(writing)},
    )
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    label, autocommit, transaction = told.pop("label"), told.pop("autocommit"), told.pop("transaction")
    assert told == {
        "was": {"state": "New", "state__value": 1, "sys_mod_count": 0},
        "updated": 1,
        "is": {"state": "In Progress", "state__value": 2, "sys_mod_count": 1},
        "returned": None,
        "made": ["INC", True],
    }
    assert label["code"] == "23514"
    assert label["message"] == "[ServiceNow] Value `invalid-state` is not a valid value for `state`."
    assert (autocommit["at"], autocommit["code"]) == ("query", "23514")
    assert (transaction["at"], transaction["code"]) == ("COMMIT", "23514")
    assert "aborted by Business Rule" in transaction["detail"]
    assert writing.texts() == {"no 0", "no 1", "prepared", "by node"}
