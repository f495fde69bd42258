"""The recipe of ``search``: ranges of points, how each is trained, what F1 may be lost, in what time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from affineur.errors import ParameterError, RecipeError, did_you_mean
from affineur.measure import Budget
from affineur.pipeline.recipe import DataSection, Loss, Recipe, Section, explain, read_yaml
from affineur.steps.core.step import STEPS, Step
from affineur.steps.graphs.eight_bits import SCHEMES

#: Beside the schemes of ``quantize``: a graph in full precision, the scheme of the CPU at hand, a sparse
#: file.
PRECISIONS = ("fp32", "int8", "packed", *SCHEMES)


def _precision(value: str) -> str:
    if value not in PRECISIONS:
        raise ValueError(f"it should be one of {', '.join(PRECISIONS)}{did_you_mean(value, PRECISIONS)}")
    return value


def _ascending(values: tuple[Any, Any]) -> tuple[Any, Any]:
    if values[0] > values[1]:
        raise ValueError(f"it should be [low, high], as in [{values[1]:g}, {values[0]:g}]")
    return values


def _once(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("it names a value twice")
    return values


_Layers = Annotated[int, Field(ge=1)]
_Width = Annotated[float, Field(gt=0, le=1)]
_Sparsity = Annotated[float, Field(ge=0, lt=1)]
_Pieces = Annotated[int, Field(ge=1)] | None


class RangesSection(Section):
    """``ranges``: ``[low, high]``, or a list to choose from; all else stays as the teacher has it."""

    layers: Annotated[tuple[_Layers, _Layers], AfterValidator(_ascending)] | None = None
    ffn_width: Annotated[tuple[_Width, _Width], AfterValidator(_ascending)] = (1.0, 1.0)
    vocabulary: Annotated[list[_Pieces], Field(min_length=1), AfterValidator(_once)] = [None]
    sparsity: Annotated[tuple[_Sparsity, _Sparsity], AfterValidator(_ascending)] = (0.0, 0.0)
    precision: Annotated[
        list[Annotated[str, AfterValidator(_precision)]], Field(min_length=1), AfterValidator(_once)
    ] = ["fp32", "int8"]


class BudgetSection(Section):
    """``budget``: what F1 may be lost, or must be kept, with its whole interval."""

    max_drop: Loss | None = None
    min_f1: float | None = None
    confidence: float = 0.95


#: How a point is trained where a recipe does not say: shorter and faster than one model alone.
_TRAINING = {"epochs": 0.5, "learning_rate": 1e-4, "keep": "uniform"}


class SearchRecipe(Section):
    """A whole recipe of ``search``."""

    name: Annotated[str, Field(pattern=r"^[\w][\w.-]*$")]
    teacher: str
    data: str | DataSection
    types: Annotated[list[str], Field(min_length=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 13
    minutes: Annotated[float, Field(gt=0)] = 20.0
    budget: BudgetSection
    ranges: RangesSection
    train: dict[str, Any] = {}

    def distill(self, layers: int) -> Step:
        """Return how a point with fewer layers is made: what ``train`` says, with defaults of a search's own.

        Raises:
            ParameterError: If ``train`` has an unknown key or an impossible value.
        """
        return STEPS.get("distill").given({**_TRAINING, "seed": self.seed, **self.train, "layers": layers})

    @property
    def recover(self) -> Step:
        """How any point that lost something else is trained: as ``train`` says, under its mask.

        Raises:
            ParameterError: As :meth:`distill`.
        """
        values = {"seed": self.seed, **_TRAINING, **self.train}
        return STEPS.get("recover").given({key: value for key, value in values.items() if key != "keep"})

    @property
    def f1_budget(self) -> Budget:
        """What F1 may be lost."""
        return Budget(self.budget.min_f1, self.budget.max_drop, self.budget.confidence)

    @property
    def data_recipe(self) -> Recipe:
        """What of it opens the data, as in any recipe."""
        return Recipe(name=self.name, teacher=self.teacher, data=self.data)

    @property
    def digest(self) -> str:
        """Digest of all that decides what one point is and scores; time and budget may change."""
        decides = self.model_dump(mode="json", exclude={"name", "minutes", "budget", "teacher", "data"})
        return hashlib.sha256(repr([decides, self.budget.confidence]).encode()).hexdigest()


def read_search_recipe(path: Path | str, changes: dict[str, Any] | None = None) -> SearchRecipe:
    """Read and check a recipe of ``search``.

    Args:
        path: The YAML file.
        changes: Top-level values that replace the file's, such as ``{"minutes": 5}``.

    Raises:
        RecipeError: If it is not there, not YAML, has an unknown key (the nearest valid name is given), an
            impossible value, or values that do not fit together.
    """
    expected = "a recipe of a search, expected keys such as name, teacher, data, budget, ranges"
    return read_yaml(path, expected, make_search_recipe, changes)


def make_search_recipe(raw: Mapping[str, Any]) -> SearchRecipe:
    """Make a recipe of what YAML holds, or the same from Python.

    Args:
        raw: Its keys and values.

    Raises:
        RecipeError: As :func:`read_search_recipe`.
    """
    try:
        recipe = SearchRecipe.model_validate(raw)
    except ValidationError as error:
        raise RecipeError(explain(error, SearchRecipe)) from None
    for section in ("budget", "train"):
        try:
            _ = recipe.f1_budget if section == "budget" else (recipe.distill(1), recipe.recover)
        except ParameterError as error:
            raise RecipeError(f"{section}: {error}") from None
    return recipe


def default_search_recipe(
    teacher: str, data: str, layers: int, *, minutes: float = 20.0, max_drop: float | str = 0.01, **more: Any
) -> SearchRecipe:
    """Make the recipe of a search for which nobody wrote one.

    Half of the teacher's layers or more, a quarter of the feed-forward neurons or more, in full precision or
    eight bits.

    Args:
        teacher: The model, as the user names it.
        data: Labeled data with train, dev and test.
        layers: Encoder layers of the teacher.
        minutes: Time for all points together.
        max_drop: F1 that may be lost, with the whole interval.
        more: Other top-level values, such as ``seed`` or ``types``.

    Raises:
        RecipeError: If a value is impossible.
    """
    ranges = {
        "layers": [max(1, layers // 2), layers],
        "ffn_width": [0.25, 1.0],
        "precision": ["fp32", "int8"],
    }
    train = {"learning_rate": 2e-4, "warmup": 0.1, "batch_size": 16}
    budget = {"max_drop": max_drop}
    name = re.sub(r"[^\w.-]+", "-", Path(teacher).name).strip("-.") or "search"
    found = {"name": name, "teacher": teacher, "data": data, "minutes": minutes, "budget": budget}
    return make_search_recipe({**found, "ranges": ranges, "train": train, **more})
