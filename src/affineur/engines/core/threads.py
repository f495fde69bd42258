"""How many threads an engine may be given, and takes where nobody says."""

from __future__ import annotations

import os

from affineur.errors import ParameterError


def usable_threads() -> int:
    """Return the threads an engine takes by default: ``OMP_NUM_THREADS``, or one per usable processor."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(told) if told.isdigit() and int(told) else usable


def check_threads(threads: int | None) -> None:
    """Refuse an impossible number of threads.

    Raises:
        ParameterError: If it is less than 1.
    """
    if threads is not None and threads < 1:
        raise ParameterError(f"threads={threads} is impossible, expected at least 1", "threads")
