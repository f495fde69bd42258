"""How many threads an engine may be given, and takes where nobody says."""

from __future__ import annotations

import os

from affineur.errors import ParameterError

#: Threads for each usable processor, and at all, that an engine may be given: with hundreds it starts for
#: minutes, and with thousands it never does.
_EACH, _LEAST = 4, 16


def usable_threads() -> int:
    """Return the threads an engine takes by default: ``OMP_NUM_THREADS``, or one per usable processor.

    What the variable cannot mean is passed over, as OpenMP does.
    """
    told = os.environ.get("OMP_NUM_THREADS", "")
    number = int(told) if told.isascii() and told.isdigit() and len(told) < 10 else 0
    return number if 1 <= number <= _most() else _usable()


def check_threads(threads: int | None) -> None:
    """Refuse an impossible number of threads.

    Raises:
        ParameterError: If it is less than 1, or many times the usable processors.
    """
    if threads is not None and threads < 1:
        raise ParameterError(f"threads={threads} is impossible, expected at least 1", "threads")
    if threads is not None and threads > _most():
        raise ParameterError(
            f"threads={threads} is impossible, expected at most {_most()}: this machine lets us use "
            f"{_usable()} processors, and more threads than those make nothing faster",
            "threads",
        )


def _most() -> int:
    return max(_EACH * _usable(), _LEAST)


def _usable() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
