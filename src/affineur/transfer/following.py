"""Digesting files while they come: when the last byte is here, little is left to do."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

from affineur.artifact import remember_digest
from affineur.transfer.coming import Coming

_BLOCK = 1 << 20  # bytes


class Follower:
    """Reads, in a thread of its own, what has arrived of each file, from its beginning on, and digests it.

    What it reads is what lies on the disk, so a file that an earlier run began is followed like any other.
    :func:`~affineur.artifact.file_digest` knows the digests afterwards; it computes those that were not
    followed to the end.

    Args:
        files: The files, each once, in the order they are fetched.
    """

    def __init__(self, files: Sequence[Coming]) -> None:
        self._files = [each for each in files if each.followed]
        self._news, self._stopped = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="affineur-digest", daemon=True)

    def tell(self) -> None:
        """Say that more has arrived."""
        self._news.set()

    def __enter__(self) -> Follower:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the end where everything has come; else stop."""
        self._stopped = kind is not None
        self._news.set()
        self._thread.join()

    def _run(self) -> None:
        for each in self._files:
            with suppress(OSError):  # whoever verifies the file meets it again, and tells
                self._follow(each)

    def _follow(self, coming: Coming) -> None:
        digest, at, size = hashlib.sha256(), 0, coming.size or 0
        while not (self._stopped or self._arrived(coming, 0)):
            pass
        with coming.file.open("rb", buffering=0) as file:
            block = memoryview(bytearray(min(_BLOCK, size)))
            while at < size and not self._stopped:
                there = self._arrived(coming, at)
                if there <= at:
                    continue
                count = file.readinto(block[: there - at])
                if not count:  # cut short by somebody else
                    return
                digest.update(block[:count])
                at += count
        if at == size:
            remember_digest(coming.file, digest.hexdigest())

    def _arrived(self, coming: Coming, at: int) -> int:
        """Return up to where a file is there, after waiting for news where nothing is there behind ``at``."""
        self._news.clear()  # before looking: what comes after the look is news
        there = coming.reached(at)
        if there <= at and not self._stopped:
            self._news.wait()
        return there
