"""The folder of one running instance: its rows and snapshots as files.

One instance at a time, held by a lock. It begins empty: rows that an earlier instance left are nothing without the
dictionary, accounts and secrets that lived in its memory, so they are removed, a write-ahead log of a killed process included.
"""

import fcntl
import tempfile
from pathlib import Path
from typing import Final

_ROWS: Final = "rows.sqlite"
_LOCK: Final = "nowtwin.lock"


class Folder:
    """`directory` is made where it is missing; None stands for a temporary folder that goes with the instance.

    Raises OSError where it cannot be made or another instance has it.
    """

    def __init__(self, directory: Path | None) -> None:
        self._temporary = None if directory else tempfile.TemporaryDirectory(prefix="nowtwin-")
        self.path = directory or Path(self._temporary.name if self._temporary else ".")
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = (self.path / _LOCK).open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise OSError(f"another instance has the folder {self.path}") from error
        for pattern in (f"{_ROWS}*", "snapshot-*.sqlite*"):
            for left in self.path.glob(pattern):
                left.unlink()

    @property
    def rows(self) -> Path:
        return self.path / _ROWS

    def close(self) -> None:
        self._lock.close()
        if self._temporary:
            self._temporary.cleanup()
