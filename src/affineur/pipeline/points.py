"""Points of a sparsity curve: prune, fine-tune where asked, score, judge; each at most once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from affineur.artifact import describe, in_scope, open_folder
from affineur.entities import Corpus, Scheme
from affineur.errors import ParameterError
from affineur.measure import Budget, Curve, Evaluation, Point, common_scheme, model_types, scored_types
from affineur.pipeline.models import load_any, model_digest, model_name
from affineur.pipeline.scores import ScoreBook
from affineur.progress import report
from affineur.steps import (
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
    pick_device,
    prune,
    prune_model,
    recover,
)
from affineur.steps.training.encoded import check_types
from affineur.transfer import DataOptions, load_corpus

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

    @property
    def parameters(self) -> dict[str, Any]:
        """What is written of it."""
        return {**asdict(self.settings), **(self.soft.parameters if self.soft else {})}


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
            raise ParameterError(
                f"--tolerance {self.tolerance:g} is outside [0.0005, 1): it is the step at which the search stops, for example 0.01"
            )


@dataclass(slots=True)
class Points:
    """Points of one model on one split, each computed at most once.

    Args:
        model: Folder of the model.
        name: What to call it.
        dev: The split that is searched.
        baseline: What a drop is measured from: a reference as the user types it.
        plan: What is searched.
        train: Text to recover on, and to calibrate on where no other is given.
        calibration: Text to calibrate on; its labels are not read. Without it and without train it is the
            sample's.
        types: Types scored, or ``None`` for all.
        device: A torch device.
        book: Where scores are kept.
        cache: Where teacher logits are kept.
        work: Folder for models that have to be fine-tuned.

    Raises:
        ParameterError: If there is no such scope, or nothing to recover on.
        DataError: If train has types the model does not know.
        ModelError: If one of the models cannot be used.
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
            if self.train is None:
                raise ParameterError(
                    "recovering a point needs a train split; add train.conll, or leave --recover out"
                )
            check_types(self.train, open_folder(self.model).labels)
        taggers = [load_any(self.model, self.device), load_any(self.baseline, self.device)]
        self._scheme = common_scheme(taggers, self.dev)
        self._known = tuple(model_types(tagger) for tagger in taggers)

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
                f"{self.name} is {self.dense:.2%} sparse already: up to {_MOST:.0%} no step of {self.plan.tolerance:g} is left to search"
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
        base = self.scored_baseline(self.dev)
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
        point = self._judged(self.scored(self.model, self.dev), method, 0.0, self.dense, False)
        if model_digest(self.model) != model_digest(self.baseline):
            return point
        # It is its own baseline: that it loses nothing is no matter of how many sentences were seen.
        return replace(
            point, drop_low=0.0, drop_high=0.0, inside=point.inside or self.plan.budget.min_f1 is None
        )

    def again(self, made: Path, point: Point) -> Point:
        """Judge a point by the model that was written for it.

        Its own zeros, and its own scores on the split that is searched.

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

    def _count(self, folder: Path) -> tuple[int, int]:
        """Count the weights in scope of a model folder, and the zeros among them."""
        matrices = {m.matrix.name: m for m in describe(folder).matrices}
        chosen = [matrices[m.name] for m in in_scope(list(matrices), self.plan.scope)]
        return sum(m.weights for m in chosen), sum(m.zeros for m in chosen)

    def scored_baseline(self, corpus: Corpus) -> Evaluation:
        """Score the baseline on a corpus."""
        return self.scored(self.baseline, corpus)

    def scored(self, reference: str | Path, corpus: Corpus) -> Evaluation:
        """Score a model by its reference."""
        return self.book.evaluate(
            model_digest(reference),
            lambda: load_any(reference, self.device),
            corpus,
            self.types,
            self._scheme,
        )

    def make(self, method: str, sparsity: float, folder: Path) -> Path:
        """Write the model of a point; ``folder`` is where models before fine-tuning go too."""
        pruned = folder / point_folder(method, sparsity)
        prune(self.model, pruned, sparsity, method, self.plan.scope, calibration=self._text(method))
        recovery = self.plan.recovery
        if recovery is None:
            return pruned
        assert self.train is not None
        out = folder / f"{pruned.name}_finetuned"
        return recover(
            pruned,
            out,
            self.train,
            None,
            recovery.teacher,
            recovery.settings,
            recovery.soft,
            self.device,
            self.cache,
        )

    def _scored(self, method: str, sparsity: float) -> tuple[Evaluation, float]:
        """Score a point and give its sparsity as achieved."""
        report(f"{method} at {max(sparsity, self.dense):.2%}" + (", recovered" if self.plan.recovery else ""))

        def tagger() -> TorchTagger:
            if self.plan.recovery is None:
                return self._pruned(method, sparsity)
            assert self.work is not None
            self._made = True
            return load_tagger(self.make(method, sparsity, self.work), self.device)

        evaluation = self.book.evaluate(
            self._point_digest(method, sparsity), tagger, self.dev, self.types, self._scheme
        )
        return evaluation, self._sparsity(method, sparsity)

    def _sparsity(self, method: str, sparsity: float) -> float:
        """Give the sparsity that pruning achieves: whole weights, and zeros that were there before stay."""
        if method == "magnitude" or not self._zeros:
            return max(self._zeros, round(sparsity * self._weights)) / self._weights
        # A matrix or a row that had more zeros than its share keeps them all: only pruning tells how many
        # that makes.
        if (method, sparsity) not in self._achieved:
            self._pruned(method, sparsity)
        return self._achieved[method, sparsity]

    def _tidy(self, point: Point) -> None:
        """Keep no more than one fine-tuned model: the sparsest inside so far.

        They are large, and can be made again.
        """
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
        """Prune in memory, where a point needs no training and so no file.

        To the very weights that ``prune`` would write.

        Half precision is ranked by the same numbers as its float32 copy. Norms are measured where ``prune``
        measures them, on the CPU: another device would round them otherwise, and choose other weights among
        those nearly alike.
        """
        network = load_model(self.model)
        text = self._text(method)
        if text is not None and self._norms is None:
            words = [s.words for s in text.head(CALIBRATION_SENTENCES)]
            self._norms = input_norms(load_tagger(self.model), words, self.plan.scope)
        info = prune_model(
            network, sparsity, method, self.plan.scope, None, self._norms if text is not None else None
        )
        self._achieved[method, sparsity] = info.achieved
        network.to(pick_device(self.device))  # type: ignore[arg-type]
        return TorchTagger(network, load_encoder(self.model), open_folder(self.model).labels)

    def _text(self, method: str) -> Corpus | None:
        if method != "wanda":
            return None
        if self.calibration is None:
            self.calibration = self.train or load_corpus("sample", "train", DataOptions(dev_share=0.0))
        return self.calibration

    def _point_digest(self, method: str, sparsity: float) -> str:
        text, recovery = self._text(method), self.plan.recovery
        calibrated = text.head(CALIBRATION_SENTENCES).digest if text else None
        parts: list[Any] = [open_folder(self.model).digest(), method, sparsity, self.plan.scope, calibrated]
        if recovery is not None:
            teacher = open_folder(recovery.teacher).digest() if recovery.teacher else None
            parts += [
                asdict(recovery.settings),
                teacher,
                recovery.soft and recovery.soft.parameters,
                self.train and self.train.digest,
            ]
        return f"point {parts!r}"


def point_folder(method: str, sparsity: float) -> str:
    """Name the folder of a point's model before it is fine-tuned."""
    return f"{method}_{sparsity:g}"


def _tell(point: Point) -> None:
    figures = f"F1 {point.f1:.2%}, drop {point.drop * 100:+.2f} ({point.drop_low * 100:+.2f} … {point.drop_high * 100:+.2f})"
    report(f"{point.method} at {point.sparsity:.2%}: {figures}, {'inside' if point.inside else 'outside'}")
