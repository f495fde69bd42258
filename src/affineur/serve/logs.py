"""One JSON object per line on standard error, and never a user's text in it."""

from __future__ import annotations

import functools
import json
import logging
import sys
import time
from typing import Any

_LOGGER = logging.getLogger("affineur.serve")


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


def set_up(level: str = "INFO") -> None:
    """Send what this package, uvicorn and asyncio tell to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    for name in ("affineur.serve", "uvicorn", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level if name == "affineur.serve" else "WARNING")


def event(name: str, **fields: Any) -> None:
    """Tell that something happened."""
    if _LOGGER.isEnabledFor(logging.INFO):
        record = logging.LogRecord(
            _LOGGER.name, logging.INFO, "", 0, name, None, None
        )  # nobody asks from where: to find that takes longest
        record.fields = fields
        _LOGGER.handle(record)


def fault(name: str, **fields: Any) -> None:
    """Tell of an exception that is being handled, by its kind and place."""
    _LOGGER.error(name, exc_info=True, extra={"fields": fields})
