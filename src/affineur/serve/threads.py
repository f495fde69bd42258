"""Work that may take for ever, on threads that the end of the process does not wait for.

Those of an executor are joined when an event loop and when Python ends, whatever they wait for: a model that
is fetched from a place which has stopped to send kept the process from ending.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

_NAME = "affineur-load"


async def apart(work: Callable[[], T]) -> T:
    """Do work on a daemon thread of its own; it goes on where whoever waits is canceled."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(call: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(lambda: None if future.done() else call())

    def run() -> None:
        try:
            done = work()
        except BaseException as error:  # told to who waits
            failed = error
            tell(lambda: future.set_exception(failed))
        else:
            tell(lambda: future.set_result(done))

    threading.Thread(target=run, name=_NAME, daemon=True).start()
    return await future


def working() -> bool:
    """Say whether something is not done yet."""
    return any(thread.name == _NAME for thread in threading.enumerate())
