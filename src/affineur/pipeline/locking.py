"""One process at a time in a folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from affineur.errors import ParameterError

_TRIES = 100  # a folder that cannot be made gives the same error as one that was just removed


@contextlib.contextmanager
def alone(folder: Path, otherwise: str) -> Iterator[None]:
    """Make a folder and keep a second process out of it; the lock goes with the process, however it ends.

    Args:
        folder: The folder; who holds it may remove it.
        otherwise: What a second process may do instead of waiting.

    Raises:
        ParameterError: If it cannot be written, or another process is in it.
    """
    for last in (*[False] * _TRIES, True):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / ".lock").open("w")
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not last:
                continue  # removed between the two, by the process that held it
            raise ParameterError(f"{folder} cannot be written ({error.strerror})") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ParameterError(f"another process is running in {folder}; wait for it, or {otherwise}") from None
            except OSError as error:
                raise ParameterError(f"{folder} cannot be locked ({error.strerror})") from None
            if _is_there(lock, folder / ".lock"):
                yield
                return
    raise ParameterError(f"{folder} is made and removed again by other processes; {otherwise}")


def _is_there(lock: TextIO, path: Path) -> bool:
    """Say whether a file that was opened is still the one of that name: its folder may have been removed and made again."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:
        return False
