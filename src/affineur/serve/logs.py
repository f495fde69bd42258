"""One JSON object per line on standard error, and never a user's text in it.

Lines are written by a thread of their own: standard error is often a pipe, and where nobody reads that any
more, whoever writes waits for ever. What then comes is dropped and counted.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TextIO

_LOGGER = logging.getLogger("affineur.serve")
#: Lines that may wait to be written; more are dropped.
MOST_LINES = 10_000
#: Seconds in which lines gather before they are written: to wake the thread for each costs more than that.
_GATHER = 0.02
#: Bytes that a pipe takes at once or not at all, so that lines of several processes do not mix.
_AT_ONCE = 4096
#: Seconds in which lines that wait must be written when the process ends.
_END = 1.0


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        stamp = f"{_second(int(record.created))}.{int(record.msecs):03d}Z"
        # What asyncio says of a failed callback or task goes on with what they were given.
        name = record.getMessage().partition("\n")[0].partition(" in callback ")[0]
        entry: dict[str, Any] = {
            "time": stamp,
            "level": record.levelname.lower(),
            "event": name,
            "pid": record.process,
        }
        entry |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0] is not None:
            # The kind and the place of a fault, not its message: that may quote a text.
            trace = record.exc_info[2]
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            place = (
                ""
                if trace is None
                else f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
            )
            entry |= {"exception": record.exc_info[0].__name__, "place": place}
        return json.dumps(entry, ensure_ascii=True)


@functools.lru_cache(1)
def _second(stamp: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(stamp))


class _Writer(logging.Handler):
    """Writes lines to a descriptor, and makes nobody wait for that.

    Args:
        descriptor: Where.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.dropped: Callable[[], None] = lambda: None
        self._lines: deque[str] = deque()
        self._lost = 0
        self._some, self._closing = threading.Event(), threading.Event()
        self._writing = False
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Let a line be written soon, or drop it."""
        if len(self._lines) >= MOST_LINES:
            self._lost += 1
            self.dropped()
            return
        self._lines.append(self.format(record))
        if not self._some.is_set():
            self._some.set()
        if self._thread is None:  # under the lock of the handler
            self._thread = threading.Thread(target=self._run, name="affineur-log", daemon=True)
            self._thread.start()

    def flush(self) -> None:
        """Wait until what waits is written, for a second at most; the end of Python calls this."""
        self._closing.set()  # gather no more
        end = time.monotonic() + _END
        while (self._lines or self._writing) and time.monotonic() < end:
            time.sleep(0.005)
        self._closing.clear()

    def _run(self) -> None:
        while True:
            self._some.wait()
            self._closing.wait(_GATHER)
            self._some.clear()
            self._writing = True
            while self._lines:
                self._write(self._block())
            self._writing = False

    def _block(self) -> bytes:
        """Return the next lines that are written at once."""
        lost = self._lost
        if lost:  # there is room again: first what is missing
            self._lost -= lost
            lines = [self.format(_record("log lines dropped", {"lines": lost})), self._lines.popleft()]
        else:
            lines = [self._lines.popleft()]
        size = sum(map(len, lines)) + len(lines)
        while self._lines and (size := size + len(self._lines[0]) + 1) <= _AT_ONCE:
            lines.append(self._lines.popleft())
        return ("\n".join(lines) + "\n").encode("ascii", "backslashreplace")

    def _write(self, block: bytes) -> None:
        while block:
            try:
                block = block[os.write(self._descriptor, block) :]
            except OSError:  # closed, or full: nothing can be said of that there
                for _ in range(block.count(b"\n")):
                    self.dropped()
                return


def set_up(level: str = "INFO") -> None:
    """Send what this package, uvicorn and asyncio tell to standard error."""
    handler = _handler(sys.stderr)
    handler.setFormatter(_Lines())
    for name in ("affineur.serve", "uvicorn", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level if name == "affineur.serve" else "WARNING")


def _handler(stream: TextIO) -> logging.Handler:
    try:
        return _Writer(stream.fileno())
    except (OSError, ValueError, AttributeError):  # no file at all: nobody can be kept waiting
        return logging.StreamHandler(stream)


def flush() -> None:
    """Wait until what waits is written, for a second at most."""
    for handler in _LOGGER.handlers:
        with contextlib.suppress(OSError, ValueError):  # one that others added, whose stream is closed
            handler.flush()


def tell_dropped(dropped: Callable[[], None]) -> None:
    """Call this for each line that is dropped from now on."""
    for handler in _LOGGER.handlers:
        if isinstance(handler, _Writer):
            handler.dropped = dropped


def event(name: str, **fields: Any) -> None:
    """Tell that something happened."""
    if _LOGGER.isEnabledFor(logging.INFO):
        _LOGGER.handle(_record(name, fields))


def _record(name: str, fields: dict[str, Any]) -> logging.LogRecord:
    # Nobody asks from where: to find that takes longest.
    record = logging.LogRecord(_LOGGER.name, logging.INFO, "", 0, name, None, None)
    record.fields = fields
    return record


def fault(name: str, **fields: Any) -> None:
    """Tell of an exception that is being handled, by its kind and place."""
    _LOGGER.error(name, exc_info=True, extra={"fields": fields})
