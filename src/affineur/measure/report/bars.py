"""The bars of a gate in plain words."""

from __future__ import annotations

import math

from affineur.measure.bar_table import find_bar, known_bar
from affineur.measure.figures import OnDifference, basis_words
from affineur.measure.gate import Gate, Verdict
from affineur.measure.report.contents import Report
from affineur.measure.report.markup import Html, el, join
from affineur.measure.report.words import points


def bar_name(bar: str) -> str:
    """Name a bar in words; one nobody knows keeps its name."""
    known, kind = find_bar(bar) or (None, None)
    if known is None:
        return bar
    return f"{known.label} of {kind}" if kind else known.label


def outcome(gate: Gate) -> str:
    """Say in one sentence whether the bars were reached."""
    many, open_ = len(gate.verdicts), sum(verdict.open for verdict in gate.verdicts)
    unknown = sum(verdict.measured is None and not verdict.open for verdict in gate.verdicts)
    missed = sum(not verdict.passed for verdict in gate.verdicts) - unknown - open_
    if open_ and not missed and not unknown:
        what = "the only bar" if many == 1 else f"{open_} of the {many} bars"
        return f"Not provable with so few sentences: {what} set for it; no bar was seen to be missed."
    were = "was" if unknown == 1 else "were"
    if many == 1:
        if missed:
            return "It misses the only bar set for it."
        met = "It meets the only bar set for it."
        return "Not shown: the only bar set for it was not measured." if unknown else met
    if missed:
        also = f", and {unknown} {were} not measured" if unknown else ""
        return f"It misses {missed} of the {many} bars set for it{also}."
    if unknown:
        return f"Not shown: {unknown} of the {many} bars set for it {were} not measured."
    return f"It meets all {many} bars set for it."


def bar_list(report: Report, gate: Gate) -> Html:
    """List each bar with what was measured and what was asked, in the order of the file."""
    lines = [_line(report, gate, verdict) for verdict in gate.verdicts]
    where = el("a", "in the recipe", href="#recipe") if report.recipe else "in the bars file"
    bars, them = ("bar was", "it") if len(gate.verdicts) == 1 else ("bars were", "them")
    against = f"; losses are measured against {gate.baseline}" if gate.baseline else ""
    checked = f", and {gate.model} was checked against {them} on {gate.data}{against}."
    return join([el("ul", *lines, class_="bars"), el("p", f"The {bars} set ", where, checked, class_="note")])


def _line(report: Report, gate: Gate, verdict: Verdict) -> Html:
    bar, kind = known_bar(verdict.bar)
    if "baseline" in bar.needs and verdict.measured is not None:
        what, behind = _loss(report, gate, verdict, kind)
    else:
        measured, _, limit = verdict.figures()
        figure = "not measured" if verdict.measured is None else measured
        what = [el("strong", f"{bar_name(verdict.bar)}: {figure}"), f"; {bar.reach} {limit} was asked"]
        behind = basis_words(verdict.basis, brief=True)
    why = [" ", el("small", behind)] if behind else []
    return el("li", _badge(verdict), el("span", *what, *why))


def _badge(verdict: Verdict) -> Html:
    state, sign, tone = "missed", "✗", "bad"
    if verdict.passed:
        state, sign, tone = "reached", "✓", "good"
    elif verdict.open:
        state, sign, tone = "not provable", "?", "open"
    elif verdict.measured is None:
        state, sign = "no figure", "?"
    both = el("span", sign, class_="brief", aria_hidden="true"), el("span", state, class_="word")
    return el("span", *both, class_=f"state {tone}")


def _loss(report: Report, gate: Gate, verdict: Verdict, kind: str | None) -> tuple[list[str], str]:
    """Say what was lost against what was allowed as a change of F1: nobody speaks of a loss below zero."""
    name = f"F1{f' of {kind}' if kind else ''} against {gate.baseline or 'the baseline'}"
    allowed = f"; a loss of at most {verdict.limit * 100:.2f} was allowed"
    row, upper = report.row, verdict.measured or 0.0
    change = row if kind is None else row.per_type.get(kind)
    ours = gate.model == row.model and gate.baseline == report.baseline.model
    # A gate may have been judged on other types or with another confidence; then its own figures stand.
    if ours and change is not None and math.isclose(change.drop_high, upper, rel_tol=0, abs_tol=1e-9):
        interval = f"95\u00a0%: {points(-change.drop_high)} to {points(-change.drop_low)}"
        said = verdict.basis.open if isinstance(verdict.basis, OnDifference) else ""
        return [el("strong", f"{name}: {points(-change.drop)} points ({interval})"), allowed], said
    figures = (
        f"at most {upper * 100:.2f} points lost"
        if upper > 0
        else f"at least {-upper * 100:.2f} points gained"
    )
    return [el("strong", f"{name}: {figures}"), allowed], basis_words(verdict.basis, brief=True)
