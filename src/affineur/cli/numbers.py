"""Numbers of the command line: finite, and within bounds that somebody has thought about."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable

from affineur.errors import ParameterError

#: Characters of what was typed that an error repeats.
_SHOWN = 40


class Number:
    """The type of a numeric option; every one of every command has one.

    What is no number is wrong usage. One out of bounds is an error like any other impossible value
    (:func:`check_numbers`), as is one that the command refuses itself.

    Args:
        kind: ``int`` or ``float``.
        least: The least that is possible.
        most: The most.
        example: What one of them means.
    """

    def __init__(self, kind: type[int] | type[float], least: float, most: float, example: str = "") -> None:
        self.kind, self.least, self.most, self.example = kind, least, most, example

    def __call__(self, text: str) -> int | float:
        """Read it.

        Raises:
            ArgumentTypeError: If it is no number.
        """
        try:
            return self.kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"invalid {self.kind.__name__} value: {_clipped(repr(text))}"
            ) from None

    def check(self, name: str, value: float) -> None:
        """Refuse a number out of bounds.

        Args:
            name: Of the parameter.
            value: What was given for it.

        Raises:
            ParameterError: With both.
        """
        if not self.least <= value <= self.most:  # NaN is not either
            shown = _clipped(f"{value:g}" if isinstance(value, float) else str(value))
            bounds = f"{_plain(self.least)} to {_plain(self.most)}"
            if not (isinstance(value, int) or math.isfinite(value)):
                bounds = "a finite number" if self is AMOUNT else f"a finite number, {bounds}"
            example = f"; {self.example}" if self.example else ""
            raise ParameterError(f"{name}={shown} is impossible, expected {bounds}{example}", name)


class Loss(Number):
    """F1 that may be lost: a fraction, or points such as ``1 point``."""

    def __init__(self) -> None:
        super().__init__(float, 0, 0.5)

    def __call__(self, text: str) -> int | float:
        """Read it.

        Raises:
            ArgumentTypeError: If it is no number and no points.
        """
        from affineur.measure.budget import fraction_of  # numpy, which --help does without

        try:
            return fraction_of(text)
        except ParameterError:
            return super().__call__(text)

    def check(self, name: str, value: float) -> None:
        """Refuse half of F1 or more."""
        from affineur.measure.budget import fraction_of

        fraction_of(value, name)


#: What a step takes, which has bounds of its own for each of its fields.
COUNT, AMOUNT = Number(int, -(10**12), 10**12), Number(float, -1e12, 1e12)
SEED = Number(int, 0, 2**32 - 1)
SECONDS = Number(float, 0, 86_400)


def check_numbers(actions: Iterable[argparse.Action], args: argparse.Namespace) -> None:
    """Check every number of a command.

    Args:
        actions: Its options.
        args: What was read.

    Raises:
        ParameterError: If one is out of bounds.
    """
    for action in actions:
        value = getattr(args, action.dest, None)
        if isinstance(action.type, Number) and isinstance(value, (int, float)):
            action.type.check(action.dest, value)


def _plain(bound: float) -> str:
    return str(int(bound)) if math.isfinite(bound) and bound == int(bound) else f"{bound:g}"


def _clipped(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
