"""Moving bytes in several threads, with the rate and the time left told, and stopped at once when asked."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TypeVar

from affineur.errors import TransferError
from affineur.progress import report

T = TypeVar("T")
_EVERY = 0.2  # seconds between two reports
_SETTLED = 1.0  # seconds after which a rate means something


class Meter:
    """Counts bytes that threads move, and tells of them.

    Args:
        what: What is moved.
        total: Bytes in all, where known.
        there: Bytes that were there already.
    """

    def __init__(self, what: str, total: int | None, there: int = 0) -> None:
        self.what, self.total, self.count, self.made = what, total, there, 0
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._since = time.monotonic()

    def moved(self, count: int) -> None:
        """Count bytes; fewer than none where some are moved again."""
        with self._lock:
            self.count += count
            self.made += max(0, count)

    def check(self) -> None:
        """Stop the thread that asks, where all shall stop.

        Raises:
            TransferError: If they shall.
        """
        if self._stop.is_set():
            raise TransferError("stopped")

    def stop(self) -> None:
        """Let every thread stop at its next :meth:`check`."""
        self._stop.set()

    def tell(self) -> None:
        """Report how far it is, in MB, with the rate and the seconds left."""
        passed = time.monotonic() - self._since
        shown = f"{self.what} (MB)"
        if passed > _SETTLED and self.made:
            rate = self.made / passed
            shown += f", {rate / 1e6:.1f} MB/s"
            if self.total is not None:
                shown += f", {max(0, self.total - self.count) / rate:.0f} s left"
        report(shown, round(self.count / 1e6), None if self.total is None else round(self.total / 1e6))


def side_by_side(jobs: Sequence[Callable[[], None]], streams: int, meter: Meter, later: float = 0.0) -> None:
    """Do jobs in threads, report meanwhile, and stop all when one fails or the user interrupts.

    Args:
        jobs: What is done, in this order.
        streams: How many at once.
        meter: Counts what they move.
        later: Seconds for which there is one thread alone: others pay only where it takes longer.

    Raises:
        Exception: What the first job that failed raised.
    """
    if not jobs:
        return
    left = deque(jobs)

    def work() -> None:
        while True:
            try:
                job = left.popleft()
            except IndexError:
                return
            job()

    threads = max(1, min(streams, len(jobs)))
    pool = ThreadPoolExecutor(threads, thread_name_prefix="affineur-move")
    begun, waiting = time.monotonic(), {pool.submit(copy_context().run, work)}
    try:
        while waiting:
            if threads > 1 and time.monotonic() - begun >= later:
                waiting |= {pool.submit(copy_context().run, work) for _ in range(threads - 1)}
                threads = 1
            done, waiting = wait(waiting, _EVERY, FIRST_COMPLETED)
            meter.tell()
            for each in done:
                each.result()
    except BaseException:
        left.clear()
        meter.stop()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def at_once(calls: Sequence[Callable[[], T]], threads: int) -> list[T]:
    """Ask several things in threads.

    Args:
        calls: What is asked.
        threads: How many at once.

    Returns:
        The answers, in the order of ``calls``.

    Raises:
        Exception: What the first of them that failed raised; those that have not begun are not asked.
    """
    if threads == 1 or len(calls) < 2:
        return [call() for call in calls]
    pool = ThreadPoolExecutor(min(threads, len(calls)), thread_name_prefix="affineur-ask")
    asked = [pool.submit(copy_context().run, call) for call in calls]
    try:
        return [each.result() for each in asked]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
