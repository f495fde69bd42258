"""One process at a time in a folder."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from affineur.errors import ParameterError


@contextlib.contextmanager
def alone(folder: Path, otherwise: str) -> Iterator[None]:
    """Make a folder and keep a second process out of it; the lock goes with the process, however it ends.

    Args:
        folder: The folder.
        otherwise: What a second process may do instead of waiting.

    Raises:
        ParameterError: If it cannot be written, or another process is in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise ParameterError(f"{folder} cannot be written ({error.strerror})") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ParameterError(f"another process is running in {folder}; wait for it, or {otherwise}") from None
        yield
