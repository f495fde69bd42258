"""One process at a time at a target: a lock on a file beside it, gone with its process, however that ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from affineur.artifact.writing import resolved
from affineur.errors import ParameterError

_GRACE = 0.1  # seconds: a lock that its holder is just giving up is not refused
_FOREVER = -1.0


@contextmanager
def alone(target: Path, otherwise: str) -> Iterator[None]:
    """Keep every other process from making the same target.

    The lock is on ``.NAME.lock`` beside the target, so that the target itself may be removed and put in place
    anew.

    Args:
        target: What is made.
        otherwise: What a second process may do instead of waiting.

    Raises:
        ParameterError: If the lock cannot be written, or another process holds it.
    """
    with _locked(target, _GRACE, otherwise):
        yield


@contextmanager
def in_turn(target: Path) -> Iterator[None]:
    """Wait until no other process makes the same target, then keep the others waiting.

    Args:
        target: What is made.

    Raises:
        ParameterError: If the lock cannot be written.
    """
    with _locked(target, _FOREVER, "wait"):
        yield


@contextmanager
def _locked(target: Path, seconds: float, otherwise: str) -> Iterator[None]:
    from filelock import FileLock, Timeout  # here: most of what imports this room locks nothing

    target = resolved(target)
    path = target.parent / f".{target.name}.lock"
    lock = FileLock(path, timeout=seconds, poll_interval=0.02)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise ParameterError(f"another process is making {target}; wait for it, or {otherwise}") from None
    except OSError as error:
        raise ParameterError(f"{target} cannot be written ({error.strerror or error})") from None
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file, and filelock does it there
            path.unlink()  # while it is held: who opened it meanwhile sees that it is gone
        lock.release()
