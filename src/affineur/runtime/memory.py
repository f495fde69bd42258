"""Memory that is not used any more, and glibc, which keeps it."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from typing import Any


def give_back() -> None:
    """Give memory that is not used any more back to the operating system, where the libc is glibc."""
    gc.collect()
    trim()


def trim() -> None:
    """Give back what is free already, without looking for what has become so."""
    if (malloc_trim := glibc("malloc_trim")) is not None:
        malloc_trim(0)


def glibc(name: str) -> Any:
    """Return a function of glibc; ``None`` where there is another libc."""
    with suppress(OSError, TypeError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  # musl has an empty mallopt
        return getattr(libc, name)
    return None
