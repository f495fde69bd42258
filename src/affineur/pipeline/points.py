"""Points of a sparsity curve: prune, fine-tune where asked, score, judge; each at most once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from affineur.artifact import describe, open_folder
from affineur.compress import (
    CALIBRATION_SENTENCES,
    GUIDE,
    SoftTargets,
    TorchTagger,
    TrainSettings,
    check_pruning,
    input_norms,
    load_encoder,
    load_model,
    load_tagger,
    prune,
    prune_model,
    recover,
)
from affineur.entities import Corpus, Scheme
from affineur.errors import ParameterError
from affineur.measure import Budget, Curve, Evaluation, Point, common_scheme
from affineur.pipeline.models import load_any, model_digest, model_name
from affineur.pipeline.scores import ScoreBook
from affineur.progress import report

TOLERANCE = 0.01
#: Where the scan looks before it bisects; fine-tuning makes a point dear, so then it looks at fewer.
SCAN, SCAN_RECOVERED = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), (0.25, 0.5, 0.75)
_MOST = 0.99


@dataclass(frozen=True, slots=True)
class Recovery:
    """How each point is fine-tuned after pruning.

    Args:
        settings: How to train; the guide's half epoch by default.
        teacher: Folder of a teacher to learn soft labels from, or ``None``.
        soft: What to learn from it.
    """

    settings: TrainSettings = GUIDE
    teacher: Path | None = None
    soft: SoftTargets | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is searched.

    Args:
        budget: The budget.
        methods: Pruning methods, side by side.
        points: The sparsities to try, and no others; ``None`` to scan and bisect.
        tolerance: Bisection stops at steps of this size.
        scope: ``attention+ffn``, ``attention`` or ``ffn``.
        recovery: How points are fine-tuned, or ``None`` for pruning alone.

    Raises:
        ParameterError: If a value is out of range.
    """

    budget: Budget
    methods: tuple[str, ...] = ("magnitude",)
    points: tuple[float, ...] | None = None
    tolerance: float = TOLERANCE
    scope: str = "attention+ffn"
    recovery: Recovery | None = None

    def __post_init__(self) -> None:
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise ParameterError("--method names no method, or one twice")
        if self.points is not None and not self.points:
            raise ParameterError("--points names no sparsity, expected for example 0.1,0.2,0.3")
        for method in self.methods:
            for sparsity in self.points or (0.1,):
                check_pruning(sparsity, method, None)
        if not 0.0005 <= self.tolerance < 1:
            raise ParameterError(f"--tolerance {self.tolerance:g} is outside [0.0005, 1): it is the step at which the search stops, for example 0.01")


@dataclass(slots=True)
class Points:
    """Points of one model on one split, each computed at most once.

    Args:
        model: Folder of the model.
        name: What to call it.
        dev: The split that is searched.
        baseline: What a drop is measured from: a reference as the user types it.
        plan: What is searched.
        train: Text to recover on, and to calibrate on where no other is given; labels of the latter are not read.
        calibration: Text to calibrate on.
        types: Types scored, or ``None`` for all.
        device: A torch device.
        book: Where scores are kept.
        cache: Where teacher logits are kept.
        work: Folder for models that have to be fine-tuned.
    """

    model: Path
    name: str
    dev: Corpus
    baseline: str
    plan: Plan
    book: ScoreBook
    train: Corpus | None = None
    calibration: Corpus | None = None
    types: Sequence[str] | None = None
    device: str = "cpu"
    cache: Path | None = None
    work: Path | None = None
    _norms: dict[str, Any] | None = field(default=None, init=False)
    _scheme: Scheme = field(init=False)
    _made: Path | None = field(default=None, init=False)
    _kept: Point | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._scheme = common_scheme([load_any(self.model, self.device), load_any(self.baseline, self.device)], self.dev)

    def curve(self, method: str, budget: Budget | None) -> Curve:
        """Search one method; ``budget`` is what the curve is shown with."""
        dense = describe(self.model).sparsity
        points: dict[float, Point] = {}

        def at(sparsity: float) -> Point:
            if sparsity not in points:
                points[sparsity] = self.point(method, sparsity)
                _tell(points[sparsity])
                self._tidy(points[sparsity])
            return points[sparsity]

        for sparsity in self.plan.points or self._scan(dense, at):
            at(sparsity)
        if self.plan.points is None:
            self._bisect(dense, points, at)
        base = self.scored_baseline(self.dev)
        ordered = tuple(sorted(points.values(), key=lambda p: p.sparsity))
        return Curve(self.name, self.dev.name, len(self.dev), model_name(self.baseline), base.total.f1, budget, ordered)

    def _scan(self, dense: float, at: Callable[[float], Point]) -> Iterator[float]:
        """Look at rising sparsities until two in a row are outside: beyond, it only gets worse."""
        outside = 0
        for sparsity in SCAN_RECOVERED if self.plan.recovery else SCAN:
            if sparsity > dense and outside < 2:
                outside = 0 if at(sparsity).inside else outside + 1
                yield sparsity

    def _bisect(self, dense: float, points: dict[float, Point], at: Callable[[float], Point]) -> None:
        """Halve the step between the sparsest point inside and the next one outside."""
        inside = max((s for s, p in points.items() if p.inside), default=round(dense, 4))
        outside = min((s for s, p in points.items() if s > inside and not p.inside), default=_MOST)
        while outside - inside > self.plan.tolerance * 1.0001:
            middle = round((inside + outside) / 2, 4)
            if at(middle).inside:
                inside = middle
            else:
                outside = middle

    def point(self, method: str, sparsity: float) -> Point:
        """Prune, fine-tune where that is asked for, score on the split that is searched, and judge."""
        evaluation, achieved = self._scored(method, sparsity)
        return self.plan.budget.point(evaluation, self.scored_baseline(self.dev), method, sparsity, achieved, self.plan.recovery is not None)

    def scored_baseline(self, corpus: Corpus) -> Evaluation:
        """Score the baseline on a corpus."""
        return self.scored(self.baseline, corpus)

    def scored(self, reference: str | Path, corpus: Corpus) -> Evaluation:
        """Score a model by its reference."""
        return self.book.evaluate(model_digest(reference), lambda: load_any(reference, self.device), corpus, self.types, self._scheme)

    def make(self, method: str, sparsity: float, folder: Path) -> Path:
        """Write the model of a point; ``folder`` is where models before fine-tuning go too."""
        pruned = folder / _folder_name(method, sparsity)
        prune(self.model, pruned, sparsity, method, self.plan.scope, calibration=self._text(method))
        recovery = self.plan.recovery
        if recovery is None:
            return pruned
        if self.train is None:
            raise ParameterError("recovering a point needs a train split; add train.conll, or leave --recover out")
        out = folder / f"{pruned.name}_finetuned"
        return recover(pruned, out, self.train, None, recovery.teacher, recovery.settings, recovery.soft, self.device, self.cache)

    def _scored(self, method: str, sparsity: float) -> tuple[Evaluation, float]:
        """Score a point and give its sparsity as achieved."""
        achieved = max(sparsity, describe(self.model).sparsity)
        report(f"{method} at {achieved:.2%}" + (", recovered" if self.plan.recovery else ""))

        def tagger() -> TorchTagger:
            if self.plan.recovery is None:
                return self._pruned(method, sparsity)
            assert self.work is not None
            self._made = self.make(method, sparsity, self.work)
            return load_tagger(self._made, self.device)

        return self.book.evaluate(self._point_digest(method, sparsity), tagger, self.dev, self.types, self._scheme), achieved

    def _tidy(self, point: Point) -> None:
        """Keep no more than one fine-tuned model: the sparsest inside so far. They are large, and can be made again."""
        made, self._made = self._made, None
        if made is None or self.work is None:
            return  # its scores were known; what an interrupted fine-tuning of the next point left stays
        if point.inside and (self._kept is None or point.sparsity > self._kept.sparsity):
            self._kept = point
        kept = self._kept and _folder_name(self._kept.method, self._kept.asked)
        for folder in [path for path in self.work.iterdir() if path.is_dir()]:
            if folder.name not in (kept, f"{kept}_finetuned"):
                shutil.rmtree(folder)

    def _pruned(self, method: str, sparsity: float) -> TorchTagger:
        """Prune in memory: a point that needs no training needs no file."""
        network = load_model(self.model, self.device)
        text = self._text(method)
        if text is not None and self._norms is None:
            words = [s.words for s in text.head(CALIBRATION_SENTENCES)]
            self._norms = input_norms(load_tagger(self.model, self.device), words, self.plan.scope)
        prune_model(network, sparsity, method, self.plan.scope, None, self._norms if text is not None else None)
        return TorchTagger(network, load_encoder(self.model), open_folder(self.model).labels)

    def _text(self, method: str) -> Corpus | None:
        if method != "wanda":
            return None
        if (text := self.calibration or self.train) is None:
            raise ParameterError("method 'wanda' needs text to calibrate on; name some with --calibration DATA")
        return text

    def _point_digest(self, method: str, sparsity: float) -> str:
        text, recovery = self._text(method), self.plan.recovery
        calibrated = text.head(CALIBRATION_SENTENCES).digest if text else None
        parts: list[Any] = [open_folder(self.model).digest(), method, sparsity, self.plan.scope, calibrated]
        if recovery is not None:
            teacher = open_folder(recovery.teacher).digest() if recovery.teacher else None
            parts += [asdict(recovery.settings), teacher, recovery.soft and recovery.soft.parameters, self.train and self.train.digest]
        return f"point {parts!r}"


def _folder_name(method: str, sparsity: float) -> str:
    return f"{method}_{sparsity:g}"


def _tell(point: Point) -> None:
    figures = f"F1 {point.f1:.2%}, drop {point.drop * 100:+.2f} ({point.drop_low * 100:+.2f} … {point.drop_high * 100:+.2f})"
    report(f"{point.method} at {point.sparsity:.2%}: {figures}, {'inside' if point.inside else 'outside'}")
