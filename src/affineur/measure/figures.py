"""The figure behind each bar, and what the figure rests on: values here, words only where they are shown."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from affineur.errors import counted
from affineur.measure.benchmark import CALLS
from affineur.measure.bootstrap import FEWEST, Difference, Interval
from affineur.measure.counts import Counts
from affineur.measure.evaluation import Evaluation
from affineur.measure.power import needed_to_show, round_up


@dataclass(frozen=True, slots=True)
class Measures:
    """What was measured of one model; ``None`` where it was not.

    Args:
        evaluation: Its scores.
        baseline: Scores of the baseline on the same sentences, in the same scheme; of all types both know.
        size_bytes: Bytes of its weights.
        p50_ms: Median time of one sentence, in milliseconds.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        peak_rss_bytes: Peak resident memory under load, in bytes.
        sentences_per_second: Throughput under load.
        agreement: Share of words with the tag the parent gives, in [0, 1].
        parent: Name of that parent.
        calls: Sentences timed one by one, which the percentiles rest on.
    """

    evaluation: Evaluation | None = None
    baseline: Evaluation | None = None
    size_bytes: int | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    peak_rss_bytes: int | None = None
    sentences_per_second: float | None = None
    agreement: float | None = None
    parent: str | None = None
    calls: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a bar asks for beside its limit.

    Args:
        type: The type it is about, or ``None`` for all.
        confidence: Mass inside the intervals.
        baseline: What to call the baseline.
        limit: The limit.
    """

    type: str | None = None
    confidence: float = 0.95
    baseline: str = "the baseline"
    limit: float = math.nan


@dataclass(frozen=True, slots=True)
class OnMentions:
    """An F1 rests on gold mentions.

    Args:
        gold: How many.
        scheme: The scheme they were compared in.
        sentences: Sentences scored.
        interval: Of F1, or ``None`` where there are too few sentences for one.
        confidence: Mass inside it.
        lower_end: Whether the figure is the lower end of the interval, and not F1 itself.
    """

    gold: int
    scheme: str
    sentences: int
    interval: Interval | None
    confidence: float
    lower_end: bool = False

    def words(self, *, brief: bool = False) -> str:
        """Say it; ``brief`` leaves out what only those who built the measurement understand."""
        behind = f"{self.gold:,} gold mentions" + ("" if brief else f" in {self.scheme}")
        if self.interval is None:
            return f"{behind}; {too_few(self.sentences)}"
        estimate = f"F1 {self.interval.value:.2%}, " if self.lower_end else ""
        ends = f"{level(self.confidence)}: {self.interval.low:.2%} to {self.interval.high:.2%}"
        return f"{estimate}{ends}; {behind}"


@dataclass(frozen=True, slots=True)
class OnWords:
    """An accuracy rests on words: so many right of so many, the tags compared as model and data wrote them.

    ``repaired`` is the share after repair, in the scheme both share, where it is another.
    """

    right: int
    words_scored: int
    repaired: float | None

    def words(self, *, brief: bool = False) -> str:
        """Say it; ``brief`` leaves out what only those who built the measurement understand."""
        after = "" if self.repaired is None else f"; after repair {self.repaired:.2%}"
        as_written = "" if brief else f", tags as they are{after}"
        return f"{self.right:,} of {self.words_scored:,} words{as_written}"


@dataclass(frozen=True, slots=True)
class OnDifference:
    """A loss rests on a paired interval; what is judged is its upper end.

    Args:
        difference: F1 minus that of the baseline.
        confidence: Mass inside the interval.
        scheme: The scheme both were compared in.
        types: The types compared, where not all that were scored.
        open: Where neither is shown: with how many sentences, and about how many are needed.
    """

    difference: Difference
    confidence: float
    scheme: str
    types: tuple[str, ...] = ()
    open: str = ""

    def words(self, *, brief: bool = False) -> str:
        """Say it; ``brief`` leaves out what only those who built the measurement understand."""
        value, high, low = (
            (0.0 - part) * 100 for part in (self.difference.value, self.difference.low, self.difference.high)
        )
        drop = f"drop {value:z.2f} points, {level(self.confidence)}: {low:z.2f} to {high:z.2f}"
        over = f"; over {', '.join(self.types)}" if self.types else ""
        open_ = f"; {self.open}" if self.open else ""
        return f"{drop}{over}{open_}" if brief else f"upper end; {drop}, in {self.scheme}{over}{open_}"


#: What stands behind a figure, or why there is none; another room may say it in words of its own.
Basis = OnMentions | OnWords | OnDifference | str


@dataclass(frozen=True, slots=True)
class Figure:
    """The figure of one bar: ``None`` where it could not be measured, with the reason as its basis.

    ``estimate`` is what was seen, where the figure is the end of its interval: a limit between the two is
    neither shown to be reached nor seen to be missed. ``too_few`` says that there is no interval for want of
    sentences.
    """

    value: float | None
    basis: Basis = ""
    estimate: float | None = None
    too_few: bool = False


def basis_words(basis: Basis, *, brief: bool = False) -> str:
    """Say what stands behind a figure.

    Args:
        basis: What it rests on.
        brief: Leave out what only those who built the measurement understand.
    """
    return basis if isinstance(basis, str) else basis.words(brief=brief)


#: Takes the figure of a bar from what was measured.
Reader = Callable[[Measures, Asked], Figure]

NOT_SCORED = Figure(None, "not measured: the model was not scored")
NOT_MEASURED = Figure(None, "not measured")


def f1(measures: Measures, asked: Asked) -> Figure:
    """F1 itself, of all types or one."""
    return _f1(measures.evaluation, asked, lower_end=False)


def f1_low(measures: Measures, asked: Asked) -> Figure:
    """The lower end of the interval of F1."""
    return _f1(measures.evaluation, asked, lower_end=True)


def _f1(ours: Evaluation | None, asked: Asked, lower_end: bool) -> Figure:
    if ours is None:
        return NOT_SCORED
    if reason := _no_gold(ours, asked.type):
        return Figure(None, reason)
    counts = _counts(ours, asked.type)
    few = ours.sentences < FEWEST
    if few and lower_end:
        return Figure(None, too_few(ours.sentences), too_few=True)
    interval = None if few else ours.interval(asked.type, confidence=asked.confidence)
    basis = OnMentions(counts.gold, str(ours.scheme), ours.sentences, interval, asked.confidence, lower_end)
    return Figure(
        interval.low if lower_end and interval else counts.f1, basis, counts.f1 if lower_end else None
    )


def accuracy(measures: Measures, _: Asked) -> Figure:
    """Words with exactly the right tag ÷ words, as seqeval counts them."""
    ours = measures.evaluation
    if ours is None:
        return NOT_SCORED
    if not ours.words:
        return Figure(None, "the data has no word")
    repaired = ours.accuracy_repaired if ours.words_right_repaired != ours.words_right else None
    return Figure(ours.accuracy, OnWords(ours.words_right, ours.words, repaired))


def drop(measures: Measures, asked: Asked) -> Figure:
    """Upper end of the paired interval of what was lost, over the types both know."""
    ours, theirs, kind = measures.evaluation, measures.baseline, asked.type
    if ours is None:
        return NOT_SCORED
    if theirs is None:
        return Figure(None, "not measured: no baseline")
    shared = tuple(known for known in ours.types if known in theirs.types)
    if kind is not None and kind not in shared:
        return Figure(None, f"{asked.baseline} does not know {kind}")
    if not shared:
        return Figure(None, f"no type in common with {asked.baseline}")
    mine, other = _only(ours, shared), _only(theirs, shared)
    reason = _no_gold(mine, kind)
    if ours is theirs and not reason:  # no matter of how many sentences were seen
        return Figure(0.0, f"{asked.baseline} is the same model")
    if reason or mine.sentences < FEWEST:
        return Figure(None, reason or too_few(mine.sentences), too_few=not reason)
    difference = mine.minus(other, kind, confidence=asked.confidence)
    named = shared if kind is None and shared != ours.types else ()
    estimate, upper = 0.0 - difference.value, 0.0 - difference.low
    open_ = _open(mine, kind, asked, estimate, upper) if estimate <= asked.limit < upper else ""
    basis = OnDifference(difference, asked.confidence, str(mine.scheme), named, open_)
    return Figure(upper, basis, estimate)


def _open(ours: Evaluation, kind: str | None, asked: Asked, estimate: float, upper: float) -> str:
    """Say about how many sentences would show a loss within the limit.

    The room between estimate and end shrinks with the square root of their number; at least as many have a
    mention as a model without any loss needs.
    """
    here = f"not provable with {counted(ours.sentences, 'sentence')}"
    least = needed_to_show(asked.limit, asked.confidence)
    if least is None or asked.limit <= estimate:
        return f"{here}, nor with any number"
    telling = ours.with_gold(kind)
    needed = max(
        ours.sentences * least / telling if telling else 0.0,
        ours.sentences * ((upper - estimate) / (asked.limit - estimate)) ** 2,
    )
    return f"{here}; about {round_up(needed):,} are needed"


def size(measures: Measures, _: Asked) -> Figure:
    """Bytes of the weights."""
    return _plain(measures.size_bytes, "weights")


def agreement(measures: Measures, _: Asked) -> Figure:
    """Share of words with the tag the parent gives."""
    return _plain(measures.agreement, f"words with the tag {measures.parent or 'the parent'} gives")


def peak_memory(measures: Measures, _: Asked) -> Figure:
    """Peak memory of a fresh process under load."""
    if measures.peak_rss_bytes is None and measures.p50_ms is not None:  # the load was there
        return Figure(None, "this system does not tell the peak memory of a process")
    return _plain(measures.peak_rss_bytes, "peak of a fresh process under load")


def rate(measures: Measures, _: Asked) -> Figure:
    """Sentences per second in batches."""
    return _plain(measures.sentences_per_second, "in batches, in a fresh process")


def p50(measures: Measures, _: Asked) -> Figure:
    """Median time of one sentence."""
    return _latency(measures.p50_ms, measures.calls)


def p95(measures: Measures, _: Asked) -> Figure:
    """95th percentile of the time of one sentence."""
    return _latency(measures.p95_ms, measures.calls)


def p99(measures: Measures, _: Asked) -> Figure:
    """99th percentile of the time of one sentence, which needs many calls."""
    return _latency(measures.p99_ms, measures.calls, needs=CALLS)


def _plain(value: float | None, behind: str) -> Figure:
    return NOT_MEASURED if value is None else Figure(value, behind)


def _latency(value: float | None, calls: int | None, needs: int = 0) -> Figure:
    known = "" if calls is None else f"{counted(calls, 'call')}, "
    few = f"; too few for a 99th percentile, which needs {needs:,}"
    enough = calls is None or calls >= needs
    return _plain(value, f"{known}one sentence after another, in a fresh process{'' if enough else few}")


def _counts(ours: Evaluation, kind: str | None) -> Counts:
    return ours.total if kind is None else ours.of_type(kind)


def _no_gold(ours: Evaluation, kind: str | None) -> str:
    """Say why F1 is not defined: without a gold mention it would be 0, or whatever was invented."""
    if _counts(ours, kind).gold:
        return ""
    return f"no gold mention{f' of {kind}' if kind is not None else ''} in {ours.corpus}"


def too_few(sentences: int) -> str:
    """Say why there is no interval: of one sentence it would have no width, and promise what nobody knows."""
    return f"too few sentences for an interval ({sentences}, needs {FEWEST})"


def level(confidence: float) -> str:
    """Write the mass inside an interval."""
    return f"{confidence * 100:g} %"


def _only(evaluation: Evaluation, types: tuple[str, ...]) -> Evaluation:
    """Keep the counts of some types; each type is counted by itself, whatever the others are."""
    if evaluation.types == types:
        return evaluation
    places = [evaluation.types.index(kind) for kind in types]
    return replace(evaluation, types=types, counts=evaluation.counts[:, places])
