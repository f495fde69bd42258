"""The bars of a gate in plain words."""

from __future__ import annotations

from affineur.measure.bars import split_bar
from affineur.measure.gate import Gate, gate_cells
from affineur.measure.report.markup import Html, el, join
from affineur.measure.report.words import counted

_NAMES = {
    "min_f1": "F1",
    "min_f1_low": "F1, at the lower end of its interval",
    "min_accuracy": "Words tagged right",
    "max_drop": "F1 that may be lost",
    "max_size_bytes": "Size",
    "max_p50_ms": "Time in which half of the sentences are done",
    "max_p95_ms": "Time in which 95 of 100 sentences are done",
    "max_p99_ms": "Time in which 99 of 100 sentences are done",
    "max_peak_rss_bytes": "Memory",
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
        return f"No. It misses {missed} of {many} bars{also}." if many > 1 else "No. It misses its only bar."
    if unknown:
        return (
            f"Not shown. {unknown} of {many} bars {'was' if unknown == 1 else 'were'} not measured."
            if many > 1
            else "Not shown. Its only bar was not measured."
        )
    return f"Yes. It reaches all {many} bars." if many > 1 else "Yes. It reaches its only bar."


def bar_list(gate: Gate) -> Html:
    """List each bar with what was measured and what was asked, in the order of the file."""
    lines = []
    for verdict, (_, bar, measured, _, limit, detail) in zip(gate.verdicts, gate_cells(gate), strict=True):
        bound = "at least" if bar.startswith("min_") else "at most"
        state = "reached" if verdict.passed else "no figure" if verdict.measured is None else "missed"
        figure = "not measured" if verdict.measured is None else measured
        what = [el("strong", f"{bar_name(bar)}: {figure}"), f" – {bound} {limit} was asked. "]
        why = [el("small", detail)] if detail else []
        lines.append(el("li", el("span", state, class_=f"state {'good' if verdict.passed else 'bad'}"), el("span", *what, *why)))
    about = el("p", f"{counted(len(gate.verdicts), 'bar')} set for {gate.model}, held against {gate.data}" + _against(gate) + ".", class_="note")
    return join([el("ul", *lines, class_="bars"), about])


def _against(gate: Gate) -> str:
    return f", drops measured against {gate.baseline}" if gate.baseline else ""
