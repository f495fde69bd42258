"""One process at a time at a target: a lock on a file beside it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from affineur.errors import ParameterError

_TRIES = 100  # a folder that cannot be made gives the same error as one that was just removed


@contextmanager
def alone(target: Path, otherwise: str) -> Iterator[None]:
    """Keep every other process from making the same target; the lock goes with the process, however it ends.

    The lock is on ``.NAME.lock`` beside the target, so that the target itself may be removed and put in place
    anew.

    Args:
        target: The folder that is made.
        otherwise: What a second process may do instead of waiting.

    Raises:
        ParameterError: If the lock cannot be written, or another process holds it.
    """
    target = target.resolve()
    path = target.parent / f".{target.name}.lock"
    for last in (*[False] * _TRIES, True):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = path.open("w")
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not last:
                continue  # the folder was removed between the two
            raise ParameterError(f"{target} cannot be written ({error.strerror})") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ParameterError(
                    f"another process is making {target}; wait for it, or {otherwise}"
                ) from None
            except OSError as error:
                raise ParameterError(f"{target} cannot be locked ({error.strerror})") from None
            if _is_there(lock, path):
                try:
                    yield
                finally:
                    path.unlink(
                        missing_ok=True
                    )  # while it is held: who opened it meanwhile sees that it is gone
                return
    raise ParameterError(f"{target} is taken and left again by other processes; {otherwise}")


def _is_there(lock: TextIO, path: Path) -> bool:
    """Say whether a file that was opened is still the one of that name: who held it before has removed it."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:
        return False
