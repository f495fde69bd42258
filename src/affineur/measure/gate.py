"""The deployment checklist (guide §6) as a gate.

What was measured against the bars, and which bar was missed.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, replace
from typing import Any
from xml.etree import ElementTree

from affineur.errors import counted
from affineur.measure.bars import SCORES, Bars, plain, split_bar, unit_of
from affineur.measure.benchmark import CALLS
from affineur.measure.bootstrap import FEWEST
from affineur.measure.conditions import Conditions
from affineur.measure.evaluation import Evaluation
from affineur.measure.tables import markdown_table

# A share is a ratio of integers, a drop the difference of two: what floating point adds to a limit reached
# exactly.
_ROUNDING = 1e-12
_NONE = "–"  # shown where there is no figure


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
class Verdict:
    """One bar, judged.

    Args:
        bar: Its name, such as ``min_f1`` or ``max_p95_ms``.
        limit: What had to be reached, or not exceeded.
        measured: The figure, or ``None`` where it could not be measured; that is a miss.
        passed: Whether the bar was reached.
        detail: What stands behind the figure, such as its interval.
    """

    bar: str
    limit: float
    measured: float | None
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """All bars of one model, judged.

    Args:
        model: Name of the model.
        data: Name of the corpus.
        baseline: Name of the baseline, where a bar needed one.
        verdicts: One a bar, in the order of the file.
        conditions: What the figures rest on, where it is known.
    """

    model: str
    data: str
    baseline: str | None
    verdicts: tuple[Verdict, ...]
    conditions: Conditions | None = None

    @property
    def passed(self) -> bool:
        """Whether every bar was reached."""
        return all(verdict.passed for verdict in self.verdicts)

    def as_dict(self) -> dict[str, Any]:
        """Return the stable keys of ``check --json``."""
        return {
            "model": self.model,
            "data": self.data,
            "baseline": self.baseline,
            "passed": self.passed,
            "bars": [asdict(verdict) for verdict in self.verdicts],
            **(asdict(self.conditions) if self.conditions else {}),
        }

    def __str__(self) -> str:
        """Say in one line how many bars were reached, and which were not."""
        missed = [plain(verdict.bar) for verdict in self.verdicts if not verdict.passed]
        many = len(self.verdicts)
        return (
            f"missed: {len(missed)} of {counted(many, 'bar')} ({', '.join(missed)})"
            if missed
            else f"passed: {many} of {counted(many, 'bar')}"
        )


def judge(bars: Bars, measures: Measures, model: str, data: str, baseline: str | None = None) -> Gate:
    """Hold what was measured against the bars.

    A limit reached exactly is reached; what was not measured is missed.

    Args:
        bars: The bars.
        measures: What was measured.
        model: Name of the model.
        data: Name of the corpus.
        baseline: Name of the baseline.

    Raises:
        RecipeError: If a bar names a type that was not scored.
        ParameterError: If the baseline was not scored on the same sentences, in the same scheme.
    """
    if measures.evaluation is not None:
        bars.refuse_unknown_types(measures.evaluation.types)
    verdicts = []
    for name, limit in bars.limits:
        metric, kind = split_bar(name) or ("", None)
        measured, detail = _measured(metric, kind, measures, bars.confidence, baseline)
        verdicts.append(judge_bar(name, limit, measured, detail))
    return Gate(model, data, baseline, tuple(verdicts))


def judge_bar(name: str, limit: float, measured: float | None, detail: str = "") -> Verdict:
    """Hold one figure against one bar: a limit reached exactly is reached.

    What was not measured, or is no number, is missed.
    """
    if measured is not None and not math.isfinite(measured):
        measured, detail = None, "the figure is not a number"
    slack = (
        _ROUNDING if unit_of(name).most == 1 else 0.0
    )  # shares only: bytes are integers, and nothing is subtracted from a clock
    reached = measured is not None and (
        measured >= limit - slack if name.startswith("min_") else measured <= limit + slack
    )
    return Verdict(name, limit, measured, reached, detail)


def gate_cells(gate: Gate) -> list[list[str]]:
    """Return rows ``pass or MISS, bar, measured, comparator, limit, detail``, one a bar.

    Free of line breaks and control characters.
    """
    return [
        ["pass" if one.passed else "MISS", plain(one.bar), *_figures(one), plain(one.detail)]
        for one in gate.verdicts
    ]


def gate_lines(gate: Gate) -> list[str]:
    """Write the gate for a terminal: what was checked, a line a bar, and the outcome."""
    cells = gate_cells(gate)
    wide = [max(len(row[column]) for row in cells) for column in range(5)]
    against = f", against {plain(gate.baseline)}" if gate.baseline else ""
    lines = [f"{plain(gate.model)} on {plain(gate.data)}{against}"]
    for state, bar, measured, sign, limit, detail in cells:
        lines.append(
            f"{state}  {bar:<{wide[1]}}  {measured:>{wide[2]}} {sign} {limit:<{wide[4]}}  {detail}".rstrip()
        )
    return [*lines, str(gate)]


def junit_xml(gate: Gate) -> str:
    """Write the gate as JUnit XML: one test case a bar, a failure with the reason where it was missed."""
    missed = sum(not verdict.passed for verdict in gate.verdicts)
    counts = {
        "tests": str(len(gate.verdicts)),
        "failures": str(missed),
        "errors": "0",
        "skipped": "0",
        "time": "0",
    }
    root = ElementTree.Element("testsuites", {"name": "affineur check", **counts})
    suite = ElementTree.SubElement(
        root, "testsuite", {"name": f"affineur check {plain(gate.model)}", **counts}
    )
    properties = ElementTree.SubElement(suite, "properties")
    for key, value in (("model", gate.model), ("data", gate.data), ("baseline", gate.baseline)):
        if value is not None:
            ElementTree.SubElement(properties, "property", name=key, value=plain(value))
    for state, bar, measured, sign, limit, detail in gate_cells(gate):
        case = ElementTree.SubElement(suite, "testcase", classname=plain(gate.model), name=bar, time="0")
        said = f"{bar}: " + (
            f"not measured, expected {sign} {limit}" if measured == _NONE else f"{measured} {sign} {limit}"
        )
        if state == "MISS":
            ElementTree.SubElement(case, "failure", message=said, type="missed").text = f"{said}; {detail}"
        else:
            ElementTree.SubElement(case, "system-out").text = f"{said}; {detail}"
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def summary_markdown(gate: Gate) -> str:
    """Write the gate as GitHub-flavored Markdown, such as a job summary shows."""
    rows = [
        [
            _literal(bar),
            f"**{state}**" if state == "MISS" else state,
            _literal(f"{measured} {sign} {limit}"),
            _literal(detail),
        ]
        for state, bar, measured, sign, limit, detail in gate_cells(gate)
    ]
    against = f", against {_literal(plain(gate.baseline))}" if gate.baseline else ""
    return (
        f"### affineur check: {_literal(str(gate))}\n\n{_literal(plain(gate.model))} on {_literal(plain(gate.data))}{against}\n\n"
        + markdown_table(("Bar", "", "Measured", "Behind it"), rows)
        + (f"\n{_literal(plain(str(gate.conditions)))}\n" if gate.conditions else "")
    )


def _measured(
    metric: str, kind: str | None, measures: Measures, confidence: float, baseline: str | None
) -> tuple[float | None, str]:
    """Return the figure of one bar and what stands behind it; ``None`` and the reason where there is none."""
    ours = measures.evaluation
    if metric in SCORES:
        if ours is None:
            return None, "not measured: the model was not scored"
        if metric == "max_drop":
            return _drop(ours, measures.baseline, kind, confidence, baseline or "the baseline")
        if metric == "min_accuracy":
            return (
                (ours.accuracy, f"{ours.words_right:,} of {ours.words:,} words in {ours.scheme}")
                if ours.words
                else (None, "the data has no word")
            )
        return _f1(ours, kind, confidence, lower_end=metric == "min_f1_low")
    figure: float | None = getattr(measures, metric.partition("_")[2])  # the bar without its min_ or max_
    if figure is not None:
        behind = {
            "max_size_bytes": "weights",
            "min_agreement": f"words with the tag {measures.parent or 'the parent'} gives",
            "max_peak_rss_bytes": "resident set of a fresh process under load",
            "min_sentences_per_second": "in batches, in a fresh process",
        }
        return figure, behind.get(metric, _calls(metric, measures.calls))
    if metric == "max_peak_rss_bytes" and measures.p50_ms is not None:
        return None, "this system does not tell the peak memory of a process"
    return None, "not measured"


def _calls(metric: str, calls: int | None) -> str:
    """Say what a percentile of latency rests on."""
    few = (
        f"; too few for a 99th percentile, which needs {CALLS:,}"
        if metric == "max_p99_ms" and calls is not None and calls < CALLS
        else ""
    )
    return f"{'' if calls is None else counted(calls, 'call') + ', '}one sentence after another, in a fresh process{few}"


def _f1(ours: Evaluation, kind: str | None, confidence: float, lower_end: bool) -> tuple[float | None, str]:
    if reason := _no_gold(ours, kind):
        return None, reason
    counts = ours.total if kind is None else ours.of_type(kind)
    behind = f"{counts.gold:,} gold mentions in {ours.scheme}"
    if few := _too_few(ours):
        return (None, few) if lower_end else (counts.f1, f"{behind}; {few}")
    interval = ours.interval(kind, confidence)
    ends = f"{_level(confidence)}: {interval.low:.2%} to {interval.high:.2%}"
    return (
        (interval.low, f"F1 {counts.f1:.2%}, {ends}; {behind}")
        if lower_end
        else (counts.f1, f"{ends}; {behind}")
    )


def _drop(
    ours: Evaluation, theirs: Evaluation | None, kind: str | None, confidence: float, name: str
) -> tuple[float | None, str]:
    """Upper end of the paired interval of what was lost, over the types both know."""
    if theirs is None:
        return None, "not measured: no baseline"
    shared = tuple(known for known in ours.types if known in theirs.types)
    if kind is not None and kind not in shared:
        return None, f"{name} does not know {kind}"
    if not shared:
        return None, f"no type in common with {name}"
    mine, other = _only(ours, shared), _only(theirs, shared)
    if ours is theirs and not _no_gold(mine, kind):  # no matter of how many sentences were seen
        return 0.0, f"{name} is the same model"
    if reason := _no_gold(mine, kind) or _too_few(mine):
        return None, reason
    difference = mine.minus(other, kind, confidence)
    drop, low, high = (0.0 - part for part in (difference.value, difference.high, difference.low))
    left_out = f"; over {', '.join(shared)}" if kind is None and shared != ours.types else ""
    return (
        high,
        f"upper end; drop {drop * 100:z.2f} points, {_level(confidence)}: {low * 100:z.2f} to {high * 100:z.2f}, in {mine.scheme}{left_out}",
    )


def _no_gold(ours: Evaluation, kind: str | None) -> str:
    """Say why F1 is not defined: without a gold mention it would be 0, or whatever was invented."""
    if (ours.total if kind is None else ours.of_type(kind)).gold:
        return ""
    return f"no gold mention{f' of {kind}' if kind is not None else ''} in {ours.corpus}"


def _too_few(ours: Evaluation) -> str:
    """Say why there is no interval: of one sentence it would have no width, and promise what nobody knows."""
    return (
        f"too few sentences for an interval ({ours.sentences}, needs {FEWEST})"
        if ours.sentences < FEWEST
        else ""
    )


def _only(evaluation: Evaluation, types: tuple[str, ...]) -> Evaluation:
    """Keep the counts of some types; each type is counted by itself, whatever the others are."""
    if evaluation.types == types:
        return evaluation
    return replace(
        evaluation, types=types, counts=evaluation.counts[:, [evaluation.types.index(kind) for kind in types]]
    )


def _figures(verdict: Verdict) -> tuple[str, str, str]:
    """Write figure, comparator and limit, so exactly that the comparison can be seen to be true."""
    unit, least = unit_of(verdict.bar), verdict.bar.startswith("min_")
    for digits in range(unit.digits, 10):
        limit = f"{verdict.limit * unit.scale:.{digits}f}"
        measured = _NONE if verdict.measured is None else f"{verdict.measured * unit.scale:z.{digits}f}"
        if math.isclose(float(limit), verdict.limit * unit.scale, rel_tol=1e-12) and (
            verdict.passed or measured != limit
        ):
            break
    if verdict.passed or measured == _NONE:
        return (
            measured if measured == _NONE else measured + unit.suffix,
            "≥" if least else "≤",
            limit + unit.suffix,
        )
    return measured + unit.suffix, "<" if least else ">", limit + unit.suffix


def _level(confidence: float) -> str:
    return f"{confidence * 100:g} %"


def _literal(text: str) -> str:
    """Escape what Markdown would read as markup.

    Pipes are left to the table, so that a backslash before one is already doubled.
    """
    return re.sub(r"[\\`*~\[\]]|<(?=[A-Za-z/!?])|&(?=[#A-Za-z])|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)
