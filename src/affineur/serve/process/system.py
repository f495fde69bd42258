"""What the operating system grants this process: descriptors, and heaps of memory."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from affineur.runtime.memory import glibc
from affineur.serve import logs

_M_ARENA_MAX = -8  # glibc's malloc.h
#: Heaps of all threads together.
ARENAS = 2
#: Where Linux tells a container's limit, in the second version of control groups and in the first.
_CONTAINER = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


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


def memory() -> int | None:
    """Return the bytes that this process may have: those of the machine, or of its container.

    ``None`` where the system does not say.
    """
    limits = []
    for file in _CONTAINER:
        with suppress(OSError, ValueError):  # no container, or one without a limit
            limits.append(int(Path(file).read_text()))
    with suppress(AttributeError, ValueError, OSError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(limits, default=None)


def limit_arenas() -> None:
    """Let all threads share two heaps, unless ``MALLOC_ARENA_MAX`` says otherwise.

    glibc has one for each thread, up to eight for each processor, and what is freed in one serves no other: a
    model that is replaced would leave its memory behind in those of threads that are gone. To be called
    before there are threads.
    """
    if "MALLOC_ARENA_MAX" not in os.environ and (mallopt := glibc("mallopt")) is not None:
        mallopt(_M_ARENA_MAX, ARENAS)
