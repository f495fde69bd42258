"""``sweep``: the largest sparsity inside a budget of F1, shown to be inside it and confirmed on text the search never saw.

A coarse scan of each method finds where F1 leaves the budget, bisection narrows that down. A point counts as inside only
where the whole interval is. Every point is scored once: its counts are kept by digest of model, data and parameters.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from html import unescape
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from affineur.artifact import (
    MANIFEST,
    Measured,
    describe,
    describe_machine,
    disk_errors,
    environment,
    new_folder,
    read_manifest,
    refuse_to_lose,
    write_card,
    write_json,
    write_manifest,
    write_text,
)
from affineur.compress import cache_folder
from affineur.entities import Corpus
from affineur.errors import DataError, ModelError, ParameterError
from affineur.measure import Curve, Evaluation, Point, sparsest
from affineur.measure.bootstrap import FEWEST
from affineur.measure.report.curve import curves as drawn
from affineur.measure.report.markup import el, said
from affineur.pipeline.locking import alone
from affineur.pipeline.models import Reference, model_name
from affineur.pipeline.points import Plan, Points, point_folder
from affineur.pipeline.scores import ScoreBook
from affineur.progress import report
from affineur.transfer import SPACY, Splits

State = Literal["confirmed", "agrees", "disagrees"]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The chosen model on the split the search never saw.

    Args:
        data: Name of the split.
        data_digest: Digest of the split.
        sentences: Its sentences.
        point: The scores there.
        state: ``confirmed`` where the whole interval is inside the budget there too, ``agrees`` where the estimate is but
            the interval reaches over it, ``disagrees`` where the estimate is outside.
    """

    data: str
    data_digest: str
    sentences: int
    point: Point
    state: State

    def as_dict(self) -> dict[str, Any]:
        """Return stable keys."""
        known = {"data": self.data, "data_digest": self.data_digest, "sentences": self.sentences, "state": self.state}
        return {**known, **self.point.as_dict()}

    def __str__(self) -> str:
        """Say it in one line."""
        p = self.point
        figures = f"F1 {p.f1:.2%}, drop {p.drop * 100:+.2f} points ({p.drop_low * 100:+.2f} … {p.drop_high * 100:+.2f})"
        said = {
            "confirmed": "confirmed: the whole interval is inside the budget there too",
            "agrees": "agrees: the estimate is inside the budget there too, but so few sentences do not show it",
            "disagrees": "DISAGREES: outside the budget there; ask for less, or search on more text",
        }[self.state]
        return f"{self.data} ({self.sentences:,} sentences the search never saw): {figures}; {said}"


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep found.

    Args:
        curves: One a method.
        plan: What was searched.
        data_digest: Digest of the split that was searched.
        unpruned: The model itself, judged like a point.
        chosen: The sparsest point inside the budget, or ``None`` where there is none.
        sparsity_of_model: Zeros ÷ parameters of the whole chosen model.
        confirmation: How it does on unseen text.
        out: The artifact written.
    """

    curves: tuple[Curve, ...]
    plan: Plan
    data_digest: str
    unpruned: Point
    chosen: Point | None = None
    sparsity_of_model: float | None = None
    confirmation: Confirmation | None = None
    out: Path | None = None

    @property
    def nearest(self) -> Point:
        """The point that comes nearest to a budget no point meets: the one with the highest F1."""
        return max((p for curve in self.curves for p in curve.points), key=lambda p: p.f1)

    def as_dict(self) -> dict[str, Any]:
        """Return the stable keys of ``sweep --json``: the chosen point's on top, ``null`` where the budget is met by none."""
        first = self.curves[0]
        chosen = self.chosen.as_dict() if self.chosen else dict.fromkeys(Point.__dataclass_fields__)
        best = {method: curve.best.as_dict() if curve.best else None for method, curve in zip(self.plan.methods, self.curves, strict=True)}
        recovery = self.plan.recovery
        return {
            **chosen,
            "sparsity_of_model": self.sparsity_of_model,
            "scope": self.plan.scope,
            **{key: value for key, value in first.as_dict().items() if key != "points"},
            "data_digest": self.data_digest,
            "recovery": recovery and {**asdict(recovery.settings), **(recovery.soft.parameters if recovery.soft else {})},
            "points": [point.as_dict() for curve in self.curves for point in curve.points],
            "best_by_method": best,
            "unpruned": self.unpruned.as_dict(),
            "nearest": None if self.chosen else self.nearest.as_dict(),
            "confirmation": self.confirmation and self.confirmation.as_dict(),
            "out": str(self.out) if self.out else None,
            "machine": environment() | {"description": describe_machine()},
        }


def sweep(
    model: str,
    out: Path | str,
    data: Splits,
    plan: Plan,
    baseline: str | None = None,
    calibration: Corpus | None = None,
    types: Sequence[str] | None = None,
    device: str = "cpu",
    cache: Path | None = None,
) -> Sweep:
    """Search dev for the largest sparsity inside a budget, write that model, and confirm it on test.

    Does again only what is not known yet: scores are kept by digest in the cache, an interrupted fine-tuning goes on.

    Args:
        model: The model to prune: a folder, a Hub id or ``sample``.
        out: Folder of the artifact to write, with ``sweep.json``; its manifest carries the evidence.
        data: ``dev`` is searched, ``test`` confirms, ``train`` is for recovery and calibration.
        plan: What is searched.
        baseline: What a drop is measured from; the model itself by default.
        calibration: Text for activation-aware methods; train by default. Labels are not read.
        types: Types to score, or ``None`` for all.
        device: A torch device.
        cache: Where scores and teacher logits are kept.

    Returns:
        What was found; nothing is written where no point is inside the budget.

    Raises:
        ParameterError: If a value is out of range, model and baseline do not know the same types, or ``out`` holds what is not
            ours or is one of the models.
        DataError: If a split is missing, too small to show anything, has foreign types, or is another one under a second name.
        ModelError: If a model cannot be used.
    """
    out = Path(out)
    dev, test = data.get("dev"), data.get("test")
    _check_data(data, plan, calibration)
    folder = _folder(model)
    against = [] if baseline is None or baseline.startswith(SPACY) else [Reference.parse(baseline).folder()]
    against += [plan.recovery.teacher] if plan.recovery and plan.recovery.teacher else []
    for given in (folder, *against):
        if out.resolve() == given.resolve():
            raise ParameterError(f"{out} is one of the models given, which would be lost; name another folder with -o")
    refuse_to_lose(out)
    work = out.resolve().parent / f".{out.resolve().name}.sweep"
    book = ScoreBook((cache or cache_folder()) / "scores")
    search = Points(folder, model_name(model), dev, baseline or model, plan, book, data.train, calibration, types, device, cache, work)
    for corpus in (dev, test):
        search.check(corpus)
    with disk_errors(out), _workplace(work):
        curves = _settled(search, tuple(search.curve(method, plan.budget) for method in plan.methods), out, work)
        found = Sweep(curves, plan, dev.digest, search.unpruned(plan.methods[0]))
        if (chosen := _best(curves)) is not None:
            found = _finish(search, found, chosen, test, work, out)
    return found


def _folder(model: str) -> Path:
    """Return the folder of the model to prune."""
    parsed = Reference.parse(model)
    if parsed.prefix not in ("", SPACY):  # a spaCy pipeline says itself that it is none
        raise ParameterError(f"{model} is {parsed.rest} run in another way, and only its folder can be pruned; type: affineur sweep {parsed.rest}")
    return parsed.folder()


def _check_data(data: Splits, plan: Plan, calibration: Corpus | None) -> None:
    """Check that the search has enough to go on, and that nothing of it is seen before it is confirmed on test."""
    dev, test = data.get("dev"), data.get("test")
    if len(dev) < FEWEST:
        found = f"{len(dev)} sentence{'' if len(dev) == 1 else 's'}"
        raise DataError(f"found {found} to search on, and on fewer than {FEWEST} no interval shows anything; give more text as dev", dev.name)
    used = {"dev": dev} | ({"train": data.train} if plan.recovery and data.train else {})
    if "wanda" in plan.methods and (text := calibration or data.train):
        used["the calibration text"] = text
    for name, corpus in used.items():
        if corpus.digest == test.digest:
            raise DataError(f"{name} and test are the same sentences, so nothing would be left to confirm on", data.name)
    if plan.recovery and data.train and data.train.digest == dev.digest:
        raise DataError("train and dev are the same sentences: what is fine-tuned on them cannot be judged on them", data.name)


@contextmanager
def _workplace(work: Path) -> Iterator[None]:
    """Hold a folder for models that have to be fine-tuned; it stays only where an interrupted run can go on in it."""
    with alone(work, "name another folder with -o"):
        try:
            yield
        except BaseException:
            if not any(path.is_dir() for path in work.glob("*")):
                shutil.rmtree(work, ignore_errors=True)
            raise
        shutil.rmtree(work)


def _best(curves: Sequence[Curve]) -> Point | None:
    return sparsest(point for curve in curves if (point := curve.best))


def _settled(search: Points, curves: tuple[Curve, ...], out: Path, work: Path) -> tuple[Curve, ...]:
    """Make the winner and judge what was made: where that is another point than the scores kept say, it takes its place."""
    while (chosen := _best(curves)) is not None:
        _lend(out, work, chosen)
        judged = search.again(search.make(chosen.method, chosen.asked, work), chosen)
        if judged == chosen:
            break
        report(f"{chosen.method} at {chosen.sparsity:.2%} is another model now than when it was scored; what was made now counts")
        curves = tuple(replace(curve, points=tuple(judged if point == chosen else point for point in curve.points)) for curve in curves)
    return curves


def _finish(search: Points, found: Sweep, chosen: Point, test: Corpus, work: Path, out: Path) -> Sweep:
    """Confirm the winner, which lies in ``work``, and put it in its place."""
    made = search.make(chosen.method, chosen.asked, work)
    report(f"confirming on {test.name}")
    scored, baseline = search.scored(made, test), search.scored_baseline(test)
    confirmation = _confirm(search, chosen, scored, baseline)
    info = describe(made)
    found = replace(found, chosen=chosen, sparsity_of_model=1 - info.nonzero / info.parameters, confirmation=confirmation, out=out)
    _write(made, out, found, _measured(found, confirmation, scored, baseline))
    return found


def _confirm(search: Points, chosen: Point, scored: Evaluation, baseline: Evaluation) -> Confirmation:
    """Judge the chosen model, and no other, on the split the search never saw."""
    point = search.plan.budget.point(scored, baseline, chosen.method, chosen.asked, chosen.sparsity, chosen.recovered)
    state: State = "confirmed" if point.inside else "agrees" if search.plan.budget.allows(point) else "disagrees"
    return Confirmation(scored.corpus, scored.data_digest, scored.sentences, point, state)


def _lend(out: Path, work: Path, chosen: Point) -> None:
    """Offer an earlier winner to the stage that would fine-tune it again; it takes it only where it is the very same."""
    place = work / f"{point_folder(chosen.method, chosen.asked)}_finetuned"
    if not chosen.recovered or place.exists():
        return
    with contextlib.suppress(ModelError):  # damaged, so it is made again
        manifest = read_manifest(out)
        made_from = manifest.parents[0].parameters if manifest and manifest.stage == "recover" and manifest.parents else {}
        if (made_from.get("method"), made_from.get("sparsity")) == (chosen.method, chosen.asked):
            with new_folder(place) as building:
                _copy(out, building)


def _copy(folder: Path, building: Path, but: str | None = None) -> None:
    for path in folder.iterdir():
        if path.name != but:
            shutil.copyfile(path, building / path.name)


def _measured(found: Sweep, confirmation: Confirmation, scored: Evaluation, baseline: Evaluation) -> Measured:
    """Say what the card says: the scores on the split the search never saw."""
    change = scored.minus(baseline)
    states = {"confirmed": "shown to be inside", "agrees": "inside by its estimate alone", "disagrees": "outside by its estimate"}
    about = f"Chosen by affineur sweep on {found.curves[0].sentences:,} other sentences, where it is shown to be inside {found.plan.budget}"
    return Measured.of(
        scored.as_dict(),
        split="test",
        baseline=found.curves[0].baseline,
        drop=0.0 - change.value,
        drop_low=0.0 - change.high,
        drop_high=0.0 - change.low,
        notes=[f"{about}. On those scored here it is {states[confirmation.state]}."],
    )


def _write(made: Path, out: Path, found: Sweep, measured: Measured) -> None:
    """Put the chosen model in its place together with the evidence, in one step."""
    manifest = read_manifest(made)
    assert manifest is not None
    evidence = found.as_dict()
    with new_folder(out) as building:
        _copy(made, building, but=MANIFEST)
        write_json(building / "sweep.json", evidence)
        write_text(building / "sweep.svg", picture(found.curves))
        kept = {key: value for key, value in evidence.items() if key not in ("points", "machine", "out")}
        write_manifest(building, replace(manifest, scores={**manifest.scores, "sweep": kept}))
    write_card(out, measured)


def sweep_cells(curve: Curve) -> list[list[str]]:
    """Return the cells of a curve's points under :data:`SWEEP_COLUMNS`."""
    return [
        [
            p.method + (" + recovery" if p.recovered else ""),
            f"{p.sparsity:.2%}",
            f"{p.f1:.2%}",
            f"{p.f1_low * 100:.1f}–{p.f1_high * 100:.1f}",
            f"{_points(-p.drop)} ({_points(-p.drop_high)} … {_points(-p.drop_low)})",
            "inside" if p.inside else "outside",
        ]
        for p in curve.points
    ]


SWEEP_COLUMNS = ("Method", "Sparsity", "F1", "Interval", "ΔF1 (interval)", "Budget")


def sweep_lines(found: Sweep) -> list[str]:
    """Say what was found, in lines below the table."""
    first, plan = found.curves[0], found.plan
    lines = [
        f"Searched on {first.data}, {first.sentences:,} sentences; baseline {first.baseline}, F1 {first.baseline_f1:.2%}; budget: {plan.budget}; "
        f"sparsity is zeros ÷ weights in scope ({plan.scope})."
    ]
    if found.chosen is not None:
        best = found.chosen
        whole = f" ({found.sparsity_of_model:.2%} of the whole model)"
        lines.append(f"Chosen: {best.method} at {best.sparsity:.2%}{whole}, inside on the split that was searched: {_may_lose(best)}.")
        return [*lines, str(found.confirmation), f"written to {found.out}, with the evidence in affineur.json, sweep.json and sweep.svg"]
    bare = found.unpruned
    if not bare.inside:
        beyond = "is not shown to be inside the budget" if plan.budget.allows(bare) else "is outside the budget"
        only = all(point == replace(bare, method=point.method) for curve in found.curves for point in curve.points)
        lines.append(f"Even the unpruned model {beyond}: {_figures(bare)}.{' So nothing was pruned.' if only else ''}")
    near = found.nearest
    lines.append(
        f"No sparsity is shown to be inside the budget. The best point, {near.method} at {near.sparsity:.2%}: {_figures(near)}. Nothing was written."
    )
    return lines


def _figures(point: Point) -> str:
    return f"F1 {point.f1:.2%} ({point.f1_low:.2%} to {point.f1_high:.2%}), {_may_lose(point)}"


def _may_lose(point: Point) -> str:
    return f"may lose up to {point.drop_high * 100:.2f} points" if point.drop_high > 0 else "loses nothing"


def _points(share: float) -> str:
    """Write points of F1, never a negative zero."""
    return f"{round(share * 100, 2) + 0.0:+.2f}"


def picture(curves: Sequence[Curve]) -> str:
    """Draw curves of one model as a file of their own: the report's picture with its caption, colors and font inside."""
    page = str(drawn(curves))
    width, height, label = re.findall(r'<svg [^>]*viewBox="0 0 (\S+) (\S+)"[^>]*aria-label="([^"]*)"', page)[0]
    inside = page[page.index(">", page.index("<svg ")) + 1 : page.index("</svg>")]
    caption = textwrap.wrap(unescape("".join(re.findall("<figcaption>(.*?)</figcaption>", page, re.DOTALL))), 72)
    inside += "".join(said(0, float(height) + 20 + 16 * place, line, "tick") for place, line in enumerate(caption))
    whole, tall = float(width) + 32, float(height) + 32 + 16 * len(caption)
    back = el("rect", class_="card", x=-16, y=-16, width=whole, height=tall)
    head = f'xmlns="http://www.w3.org/2000/svg" viewBox="-16 -16 {whole:g} {tall:g}" width="{whole * 1.5:g}" height="{tall * 1.5:g}"'
    used = {name for names in re.findall('class="([^"]*)"', inside) for name in names.split()}
    return f'<svg {head} role="img" aria-label="{label}" font-family="{_FONT}"><style>{_style(used)}</style>{back}{inside}</svg>\n'


_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"


def _style(used: set[str]) -> str:
    """Take from the report's style sheet what a picture needs, its variables replaced, since few programs but browsers know them."""
    sheet = files("affineur.measure.report").joinpath("style.css").read_text("utf-8")
    light, dark = (dict(re.findall(r"--([\w-]+): ([^;]+);", block)) for block in re.findall(r":root \{(.*?)\}", sheet, re.DOTALL)[:2])
    rules = [(".card", "fill: var(--card)"), *re.findall(r"^svg ([.\w][^{]*?) \{ ?(.*?);? ?\}", sheet, re.MULTILINE)]
    series = sorted(name for name in used if re.fullmatch(r"s\d", name))
    listed = [
        (selector + suffix, body.replace("var(--series)", f"var(--{suffix[1:]})"))
        for selector, body in rules
        if set(re.findall(r"\.([\w-]+)", selector)) <= used | {"card"}
        for suffix in ([f".{name}" for name in series] if "var(--series)" in body else [""])
    ]

    def themed(colors: dict[str, str]) -> str:
        return "".join(f"{selector}{{{re.sub(r'var[(]--([-a-z0-9]+)[)]', lambda name: colors[name[1]], body)}}}" for selector, body in listed)

    return f"{themed(light)}@media (prefers-color-scheme: dark){{{themed(dark)}}}"
