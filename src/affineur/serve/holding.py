"""Who holds memory of the endpoint that nobody has asked to be computed yet, and who must give it up first.

A bound for each connection is not enough where there may be thousands of them, and a bound for all of them
must not fall on whoever comes last: so whoever has held most for longest goes.
"""

from __future__ import annotations

import time
from typing import Protocol


class Holder(Protocol):
    """Somebody who holds memory."""

    def give_up(self) -> None:
        """Let it go soon; called once, and whoever holds is forgotten by then."""


class Holdings:
    """Counts bytes by who holds them, and lets nobody hold more than a share of time and memory allows.

    For one event loop: it takes no lock.

    Args:
        most: Bytes that all of them may hold together.

    Attributes:
        total: Bytes that they hold.
        peak: The most that they have held since somebody set it back.
    """

    def __init__(self, most: int) -> None:
        self.most, self.total, self.peak = most, 0, 0
        self._held: dict[Holder, tuple[int, float]] = {}

    def hold(self, holder: Holder, size: int) -> None:
        """Record how much somebody holds now.

        Where that is too much for all of them, those give up first who have the largest product of bytes and
        seconds: a few who stall with a lot, never somebody who has just come.
        """
        now = time.monotonic()
        before, since = self._held.get(holder, (0, now))
        self._held[holder] = size, since
        self.total += size - before
        self.peak = max(self.peak, self.total)
        while self.total > self.most:
            worst = max(self._held, key=lambda each: self._held[each][0] * (now - self._held[each][1]))
            self.release(worst)
            worst.give_up()

    def release(self, holder: Holder) -> None:
        """Record that somebody holds nothing any more."""
        size, _ = self._held.pop(holder, (0, 0.0))
        self.total -= size
