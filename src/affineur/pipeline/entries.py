"""The steps of a recipe: read from a list, named, and checked before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from affineur.errors import ParameterError, RecipeError, brief, did_you_mean
from affineur.steps.core.step import STEPS, Shape, Step

#: The row of the model that a recipe starts from.
TEACHER = "teacher"


@dataclass(frozen=True, slots=True)
class Entry:
    """One item of a recipe's ``steps``.

    Args:
        step: The step.
        name: Name of its row and folder, or ``None`` to let the step say it.
        inputs: What it is given beside its parameters, by reference: data, calibration text, a teacher.
        given: The parameters that the recipe itself states.
    """

    step: Step
    name: str | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    given: tuple[str, ...] = ()

    def as_item(self) -> dict[str, Any]:
        """Return the item as a recipe has it."""
        stated = {key: value for key, value in self.step.parameters.items() if key in self.given}
        name = {"name": self.name} if self.name is not None else {}
        return {self.step.name: {**stated, **self.inputs, **name}}


@dataclass(frozen=True, slots=True)
class Planned:
    """A step whose place in a run is known.

    Args:
        name: Name of its row and folder.
        source: Name of the model it starts from.
        entry: What the recipe says of it.
    """

    name: str
    source: str
    entry: Entry

    @property
    def step(self) -> Step:
        """The step."""
        return self.entry.step


def read_entry(item: object, number: int, seed: int) -> Entry:
    """Read an item of ``steps``: ``- prune: {sparsity: 0.15}``, or ``- pack`` for all defaults.

    Args:
        item: The item.
        number: Its place, from 1, for messages.
        seed: The recipe's seed, for steps that have one and do not state it.

    Raises:
        RecipeError: If there is no such step, a key of it is unknown, or a value is impossible.
    """
    where = f"step {number}"
    if isinstance(item, str):
        item = {item: None}
    if not isinstance(item, Mapping) or len(item) != 1:
        raise RecipeError(f"{where} is {brief(item)}, expected one step, as in '- prune: {{sparsity: 0.15}}'")
    ((name, raw),) = item.items()
    if name not in STEPS:
        raise RecipeError(
            f"{where}: no step '{name}', expected one of {', '.join(STEPS)}{did_you_mean(str(name), STEPS)}"
        )
    kind = STEPS.get(str(name))
    if not isinstance(raw, Mapping | None):
        raise RecipeError(
            f"{where} ({name}) is {brief(raw)}, expected its parameters, as in '- {name}: {{}}'"
        )
    values = dict(raw or {})
    called = values.pop("name", None)
    inputs = {each.name: values.pop(each.name) for each in kind.inputs if each.name in values}
    for key, value in [("name", called), *inputs.items()]:
        if value is not None and not isinstance(value, str):
            raise RecipeError(f"{where} ({name}): '{key}' is {brief(value)}, expected a name")
    if called is not None and (not called or called.startswith(".") or set(called) & set("/\\:\0")):
        raise RecipeError(
            f"{where} ({name}): '{called}' cannot be the name of a folder; use letters, digits, - and _"
        )
    given = tuple(values)
    if "seed" in kind.model_fields:
        values.setdefault("seed", seed)
    try:
        return Entry(kind.given(values), called, inputs, given)
    except ParameterError as error:
        raise RecipeError(f"{where} ({name}): {error}") from None


def planned(entries: Sequence[Entry], shape: Shape) -> tuple[Planned, ...]:
    """Name every step, and check that each can start from what the one before it makes.

    Args:
        entries: The steps, in order.
        shape: Of the model that the first starts from.

    Raises:
        RecipeError: If one cannot, or two have one name.
    """
    before, stem = TEACHER, f"student_{shape.layers}L"
    found: list[Planned] = []
    for number, entry in enumerate(entries, 1):
        step = entry.step
        try:
            shape = step.after(shape)
        except ParameterError as error:
            raise RecipeError(f"step {number} ({step.name}): {error}") from None
        made = step.label(stem if before == TEACHER else before, stem)
        name = entry.name or _free(made, {each.name for each in found})
        if name in {each.name for each in found} or (name == TEACHER and number > 1):
            raise RecipeError(
                f"step {number} ({step.name}): there is a row '{name}' already; give it another name"
            )
        found.append(Planned(name, before, entry))
        before = name
        if step.renames:
            stem = name
    return tuple(found)


def _free(name: str, taken: set[str]) -> str:
    """Return a name, with a number where it is taken."""
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free
