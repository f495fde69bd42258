"""The queue before the engine: one thread that makes batches of padded tokens out of whatever waits, and computes them.

Servers that count requests let one long text stall a batch of short ones, and compute for clients that have gone. Here a batch holds
windows of about the same length, short ones go first for a bounded time, and what nobody waits for any more is never computed.
"""

from __future__ import annotations

import threading
import time
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from affineur.errors import AffineurError, ModelError
from affineur.runtime import EngineTagger, Logits, Window
from affineur.runtime.texts import TextWindow

_MOST_WINDOWS = 256
#: Weight of the latest batch in the running speed.
_LATEST = 0.1


class Expired(AffineurError):
    """A request whose time was over before it was computed."""


class Job:
    """The windows of one request, and their logits once they are computed.

    Args:
        windows: What to compute.
        deadline: By ``time.perf_counter()``: what has not begun by then is dropped.
        done: Called once, by the batcher's thread, when all is computed or one thing failed; never after :meth:`Batcher.cancel`.
    """

    def __init__(self, windows: Sequence[Window] | Sequence[TextWindow], deadline: float, done: Callable[[Job], None]) -> None:
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
        self.done = done

    @property
    def tokens(self) -> int:
        """Tokens of all windows, padding not counted."""
        return sum(self.lengths)


@dataclass(slots=True, order=True)
class _Waiting:
    """A window that waits; the queue is sorted by length, then by arrival."""

    length: int
    serial: int
    due: float = field(compare=False)
    job: Job = field(compare=False)
    index: int = field(compare=False)


class Observer(Protocol):
    """Who is told what the batcher does."""

    def batch(self, windows: int, tokens: int, seconds: float) -> None:
        """A batch was computed: its windows, padded tokens, and how long it took."""

    def waited(self, seconds: float) -> None:
        """A request began to be computed after this time."""

    def depth(self, windows: int) -> None:
        """This many windows wait."""


class Batcher:
    """Computes jobs on one thread, whole batches at a time.

    Args:
        tagger: The engine.
        observer: Is told of batches and waiting times.
        batch_wait: Seconds an idle engine waits for a batch to fill.
        age: Seconds by which the longest window may be overtaken by shorter ones that came later; others in proportion.
        by_length: Whether windows of about the same length are computed together; otherwise as they came.
    """

    def __init__(self, tagger: EngineTagger, observer: Observer, batch_wait: float = 0.0, age: float = 0.5, by_length: bool = True) -> None:
        self.tagger = tagger
        self.seconds_per_token = 0.0
        self._observer, self._batch_wait, self._age, self._by_length = observer, batch_wait, age if by_length else 0.0, by_length
        self._waiting: list[_Waiting] = []
        self._serial = 0
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="affineur-inference", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Let a job wait; one without windows is over at once.

        Raises:
            ModelError: If the batcher is closed.
        """
        if not job.windows:
            job.over, job.started, job.finished = True, job.arrived, job.arrived
            job.done(job)
            return
        with self._changed:
            if self._closing:
                raise ModelError("the model has been put away")
            longest = self.tagger.encoder.max_length
            for index, length in enumerate(job.lengths):
                self._serial += 1
                due = job.arrived + self._age * min(1.0, length / longest)
                insort(self._waiting, _Waiting(length if self._by_length else 0, self._serial, due, job, index))
            self._observer.depth(len(self._waiting))
            self._changed.notify()

    def cancel(self, job: Job) -> None:
        """Forget a job nobody waits for any more: what has not begun never will."""
        with self._changed:
            if not job.over:
                job.over = True
                self._forget({job})

    def close(self, timeout: float | None = None) -> None:
        """Compute what waits, then end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if self._closing:
                        return
                    self._changed.wait()
                self._fill()
                expired = self._drop_expired()
                batches = self._take()
                self._observer.depth(len(self._waiting))
            for job in expired:
                job.done(job)
            if batches:
                self._compute(batches)

    def _fill(self) -> None:
        """Wait a moment while there is less than a batch."""
        if self._batch_wait <= 0:
            return
        end = min(waiting.job.arrived for waiting in self._waiting) + self._batch_wait
        while self._waiting and not self._closing and sum(w.job.lengths[w.index] for w in self._waiting) < self.tagger.budget:
            if (rest := end - time.perf_counter()) <= 0:
                return
            self._changed.wait(rest)

    def _drop_expired(self) -> set[Job]:
        now = time.perf_counter()
        late = {waiting.job for waiting in self._waiting if waiting.job.deadline <= now}
        for job in late:
            job.over, job.finished = True, now
            job.error = Expired("the request waited longer than it may")
        if late:
            self._forget(late)
        return late

    def _forget(self, jobs: set[Job]) -> None:
        self._waiting = [waiting for waiting in self._waiting if waiting.job not in jobs]
        self._observer.depth(len(self._waiting))

    def _take(self) -> list[list[_Waiting]]:
        """Take what is to be computed now: as many batches as the engine likes to have at once."""
        batches = []
        for _ in range(self.tagger.lanes):
            if not self._waiting:
                break
            first = min(range(len(self._waiting)), key=lambda i: self._waiting[i].due)
            begin, end = self._around(first)
            batches.append(self._waiting[begin:end])
            del self._waiting[begin:end]
        return batches

    def _around(self, first: int) -> tuple[int, int]:
        """Return the stretch of the queue, sorted by length, that fits one batch with the window that is due first."""
        begin, end = first, first + 1
        length = self._length(first)
        longest = length
        while end - begin < _MOST_WINDOWS:
            room = self.tagger.budget // (end - begin + 1)  # the longest that one more may make of them
            left = begin > 0 and max(longest, self._length(begin - 1)) <= room
            right = end < len(self._waiting) and max(longest, self._length(end)) <= room
            if left and right:
                left = length - self._length(begin - 1) <= self._length(end) - length
            if left:
                begin -= 1
                longest = max(longest, self._length(begin))
            elif right:
                longest = max(longest, self._length(end))
                end += 1
            else:
                break
        return begin, end

    def _length(self, place: int) -> int:
        waiting = self._waiting[place]
        return waiting.job.lengths[waiting.index]

    def _compute(self, batches: list[list[_Waiting]]) -> None:
        start = time.perf_counter()
        for job in {waiting.job for batch in batches for waiting in batch}:
            if job.started is None:
                job.started = start
                self._observer.waited(start - job.arrived)
        try:
            computed = list(self.tagger.batch_logits([[w.job.windows[w.index] for w in batch] for batch in batches]))
        except Exception:  # one of them is the cause: the others must not suffer
            for batch in batches:
                for waiting in batch:
                    self._compute_alone(waiting)
            return
        seconds = time.perf_counter() - start
        tokens = sum(w.job.lengths[w.index] for batch in batches for w in batch)
        new = seconds / tokens
        self.seconds_per_token += _LATEST * (new - self.seconds_per_token) if self.seconds_per_token else new
        for batch, logits in zip(batches, computed, strict=True):
            self._observer.batch(len(batch), logits.shape[0] * logits.shape[1], seconds / len(batches))
            for waiting, row in zip(batch, logits, strict=True):
                self._finish(waiting, row)

    def _compute_alone(self, waiting: _Waiting) -> None:
        try:
            self._finish(waiting, self.tagger.window_logits([waiting.job.windows[waiting.index]])[0])
        except Exception as error:  # whatever it is, the thread must live and the others be served
            self._fail(waiting.job, error if isinstance(error, AffineurError) else ModelError(f"the engine fails ({type(error).__name__})"))

    def _finish(self, waiting: _Waiting, row: Logits) -> None:
        job = waiting.job
        with self._changed:
            job.rows[waiting.index] = row
            job.left -= 1
            if job.left or job.over:
                return
            job.over, job.finished = True, time.perf_counter()
        job.done(job)

    def _fail(self, job: Job, error: AffineurError) -> None:
        with self._changed:
            if job.over:
                return
            job.over, job.error, job.finished = True, error, time.perf_counter()
            self._forget({job})
        job.done(job)
