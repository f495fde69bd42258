"""How long work tells where it is, without any room knowing who listens.

A library call is silent unless somebody installs a listener; the command line installs one that prints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: ``listener(what, done, total)``; ``total`` is ``None`` when unknown, and ``done`` is ``None`` for a plain
#: remark.
Listener = Callable[[str, int | None, int | None], None]

_listener: ContextVar[Listener | None] = ContextVar("affineur_progress", default=None)


def report(what: str, done: int | None = None, total: int | None = None) -> None:
    """Tell the listener, if there is one, that ``done`` of ``total`` steps of ``what`` are over."""
    listener = _listener.get()
    if listener is not None:
        listener(what, done, total)


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Send the reports made inside this block to ``listener`` (``None`` silences them)."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
