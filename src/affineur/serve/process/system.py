"""What the operating system grants this process: descriptors, and heaps of memory."""

from __future__ import annotations

import os
from contextlib import suppress

from affineur.runtime.memory import glibc
from affineur.serve import logs

_M_ARENA_MAX = -8  # glibc's malloc.h
#: Heaps of all threads together.
ARENAS = 2


def raise_descriptors(needed: int) -> int | None:
    """Allow this process as many descriptors as it may have.

    Every connection takes one.

    Args:
        needed: How many it may come to need; where it gets fewer, the log says so.

    Returns:
        How many it may have; ``None`` where there is no limit.
    """
    try:
        import resource
    except ModuleNotFoundError:  # Windows has no such limit
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS says there is no limit, and has one
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft == resource.RLIM_INFINITY:
        return None
    if soft < needed:
        logs.event("few descriptors", descriptors=soft, needed=needed, hint="raise the limit: ulimit -n")
    return soft


def limit_arenas() -> None:
    """Let all threads share two heaps, unless ``MALLOC_ARENA_MAX`` says otherwise.

    glibc has one for each thread, up to eight for each processor, and what is freed in one serves no other: a
    model that is replaced would leave its memory behind in those of threads that are gone. To be called
    before there are threads.
    """
    if "MALLOC_ARENA_MAX" not in os.environ and (mallopt := glibc("mallopt")) is not None:
        mallopt(_M_ARENA_MAX, ARENAS)
