"""How long a token takes, as far as the latest batches tell."""

from __future__ import annotations

import threading
import time
from collections import deque

#: Weight of the latest batches in the running speed.
_LATEST = 0.1
#: By how much a batch may seem slower than those before it.
_SLOWER = 4.0
#: Seconds after which half of a slowness is forgotten that no batch has confirmed.
HALF_SECONDS = 10.0


class Speed:
    """Seconds that a token takes.

    A process that was stopped for a while, by ``docker pause`` or a laptop that is closed, has a batch in
    each lane that took so long: it must not count for every batch after it. And where requests are refused
    because it is slow, no batch would tell that it is no more.

    Args:
        lanes: Batches that may be computed at a time.

    Attributes:
        now: Seconds a token; 0 where nothing is known.
        best: What it takes on a machine with nothing else to do.
    """

    def __init__(self, lanes: int) -> None:
        self.now = self.best = 0.0
        self._latest: deque[float] = deque(maxlen=2 * lanes + 1)
        self._told = time.monotonic()
        self._lock = threading.Lock()

    def learn(self, seconds: float) -> None:
        """Begin with what was measured at rest."""
        with self._lock:
            self.now = self.best = seconds
            self._fill(seconds)

    def took(self, seconds: float) -> None:
        """Take into account what a token of a batch took."""
        if not self.now:
            self.learn(seconds)
            return
        with self._lock:
            self._latest.append(seconds)
            median = sorted(self._latest)[len(self._latest) // 2]
            self.now += _LATEST * (min(median, _SLOWER * self.now) - self.now)
            self.best = min(self.best, self.now)
            self._told = time.monotonic()

    def relax(self) -> float:
        """Forget, bit by bit, a slowness that no batch confirms; return the seconds a token takes."""
        if self.now > self.best:
            with self._lock:
                age = time.monotonic() - self._told
                if age > 1:
                    self.now = self.best + (self.now - self.best) * 0.5 ** (age / HALF_SECONDS)
                    self._fill(self.now)
        return self.now

    def _fill(self, seconds: float) -> None:
        self._latest.extend([seconds] * (self._latest.maxlen or 0))
        self._told = time.monotonic()
