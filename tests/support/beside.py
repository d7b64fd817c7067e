"""Programs that run beside a test's event loop, in which the writer works that they wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: str
    err: str


async def run_beside(*command: str, stdin: str = "", environment: Mapping[str, str] | None = None) -> Ended:
    """Run a program to its end with this environment and nothing of ours."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(environment or {}),
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), PATIENCE)
    except TimeoutError:
        process.kill()
        await process.communicate()
        raise
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())
