"""``affineur`` and ``python -m affineur``: what happens before the command line itself is there."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def main() -> int:
    """Run one command; Ctrl-C ends it with status 130 from the first moment, imports included."""
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # and not ignored, as under nohup
    if usual:
        signal.signal(signal.SIGINT, _leave)
    _open_streams()
    from affineur.cli.main import main as run

    if usual:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return run()
    except KeyboardInterrupt:
        _leave(signal.SIGINT, None)


def _open_streams() -> None:
    """Give closed standard streams a place, so that no file that is opened later takes their number.

    Raises:
        SystemExit: If standard output is closed: what the command says would be lost.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest number that is free
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        print(
            f"affineur: standard output is closed, and results would be lost; add: >{os.devnull}",
            file=sys.stderr,
        )
        raise SystemExit(1)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """End at once: nothing has begun, and an exception would pass through modules that are half imported."""
    os.write(2, b"affineur: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    sys.exit(main())
