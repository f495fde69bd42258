"""Whole recipes, and searches: the largest sparsity inside a budget, the front of F1, speed and size."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affineur.api.data import Data, corpus_of, splits_of
from affineur.api.model import Model, reference_of
from affineur.api.place import context_at, settle
from affineur.artifact import open_folder
from affineur.engines.core.references import model_folder
from affineur.errors import ParameterError
from affineur.steps.core.context import CALIBRATION, Context
from affineur.steps.core.step import STEPS

if TYPE_CHECKING:
    from affineur.measure import Sweep
    from affineur.pipeline import Recipe, Run
    from affineur.pipeline.search_results import Found


def run(
    recipe: str | os.PathLike[str] | Mapping[str, Any] | Recipe,
    *,
    runs: str | os.PathLike[str] = "runs",
    device: str = "cpu",
    threads: int | None = None,
    cache: Path | None = None,
    text: bool = True,
    quick: bool = False,
    **changes: Any,
) -> Run:
    """Run a recipe: its steps, then table, report and cards. A killed run goes on where it stopped.

    Args:
        recipe: A YAML file, its content, or a recipe that was read.
        runs: Folder that holds the runs.
        device: A torch device.
        threads: Threads of each engine; ``None`` for one per usable processor.
        cache: Where teacher logits are kept; ``None`` for the user's cache.
        quick: Leave out sweep, benchmark, peak memory and most timing rounds; a later run makes up for them.
        text: Whether the report and ``errors.json`` may quote sentences of the data, names included.
        changes: Top-level keys that replace the recipe's, such as ``teacher`` or ``data``.

    Returns:
        ``.models`` by name, ``.table``, ``.passed``, ``.folder``.

    Raises:
        AffineurError: Whatever is wrong with the recipe, in one line, before any training as far as it can
            be known.
    """
    from affineur.pipeline import Recipe, make_recipe, read_recipe
    from affineur.pipeline import run as run_recipe

    if isinstance(recipe, Recipe) and changes:
        recipe = recipe.as_dict()
    if isinstance(recipe, Mapping):
        recipe = make_recipe({**recipe, **changes})
    elif not isinstance(recipe, Recipe):
        recipe = read_recipe(os.fspath(recipe), changes)
    return run_recipe(
        recipe, runs=os.fspath(runs), context=_context(device, threads, cache), quote=text, quick=quick
    )


def sweep(
    model: str | os.PathLike[str] | Model,
    *,
    data: Data,
    out: str | os.PathLike[str],
    max_drop: float | str | None = None,
    min_f1: float | None = None,
    confidence: float = 0.95,
    methods: str | Sequence[str] = "magnitude",
    scope: str = "attention+ffn",
    points: Sequence[float] | None = None,
    tolerance: float = 0.01,
    recover: bool | Mapping[str, Any] = False,
    teacher: str | os.PathLike[str] | Model | None = None,
    calibration: Data | None = None,
    baseline: str | os.PathLike[str] | Model | None = None,
    types: Sequence[str] | None = None,
    device: str = "cpu",
    threads: int | None = None,
    cache: Path | None = None,
    commands: Mapping[str, str] | None = None,
) -> Sweep:
    """Search dev for the largest sparsity inside a budget of F1, and check that model against test.

    Args:
        model: The model to prune.
        data: Labeled data: ``dev`` is searched, ``test`` confirms, ``train`` is for recovery and calibration.
        out: Folder of the model found.
        max_drop: F1 that may be lost, 0.01 or ``1 point``: the upper end of the paired interval must not
            exceed it.
        min_f1: F1 to keep: the lower end of its interval must reach it.
        confidence: Mass inside the intervals.
        methods: One or more pruning methods, or ``all``.
        scope: ``attention+ffn``, ``attention`` or ``ffn``.
        points: Try these sparsities only; ``None`` for a coarse scan, then bisection.
        tolerance: Bisection stops at steps of this size.
        recover: Fine-tune each point under its mask: true for the guide's half epoch, or parameters of
            ``recover``.
        teacher: A teacher to learn soft labels from when recovering.
        calibration: Text for methods that look at one; train by default.
        baseline: What a drop is measured from; the model itself by default.
        types: Types to score; ``None`` for all.
        device: A torch device.
        threads: Threads of each engine.
        cache: Where scores and teacher logits are kept; ``None`` for the user's cache.
        commands: Command lines that give all this again, by what each gives, for the model's card.

    Returns:
        The curves, the point chosen and what test says of it.

    Raises:
        ParameterError: If a value is impossible, or values do not go together.
        DataError: If a split is missing or too small to show anything.
        ModelError: If a model cannot be used.
    """
    from affineur.measure import Budget
    from affineur.measure.budget import fraction_of
    from affineur.pipeline.points import Plan
    from affineur.pipeline.sweep import sweep as search_sparsity
    from affineur.steps.pruning.core.method import METHODS

    if teacher is not None and recover is False:
        raise ParameterError(
            "teacher says what to learn from when recovering; say that points are to be recovered: recover",
            "teacher recover",
        )
    chosen = (
        METHODS.names() if methods == "all" else (methods,) if isinstance(methods, str) else tuple(methods)
    )
    step = None if recover is False else STEPS.get("recover").given({} if recover is True else recover)
    plan = Plan(
        Budget(min_f1, None if max_drop is None else fraction_of(max_drop), confidence),
        chosen,
        None if points is None else tuple(sorted(set(points))),
        tolerance,
        scope,
        step,
    )
    if calibration is not None and not plan.reads_text:
        raise ParameterError(
            f"calibration is for pruning by a look at text, but {', '.join(chosen)} needs none; leave it out,"
            " or name one of those as methods, such as wanda",
            "calibration methods",
        )
    context = replace(_context(device, threads, cache), data=splits_of(data))
    if calibration is not None:
        context = replace(context, calibration=corpus_of(calibration, "train", CALIBRATION))
    if teacher is not None:
        context = replace(context, teacher=open_folder(model_folder(reference_of(teacher))))
    against = None if baseline is None else reference_of(baseline)
    return search_sparsity(
        reference_of(model),
        out=os.fspath(out),
        plan=plan,
        context=context,
        baseline=against,
        types=types,
        commands=commands,
    )


def search(
    model: str | os.PathLike[str] | Model | None = None,
    *,
    data: str | os.PathLike[str] | None = None,
    recipe: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    front: str | os.PathLike[str] | None = None,
    keep_all: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    cache: Path | None = None,
    **changes: Any,
) -> Found:
    """Find the front of F1, speed and size over layers, width, pieces, sparsity and precision, within a time.

    Args:
        model: The model to start from; with a recipe, instead of the recipe's teacher.
        data: Labeled data with train, dev and test; with a recipe, instead of the recipe's.
        recipe: A recipe of a search, as a YAML file or its content; without one, sensible ranges for the
            model.
        out: Folder for the one model to take: the smallest whose F1 is inside the budget.
        front: Folder for the front and its models; ``searches/NAME`` by default.
        keep_all: Keep the models of all points, not those of the front alone.
        device: A torch device to train on.
        threads: Threads of each engine.
        cache: Where teacher logits are kept.
        changes: Other top-level keys, such as ``minutes``, ``max_drop`` (without a recipe), ``seed``.

    Returns:
        The front, the knee, the smallest point inside the budget, and what test says of them.

    Raises:
        ParameterError: If neither a recipe nor a model and data are given.
        AffineurError: Whatever else is wrong, in one line.
    """
    from affineur.pipeline.search import search as search_front
    from affineur.pipeline.search_recipe import default_search_recipe, make_search_recipe, read_search_recipe

    if model is not None:
        changes["teacher"] = reference_of(model)
    if data is not None:
        changes["data"] = os.fspath(data)
    if recipe is None:
        if model is None or data is None:
            raise ParameterError(
                "a search needs a model and data, or a recipe", "model" if model is None else "data"
            )
        _check_search(**changes)
        layers = open_folder(model_folder(changes["teacher"])).layers
        asked = default_search_recipe(changes.pop("teacher"), changes.pop("data"), layers, **changes)
    elif isinstance(recipe, Mapping):
        asked = make_search_recipe({**recipe, **changes})
    else:
        asked = read_search_recipe(os.fspath(recipe), changes)
    where = Path(front) if front is not None else Path("searches") / asked.name
    return search_front(
        asked,
        front=where,
        out=None if out is None else os.fspath(out),
        keep_all=keep_all,
        context=_context(device, threads, cache),
    )


def _check_search(minutes: float = 1, max_drop: float | str = 0.01, **_: object) -> None:
    """Refuse what no recipe states, under the names it was given by."""
    from affineur.measure.budget import fraction_of

    if not 0 < minutes < math.inf:
        raise ParameterError(f"minutes={minutes:g} is impossible, expected more than 0", "minutes")
    fraction_of(max_drop)


def _context(device: str, threads: int | None, cache: Path | None) -> Context:
    settle(device, threads)
    return context_at(device, threads, cache)
