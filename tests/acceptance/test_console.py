"""`nowbridge serve` has the console: an account made on the command line signs in, and nobody before."""

from __future__ import annotations

import re
import signal

from tests.support.console import Visit
from tests.support.program import Program, interrupt

SENTENCE = "a long sentence of hers"


async def test_an_account_of_the_command_line_signs_in_to_what_serve_serves(program: Program) -> None:
    serving = program.start("serve", "--health-port", "0")
    try:
        assert serving.stderr is not None
        said = ""
        while "console " not in said:
            line = serving.stderr.readline()
            assert line, said
            said += line
        address = re.search(r"console (\S+) and", said)
        assert address is not None
        visit = Visit(address[1])
        assert (await visit.sign_in("ada", SENTENCE)).status == 401
        added = program.run("account", "add", "ada", "--role", "viewer", "--password-stdin", stdin=f"{SENTENCE}\n")
        assert added.code == 0, added.err
        assert (await visit.sign_in("ada", SENTENCE)).texts("h1") == ["Overview"]
        assert "ada" in (await visit.open("/")).body
    finally:
        code, _, err = interrupt(serving, signal.SIGTERM)
    assert code == 0, err
    assert SENTENCE not in err
