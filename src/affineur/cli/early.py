"""Signals that come to an endpoint before it can handle them: while Python is still importing it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType


def handle_early(arguments: Sequence[str]) -> None:
    """Let signals mean from the first moment what they will mean to an endpoint, if one is being started.

    ``SIGHUP`` would end it; nothing has been read yet that would have to be read again. ``SIGTERM`` ends it
    with status 0, since nothing has been accepted; the first process of a container would not even hear it.

    Args:
        arguments: The words of the command line.
    """
    if arguments[:1] != ["serve"]:
        return
    for name, handler in (("SIGHUP", _pass_over), ("SIGTERM", _end)):
        if (number := getattr(signal, name, None)) is not None:  # Windows lacks one
            signal.signal(number, handler)


def _pass_over(_number: int, _frame: FrameType | None) -> None:
    return


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)
