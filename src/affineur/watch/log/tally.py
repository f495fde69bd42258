"""How many texts a process has answered, where the end of the process cannot lose it.

What a killed process had not yet written to the log is gone, but not that it was there: the count is in a
file beside the keys (in the system's memory, which ``kill -9`` leaves alone), and whoever opens the log next
knows how much is missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nobody can tell a living process's file from a dead one's
    fcntl = None  # type: ignore[assignment]

_BYTES = 8


class Tally:
    """The count of a process that lives.

    Args:
        keys: The file of keys that it stands beside.
        run: The process, by its number in the log.
    """

    def __init__(self, keys: Path, run: int) -> None:
        self.count = 0
        self._path = _path(keys, run)
        self._file: int | None = None
        if fcntl is not None:
            with suppress(OSError):  # it is no reason not to keep a log
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.pwrite(self._file, bytes(_BYTES), 0)

    def add(self, texts: int) -> None:
        """Count so many more; some millionths of a second."""
        self.count += texts
        if self._file is not None:
            with suppress(OSError):
                os.pwrite(self._file, self.count.to_bytes(_BYTES), 0)

    def close(self) -> None:
        """Take the file away: the log has everything."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None


def of_the_dead(keys: Path) -> Iterator[tuple[int, int]]:
    """Yield the number and the count of processes that ended without a word; their files go away after that.

    Args:
        keys: The file of keys that they stand beside.
    """
    if fcntl is None:
        return
    head = f".{keys.name}.run-"
    for path in sorted(keys.parent.glob(f"{head}*")):
        with suppress(OSError, ValueError):
            file = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # one that lives holds it
                yield int(path.name.removeprefix(head)), int.from_bytes(os.pread(file, _BYTES, 0))
                path.unlink(missing_ok=True)
            finally:
                os.close(file)


def _path(keys: Path, run: int) -> Path:
    return keys.parent / f".{keys.name}.run-{run}"
