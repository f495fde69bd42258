"""Recipes: a YAML file that says what to make of a teacher, step by step.

Unknown keys are refused with the nearest valid name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from affineur.artifact.reading import read_yaml as read_yaml_file
from affineur.errors import ParameterError, RecipeError, brief, did_you_mean, one_line
from affineur.measure import MARGIN, TIMED, Bars, Budget, parse_bars
from affineur.measure.budget import fraction_of
from affineur.pipeline.entries import Entry, read_entry
from affineur.pipeline.points import Plan
from affineur.steps.core.step import STEPS
from affineur.transfer.cache import fetched, is_elsewhere
from affineur.transfer.places.core.place import Access, Publication

T = TypeVar("T")


def _fraction(value: object) -> object:
    """Read ``1 point``, and refuse what is half of F1 or more; pydantic wants another kind of error."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    try:
        return fraction_of(value, "it")
    except ParameterError as error:
        raise ValueError(re.sub("^it=[^ ]+ ", "it ", str(error))) from None


#: F1 that may be lost.
Loss = Annotated[float, BeforeValidator(_fraction)]


class Section(BaseModel):
    """A part of a recipe: no key it does not know, no number that is none."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSection(Section):
    """``data``, where one reference is not enough."""

    path: str
    format: str | None = None
    word_column: int | str | None = None
    tag_column: int | str | None = None
    scheme: Literal["IO", "BIO", "BIOES", "IOB1", "IOE1", "IOE2"] | None = None
    tag_names: list[str] | None = None
    label_map: dict[str, str] = {}
    dev_share: Annotated[float, Field(gt=0, lt=1)] = 0.05


class CompareSection(Section):
    """``compare``: the rows of the table, the baseline first.

    A row is the name of a step's result or ``teacher``, with or without an engine before it
    (``torch-int8:NAME``), or any other model by reference. By default: the teacher and every step's result.
    ``timed`` is how many sentences a timing round has, ``example`` a text that every row is shown on.
    """

    rows: Annotated[list[str], Field(min_length=1)] | None = None
    rounds: Annotated[int, Field(ge=1)] = 9
    timed: Annotated[int, Field(ge=1)] = TIMED
    memory: bool = True
    margin: Loss = MARGIN
    example: Annotated[str, Field(min_length=1)] | None = None


class SweepSection(Section):
    """``sweep``: what sparsity costs the model before it is pruned, on dev: a curve for the report."""

    points: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=1)] = [
        0.15,
        0.3,
        0.45,
        0.6,
        0.75,
        0.9,
    ]
    methods: Annotated[list[str], Field(min_length=1)] = ["magnitude"]
    max_drop: Loss = 0.01


class BenchmarkSection(Section):
    """``benchmark``: speed and memory in fresh processes; by default of the first row and the last two."""

    rows: Annotated[list[str], Field(min_length=1)] | None = None
    rounds: Annotated[int, Field(ge=1)] = 15


class PublishSection(Section):
    """``publish``: where the last model is pushed when every bar is reached; credentials are never here."""

    to: str
    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    private: bool = False
    pull_request: bool = False
    revision: str | None = None
    tag: str | None = None
    license: str | None = None
    message: str | None = None

    @property
    def access(self) -> Access:
        """How the place is reached."""
        return Access(self.endpoint, self.region, self.profile)

    @property
    def publication(self) -> Publication:
        """What is said beside the model."""
        return Publication(
            self.private, self.pull_request, self.revision, self.tag, self.license, self.message
        )


class Recipe(Section):
    """A whole recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, arbitrary_types_allowed=True)

    name: Annotated[str, Field(pattern=r"^[\w][\w.-]*$")]
    teacher: str
    data: str | DataSection
    types: Annotated[list[str], Field(min_length=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 13
    steps: tuple[Entry, ...] = ()
    sweep: SweepSection | None = None
    compare: CompareSection = CompareSection()
    benchmark: BenchmarkSection | None = None
    check: dict[str, Any] | None = None
    publish: PublishSection | None = None

    @property
    def bars(self) -> Bars | None:
        """The bars of ``check``, for the last model the recipe makes."""
        return parse_bars(self.check, "check") if self.check is not None else None

    @property
    def plan(self) -> Plan | None:
        """What ``sweep`` draws: the model before its first pruning at several sparsities, not fine-tuned."""
        if self.sweep is None:
            return None
        scopes = [getattr(entry.step, "scope", None) for entry in self.steps]
        scope = next((scope for scope in scopes if scope), "attention+ffn")
        return Plan(
            Budget(max_drop=self.sweep.max_drop),
            tuple(self.sweep.methods),
            tuple(self.sweep.points),
            scope=scope,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return what the recipe says, as YAML has it."""
        sections = self.model_dump(mode="json", exclude={"steps"}, exclude_none=True)
        return sections | {"steps": [entry.as_item() for entry in self.steps]}

    @property
    def digest(self) -> str:
        """Digest of what the recipe says, whatever its layout."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True, default=str).encode()).hexdigest()

    @property
    def data_section(self) -> DataSection:
        """The data, with every option filled in."""
        return self.data if isinstance(self.data, DataSection) else DataSection(path=self.data)


def read_recipe(path: Path | str, changes: dict[str, Any] | None = None) -> Recipe:
    """Read and check a recipe.

    Args:
        path: The YAML file.
        changes: Top-level values that replace the file's, such as ``{"data": "corpus"}``.

    Raises:
        RecipeError: If it is not there, not YAML, has an unknown key (the nearest valid name is given), an
            impossible value, or is of the form that had a section for each step.
    """
    return read_yaml(path, "a recipe, expected keys such as name, teacher, data, steps", make_recipe, changes)


def make_recipe(raw: Mapping[str, Any]) -> Recipe:
    """Make a recipe of what YAML holds, or the same from Python.

    Args:
        raw: Its keys and values.

    Raises:
        RecipeError: As :func:`read_recipe`.
    """
    if old := [key for key in raw if key in STEPS]:
        example = f"steps: [{{{old[0]}: {{…}}}}{', …' if len(old) > 1 else ''}]"
        raise RecipeError(
            f"'{old[0]}' stands at the top of the recipe, but steps are a list now, in the order they are "
            f"taken: write {example}"
        )
    # A section with nothing under it is asked for as it is: YAML gives null.
    sections = {key for key, field in Recipe.model_fields.items() if any(_sections(field.annotation))}
    raw = {key: {} if value is None and key in sections else value for key, value in raw.items()}
    steps, seed = raw.get("steps") or [], raw.get("seed", 13)
    if not isinstance(steps, list | tuple):
        raise RecipeError(
            "'steps' is no list, expected one step in each item, as in '- prune: {sparsity: 0.15}'"
        )
    entries = tuple(
        item if isinstance(item, Entry) else read_entry(item, number, seed if isinstance(seed, int) else 13)
        for number, item in enumerate(steps, 1)
    )
    try:
        recipe = Recipe.model_validate({**raw, "steps": entries})
    except ValidationError as error:
        raise RecipeError(explain(error, Recipe)) from None
    rows = recipe.compare.rows or []
    if len(set(rows)) < len(rows):
        raise RecipeError("compare.rows names a model twice")
    _ = recipe.bars
    try:
        _ = recipe.plan
    except (ParameterError, RecipeError) as error:
        raise RecipeError(f"sweep: {error}") from None
    return recipe


def read_yaml(
    path: Path | str, expected: str, make: Callable[[dict[str, Any]], T], changes: Mapping[str, Any] | None
) -> T:
    """Make something of a YAML file whose top is a table.

    Args:
        path: The file.
        expected: What it should be, to say where it is not.
        make: Makes it of the keys and values; what it raises is said with the file's name.
        changes: Top-level values that replace the file's.

    Raises:
        RecipeError: If it is not there, not YAML, something else, or nothing can be made of it.
        ParameterError: If it is at a place that is not known.
    """
    path = fetched(str(path)) if is_elsewhere(path) else Path(path)
    try:
        raw = read_yaml_file(path)
    except OSError as error:
        raise RecipeError(f"{path} cannot be read ({error.strerror}), expected a recipe in YAML") from None
    except ValueError as error:
        raise RecipeError(f"{path} is not YAML ({one_line(error)})") from None
    if not isinstance(raw, dict):
        raise RecipeError(f"{path} is not {expected}")
    try:
        return make(raw | dict(changes or {}))
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None


def explain(error: ValidationError, root: type[BaseModel]) -> str:
    """Turn the most specific complaint into one line with what to type.

    Args:
        error: What pydantic found.
        root: The model of the whole recipe.
    """
    # Where a value may be one of two things, both alternatives complain; the deeper one saw what was meant.
    first = max(error.errors(), key=lambda e: len(e["loc"]))
    steps = [
        str(step)
        for step in first["loc"]
        if step not in ("str", "int", "DataSection") and "[" not in str(step)
    ]
    where = ".".join(steps)
    if first["type"] == "extra_forbidden":
        known = list(_section_at(root, steps[:-1]).model_fields)
        near = [*known, *STEPS] if root is Recipe and len(steps) == 1 else known
        return f"unknown key '{where}'{did_you_mean(steps[-1], near)} (known here: {', '.join(known)})"
    if first["type"] == "missing":
        return f"the key '{where}' is missing"
    said = first["msg"].removeprefix("Value error, ").replace("Input should be", "it should be", 1)
    if first["type"] == "string_pattern_mismatch":
        said = "it should be letters, digits, '.', '-' and '_', as the name of a folder"
    return f"'{where}' is {brief(first['input'])}, but {said}"


def _section_at(root: type[BaseModel], steps: list[str]) -> type[BaseModel]:
    """Find the section a path of keys leads to."""
    for step in steps:
        root = (
            next(_sections(root.model_fields[step].annotation), root) if step in root.model_fields else root
        )
    return root


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield kind
