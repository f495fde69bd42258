"""``sweep``: the largest sparsity whose interval of F1 is inside a budget, checked on text it never saw.

A coarse scan of each method finds where F1 leaves the budget, bisection narrows that down. A point counts as
inside only where the whole interval is. Every point is scored once: its counts are kept by digest of model,
data and parameters.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from affineur.artifact import (
    MANIFEST,
    Measured,
    alone,
    describe,
    disk_errors,
    new_folder,
    open_folder,
    read_manifest,
    refuse_to_lose,
    verify,
    write_card,
    write_json,
    write_manifest,
    write_text,
)
from affineur.entities import Corpus, shared_sentences
from affineur.errors import DataError, ModelError, ParameterError
from affineur.measure import Confirmation, Curve, Evaluation, Point, State, Sweep, sparsest
from affineur.measure.bootstrap import FEWEST
from affineur.measure.report.picture import picture
from affineur.pipeline.artifacts import copy_artifact, copy_files
from affineur.pipeline.models import Reference, model_name
from affineur.pipeline.points import Plan, Points, point_folder
from affineur.pipeline.scores import ScoreBook
from affineur.progress import report
from affineur.steps.core.context import Context
from affineur.transfer import Splits


def sweep(
    model: str,
    *,
    out: Path | str,
    plan: Plan,
    context: Context,
    baseline: str | None = None,
    types: Sequence[str] | None = None,
    commands: Mapping[str, str] | None = None,
) -> Sweep:
    """Search dev for the largest sparsity inside a budget, check that model against test, and write it.

    A model that test disagrees with never takes the place of an earlier one in ``out``. Does again
    only what is not known yet: scores are kept by digest in the cache, an interrupted fine-tuning goes on.

    Args:
        model: The model to prune: a folder, a Hub id or ``sample``.
        out: Folder of the artifact to write, with ``sweep.json``; its manifest carries the evidence.
        plan: What is searched.
        context: Data (``dev`` is searched, ``test`` confirms, ``train`` is for recovery and calibration),
            calibration text (train by default; labels are ignored), a teacher to recover with, device, cache.
        baseline: What a drop is measured from; the model itself by default.
        types: Types to score, or ``None`` for all.
        commands: Command lines that give all this again, by what each gives, for the card.

    Returns:
        What was found; nothing is written where no point is inside the budget.

    Raises:
        ParameterError: If a value is out of range, model and baseline do not know the same types, or ``out``
            holds what is not ours or is one of the models.
        DataError: If a split is missing, too small to show anything, has foreign types, or is mostly another
            one.
        ModelError: If a model cannot be used.
    """
    out, data = Path(out), context.splits
    dev, test = data.get("dev"), data.get("test")
    shared = _check_data(data, plan, context.calibration)
    folder = _folder(model)
    measured = None if baseline is None else Reference.parse(baseline)
    against = [] if measured is None or measured.peer else [measured.folder()]
    against += [context.teacher.path] if plan.recovery and context.teacher else []
    for given in (folder, *against):
        if out.resolve() == given.resolve():
            raise ParameterError(
                f"{out} is one of the models given, which would be lost; name another folder as out", "out"
            )
    refuse_to_lose(out)
    work = out.resolve().parent / f".{out.resolve().name}.sweep"
    book = ScoreBook(context.cache / "scores")
    search = Points(
        open_folder(folder), model_name(model), dev, baseline or model, plan, book, context, types, work
    )
    for corpus in (dev, test):
        search.check(corpus)
    with alone(out, "name another folder as out"), _workplace(work):
        curves = tuple(search.curve(method, plan.budget) for method in plan.methods)
        curves = _settled(search, curves, out, work)
        recovery = plan.recovery.parameters if plan.recovery else None
        unpruned = search.unpruned(plan.methods[0])
        found = Sweep(curves, plan.methods, plan.budget, recovery, dev.digest, unpruned)
        if (chosen := _best(curves)) is None:
            return found
        made = search.make(chosen.method, chosen.asked, work)
        report(f"confirming on {test.name}")
        scored, baseline_scored = search.scored(made, test), search.scored_baseline(test)
        info = describe(made)
        confirmation = _confirm(search, chosen, scored, baseline_scored, shared)
        whole = 1 - info.nonzero / info.parameters
        found = replace(found, chosen=chosen, sparsity_of_model=whole, confirmation=confirmation)
        if confirmation.state == "disagrees" and (out / MANIFEST).exists():
            return replace(found, kept=out)
        found = replace(found, out=out)
        _write(made, out, found, _measured(found, confirmation, scored, baseline_scored, commands or {}))
    return found


def _folder(model: str) -> Path:
    """Return the folder of the model to prune."""
    parsed = Reference.parse(model)
    if parsed.prefix and not parsed.peer:  # a peer says itself that it is none
        raise ParameterError(
            f"{model} is {parsed.rest} run in another way, and only its folder can be pruned; give "
            f"{parsed.rest}"
        )
    return parsed.folder()


def _check_data(data: Splits, plan: Plan, calibration: Corpus | None) -> int:
    """Check that the search has enough to go on, and how much of test it sees before it is confirmed there.

    Sentences are compared by their words: the same file under other tags, order or format is the same text.

    Returns:
        How many sentences of test stand in what is searched or learned from too.
    """
    dev, test = data.get("dev"), data.get("test")
    if len(dev) < FEWEST:
        found = f"{len(dev)} sentence{'' if len(dev) == 1 else 's'}"
        raise DataError(
            f"found {found} to search on, and on fewer than {FEWEST} no interval shows anything; give more "
            "text as dev",
            dev.name,
        )
    used = {"dev": dev} | ({"train": data.train} if plan.recovery and data.train else {})
    if plan.recovery and data.train:
        _refuse_the_same(
            "train", data.train, "dev", dev, data.name, "what is fine-tuned on them cannot be judged on them"
        )
    if plan.reads_text and (text := calibration or data.train):
        used["the calibration text"] = text
    for name, corpus in used.items():
        _refuse_the_same(name, corpus, "test", test, data.name, "nothing would be left to confirm on")
    return shared_sentences(test, used.values())


def _refuse_the_same(name: str, corpus: Corpus, other_name: str, other: Corpus, where: str, why: str) -> None:
    """Refuse a corpus that holds half of the sentences of another or more, and warn where it holds fewer."""
    shared = shared_sentences(other, [corpus])
    if shared == len(other):
        raise DataError(f"{name} and {other_name} are the same sentences, so {why}", where)
    found = f"{shared:,} of the {len(other):,} sentences of {other_name} stand in {name} too"
    if 2 * shared >= len(other):
        raise DataError(f"{found}, so {why}; take them out of one of the two", where)
    if shared:
        report(f"warning: {found}; what is measured on {other_name} is that much less of a test")


@contextmanager
def _workplace(work: Path) -> Iterator[None]:
    """Hold a folder for models to be fine-tuned; it stays only where a stopped run can go on in it."""
    with disk_errors(work):
        work.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        # All else is made again in no time.
        if any(work.glob("*_finetuned")) or any(work.glob(".*_finetuned.work")):
            report(
                f"what was fine-tuned so far stays in {work}: the same command goes on there, or delete it"
            )
        else:
            shutil.rmtree(work, ignore_errors=True)
        raise
    shutil.rmtree(work)


def _best(curves: Sequence[Curve]) -> Point | None:
    return sparsest(point for curve in curves if (point := curve.best))


def _settled(search: Points, curves: tuple[Curve, ...], out: Path, work: Path) -> tuple[Curve, ...]:
    """Make the winner and judge what was made; where that is another point, it takes its place."""
    while (chosen := _best(curves)) is not None:
        _lend(out, work, chosen)
        judged = search.again(search.make(chosen.method, chosen.asked, work), chosen)
        if judged == chosen:
            break
        report(
            f"{chosen.method} at {chosen.sparsity:.2%} is another model now than when it was scored; what "
            "was made now counts"
        )
        curves = tuple(
            replace(curve, points=tuple(judged if point == chosen else point for point in curve.points))
            for curve in curves
        )
    return curves


def _confirm(
    search: Points, chosen: Point, scored: Evaluation, baseline: Evaluation, shared: int
) -> Confirmation:
    """Judge the chosen model, and no other, on the split the search never saw."""
    point = search.plan.budget.point(
        scored, baseline, chosen.method, chosen.asked, chosen.sparsity, chosen.recovered
    )
    state: State = (
        "confirmed" if point.inside else "agrees" if search.plan.budget.allows(point) else "disagrees"
    )
    return Confirmation(scored.corpus, scored.data_digest, scored.sentences, shared, point, state)


def _lend(out: Path, work: Path, chosen: Point) -> None:
    """Offer an earlier winner to the step that would make it again; that checks whether it is the same."""
    place = work / f"{point_folder(chosen.method, chosen.asked)}_finetuned"
    if not chosen.recovered or place.exists():
        return
    with contextlib.suppress(ModelError):  # damaged, so it is made again
        manifest = verify(out)
        made_from = (
            manifest.parents[0].parameters
            if manifest and manifest.stage == "recover" and manifest.parents
            else {}
        )
        if (made_from.get("method"), made_from.get("sparsity")) == (chosen.method, chosen.asked):
            copy_artifact(out, place)


def _measured(
    found: Sweep,
    confirmation: Confirmation,
    scored: Evaluation,
    baseline: Evaluation,
    commands: Mapping[str, str],
) -> Measured:
    """Say what the card says: the scores on the split the search never saw."""
    change, first = scored.minus(baseline), found.curves[0]
    about = (
        f"Chosen by affineur sweep among {found.tried:,} points on {first.sentences:,} other sentences; "
        f"the budget: {found.budget}"
    )
    states = {
        "confirmed": "shown to be inside it",
        "agrees": "inside it by its estimate alone",
        "disagrees": "outside it by its estimate",
    }
    seen = (
        f" {confirmation.shared:,} of these were among what it was chosen or trained on."
        if confirmation.shared
        else ""
    )
    return Measured.of(
        scored.as_dict(),
        split="test",
        baseline=first.baseline,
        drop=0.0 - change.value,
        drop_low=0.0 - change.high,
        drop_high=0.0 - change.low,
        commands=commands,
        notes=[f"{about}. On the sentences scored here it is {states[confirmation.state]}.{seen}"],
    )


def _write(made: Path, out: Path, found: Sweep, measured: Measured) -> None:
    """Put the chosen model in its place together with the evidence, in one step."""
    manifest = read_manifest(made)
    assert manifest is not None
    evidence = found.as_dict()
    with new_folder(out) as building:
        copy_files(made, building)
        write_json(building / "sweep.json", evidence)
        write_text(building / "sweep.svg", picture(found.curves))
        kept = {
            key: value for key, value in evidence.items() if key not in ("points", "machine", "out", "kept")
        }
        write_manifest(building, replace(manifest, scores={**manifest.scores, "sweep": kept}))
    write_card(out, measured)
