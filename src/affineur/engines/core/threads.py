"""How many threads an engine takes where nobody says."""

from __future__ import annotations

import os


def usable_threads() -> int:
    """Return the threads an engine takes by default: ``OMP_NUM_THREADS``, or one per usable processor."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(told) if told.isdigit() and int(told) else usable
