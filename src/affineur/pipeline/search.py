"""``search``: within a time, the Pareto front of F1, speed and size.

Points differ in layers, feed-forward width, pieces, sparsity and precision.

::

    FRONT/recipe.yaml                  what was asked for
    FRONT/trials.json                  every point tried, written after each: a stopped search goes on there
    FRONT/models/L6-w0.5-…-int8, …     the artifacts of the front; the others are removed, unless all are kept
    FRONT/scores/                      per-sentence counts, by model and data digest
    FRONT/search.json, search.md, .svg the front, the knee, the smallest point inside the budget

A point goes through the stages of the other commands: distill, shrink, trim-vocab, prune, recover, then
export and quantize, or pack. Each stage writes a folder named after what was done so far, so points with
equal beginnings share them. F1 is taken on dev, and on test for the points recommended alone. Speed is that
of the point against the teacher as it was given (in torch), both in this process, timed in turn.
"""

from __future__ import annotations

import shutil
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import yaml

from affineur.artifact import ModelFolder, alone, open_folder, refuse_to_lose, verify, write_json, write_text
from affineur.artifact.reading import WRONG, read_json
from affineur.artifact.writing import MANIFEST
from affineur.engines.core.references import model_folder
from affineur.entities import Corpus, shared_sentences, types_of, with_prefix
from affineur.errors import DataError, ModelError, ParameterError
from affineur.measure import Confirmation, Evaluation, Point, State, scored_types, throughput
from affineur.measure.bootstrap import FEWEST
from affineur.pipeline.artifacts import copy_artifact
from affineur.pipeline.models import load, model_digest
from affineur.pipeline.runner import open_data
from affineur.pipeline.scores import ScoreBook
from affineur.pipeline.search_recipe import SearchRecipe
from affineur.pipeline.search_results import Found, Trial, write_found
from affineur.pipeline.search_space import Choice, Space, propose, require_optuna
from affineur.progress import report
from affineur.runtime import EngineTagger
from affineur.steps.core.context import Context
from affineur.steps.core.step import STEPS, Step
from affineur.transfer import Splits

_TRIALS = "trials.json"
_SPEED_SENTENCES = 512


def search(
    recipe: SearchRecipe,
    *,
    front: Path | str,
    out: Path | str | None = None,
    keep_all: bool = False,
    context: Context | None = None,
) -> Found:
    """Try points until the time is spent; the same call goes on where it stopped, with more minutes too.

    No point is begun that would, by the median of those before it, end after the time. One that cannot be
    made is recorded as failed. The time of scoring the recommended points on test is not counted.

    Args:
        recipe: The recipe.
        front: Folder for the front: its figures, its models, and what an interrupted search goes on with.
        out: Folder for the one model to take: the smallest whose F1 is inside the budget; ``None`` for none.
        keep_all: Keep every artifact, not those of the front alone.
        context: Where points are trained (speed is always that of the CPU), cache.

    Raises:
        MissingExtraError: If optuna is not installed.
        RecipeError: If the ranges do not fit the teacher.
        DataError: If a split is missing, too small to show anything, or has types the teacher does not know.
        ParameterError: If ``out`` holds something else, or the search of another recipe.
        ModelError: If the teacher cannot be used, or no point could be made.
    """
    require_optuna()
    best, out = out, Path(front)
    if best is not None:
        refuse_to_lose(Path(best))
    splits = open_data(recipe.data_recipe)
    teacher = open_folder(model_folder(recipe.teacher))
    space = Space.of(recipe.ranges, teacher.layers)
    _check(recipe, splits, teacher)
    with alone(out, "name another folder"):
        bench = _Bench(recipe, out, teacher, replace(context or Context(), data=splits))
        parts = [splits.get(name).digest for name in ("train", "dev", "test")]
        key = " ".join([recipe.digest, teacher.digest(), *parts])
        trials = _read(out, key)
        write_text(
            out / "recipe.yaml",
            yaml.safe_dump(
                recipe.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True
            ),
        )
        while (choice := _next(recipe, space, trials)) is not None:
            trials.append(bench.tried(choice))
            write_json(out / _TRIALS, {"key": key, "trials": [trial.as_dict() for trial in trials]})
        made = [trial for trial in trials if trial.point]
        if not made:
            tried = f"the last of {len(trials):,} said: {trials[-1].error}" if trials else "no time was given"
            raise ModelError(f"no point of the search could be made; {tried}")
        found = Found(
            recipe,
            out,
            recipe.teacher,
            teacher.size_bytes,
            bench.baseline(splits.get("dev")),
            tuple(trials),
        )
        found.confirmations = {trial.name: bench.confirm(trial) for trial in found.recommended}
        for trial in found.kept if not keep_all else made:
            bench.make(trial.choice)  # there already, unless somebody removed it
        if not keep_all:
            bench.tidy({trial.name for trial in found.kept})
        write_found(found)
        if best is not None and found.smallest is not None:
            copy_artifact(out / "models" / found.smallest.name, Path(best))
    return found


def _check(recipe: SearchRecipe, splits: Splits, teacher: ModelFolder) -> None:
    splits.get("train")
    known = types_of(with_prefix(label) for label in teacher.labels)
    for name in ("dev", "test"):
        corpus = splits.get(name)
        scored_types(known, corpus, recipe.types)
        if len(corpus) < FEWEST:
            raise DataError(
                f"{len(corpus)} sentences as {name}, and on fewer than {FEWEST} no interval shows anything; "
                "give more text",
                corpus.name,
            )
    train, dev, test = (splits.get(name) for name in ("train", "dev", "test"))
    for name, corpus, used in (("dev", dev, [train]), ("test", test, [train, dev])):
        if 2 * (shared := shared_sentences(corpus, used)) >= len(corpus):
            where = " or ".join(("train", "dev")[: len(used)])
            raise DataError(
                f"{shared:,} sentences of {name} stand in {where} too, so nothing could be shown on it; take "
                "them out",
                splits.name,
            )


def _read(out: Path, key: str) -> list[Trial]:
    """Read the trials of an earlier run in a folder, and refuse any other folder that is not empty.

    Raises:
        ParameterError: If it holds something else, or the search of another recipe.
    """
    file = out / _TRIALS
    if not file.is_file():
        if out.exists() and (
            not out.is_dir() or {path.name for path in out.iterdir()} - {"recipe.yaml", "models", "scores"}
        ):
            raise ParameterError(f"{out} holds what no search wrote; name another folder")
        return []
    try:
        kept = read_json(file)
        if kept["key"] == key:
            return [Trial.of(trial) for trial in kept["trials"]]
    except (OSError, *WRONG):
        raise ParameterError(f"{file} is damaged; delete {out}, or name another folder") from None
    raise ParameterError(
        f"{out} holds a search with another teacher, data, ranges or training; name another folder, or "
        "delete it"
    )


def _next(recipe: SearchRecipe, space: Space, trials: list[Trial]) -> Choice | None:
    """Choose the next point, if there is time for one."""
    spent = sum(trial.seconds for trial in trials)
    usual = statistics.median(trial.seconds for trial in trials) if trials else 0.0
    if spent + usual > recipe.minutes * 60:
        return None
    choice = propose(space, {trial.choice: trial.costs for trial in trials}, recipe.seed)
    if choice is not None:
        report(
            f"point {len(trials) + 1}, {spent / 60:.1f} of {recipe.minutes:g} minutes spent: {choice.name}"
        )
    return choice


@dataclass
class _Bench:
    """Makes points and measures them."""

    recipe: SearchRecipe
    out: Path
    teacher: ModelFolder
    context: Context
    book: ScoreBook = field(init=False)

    def __post_init__(self) -> None:
        self.book = ScoreBook(self.out / "scores")

    @property
    def splits(self) -> Splits:
        """The data."""
        return self.context.splits

    @property
    def blind(self) -> Context:
        """The context without dev, which decides on points and on nothing before them."""
        return replace(self.context, data=replace(self.splits, dev=None))

    @cached_property
    def teacher_tagger(self) -> EngineTagger:
        """The teacher as it was given, on the CPU."""
        return load(self.teacher.path, threads=self.context.threads)

    def tried(self, choice: Choice) -> Trial:
        """Make and measure a point; what cannot be made is a failed trial."""
        start = time.monotonic()
        try:
            made = self.make(choice)
            tagger = load(made, threads=self.context.threads)
            point = self.judge(
                self.scored(made, self.splits.get("dev"), tagger), self.splits.get("dev"), choice
            )
            sentences = [sentence.words for sentence in self.splits.get("dev").spread(_SPEED_SENTENCES)]
            teacher_speed, speed = throughput([self.teacher_tagger, tagger], sentences)
            trial = Trial(
                choice,
                time.monotonic() - start,
                point,
                open_folder(made).size_bytes,
                speed.ratio(teacher_speed),
            )
        except (ModelError, ParameterError, DataError) as error:
            trial = Trial(choice, time.monotonic() - start, error=str(error))
        report(str(trial))
        return trial

    def make(self, choice: Choice) -> Path:
        """Write the artifact of a point, step after step; what is there already is used."""
        models = self.out / "models"
        final = models / choice.name
        with suppress(ModelError):
            if (final / MANIFEST).is_file():
                verify(final)
                return final
        current = self.teacher.path
        for name, step in self.steps(choice):
            context = self.context
            if step.name == "recover":  # it learns from the teacher too, and no epoch is scored on dev
                context = replace(self.blind, teacher=self.teacher)
            elif step.name == "distill" and getattr(step, "keep", None) != "search":
                context = self.blind
            current = step.run(open_folder(current), models / name, context)
        return current

    def steps(self, choice: Choice) -> list[tuple[str, Step]]:
        """Say how a point is made: each step with the name of its folder, which says what was done so far.

        Points with equal beginnings share them.
        """
        name, whole = f"L{choice.layers}", self.teacher.layers
        found: list[tuple[str, Step]] = []
        if choice.layers < whole:
            found.append((name, self.recipe.distill(choice.layers)))
        changed = len(found)
        for suffix, wanted, step, values in (
            (f"w{choice.ffn_width:g}", choice.ffn_width < 1, "shrink", {"ffn_width": choice.ffn_width}),
            (
                f"v{choice.vocabulary}",
                choice.vocabulary is not None,
                "trim-vocab",
                {"keep": choice.vocabulary},
            ),
            (f"s{choice.sparsity:g}", bool(choice.sparsity), "prune", {"sparsity": choice.sparsity}),
        ):
            if wanted:
                name += f"-{suffix}"
                found.append((name, STEPS.get(step).given(values)))
        recover = self.recipe.recover
        if len(found) > changed and recover.parameters["epochs"]:
            found.append((f"{name}-recovered", recover))
        if choice.precision == "packed":
            return [*found, (choice.name, STEPS.get("pack").given({}))]
        plain = choice.precision == "fp32"
        found.append((choice.name if plain else f"{name}-fp32", STEPS.get("export").given({})))
        if not plain:
            # F1 is what judges a point here, so no agreement with its parent is asked for besides.
            scheme = {} if choice.precision == "int8" else {"scheme": choice.precision}
            found.append((choice.name, STEPS.get("quantize").given({"min_agreement": 0.0, **scheme})))
        return found

    def scored(self, model: Path, corpus: Corpus, tagger: EngineTagger | None = None) -> Evaluation:
        """Score a model, at most once."""
        return self.book.evaluate(
            model_digest(model),
            lambda: tagger or load(model, threads=self.context.threads),
            corpus,
            self.recipe.types,
        )

    def baseline(self, corpus: Corpus) -> Evaluation:
        """Score the teacher, at most once."""
        return self.book.evaluate(
            model_digest(self.teacher.path), lambda: self.teacher_tagger, corpus, self.recipe.types
        )

    def judge(self, scored: Evaluation, corpus: Corpus, choice: Choice) -> Point:
        """Judge a point by the budget."""
        return self.recipe.f1_budget.point(
            scored, self.baseline(corpus), "magnitude", choice.sparsity, choice.sparsity
        )

    def confirm(self, trial: Trial) -> Confirmation:
        """Judge a recommended point on the split the search never saw."""
        test = self.splits.get("test")
        report(f"confirming {trial.name} on {test.name}")
        scored = self.scored(self.make(trial.choice), test)
        point, budget = self.judge(scored, test, trial.choice), self.recipe.f1_budget
        state: State = "confirmed" if point.inside else "agrees" if budget.allows(point) else "disagrees"
        shared = shared_sentences(test, [self.splits.get("train"), self.splits.get("dev")])
        return Confirmation(test.name, test.digest, len(test), shared, point, state)

    def tidy(self, kept: set[str]) -> None:
        """Remove the artifacts of all other points, and what lies between them and the teacher."""
        for path in (self.out / "models").glob("*"):
            if (
                path.is_dir()
                and path.name not in kept
                and (path.name.startswith(".") or (path / MANIFEST).is_file())
            ):
                shutil.rmtree(path)
