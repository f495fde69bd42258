"""``run``: a recipe through its steps, into ``runs/NAME/``; a killed run goes on where it stopped.

::

    runs/NAME/recipe.yaml                                what was asked for
    runs/NAME/models/student_11L, student_11L_pruned, …  one artifact per step
    runs/NAME/scores/                                    per-sentence counts, by model and data digest
    runs/NAME/compare.json, report.html, …               the results (see ``results``)
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from affineur import sample
from affineur.artifact import ModelFolder, alone, open_folder, write_text
from affineur.engines.core.references import model_folder
from affineur.entities import Scheme, types_of, with_prefix
from affineur.errors import AffineurError, RecipeError, did_you_mean
from affineur.measure import scored_types
from affineur.pipeline.ahead import ahead, in_words, seconds_per_sentence
from affineur.pipeline.entries import TEACHER, Entry, Planned, planned
from affineur.pipeline.models import load, model_digest
from affineur.pipeline.recipe import PublishSection, Recipe
from affineur.pipeline.results import Run, row_reference, write_results
from affineur.pipeline.scores import ScoreBook
from affineur.progress import report
from affineur.steps.core.context import CALIBRATION, Context
from affineur.steps.core.step import Shape
from affineur.transfer import DataOptions, Splits, load_corpus, load_splits
from affineur.transfer.places.core.place import shown
from affineur.transfer.push import place_to_push, push

_QUICK_ROUNDS = 3


def run(
    recipe: Recipe,
    *,
    runs: Path | str = "runs",
    context: Context | None = None,
    quote: bool = True,
    quick: bool = False,
) -> Run:
    """Run a recipe. A second run finds everything done; a killed one goes on where it stopped.

    Args:
        recipe: The recipe.
        runs: Folder that holds all runs.
        context: Where it works: device, threads, cache. Data, teacher and recipe are the recipe's own.
        quote: Whether the report and ``errors.json`` may quote sentences of the data, names included.
        quick: Leave out what takes longest beside training: ``sweep``, ``benchmark``, peak memory and most
            timing rounds. A later run without it makes up for them; no model is made again.

    Raises:
        AffineurError: Whatever is wrong with the recipe's teacher, data or values, in one line, before any
            training as far as it can be known by then.
    """
    folder = Path(runs) / recipe.name
    splits = open_data(recipe)
    given = model_folder(recipe.teacher)
    teacher = recipe.steps[0].step.open(given) if recipe.steps else open_folder(given)
    steps = planned(recipe.steps, Shape.of(teacher))
    context = replace(context or Context(), data=splits, recipe=recipe.digest)
    _check(recipe, steps, splits, teacher, context)
    with alone(folder, "give the recipe another name"):
        made = Run(folder, {TEACHER: given})
        text = yaml.safe_dump(_without_secrets(recipe.as_dict()), sort_keys=False, allow_unicode=True)
        write_text(folder / "recipe.yaml", text)
        scores = ScoreBook(folder / "scores")
        if not (folder / "compare.json").is_file():
            _say_what_is_ahead(quickened(recipe) if quick else recipe, steps, splits, given, context)
        for step in steps:
            _make(step, made, _context_of(step.entry, made, context, scores, recipe.types))
        if quick:
            report("quick: no sweep, no benchmark, no peak memory, three timing rounds")
            recipe = quickened(recipe)
        write_results(recipe, made, splits, splits.get("test"), scores, context, quote=quote)
        if recipe.publish:
            _publish(recipe.publish, made)
    return made


def _say_what_is_ahead(
    recipe: Recipe, steps: Sequence[Planned], splits: Splits, teacher: Path, context: Context
) -> None:
    """Say about how long it takes, as the teacher's speed on this machine tells; silent where it has none."""
    begun = time.perf_counter()
    try:
        tagger = load(teacher, context.device, threads=context.threads)
    except AffineurError:  # a teacher that is trained first has no classifier yet
        return
    loaded = time.perf_counter() - begun
    each = seconds_per_sentence(tagger, splits.get("test"))
    report(in_words(ahead(recipe, steps, splits, each, loaded)))


def quickened(recipe: Recipe) -> Recipe:
    """Return a recipe without what takes longest beside its steps."""
    few = recipe.compare.model_copy(
        update={"rounds": min(recipe.compare.rounds, _QUICK_ROUNDS), "memory": False}
    )
    return recipe.model_copy(update={"sweep": None, "benchmark": None, "compare": few})


def _without_secrets(part: Any) -> Any:
    """Return what a recipe says without passwords and signatures in addresses: reports show it."""
    if isinstance(part, dict):
        return {key: _without_secrets(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_without_secrets(value) for value in part]
    return shown(part) if isinstance(part, str) else part


def _publish(section: PublishSection, made: Run) -> None:
    """Push the last model where the recipe says, if it reaches every bar."""
    if not made.passed:
        report(f"a bar was missed, so nothing was published to {shown(section.to)}")
        return
    last = made.models[next(reversed(made.models))]
    made.published = push(last, section.to, access=section.access, publication=section.publication).where


def open_data(recipe: Recipe) -> Splits:
    """Open the data of a recipe."""
    section = recipe.data_section
    options = DataOptions(
        format=section.format,
        word_column=section.word_column,
        tag_column=section.tag_column,
        scheme=Scheme(section.scheme) if section.scheme else None,
        tag_names=tuple(section.tag_names) if section.tag_names else None,
        label_map=section.label_map or None,
        dev_share=section.dev_share,
    )
    return load_splits(section.path, options)


def _check(
    recipe: Recipe, steps: Sequence[Planned], splits: Splits, teacher: ModelFolder, context: Context
) -> None:
    """Check what only teacher and data can tell, before hours of training: splits, types, rows.

    Raises:
        DataError: If a split that a step needs is missing, or a split has types that the teacher does not
            know.
        ParameterError: If ``types`` names a type that neither teacher nor data know, a step cannot work on
            what it is given, or ``publish`` names no known place or what says nothing to it.
        TransferError: If ``publish`` names a place that nothing can be written to.
        RecipeError: If a bar names a type that is not scored, or a row no model of the recipe.
    """
    test = splits.get("test")
    trained = bool(steps) and steps[0].name == TEACHER
    # A teacher that is trained first learns the types of its data.
    known = splits.get("train").types if trained else types_of(with_prefix(label) for label in teacher.labels)
    scored = scored_types(known, test, recipe.types)
    for step in steps:
        inputs = step.entry.inputs
        step.step.check(replace(context, teacher=teacher) if "teacher" in inputs else context)
    if recipe.sweep:
        scored_types(known, splits.get("dev"), recipe.types)
        if recipe.plan and recipe.plan.reads_text:
            splits.get("train")
    if recipe.publish:
        place_to_push(recipe.publish.to, recipe.publish.access, recipe.publish.publication)
    if recipe.bars:
        recipe.bars.refuse_unknown_types(scored)
    names = [TEACHER, *(step.name for step in steps)]
    rows = recipe.compare.rows or names
    for row in [*rows, *(recipe.benchmark.rows or [] if recipe.benchmark else [])]:
        if not row_reference(row, dict.fromkeys(names, Path())) and not _outside(row):
            raise RecipeError(
                f"compare.rows and benchmark.rows name '{row}', but the rows of this recipe are "
                f"{', '.join(names)}{did_you_mean(row, names)}"
            )
    if recipe.check is not None and steps and steps[-1].name not in rows:
        raise RecipeError(
            f"check is for the last model, {steps[-1].name}, which compare.rows leaves out; add it there"
        )


def _outside(row: str) -> bool:
    """Say whether a row may be a model of elsewhere: a folder, or what has a prefix or an owner."""
    return ":" in row or "/" in row or Path(row).is_dir() or row in sample.MODELS


def _context_of(
    entry: Entry, made: Run, context: Context, scores: ScoreBook, types: Sequence[str] | None
) -> Context:
    """Give a step what its item names, and scores that are kept between runs."""

    def f1(model: ModelFolder) -> float:
        dev = context.splits.get("dev")
        digest = model_digest(model.path)
        return scores.evaluate(
            digest, lambda: load(model.path, context.device, threads=context.threads), dev, types
        ).total.f1

    found = replace(context, dev_f1=f1, notes=made.notes)
    if (name := entry.inputs.get("teacher")) is not None:
        found = replace(found, teacher=open_folder(made.models.get(name) or model_folder(name)))
    if (name := entry.inputs.get("calibration")) is not None:
        found = replace(found, calibration=load_corpus(name, "train", CALIBRATION))
    if (name := entry.inputs.get("data")) is not None:
        found = replace(found, data=load_splits(name))
    return found


def _make(step: Planned, made: Run, context: Context) -> None:
    """Take one step; where nothing had to be done, its name stands for the model it starts from."""
    source = made.models[step.source]
    model = step.step.open(source)
    out = step.step.run(model, made.folder / "models" / step.name, context)
    made.models[step.name] = out
    if out != source:
        made.steps[step.name] = step
