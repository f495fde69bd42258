"""The queue before the database: bounded, and never in the way of whoever puts something into it."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from affineur.watch.log.database import complaint, is_passing
from affineur.watch.log.rows import Entry

#: Rows that may wait: some tens of megabytes.
MOST_ROWS = 50_000
#: Rows in one transaction, and seconds in which they gather: so much is lost where the process is killed.
_TOGETHER, GATHER = 2000, 0.5
#: Seconds after which what is old is looked for.
TEND = 3600.0
#: Seconds until what could not be written is tried again, at first and at most.
_AGAIN, _AGAIN_MOST = 0.2, 5.0
#: Seconds between two complaints.
_QUIET = 60.0

#: Why texts are not in the log: more came than could be written; the database took none; it refused them; the
#: process ended first.
SLOW, FAILING, REFUSED, ENDED = "slow", "failing", "refused", "ended"
REASONS = (SLOW, FAILING, REFUSED, ENDED)


class Writer:
    """Writes what is put into it, on a thread of its own, soon and in the order it came.

    What cannot be written now is tried again; meanwhile the queue fills, and what has no room is dropped and
    counted.

    Args:
        write: Writes entries in one transaction.
        tell: Is told what is wrong, in one line, once a minute.
        tend: Called about once in :data:`TEND` seconds, on the same thread.

    Attributes:
        written: Texts that were written.
        dropped: Texts that were not, by reason.
        failing: Whether the database takes nothing now.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Entry]], None],
        tell: Callable[[str], None],
        tend: Callable[[], None] = lambda: None,
    ) -> None:
        self._write, self._tell, self._tend = write, tell, tend
        self.written, self.dropped = 0, Counter[str]()
        self.failing = False
        self._waiting: deque[Entry] = deque()
        self._rows = 0
        self._changed = threading.Condition()
        self._accepted = self._settled = 0  # texts that came in, and those that are written or dropped
        self._closing = self._hurry = False
        self._give_up: float | None = None
        self._complain_next = 0.0
        self._tend_next = time.monotonic() + TEND
        self._thread = threading.Thread(target=self._run, name="affineur-watch-log", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Texts that wait."""
        return len(self._waiting)

    def put(self, entries: Sequence[Entry], *, wait: bool = False) -> None:
        """Let entries be written soon.

        Args:
            entries: The entries.
            wait: Whether to wait for room; otherwise what has none is dropped.
        """
        with self._changed:
            was_empty = not self._waiting
            for entry in entries:
                while wait and self._waiting and self._is_full(entry) and not self._closing:
                    self._hurry = True
                    self._changed.notify_all()  # what came with this entry may not have woken it
                    self._changed.wait()
                if self._closing or (self._waiting and self._is_full(entry)):
                    self.dropped[ENDED if self._closing else FAILING if self.failing else SLOW] += 1
                    continue
                self._waiting.append(entry)
                self._accepted += 1
                self._rows += entry.weight
            if was_empty:
                self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until what waits is written, for so many seconds at most; return whether it is."""
        with self._changed:
            last = self._accepted
            self._hurry = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._settled >= last, seconds)

    def close(self, seconds: float) -> None:
        """Write what waits, for so many seconds at most, and end; what is left is dropped."""
        with self._changed:
            self._closing, self._give_up = True, time.monotonic() + seconds
            self._changed.notify_all()
        self._thread.join(seconds + _AGAIN_MOST)
        with self._changed:
            self.dropped[ENDED] += len(self._waiting)
            self._waiting.clear()

    def _is_full(self, entry: Entry) -> bool:
        return self._rows + entry.weight > MOST_ROWS

    def _run(self) -> None:
        while True:
            with self._changed:
                pause = max(0.0, self._tend_next - time.monotonic())
                self._changed.wait_for(lambda: self._waiting or self._closing, pause)
                self._changed.wait_for(lambda: self._closing or self._hurry, GATHER)
                self._hurry = False
                batch = self._take()
            if batch:
                self._store(batch)
            if time.monotonic() >= self._tend_next:
                self._tend_next = time.monotonic() + TEND
                try:
                    self._tend()
                except Exception as error:
                    self._complain(f"the log cannot be tended ({complaint(error)})")
            with self._changed:
                if self._closing and (not self._waiting or self._out_of_time()):
                    return

    def _take(self) -> list[Entry]:
        batch: list[Entry] = []
        rows = 0
        while self._waiting and (not batch or rows + self._waiting[0].weight <= _TOGETHER):
            batch.append(self._waiting.popleft())
            rows += batch[-1].weight
        return batch

    def _store(self, batch: list[Entry]) -> None:
        """Write a batch, as often as it takes; its rows count as waiting until then."""
        pause = _AGAIN
        while True:
            try:
                self._write(batch)
                stored = len(batch)
                break
            except Exception as error:  # whatever it is, the thread must live
                if not is_passing(error):
                    stored = self._store_apart(batch, error)
                    break
                self.failing = True
                self._complain(f"the log takes nothing ({complaint(error)}); answers go on")
            with self._changed:
                self._changed.wait_for(lambda: self._closing, pause)
                if self._closing and self._out_of_time():
                    stored = 0
                    self.dropped[ENDED] += len(batch)
                    break
            if self._closing:
                time.sleep(min(pause, _AGAIN))
            pause = min(2 * pause, _AGAIN_MOST)
        with self._changed:
            self.failing = self.failing and not stored
            self.written += stored
            self._settled += len(batch)
            self._rows -= sum(entry.weight for entry in batch)
            self._changed.notify_all()

    def _store_apart(self, batch: list[Entry], error: Exception) -> int:
        """Write what can be of a batch that was refused; return how much."""
        if len(batch) == 1:
            self.dropped[REFUSED] += 1
            self._complain(f"the log refuses a text ({complaint(error)})")
            return 0
        stored = 0
        for part in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
            try:
                self._write(part)
                stored += len(part)
            except Exception as again:
                stored += self._store_apart(part, again)
        return stored

    def _out_of_time(self) -> bool:
        return self._give_up is not None and time.monotonic() >= self._give_up

    def _complain(self, what: str) -> None:
        if (now := time.monotonic()) >= self._complain_next:
            self._complain_next = now + _QUIET
            self._tell(what)
