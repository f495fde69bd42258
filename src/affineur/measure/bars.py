"""Limits that people set for bars: checking them, and reading them from YAML."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affineur.artifact.reading import read_yaml
from affineur.errors import ParameterError, RecipeError, did_you_mean, one_line
from affineur.measure.bar_table import ENDPOINT, MODEL, POINTS, Bar, Need, Unit, find_bar, spellings
from affineur.measure.budget import fraction_of

#: Of ``confidence``, which may stand beside the bars.
_CONFIDENCE = Unit("at least 0.5 and less than 1, such as 0.95", 1, "", 2, 0.5, math.nextafter(1, 0))


@dataclass(frozen=True, slots=True)
class Bars:
    """What a model has to reach.

    Args:
        limits: Name and limit of each bar, in the order of the file. Shares are in [0, 1], sizes in bytes,
            latencies in milliseconds. ``min_f1_low`` is the lower end of the interval of F1, never a type
            called ``low``.
        confidence: Mass inside the intervals that ``min_f1_low`` and ``max_drop`` look at.
        where: Where they were written, for messages.

    Raises:
        RecipeError: If there is no bar, one is unknown (the nearest name is given), or a limit is impossible.
    """

    limits: tuple[tuple[str, float], ...]
    confidence: float = 0.95
    where: str = "bars"

    def __post_init__(self) -> None:
        if not self.limits:
            raise RecipeError(f"{self.where}: no bar is set, expected at least one, such as min_f1: 0.84")
        for name, value in self.limits:
            found = find_bar(name)
            if found is None:
                near = did_you_mean(name, [*MODEL, "confidence"])
                known = ", ".join([*spellings(), "confidence"])
                raise RecipeError(f"{self.where}: unknown bar '{_short(name)}'{near} (known: {known})")
            _refuse(name, value, found[0].unit, self.where)
        _refuse("confidence", self.confidence, _CONFIDENCE, self.where)

    @property
    def asked(self) -> Iterator[tuple[str, float, Bar, str | None]]:
        """Name, limit, bar and type of each."""
        for name, limit in self.limits:
            found = find_bar(name)
            if found is not None:  # as has been checked
                yield name, limit, *found

    @property
    def needs_scores(self) -> bool:
        """Whether the model has to be scored."""
        return self._needs("scores")

    @property
    def needs_baseline(self) -> bool:
        """Whether a baseline has to be scored on the same sentences."""
        return self._needs("baseline")

    @property
    def needs_agreement(self) -> bool:
        """Whether the model's tags have to be compared with its parent's."""
        return self._needs("agreement")

    @property
    def needs_load(self) -> bool:
        """Whether latency, throughput or memory have to be measured under load."""
        return self._needs("load")

    def _needs(self, need: Need) -> bool:
        return any(need in bar.needs for _, _, bar, _ in self.asked)

    def refuse_unknown_types(self, types: Sequence[str]) -> None:
        """Check the types that bars name.

        Args:
            types: The types that are scored.

        Raises:
            RecipeError: If a bar names another (the nearest name is given).
        """
        for name, _, bar, kind in self.asked:
            if kind is None or kind in types:
                continue
            alike = [known for known in types if known.casefold() == kind.casefold()]
            near = (
                f"; did you mean '{bar.name}_{alike[0]}'?"
                if alike
                else did_you_mean(name, [*MODEL, *(f"{bar.name}_{known}" for known in types)])
            )
            known = ", ".join(types) or "none"
            raise RecipeError(
                f"{self.where}: '{_short(name)}' names a type '{_short(kind)}', but the types scored are "
                f"{known}{near}"
            )


def read_bars(path: Path | str) -> Bars:
    """Read bars from a flat YAML file.

    Args:
        path: The file.

    Raises:
        RecipeError: If it is not there, not YAML, holds a key twice, or anything :func:`parse_bars` refuses.
    """
    return parse_bars(_read_yaml(path, "min_f1: 0.84"), str(path))


def read_endpoint_bars(path: Path | str) -> dict[str, float]:
    """Read the bars of an endpoint from a flat YAML file: name and limit of each, in the order of the file.

    Args:
        path: The file.

    Raises:
        RecipeError: If it is not there, not YAML, holds a key twice, an unknown bar (the nearest name is
            given), an impossible limit, or no bar.
    """
    raw = _read_yaml(path, "max_p95_ms: 100")
    if not isinstance(raw, Mapping) or not raw:
        raise RecipeError(
            f"{path} {'is empty' if not raw else 'is not a mapping'}, expected bars such as max_p95_ms: 100"
        )
    for name, value in raw.items():
        if name not in ENDPOINT:
            near = did_you_mean(str(name), ENDPOINT)
            known = ", ".join(ENDPOINT)
            raise RecipeError(
                f"{path}: unknown bar '{_short(str(name))}' of an endpoint{near} (known: {known})"
            )
        _refuse(name, value, ENDPOINT[name].unit, str(path))
    return dict(raw)


def _read_yaml(path: Path | str, example: str) -> object:
    try:
        return read_yaml(Path(path))
    except OSError as error:
        raise RecipeError(
            f"{path} cannot be read ({error.strerror}), expected bars in YAML, such as {example}"
        ) from None
    except ValueError as error:
        raise RecipeError(f"{path} is not YAML ({one_line(error)})") from None


def parse_bars(raw: object, where: str) -> Bars:
    """Check bars that were read from YAML, or stand in a recipe.

    Args:
        raw: A mapping from bars to limits; ``confidence`` may stand beside them.
        where: Where they were written, for messages.

    Raises:
        RecipeError: If it is no mapping, or anything :class:`Bars` refuses.
    """
    if not isinstance(raw, Mapping):
        found = "is empty" if raw is None else "is not a mapping"
        raise RecipeError(f"{where} {found}, expected bars such as min_f1: 0.84")
    limits = tuple(
        (str(name), _read(str(name), value)) for name, value in raw.items() if name != "confidence"
    )
    return Bars(limits, raw.get("confidence", 0.95), where)


def _read(name: str, value: Any) -> Any:
    """Read points where a bar is about a loss; everything else is left for :func:`_refuse`."""
    found = find_bar(name)
    if isinstance(value, str) and found and found[0].unit is POINTS:
        with contextlib.suppress(ParameterError):
            return fraction_of(value, name)
    return value


def _refuse(name: str, value: object, unit: Unit, where: str) -> None:
    """Refuse what is no number, or none of this unit."""
    hint = ""
    if isinstance(value, str):
        found, hint = f"'{_short(value)}'", _meant(value)
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        found = {bool: "true or false", list: "a list", dict: "a mapping", type(None): "empty"}.get(
            type(value), f"a {type(value).__name__}"
        )
    elif unit.least <= value <= unit.most:  # NaN is not
        return
    else:
        found = f"{value:g}" if isinstance(value, float) or abs(value) < 1e18 else "beyond any bar"
        hint = f"; write {value / 100:.15g}" if unit.most <= 1 and unit.most < value <= 100 else ""
    raise RecipeError(f"{where}: '{_short(name)}' is {found}, expected {unit.expected}{hint}")


def _meant(text: str) -> str:
    """Suggest the number behind ``84 %``, ``0,84`` or ``1e3``, which YAML reads as text."""
    bare = text.strip().replace(",", ".")
    if not re.fullmatch(r"[0-9.]{1,15}(e[0-9]{1,2})?\s*%?", bare):
        return ""
    try:
        number = float(bare.rstrip("% ")) / (100 if bare.endswith("%") else 1)
    except ValueError:
        return ""
    shown = f"{number:.15g}"
    return "" if "e" in shown else f"; write {shown}"


def _short(text: str) -> str:
    return one_line(ValueError(plain(text)), 60)


def plain(text: str) -> str:
    """Fold white space and replace what no terminal, line of a log or XML 1.0 can carry."""
    return "".join(
        c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text
    )
