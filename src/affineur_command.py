"""Where ``affineur`` and ``python -m affineur`` begin: before the package is imported, and without it.

Importing the package and the command line takes a quarter of a second, in which Ctrl-C must end in one line
too. Whoever imports the package as a library keeps what they do with Ctrl-C.
"""

import os
import sys

# signal imports more than itself, and Ctrl-C may come meanwhile; what it is made of is there already.
from _signal import SIG_IGN, SIGINT, default_int_handler, getsignal, signal  # type: ignore[import-not-found]

_IN, _OUT, _ERR = 0, 1, 2


def main() -> int:
    """Run one command; Ctrl-C ends it with status 130 from the first moment, imports included."""
    usual = getsignal(SIGINT) not in (SIG_IGN, None)  # as under nohup
    if usual:
        signal(SIGINT, _leave)
    _open_streams()
    from affineur.cli.main import main as run

    try:
        if usual:
            signal(SIGINT, default_int_handler)
        status = run()
        if usual:
            signal(SIGINT, _leave)  # what is left is Python's own end
    except KeyboardInterrupt:
        _leave()
    return status


def _open_streams() -> None:
    """Give closed standard streams a place, so that no file that is opened later takes their number.

    Raises:
        SystemExit: If standard output is closed: what the command says would be lost.
    """
    for number, flags in ((_IN, os.O_RDONLY), (_OUT, os.O_WRONLY), (_ERR, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest number that is free
    sys.stdin = sys.stdin or open(_IN, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(_ERR, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        print(
            f"affineur: standard output is closed, and results would be lost; add: >{os.devnull}",
            file=sys.stderr,
        )
        raise SystemExit(1)


def _leave(*_: object) -> None:
    """End at once: an exception would pass through modules that are half imported."""
    try:
        os.write(_ERR, b"affineur: interrupted\n")
    finally:  # also where standard error is closed
        os._exit(130)
