"""Threads that nobody waits for when a process ends: what they send is gone on with by the next."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")
_Job = Callable[[], None]


class Workers:
    """A few threads that take jobs in the order they came.

    Those of :class:`concurrent.futures.ThreadPoolExecutor` are waited for: after Ctrl-C on a slow line, that
    is as long as it takes to send a part in each.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"affineur-send-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, call: Callable[..., T], *words: object) -> Future[T]:
        """Have something done, unless it is canceled before its turn."""
        future: Future[T] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(call(*words))
            except BaseException as error:  # told to who waits
                future.set_exception(error)

        self._jobs.put(job)
        return future

    def close(self) -> None:
        """Let the threads end, each after what it does now."""
        for _ in self._threads:
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
