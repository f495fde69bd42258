"""Points of a sparsity curve: prune, fine-tune where asked, score, judge; each at most once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affineur.artifact import ModelFolder, describe, in_scope, open_folder
from affineur.engines.core.engine import Batched
from affineur.entities import Corpus, Scheme
from affineur.errors import ParameterError
from affineur.measure import Budget, Curve, Evaluation, Point, common_scheme, model_types, scored_types
from affineur.pipeline.models import load_any, model_digest, model_name
from affineur.pipeline.scores import ScoreBook
from affineur.progress import report
from affineur.steps.core.context import CALIBRATION_SENTENCES, Context
from affineur.steps.core.step import Step
from affineur.steps.prune import Prune
from affineur.steps.pruning.core.method import METHODS, check_sparsity

if TYPE_CHECKING:
    from affineur.engines.support.torch_tagger import TorchTagger

TOLERANCE = 0.01
#: Where the scan looks before it bisects; fine-tuning makes a point dear, so then it looks at fewer.
SCAN, SCAN_RECOVERED = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), (0.25, 0.5, 0.75)
_MOST = 0.99


@dataclass(frozen=True, slots=True)
class Plan:
    """What is searched.

    Args:
        budget: The budget.
        methods: Pruning methods, side by side.
        points: The sparsities to try, and no others; ``None`` to scan and bisect.
        tolerance: Bisection stops at steps of this size.
        scope: ``attention+ffn``, ``attention`` or ``ffn``.
        recovery: The step that fine-tunes each point, or ``None`` for pruning alone.

    Raises:
        ParameterError: If a value is out of range.
    """

    budget: Budget
    methods: tuple[str, ...] = ("magnitude",)
    points: tuple[float, ...] | None = None
    tolerance: float = TOLERANCE
    scope: str = "attention+ffn"
    recovery: Step | None = None

    def __post_init__(self) -> None:
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise ParameterError("methods names no pruning method, or one twice", "methods")
        if self.points is not None and not self.points:
            raise ParameterError("points names no sparsity, expected for example 0.1, 0.2, 0.3", "points")
        for method in self.methods:
            METHODS.get(method, "methods")
        for sparsity in self.points or ():
            check_sparsity(sparsity)
        if not 0.0005 <= self.tolerance < 1:
            raise ParameterError(
                f"tolerance {self.tolerance:g} is outside [0.0005, 1): it is the step at which the search "
                "stops, for example 0.01",
                "tolerance",
            )

    @property
    def reads_text(self) -> bool:
        """Whether one of the methods looks at calibration text."""
        return any(METHODS.get(method).needs_calibration for method in self.methods)


@dataclass(slots=True)
class Points:
    """Points of one model on one split, each computed at most once.

    Args:
        model: Folder of the model.
        name: What to call it.
        dev: The split that is searched.
        baseline: What a drop is measured from: a reference as the user types it.
        plan: What is searched.
        book: Where scores are kept.
        context: Data to recover on, text to calibrate on, a teacher to learn from, device and cache.
        types: Types scored, or ``None`` for all.
        work: Folder for models that have to be fine-tuned.

    Raises:
        ParameterError: If there is no such scope, or nothing to recover on.
        DataError: If train has types the model does not know.
        ModelError: If one of the models cannot be used.
    """

    model: ModelFolder
    name: str
    dev: Corpus
    baseline: str
    plan: Plan
    book: ScoreBook
    context: Context
    types: Sequence[str] | None = None
    work: Path | None = None
    _statistics: dict[str, dict[str, Any]] = field(default_factory=dict, init=False)
    _scheme: Scheme = field(init=False)
    _known: tuple[tuple[str, ...], ...] = field(init=False)
    _weights: int = field(init=False)
    _zeros: int = field(init=False)
    _achieved: dict[tuple[str, float], float] = field(default_factory=dict, init=False)
    _made: bool = field(default=False, init=False)
    _kept: Point | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Look at everything that can be wrong before any work is done."""
        self._weights, self._zeros = self._count(self.model)
        if self.plan.recovery is not None:
            if self.context.data is None or self.context.data.train is None:
                raise ParameterError(
                    "recovering a point needs a train split; add train.conll, or do not recover", "recover"
                )
            self.plan.recovery.check(self.context)
            from affineur.steps.training.encoded import check_types

            check_types(self.context.data.train, self.model.labels)
        taggers = [self._load(self.model.path), self._load(self.baseline)]
        self._scheme = common_scheme(taggers, self.dev)
        self._known = tuple(model_types(tagger) for tagger in taggers)

    @property
    def device(self) -> str:
        """Where models are scored."""
        return self.context.device

    @property
    def dense(self) -> float:
        """The sparsity in scope that the model has already."""
        return self._zeros / self._weights

    def check(self, corpus: Corpus) -> None:
        """Check that model and baseline know the types of a corpus, as far as they are scored.

        Raises:
            DataError: If one does not.
            ParameterError: If a type to score is known to nobody.
        """
        for known in self._known:
            scored_types(known, corpus, self.types)

    def curve(self, method: str, budget: Budget | None) -> Curve:
        """Search one method; ``budget`` is what the curve is shown with.

        Where the model itself is outside the budget and no fine-tuning could mend that, nothing is pruned: it
        is the only point.

        Raises:
            ParameterError: If the model has so many zeros that there is nothing to search.
        """
        if self.plan.points is None and _MOST - self.dense <= self.plan.tolerance:
            raise ParameterError(
                f"{self.name} is {self.dense:.2%} sparse already: up to {_MOST:.0%} no step of "
                f"{self.plan.tolerance:g} is left to search"
            )
        unpruned = self.unpruned(method)
        points: dict[float, Point] = {}

        def at(sparsity: float) -> Point:
            if sparsity not in points:
                points[sparsity] = self.point(method, sparsity)
                _tell(points[sparsity])
                self._tidy(points[sparsity])
            return points[sparsity]

        if self.plan.points is not None:
            for sparsity in self.plan.points:
                at(sparsity)
        elif self.plan.recovery or self.plan.budget.allows(unpruned):
            self._scan(at)
            # Below the first step of the scan only a model that is inside itself promises anything, unless it
            # is fine-tuned.
            if self.plan.recovery or unpruned.inside or any(p.inside for p in points.values()):
                self._bisect(points, at)
        base, first = self.scored_baseline(self.dev), METHODS.get(method).first
        ordered = tuple(sorted(points.values() or [unpruned], key=lambda p: (p.sparsity, p.asked)))
        return Curve(
            self.name,
            self.dev.name,
            len(self.dev),
            model_name(self.baseline),
            base.total.f1,
            budget,
            ordered,
            self.plan.scope,
            {method: first} if first else {},
        )

    def _scan(self, at: Callable[[float], Point]) -> None:
        """Look at rising sparsities until two in a row are outside: beyond, it only gets worse."""
        outside = 0
        for sparsity in SCAN_RECOVERED if self.plan.recovery else SCAN:
            if sparsity > self.dense and outside < 2:
                outside = 0 if at(sparsity).inside else outside + 1

    def _bisect(self, points: dict[float, Point], at: Callable[[float], Point]) -> None:
        """Halve the step between the sparsest point inside and the next one outside."""
        inside = max((s for s, p in points.items() if p.inside), default=round(self.dense, 4))
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
        return self._judged(evaluation, method, sparsity, achieved, self.plan.recovery is not None)

    def unpruned(self, method: str) -> Point:
        """Judge the model as it is, the point at which the curve of any method begins."""
        point = self._judged(self.scored(self.model.path, self.dev), method, 0.0, self.dense, False)
        if model_digest(self.model.path) != model_digest(self.baseline):
            return point
        # It is its own baseline: that it loses nothing is no matter of how many sentences were seen.
        return replace(
            point, drop_low=0.0, drop_high=0.0, inside=point.inside or self.plan.budget.min_f1 is None
        )

    def again(self, made: Path, point: Point) -> Point:
        """Judge a point by the model that was written for it: its zeros, its scores on the searched split.

        That is the same point wherever pruning and fine-tuning repeat themselves to the bit. Where they do
        not (other hardware or libraries than when the scores were kept), what is written counts, not what was
        scored once.
        """
        weights, zeros = self._count(made)
        return self._judged(
            self.scored(made, self.dev), point.method, point.asked, zeros / weights, point.recovered
        )

    def _judged(
        self, evaluation: Evaluation, method: str, asked: float, achieved: float, recovered: bool
    ) -> Point:
        return self.plan.budget.point(
            evaluation, self.scored_baseline(self.dev), method, asked, achieved, recovered
        )

    def _count(self, folder: ModelFolder | Path) -> tuple[int, int]:
        """Count the weights in scope of a model folder, and the zeros among them."""
        matrices = {m.matrix.name: m for m in describe(folder).matrices}
        chosen = [matrices[m.name] for m in in_scope(list(matrices), self.plan.scope)]
        return sum(m.weights for m in chosen), sum(m.zeros for m in chosen)

    def scored_baseline(self, corpus: Corpus) -> Evaluation:
        """Score the baseline on a corpus."""
        return self.scored(self.baseline, corpus)

    def _load(self, reference: str | Path) -> Batched:
        return load_any(reference, self.device, threads=self.context.threads)

    def scored(self, reference: str | Path, corpus: Corpus) -> Evaluation:
        """Score a model by its reference."""
        return self.book.evaluate(
            model_digest(reference),
            lambda: self._load(reference),
            corpus,
            self.types,
            self._scheme,
        )

    def make(self, method: str, sparsity: float, folder: Path) -> Path:
        """Write the model of a point; ``folder`` is where models before fine-tuning go too."""
        step = Prune(sparsity=sparsity, method=method, scope=self.plan.scope)
        needs = METHODS.get(method).needs_calibration
        context = self.context if needs else replace(self.context, calibration=None)
        pruned = step.run(self.model, folder / point_folder(method, sparsity), context)
        recovery, data = self.plan.recovery, self.context.data
        if recovery is None or data is None:
            return pruned
        # Dev is what the search decides on, so no epoch is scored on it.
        blind = replace(self.context, data=replace(data, dev=None))
        return recovery.run(open_folder(pruned), folder / f"{pruned.name}_finetuned", blind)

    def _scored(self, method: str, sparsity: float) -> tuple[Evaluation, float]:
        """Score a point and give its sparsity as achieved."""
        report(f"{method} at {max(sparsity, self.dense):.2%}" + (", recovered" if self.plan.recovery else ""))

        def tagger() -> TorchTagger:
            if self.plan.recovery is None:
                return self._pruned(method, sparsity)
            assert self.work is not None
            self._made = True
            from affineur.engines.support.torch_tagger import load_tagger

            return load_tagger(self.make(method, sparsity, self.work), self.device)

        evaluation = self.book.evaluate(
            self._point_digest(method, sparsity), tagger, self.dev, self.types, self._scheme
        )
        return evaluation, self._sparsity(method, sparsity)

    def _sparsity(self, method: str, sparsity: float) -> float:
        """Give the sparsity that pruning achieves: whole weights, and zeros that were there before stay."""
        if METHODS.get(method).together or not self._zeros:
            return max(self._zeros, round(sparsity * self._weights)) / self._weights
        # A matrix or a row that had more zeros than its share keeps them all: only pruning tells how many
        # that makes.
        if (method, sparsity) not in self._achieved:
            self._pruned(method, sparsity)
        return self._achieved[method, sparsity]

    def _tidy(self, point: Point) -> None:
        """Keep no more than one fine-tuned model, the sparsest inside so far: they can be made again."""
        if point.inside and (self._kept is None or point.sparsity > self._kept.sparsity):
            self._kept = point
        made, self._made = self._made, False
        if not made or self.work is None:
            return  # its scores were known; what an interrupted fine-tuning of the next point left stays
        kept = self._kept and point_folder(self._kept.method, self._kept.asked)
        for folder in [path for path in self.work.iterdir() if path.is_dir()]:
            if folder.name not in (kept, f"{kept}_finetuned"):
                shutil.rmtree(folder)

    def _pruned(self, method: str, sparsity: float) -> TorchTagger:
        """Prune in memory, where a point needs no training and no file, to what ``prune`` would write.

        Half precision is ranked by the same numbers as its float32 copy. Norms are measured where ``prune``
        measures them, on the CPU: another device would round them otherwise, and choose other weights among
        those nearly alike.
        """
        from affineur.engines.support.checkpoints import load_encoder, load_model, pick_device
        from affineur.engines.support.torch_tagger import TorchTagger, load_tagger
        from affineur.steps.pruning.core.zeroing import prune_model

        network = load_model(self.model)
        how, scope = METHODS.get(method), self.plan.scope
        if how.needs_calibration and method not in self._statistics:
            words = [s.words for s in self.context.text.head(CALIBRATION_SENTENCES)]
            self._statistics[method] = how.calibrate(load_tagger(self.model), words, scope)
        known = self._statistics.get(method)
        info = prune_model(network, sparsity=sparsity, method=how, scope=scope, statistics=known)
        self._achieved[method, sparsity] = info.achieved
        network.to(pick_device(self.device))  # type: ignore[arg-type]
        return TorchTagger(network, load_encoder(self.model), self.model.labels)

    def _point_digest(self, method: str, sparsity: float) -> str:
        needs, recovery = METHODS.get(method).needs_calibration, self.plan.recovery
        calibrated = self.context.text.head(CALIBRATION_SENTENCES).digest if needs else None
        parts: list[Any] = [self.model.digest(), method, sparsity, self.plan.scope, calibrated]
        if recovery is not None:
            teacher, data = self.context.teacher, self.context.data
            train = data.train.digest if data and data.train else None
            parts += [recovery.parameters, teacher.digest() if teacher else None, train]
        return f"point {parts!r}"


def point_folder(method: str, sparsity: float) -> str:
    """Name the folder of a point's model before it is fine-tuned."""
    return f"{method}_{sparsity:g}"


def _tell(point: Point) -> None:
    low, drop, high = (f"{100 * part:+.2f}" for part in (point.drop_low, point.drop, point.drop_high))
    figures = f"F1 {point.f1:.2%}, drop {drop} ({low} … {high})"
    report(f"{point.method} at {point.sparsity:.2%}: {figures}, {'inside' if point.inside else 'outside'}")
