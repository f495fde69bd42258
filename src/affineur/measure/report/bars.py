"""The bars of a gate in plain words."""

from __future__ import annotations

import math
import re

from affineur.entities import Scheme
from affineur.measure.bars import split_bar
from affineur.measure.gate import Gate, Verdict, gate_cells
from affineur.measure.report.contents import Report
from affineur.measure.report.markup import Html, el, join
from affineur.measure.report.words import points

_NAMES = {
    "min_f1": "F1",
    "min_f1_low": "F1, at the lower end of its interval",
    "min_accuracy": "Words tagged right",
    "max_drop": "F1 against the baseline",
    "max_size_bytes": "Size",
    "max_p50_ms": "Time in which half of the sentences are done",
    "max_p95_ms": "Time in which 95 of 100 sentences are done",
    "max_p99_ms": "Time in which 99 of 100 sentences are done",
    "max_peak_rss_bytes": "Peak memory",
    "min_sentences_per_second": "Sentences a second",
    "min_agreement": "Words tagged as its parent tags them",
}


def bar_name(bar: str) -> str:
    """Name a bar in words; one nobody knows keeps its name."""
    metric, kind = split_bar(bar) or (bar, None)
    name = _NAMES.get(metric, metric)
    return f"{name} of {kind}" if kind else name


def outcome(gate: Gate) -> str:
    """Say in one sentence whether the bars were reached."""
    many, unknown = len(gate.verdicts), sum(verdict.measured is None for verdict in gate.verdicts)
    missed = sum(not verdict.passed for verdict in gate.verdicts) - unknown
    if missed:
        also = f", and {unknown} {'was' if unknown == 1 else 'were'} not measured" if unknown else ""
        return (
            f"It misses {missed} of the {many} bars set for it{also}."
            if many > 1
            else "It misses the only bar set for it."
        )
    if unknown:
        return (
            f"Not shown: {unknown} of the {many} bars set for it {'was' if unknown == 1 else 'were'} not measured."
            if many > 1
            else "Not shown: the only bar set for it was not measured."
        )
    return f"It meets all {many} bars set for it." if many > 1 else "It meets the only bar set for it."


def bar_list(report: Report, gate: Gate) -> Html:
    """List each bar with what was measured and what was asked, in the order of the file."""
    lines = []
    for verdict, (_, bar, measured, _, limit, detail) in zip(gate.verdicts, gate_cells(gate), strict=True):
        state, sign = (
            ("reached", "✓")
            if verdict.passed
            else ("no figure", "?")
            if verdict.measured is None
            else ("missed", "✗")
        )
        metric, kind = split_bar(bar) or (bar, None)
        if metric == "max_drop" and verdict.measured is not None:
            what, behind = _loss(report, gate, verdict, kind)
        else:
            figure = "not measured" if verdict.measured is None else measured
            bound = "at least" if bar.startswith("min_") else "at most"
            what, behind = (
                [el("strong", f"{bar_name(bar)}: {figure}"), f"; {bound} {limit} was asked"],
                in_plain_words(detail),
            )
        why = [" ", el("small", behind)] if behind else []
        both = el("span", sign, class_="brief", aria_hidden="true"), el("span", state, class_="word")
        badge = el("span", *both, class_=f"state {'good' if verdict.passed else 'bad'}")
        lines.append(el("li", badge, el("span", *what, *why)))
    where = el("a", "in the recipe", href="#recipe") if report.recipe else "in the bars file"
    one = len(gate.verdicts) == 1
    held = f", and {gate.model} was held against {'it' if one else 'them'} on {gate.data}{_against(gate)}."
    about = el("p", f"The {'bar was' if one else 'bars were'} set ", where, held, class_="note")
    return join([el("ul", *lines, class_="bars"), about])


def _loss(report: Report, gate: Gate, verdict: Verdict, kind: str | None) -> tuple[list[str], str]:
    """Say what was lost against what was allowed, as a change of F1: a loss below zero is nobody's language."""
    name = f"F1{f' of {kind}' if kind else ''} against {gate.baseline or 'the baseline'}"
    allowed = f"; a loss of at most {verdict.limit * 100:.2f} was allowed"
    row, upper = report.row, verdict.measured or 0.0
    change = row if kind is None else row.per_type.get(kind)
    ours = gate.model == row.model and gate.baseline == report.baseline.model
    # A gate may have been judged on other types or with another confidence; then its own figures stand.
    if ours and change is not None and math.isclose(change.drop_high, upper, rel_tol=0, abs_tol=1e-9):
        figures = f"{points(-change.drop)} points (95\u00a0%: {points(-change.drop_high)} to {points(-change.drop_low)})"
        return [el("strong", f"{name}: {figures}"), allowed], ""
    figures = (
        f"at most {upper * 100:.2f} points lost"
        if upper > 0
        else f"at least {-upper * 100:.2f} points gained"
    )
    return [el("strong", f"{name}: {figures}"), allowed], in_plain_words(verdict.detail)


def in_plain_words(detail: str) -> str:
    """Leave out of a detail what only those who built the measurement understand."""
    said = re.sub(rf",? in (?:{'|'.join(Scheme)})(?=[;.]|$)", "", detail)
    said = re.sub(r"; mentions compared\b|^upper end; ", "", said)
    return re.sub(r"^resident set\b", "peak", said).replace("resident set", "memory")


def _against(gate: Gate) -> str:
    return f"; losses are measured against {gate.baseline}" if gate.baseline else ""
