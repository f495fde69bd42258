"""The exception tree. Every error a user can cause is one readable line.

::

    AffineurError           names the parameter at fault, if there is one
    ├── ParameterError      a value outside its range, or two parameters that exclude each other
    ├── DataError           a corpus that cannot be read as labeled text (carries file and line)
    ├── ModelError          a folder that is not a usable token-classification model
    ├── RecipeError         a recipe with an unknown key or a value of the wrong type
    ├── TransferError       something that had to come from elsewhere did not
    └── MissingExtraError   an optional part of Affineur is not installed

A message says what was found, what was expected, where, and what to do next. It names parameters as Python
does; the command line makes its options of them.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from reprlib import Repr
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_BRIEF = Repr()
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 80


class AffineurError(Exception):
    """Base of every error that is the input's fault and not a bug. The command line exits 1 on it."""

    #: The Python name of the parameter that is at fault, or that would help; the message has it too.
    parameter: str | None = None


class ParameterError(AffineurError):
    """A parameter is outside its range, or does not go with another.

    Args:
        message: What was found and what was expected, naming parameters as Python does.
        parameter: The parameter at fault, where one is: the command line names its option.
    """

    def __init__(self, message: str, parameter: str | None = None) -> None:
        self.parameter = parameter
        super().__init__(message)


class DataError(AffineurError):
    """Labeled text that cannot be used.

    Args:
        message: What was found and what was expected.
        path: The file it was found in.
        line: The line it was found on, from 1.
        parameter: The Python name of the parameter that would help.
    """

    def __init__(
        self,
        message: str,
        path: Path | str | None = None,
        line: int | None = None,
        *,
        parameter: str | None = None,
    ) -> None:
        self.path = path
        self.line = line
        self.parameter = parameter
        where = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        super().__init__(where + message)


class ModelError(AffineurError):
    """A model folder that cannot be used."""


class RecipeError(AffineurError):
    """A recipe that cannot be run."""


class TransferError(AffineurError):
    """A download or a hub that did not answer."""


class MissingExtraError(AffineurError):
    """An optional dependency is absent.

    Args:
        what: What the user asked for.
        extra: The extra that brings it.
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs packages that are not installed; type: pip install 'affineur[{extra}]'"
        )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name nearest to ``word``, or an empty string."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


def counted(number: float, noun: str) -> str:
    """Write a number and what it counts: ``1 sentence``, ``1,234 sentences``, ``0.5 points``."""
    shown = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{shown} {noun}{'' if shown == '1' else 's'}"


def brief(value: object, limit: int = 80) -> str:
    """Write a value that somebody else gave, as Python does, in at most ``limit`` characters and soon.

    Args:
        value: Anything: of a long list or text only the beginning is written.
        limit: Most characters.
    """
    try:
        text = _BRIEF.repr(value)
    except ValueError:  # an integer of more digits than Python writes
        text = f"a {type(value).__name__} that is too long to be shown"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def one_line(error: BaseException | str, limit: int = 300) -> str:
    """Fold another library's message into one line of at most ``limit`` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, KeyError) and len(error.args) == 1 and text == repr(error.args[0]):
        text = f"it has no {text}"  # which alone says nothing
    return text if len(text) <= limit else text[: limit - 1] + "…"
