"""Where ``search`` looks: the points that the ranges of a recipe allow, and the order they are tried in."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from affineur.errors import MissingExtraError, RecipeError
from affineur.pipeline.search_recipe import RangesSection

#: Values of a width or a sparsity that are tried: few, so that points share their first stages.
LEVELS = 5
_STARTUP, _ASKS = 8, 10


@dataclass(frozen=True, slots=True)
class Choice:
    """What decides a point.

    Args:
        layers: Encoder layers.
        ffn_width: Share of the feed-forward neurons that stay.
        vocabulary: Pieces that stay, or ``None`` for all.
        sparsity: Zeros ÷ attention and feed-forward weights.
        precision: One of :data:`~affineur.pipeline.search_recipe.PRECISIONS`.
    """

    layers: int
    ffn_width: float
    vocabulary: int | None
    sparsity: float
    precision: str

    @property
    def name(self) -> str:
        """A short name, that of its artifact too, such as ``L6-w0.5-v6000-s0.25-int8``."""
        parts = [f"L{self.layers}"]
        parts += [f"w{self.ffn_width:g}"] if self.ffn_width < 1 else []
        parts += [f"v{self.vocabulary}"] if self.vocabulary is not None else []
        parts += [f"s{self.sparsity:g}"] if self.sparsity else []
        return "-".join([*parts, self.precision])

    def as_dict(self) -> dict[str, Any]:
        """Return stable keys."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Space:
    """All points; each tuple goes from what the teacher has, or is nearest to it, to what is smallest.

    Zeros make a packed file smaller and nothing else here, so where there is one to be made, only it is
    pruned.
    """

    layers: tuple[int, ...]
    ffn_width: tuple[float, ...]
    vocabulary: tuple[int | None, ...]
    sparsity: tuple[float, ...]
    precision: tuple[str, ...]

    @classmethod
    def of(cls, ranges: RangesSection, layers: int) -> Space:
        """Lay out the ranges of a recipe for a teacher.

        Args:
            ranges: The ranges.
            layers: Encoder layers of the teacher.

        Raises:
            RecipeError: If a point should have more layers than the teacher.
        """
        low, high = ranges.layers or (layers, layers)
        if high > layers:
            raise RecipeError(
                f"ranges.layers is [{low}, {high}], but the teacher has {layers} encoder layers; end it at "
                f"{layers}"
            )
        return cls(
            tuple(range(high, low - 1, -1)),
            _levels(ranges.ffn_width)[::-1],
            tuple(sorted(ranges.vocabulary, key=lambda keep: -math.inf if keep is None else -keep)),
            _levels(ranges.sparsity),
            tuple(ranges.precision),
        )

    def __iter__(self) -> Iterator[Choice]:
        """Give every point once."""
        every = itertools.product(self.layers, self.ffn_width, self.vocabulary, self.sparsity, self.precision)
        yield from dict.fromkeys(self._settled(Choice(*values)) for values in every)

    @property
    def starts(self) -> tuple[Choice, ...]:
        """What is tried first: the teacher in each precision, each range at its end, middle, smallest."""
        last = self.precision[-1]
        zeros = "packed" if "packed" in self.precision else last
        gentle = Choice(self.layers[0], self.ffn_width[0], self.vocabulary[0], self.sparsity[0], last)
        ranges = {name: values for name, values in self._tuples().items() if name != "precision"}
        middle = replace(gentle, **{name: values[len(values) // 2] for name, values in ranges.items()})
        found = [replace(gentle, precision=precision) for precision in self.precision]
        found += [
            replace(gentle, layers=self.layers[-1]),
            replace(gentle, ffn_width=self.ffn_width[-1]),
            replace(gentle, vocabulary=self.vocabulary[-1]),
            replace(gentle, sparsity=self.sparsity[-1], precision=zeros),
            middle,
            replace(gentle, **{name: values[-1] for name, values in ranges.items()}),
        ]
        return tuple(dict.fromkeys(map(self._settled, found)))

    def places(self, choice: Choice) -> dict[str, int]:
        """Say where each value of a point stands in its tuple."""
        return {name: values.index(getattr(choice, name)) for name, values in self._tuples().items()}

    def at(self, places: Mapping[str, int]) -> Choice:
        """Give the point at some places."""
        return self._settled(
            Choice(**{name: values[places[name]] for name, values in self._tuples().items()})
        )

    def sizes(self) -> dict[str, int]:
        """Say how many values each parameter has."""
        return {name: len(values) for name, values in self._tuples().items()}

    def _tuples(self) -> dict[str, tuple[Any, ...]]:
        return {name: getattr(self, name) for name in Choice.__dataclass_fields__}

    def _settled(self, choice: Choice) -> Choice:
        return (
            choice
            if "packed" not in self.precision or choice.precision == "packed"
            else replace(choice, sparsity=self.sparsity[0])
        )


def require_optuna() -> Any:
    """Import the library that proposes points.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        import optuna
    except ModuleNotFoundError:
        raise MissingExtraError("affineur search", "search") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def propose(space: Space, tried: Mapping[Choice, Sequence[float] | None], seed: int) -> Choice | None:
    """Propose the next point: first those of :attr:`Space.starts`, then by a Parzen estimator.

    It is tree-structured and for several objectives.

    What is proposed depends on nothing but the arguments, so an interrupted search goes on as if it had not
    been (Watanabe 2023, Tree-Structured Parzen Estimator, arXiv 2304.11127; Ozaki et al. 2022, JAIR 73:
    1209-1250, for several objectives).

    Args:
        space: Where to look.
        tried: What is known: the costs of each point, less is better, or ``None`` where it could not be made.
        seed: Seed of the sampler.

    Returns:
        A point not tried yet, or ``None`` where all were.
    """
    for choice in space.starts:
        if choice not in tried:
            return choice
    left = [choice for choice in space if choice not in tried]
    if not left:
        return None
    optuna = require_optuna()
    seed += len(tried)
    kinds = {
        name: optuna.distributions.CategoricalDistribution(list(range(many)))
        if name == "precision"
        else optuna.distributions.IntDistribution(0, many - 1)
        for name, many in space.sizes().items()
    }
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP)
    many_costs = (
        len(next(costs for costs in tried.values() if costs is not None)) if any(tried.values()) else 1
    )
    study = optuna.create_study(directions=["minimize"] * many_costs, sampler=sampler)
    for choice, costs in tried.items():
        if costs is not None:
            study.add_trial(
                optuna.trial.create_trial(
                    params=space.places(choice), distributions=kinds, values=[float(cost) for cost in costs]
                )
            )
    for _ in range(_ASKS):
        choice = space.at(study.ask(kinds).params)
        if choice not in tried:
            return choice
    return random.Random(seed).choice(left)


def _levels(ends: tuple[float, float]) -> tuple[float, ...]:
    return tuple(dict.fromkeys(round(float(value), 4) for value in np.linspace(*ends, LEVELS)))
