"""Trying again what may pass, a little later each time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from affineur.progress import report
from affineur.transfer.places.core.place import Passing, Unreachable

T = TypeVar("T")
#: How often something is tried, the first time included: RunPod answers 502 in bursts, and asks for ten.
ATTEMPTS = 10
_FIRST, _LONGEST, _ASKED = 0.2, 20.0, 60.0  # seconds; the last is the longest wait a server may ask for


def patiently(call: Callable[[], T], what: str, moving: Callable[[], int] | None = None) -> T:
    """Call again after :class:`Passing`, waiting twice as long each time, with jitter, or as long as it asks.

    Args:
        call: What is done. It goes on where it was, if it can.
        what: What it is, in messages.
        moving: Gives a number that grows as bytes move: an attempt that moved some does not count.

    Raises:
        TransferError: What will not pass, at once, and what has not passed after :data:`ATTEMPTS`.
    """
    failed, before = 0, moving() if moving else 0
    while True:
        try:
            return call()
        except Passing as error:
            now = moving() if moving else 0
            failed, before = (1 if now > before else failed + 1), max(before, now)
            if failed >= ATTEMPTS:
                raise Unreachable(f"{error}; given up after {ATTEMPTS} attempts, try again later") from error
            wait = min(_LONGEST, _FIRST * 2 ** (failed - 1)) * random.uniform(0.5, 1.0)
            wait = max(wait, min(_ASKED, error.after))
            report(f"{what}: {error}; trying again")
            time.sleep(wait)
