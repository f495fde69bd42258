"""A few threads that make batches of padded tokens out of whatever waits, and compute them.

Servers that count requests let one long text stall a batch of short ones, and compute for clients that have
gone. Here a batch holds windows of about the same length, short ones go first for a bounded time, and what
nobody waits for any more is never computed.
"""

from __future__ import annotations

import math
import os
import threading
import time
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import accumulate
from operator import attrgetter
from typing import NamedTuple, Protocol

from affineur.errors import AffineurError, ModelError
from affineur.runtime import EngineTagger, Logits, Window
from affineur.runtime.texts import TextWindow
from affineur.serve import logs
from affineur.serve.queue.speed import Speed

_MOST_WINDOWS = 256
#: By how much computing gives way to the rest of the process, where the system knows priorities of threads.
_NICE = 5


class Expired(AffineurError):
    """A request whose time was over before it was computed."""


def _late() -> Expired:
    return Expired("the request waited longer than it may")


class Job:
    """The windows of one request, and their logits once they are computed.

    Args:
        windows: What to compute.
        deadline: By ``time.perf_counter()``: what has not begun by then is dropped, and so is the rest where
            it becomes clear that it cannot be done by then.
        done: Called once, by a thread of the batcher, when all is computed or one thing failed; never after
            :meth:`Batcher.cancel`.
    """

    def __init__(
        self, windows: Sequence[Window | TextWindow], deadline: float, done: Callable[[Job], None]
    ) -> None:
        self.windows = windows
        self.lengths: list[int] = [len(window) for window in windows]
        self.rows: list[Logits | None] = [None] * len(windows)
        self.deadline = deadline
        self.error: AffineurError | None = None
        self.arrived = time.perf_counter()
        self.started: float | None = None
        self.finished: float | None = None
        self.over = False
        self.left = len(windows)
        self.left_tokens = sum(self.lengths)
        self.done = done


class _Waiting(NamedTuple):
    """A window that waits; the queue is sorted by length (or not at all), then by arrival.

    A tuple, for those compare fast.
    """

    order: int
    serial: int
    due: float
    length: int
    job: Job
    place: int

    @property
    def window(self) -> Window | TextWindow:
        return self.job.windows[self.place]


_due = attrgetter("due")


class Observer(Protocol):
    """Who is told what the batcher does."""

    def batch(self, windows: int, tokens: int, seconds: float) -> None:
        """A batch was computed: its windows, padded tokens, and how long it took."""

    def waited(self, seconds: float) -> None:
        """A request began to be computed after this time."""

    def depth(self, windows: int) -> None:
        """This many windows wait."""


class Batcher:
    """Computes jobs, whole batches at a time, on a thread for each lane of the engine.

    Args:
        tagger: The engine.
        observer: Is told of batches and waiting times.
        batch_wait: Seconds an idle engine waits for a batch to fill.
        age: Seconds by which the longest window may be overtaken by shorter ones that came later; others in
            proportion.
        by_length: Whether windows of about the same length are computed together; otherwise as they came.

    Attributes:
        speed: What a token takes.
    """

    def __init__(
        self,
        tagger: EngineTagger,
        observer: Observer,
        batch_wait: float = 0.0,
        age: float = 0.5,
        by_length: bool = True,
    ) -> None:
        self.tagger = tagger
        self.speed = Speed(tagger.lanes)
        self._observer, self._batch_wait, self._age, self._by_length = (
            observer,
            batch_wait,
            age if by_length else 0.0,
            by_length,
        )
        self._waiting: list[_Waiting] = []
        self._deadline = math.inf  # none of those that wait has an earlier one
        self._serial = 0
        self._closing = False
        self._busy = 0  # lanes at work
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._run, name="affineur-inference", daemon=True)
            for _ in range(tagger.lanes)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> None:
        """Let a job wait; one without windows is over at once.

        Raises:
            ModelError: If the batcher is closed.
        """
        if not job.windows:
            job.started = job.arrived
            self._end(job)
            return
        with self._changed:
            if self._closing:
                raise ModelError("the model has been put away")
            longest = self.tagger.encoder.max_length
            ahead = 0
            for index, length in enumerate(job.lengths):
                self._serial += 1
                # The windows of a document fall due one after another, as if half of the engine were its own:
                # others get the other half.
                due = job.arrived + (
                    self._age * min(1.0, length / longest) + 2 * ahead * self.speed.now
                    if self._by_length
                    else 0.0
                )
                ahead += length
                insort(
                    self._waiting,
                    _Waiting(length if self._by_length else 0, self._serial, due, length, job, index),
                )
            self._deadline = min(self._deadline, job.deadline)
            self._observer.depth(len(self._waiting))
            self._changed.notify()

    def cancel(self, job: Job) -> None:
        """Forget a job nobody waits for any more: what has not begun never will."""
        with self._changed:
            if not job.over:
                job.over = True
                self._forget({job})

    def close(self, timeout: float | None = None) -> None:
        """Compute what waits, then end the threads."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout)

    def _run(self) -> None:
        # The event loop first: it is short, and health checks wait for it.
        with suppress(OSError, AttributeError):
            os.setpriority(
                os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _NICE
            )
        held: set[Job] = set()  # the jobs in this thread's hands
        while True:
            try:
                if not self._turn(held):
                    return
            except BaseException as error:  # a bug: who waits must be told so, and the thread must live
                logs.fault("queue fault")
                with self._changed:
                    jobs = held | {waiting.job for waiting in self._waiting}
                    self._waiting, self._deadline = [], math.inf
                for job in jobs:
                    self._end(job, ModelError(f"the queue fails ({type(error).__name__})"))
            held.clear()

    def _turn(self, held: set[Job]) -> bool:
        """Compute what is to be computed next, once there is something; return whether there may be more."""
        with self._changed:
            while not self._waiting:
                if self._closing:
                    return False
                self._changed.wait()
            self._fill()
            expired = self._take_expired()
            held |= expired
            batch = self._take()
            held.update(waiting.job for waiting in batch)
            self._observer.depth(len(self._waiting))
            alone = self._busy == 0 and not self._waiting
            self._busy += 1
            if self._waiting:
                self._changed.notify()  # another lane
        try:
            for job in expired:
                self._end(job, _late())
            if batch:
                self._compute(batch, alone)
        finally:
            with self._changed:
                self._busy -= 1
        return True

    def _fill(self) -> None:
        """Wait a moment while there is less than a batch."""
        if self._batch_wait <= 0 or self._enough():
            return
        end = min(waiting.job.arrived for waiting in self._waiting) + self._batch_wait
        while self._waiting and not self._closing and not self._enough():
            if (rest := end - time.perf_counter()) <= 0:
                return
            self._changed.wait(rest)

    def _enough(self) -> bool:
        return any(
            tokens >= self.tagger.budget for tokens in accumulate(waiting.length for waiting in self._waiting)
        )

    def _take_expired(self) -> set[Job]:
        """Take the jobs whose time is over."""
        now = time.perf_counter()
        if now < self._deadline:  # the usual case, which must not cost a look at everybody
            return set()
        late = {waiting.job for waiting in self._waiting if waiting.job.deadline <= now}
        self._waiting = [waiting for waiting in self._waiting if waiting.job not in late]
        self._deadline = min((waiting.job.deadline for waiting in self._waiting), default=math.inf)
        return late

    def _forget(self, jobs: set[Job]) -> None:
        self._waiting = [waiting for waiting in self._waiting if waiting.job not in jobs]
        self._observer.depth(len(self._waiting))

    def _take(self) -> list[_Waiting]:
        """Take what is to be computed now; nothing where another lane was quicker."""
        if not self._waiting:
            return []
        begin, end = self._around(bisect_left(self._waiting, min(self._waiting, key=_due)))
        batch = self._waiting[begin:end]
        del self._waiting[begin:end]
        return batch

    def _around(self, first: int) -> tuple[int, int]:
        """Return the stretch of the sorted queue that fits one batch with the window that is due first."""
        waiting, budget = self._waiting, self.tagger.budget
        begin, end = first, first + 1
        length = longest = waiting[first].length
        while end - begin < _MOST_WINDOWS:
            room = budget // (end - begin + 1)  # the longest that one more may make of them
            left = begin > 0 and max(longest, waiting[begin - 1].length) <= room
            right = end < len(waiting) and max(longest, waiting[end].length) <= room
            if left and right:
                left = length - waiting[begin - 1].length <= waiting[end].length - length
            if left:
                begin -= 1
                longest = max(longest, waiting[begin].length)
            elif right:
                longest = max(longest, waiting[end].length)
                end += 1
            else:
                break
        return begin, end

    def _compute(self, batch: list[_Waiting], alone: bool) -> None:
        start = time.perf_counter()
        for job in {waiting.job for waiting in batch}:
            if job.started is None and not job.over:
                job.started = start
                self._observer.waited(start - job.arrived)
        try:
            logits = self.tagger.lane_logits([waiting.window for waiting in batch], alone)
            if len(logits) != len(batch):
                raise ModelError("the engine gave more or fewer rows than it was given windows")
        except BaseException:  # one of them is the cause: the others must not suffer
            for waiting in batch:
                self._compute_alone(waiting)
            return
        seconds = time.perf_counter() - start
        tokens = sum(waiting.length for waiting in batch)
        if 2 * tokens >= self.tagger.budget:  # a lone word says nothing of the speed
            self.speed.took(seconds / tokens / (1 if alone else len(self._threads)))
        self._observer.batch(len(batch), logits.shape[0] * logits.shape[1], seconds)
        for waiting, row in zip(batch, logits, strict=True):
            self._finish(waiting, row)

    def _compute_alone(self, waiting: _Waiting) -> None:
        if waiting.job.over:  # another window of it was the cause, or nobody waits any more
            return
        if waiting.job.deadline <= time.perf_counter():
            with self._changed:
                self._forget({waiting.job})
            self._end(waiting.job, _late())
            return
        try:
            (row,) = self.tagger.lane_logits([waiting.window])
        except BaseException as error:  # whatever it is, the thread must live and the others be served
            if not isinstance(error, AffineurError):
                logs.fault("engine fault")
                error = ModelError(f"the engine fails ({type(error).__name__})")
            with self._changed:
                self._forget({waiting.job})
            self._end(waiting.job, error)
            return
        self._finish(waiting, row)

    def _finish(self, waiting: _Waiting, row: Logits) -> None:
        job, now = waiting.job, time.perf_counter()
        job.rows[waiting.place] = row
        with self._changed:  # another lane may finish another window of it
            job.left -= 1
            job.left_tokens -= waiting.length
            last = not job.left
            vain = not last and now + job.left_tokens * self.speed.now > job.deadline
            if vain and not job.over:
                self._forget({job})
        if last:
            self._end(job)
        elif vain:
            self._end(job, Expired("the request cannot be computed in time any more"))

    def _end(self, job: Job, error: AffineurError | None = None) -> None:
        """Tell whoever waits for a job that it is over, unless it was before."""
        with self._changed:
            if job.over:
                return
            job.over, job.error, job.finished = True, error, time.perf_counter()
        try:
            job.done(job)
        except Exception:  # a bug of whoever waits is not the others'
            logs.fault("queue fault")
