"""Texts by the standard streams: UTF-8 whatever the locale says, and readers that leave."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from affineur.entities import decoded, refuse_nul
from affineur.errors import AffineurError, DataError, ParameterError

_INPUT = "standard input"
_CURE = "set a locale of UTF-8 (LC_ALL=C.UTF-8), or give the text on standard input"
# Bytes of an argument that the locale could not read.
_UNDECODED = re.compile("[\udc80-\udcff]")


def arguments(texts: Sequence[str]) -> list[str]:
    """Read texts of the command line as UTF-8 where the locale could not.

    Raises:
        DataError: If one is not UTF-8.
    """
    return [_argument(text, place) for place, text in enumerate(texts, start=1)]


def _argument(text: str, place: int) -> str:
    if not _UNDECODED.search(text):
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        raise DataError(f"TEXT {place} is not UTF-8; {_CURE}") from None


def lines(ends: str) -> Iterator[str]:
    """Yield the lines of standard input as they come, each without its end.

    Args:
        ends: The characters of line ends that are left out; only a line feed ends a line.

    Raises:
        DataError: At a line that is not UTF-8.
        ParameterError: If standard input is closed.
    """
    for number, line in enumerate(_input(), start=1):
        yield _text(line, number).rstrip(ends)


def whole() -> str:
    """Read standard input as one text.

    Raises:
        DataError: If it is not UTF-8.
        ParameterError: If standard input is closed.
    """
    return _text(_input().read())


@contextlib.contextmanager
def from_file(path: Path) -> Iterator[None]:
    """Have a file read wherever standard input would be.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", path) from None
    before = sys.stdin
    with io.TextIOWrapper(file, encoding="utf-8") as sys.stdin:
        try:
            yield
        finally:
            sys.stdin = before


def is_typed() -> bool:
    """Say whether somebody types the texts and waits for each answer."""
    return sys.stdin is not None and sys.stdin.isatty()


def _input() -> Any:
    if sys.stdin is None:
        raise ParameterError("standard input is closed; give a TEXT, or type: < FILE")
    return getattr(sys.stdin, "buffer", sys.stdin)


def _text(read: bytes | str, number: int = 1) -> str:
    text = decoded(read, _INPUT, number) if isinstance(read, bytes) else read
    refuse_nul(text, _INPUT, number)
    return text


def carry_utf8() -> None:
    """Have standard output and standard error carry any text, whatever the locale says."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


class Output:
    """Standard output, for as long as somebody reads it.

    Args:
        files: What is written beside it, and written to the end all the same.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._failed: OSError | None = None

    def show(self, write: Callable[[], object]) -> None:
        """Write something, unless nobody reads it any more."""
        if self._failed is None:
            try:
                write()
            except OSError as error:
                if not self._files:
                    raise
                self._failed = error
                _silence()

    def finish(self) -> None:
        """Say what became of it, when all files are written.

        Raises:
            AffineurError: If standard output did not take everything.
        """
        self.show(sys.stdout.flush)
        if self._failed is not None:
            whole = " and ".join(map(str, self._files))
            raise AffineurError(
                f"standard output took only a part ({self._failed.strerror}); {whole} hold"
                f"{'s' if len(self._files) == 1 else ''} everything"
            )


def _silence() -> None:
    """Send the streams that cannot be written to nowhere, what they still hold too."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
