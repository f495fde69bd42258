"""The three answers a report begins with: is the model good enough, what did it cost, where does it fail."""

from __future__ import annotations

from dataclasses import dataclass

from affineur.measure.bootstrap import FEWEST
from affineur.measure.comparison import Row
from affineur.measure.report.bars import bar_list, outcome
from affineur.measure.report.contents import Report
from affineur.measure.report.failures import Kind, errors, example
from affineur.measure.report.markup import Html, el, join
from affineur.measure.report.sentences import excerpt
from affineur.measure.report.words import (
    bytes_apart,
    counted,
    listed,
    memory_change,
    percent,
    points,
    shortened,
    size_change,
    speed_change,
    speed_interval,
)

#: A sparsity that rounds to 0.0 % is none: trained weights have a few zeros by chance.
SPARSE = 0.0005
_NAME = 30  # columns of a name in big type


@dataclass(frozen=True, slots=True)
class Answer:
    """A question, its answer in one line, and what stands behind it.

    Args:
        question: The question.
        short: The answer in big type.
        detail: What stands behind it.
        tone: ``good``, ``bad`` or ``open``, for a color beside the words.
    """

    question: str
    short: str
    detail: Html
    tone: str = "open"


def answers(report: Report) -> list[Answer]:
    """Answer the questions that the report can answer."""
    found = [_good_enough(report)]
    if not report.alone:
        found.append(_cost(report))
    fails = _fails(report)
    return [*found, fails] if fails else found


def verdict(report: Report) -> str:
    """Say the outcome in one sentence of plain text."""
    row, first, gate = report.row, report.baseline, report.gate
    bars = ""
    if gate is not None and gate.verdicts:
        missed, many = sum(not v.passed for v in gate.verdicts), len(gate.verdicts)
        who = "" if gate.model == row.model else f"{gate.model} "
        bars = f"; {who}misses {missed} of {counted(many, 'bar')}" if missed else f"; {who}reaches all of {counted(many, 'bar')}"
    if report.alone:
        return f"{row.model} scores F1 {percent(row.f1, 2)} ({_interval(row.f1_low, row.f1_high)}){bars}."
    return (
        f"{row.model} scores F1 {percent(row.f1, 2)} against {percent(first.f1, 2)} for {first.model}: {_difference(row)}{_unsure(row)}; "
        f"{size_change(row.size_bytes, first.size_bytes)}, {speed_change(row.speed)}{bars}."
    )


def zeros_note(report: Report) -> str:
    """Say what zeros do to size and speed, where the row has any: in a dense file, nothing."""
    row, info = report.row, report.models.get(report.row.model)
    if row.sparsity < SPARSE:
        return ""
    whole = f", {percent(1 - info.nonzero / info.parameters)} of the whole model" if info and info.parameters else ""
    share = f"{percent(row.sparsity)} of its attention and feed-forward weights are zero{whole}."
    others = (
        o
        for o in report.comparison.rows
        if o.sparsity < SPARSE and o.layers == row.layers and abs(o.size_bytes - row.size_bytes) <= row.size_bytes / 1000
    )
    twin = next(others, None)
    if twin is not None:
        return (
            f"{share} Its file stores them like any other number: {twin.model}, without zeros, is as large. "
            "Zeros alone made it neither smaller nor faster."
        )
    if info is not None and info.manifest is not None and info.manifest.kind == "transformers":
        return f"{share} Its file stores them like any other number: zeros alone made it neither smaller nor faster."
    return share


def _good_enough(report: Report) -> Answer:
    question, row, gate = "Is it good enough?", report.row, report.gate
    finds = _finds(report, row)
    if gate is not None and gate.verdicts:
        return Answer(question, outcome(gate), join([bar_list(gate), finds]), "good" if gate.passed else "bad")
    no_bar = el("p", "No bar was set, so this says how it compares; whether that is enough for your use is yours to judge.", class_="note")
    if report.alone:
        scores = el("p", f"{row.model} scores F1 {percent(row.f1, 2)}, {_interval(row.f1_low, row.f1_high)}.")
        return Answer(question, "Open: no bar was set, and it is compared with nothing.", join([scores, finds]))
    short, tone = _compared(report)
    said = [el("p", f"{row.verdict}.")] if row.verdict else []
    question = f"Is it as good as {shortened(report.baseline.model, _NAME)}?"
    return Answer(question, short, join([*said, finds, no_bar]), tone)


def _compared(report: Report) -> tuple[str, str]:
    """Say what the paired interval allows to say, and whether that is good news."""
    row, margin = report.row, report.comparison.margin
    if report.comparison.sentences < FEWEST:
        return f"Not shown: {counted(report.comparison.sentences, 'sentence')} cannot tell.", "open"
    if row.drop == row.drop_low == row.drop_high == 0:
        return "Yes: it finds exactly the same.", "good"
    if row.drop_high < 0:
        return f"Yes: better by {_range(-row.drop_high, -row.drop_low)} points of F1.", "good"
    if row.drop_high <= margin:
        worse = f", though by {_range(row.drop_low, row.drop_high)}" if row.drop_low > 0 else ""
        return f"Yes: not worse by more than {margin * 100:g} points of F1{worse}.", "good"
    if row.drop_low > 0:
        return f"No: worse by {_range(row.drop_low, row.drop_high)} points of F1.", "bad"
    return f"Not shown: up to {row.drop_high * 100:.2f} points of F1 may be lost.", "open"


def _finds(report: Report, row: Row) -> Html:
    """Say what an F1 means in entities found and marks that are right."""
    gold = sum(one.support for one in row.per_type.values())
    if not gold:
        return Html("")
    correct = f", and {_of_hundred(row.precision)} it marks are right" if row.precision else ""
    lead = f"It finds {_of_hundred(row.recall)} entities{correct}"
    return el("p", f"{lead} (F1 {percent(row.f1)}, on {counted(gold, 'entity', 'entities')} in {counted(report.comparison.sentences, 'sentence')}).")


def _of_hundred(share: float) -> str:
    # Rounding must not turn nearly all into all, nor a few into none.
    return f"{99 if 0.99 < share < 1 else 1 if 0 < share < 0.01 else round(share * 100)} of every 100"


def _cost(report: Report) -> Answer:
    row, first = report.row, report.baseline
    size, speed = size_change(row.size_bytes, first.size_bytes), speed_change(row.speed)
    both = "neither smaller nor faster" if size == "the same size" and speed in ("the same speed", "not clearly faster") else f"{size}, {speed}"
    now, before = bytes_apart(row.size_bytes, first.size_bytes)
    tiles = [
        _tile("F1", *_f1_figures(row, first)),
        _tile("Size", size, _instead(now, before), _instead(f"{row.layers} layers", f"{first.layers} layers")),
        _tile("Speed", speed, f"{row.speedup:.2f}× the sentences per second", speed_interval(row.speed)),
        _tile("Memory", memory_change(row.peak_rss_bytes, first.peak_rss_bytes), *_memory(row, first)),
    ]
    zeros = zeros_note(report)
    detail = join([el("dl", *tiles, class_="tiles"), *([el("p", zeros)] if zeros else [])])
    return Answer(f"What did it cost, what was gained, against {shortened(first.model, _NAME)}?", f"{_f1_change(row)}; {both}.", detail)


def _memory(row: Row, first: Row) -> tuple[str, str]:
    if row.peak_rss_bytes is None or first.peak_rss_bytes is None:
        return "", ""
    now, before = bytes_apart(row.peak_rss_bytes, first.peak_rss_bytes)
    return _instead(now, before), "peak of a fresh process"


def _f1_figures(row: Row, first: Row) -> tuple[str, str, str]:
    if row.drop == row.drop_low == row.drop_high == 0:
        return "unchanged", percent(row.f1, 2), ""
    return f"{points(-row.drop)} points", _instead(percent(row.f1, 2), percent(first.f1, 2)), f"{_difference_interval(row)}{_unsure(row)}"


def _instead(now: str, before: str) -> str:
    return f"{now} instead of {before}" if now != before else now


def _tile(name: str, change: str, figures: str, small: str) -> Html:
    lines = [el("dd", change, class_="change"), *([el("dd", figures)] if figures else []), *([el("dd", small, class_="note")] if small else [])]
    return el("div", el("dt", name), *lines)


def _f1_change(row: Row) -> str:
    if row.drop == row.drop_low == row.drop_high == 0:
        return "F1 unchanged"
    if row.drop_low > 0:
        return f"{row.drop * 100:.2f} points of F1 lost"
    return f"{-row.drop * 100:.2f} points of F1 gained" if row.drop_high < 0 else "No change of F1 that the data can show"


def _fails(report: Report) -> Answer | None:
    seen = sorted(((kind, one) for kind, one in report.row.per_type.items() if one.support), key=lambda pair: pair[1].f1)
    lines = [_type_line(kind, one.f1, one.f1_low, one.f1_high, one.support) for kind, one in seen[:3]]
    unseen = [kind for kind, one in report.row.per_type.items() if not one.support]
    if unseen:
        lines.append(el("li", f"{listed(unseen)}: no gold mention in this data, so nothing can be said."))
    lost = [(kind, one) for kind, one in seen if one.drop_low > 0]
    if lost and not report.alone:
        kind, one = max(lost, key=lambda pair: pair[1].drop)
        lines.append(el("li", f"Clearly worse than {report.baseline.model} on {kind}, by {_range(one.drop_low, one.drop_high)} points of F1."))
    kinds = _kinds(report)
    if not seen and not kinds:
        return None
    if seen and seen[0][1].f1 == 1:
        short = "Nowhere in this data: every entity was found, and no other marked."
    elif seen:
        short = (
            f"Most on {seen[0][0]}: F1 {percent(seen[0][1].f1)}."
            if len(seen) > 1
            else f"On {seen[0][0]}, the only type: F1 {percent(seen[0][1].f1)}."
        )
    else:
        short = "It marks entities where there are none."
    parts = [el("ul", *lines)] if lines else []
    if kinds:
        parts += [el("h3", _heading(report)), el("ul", *kinds, class_="kinds")]
    return Answer("Where does it fail?", short, join(parts))


def _type_line(kind: str, f1: float, low: float, high: float, support: int) -> Html:
    return el("li", el("strong", f"{kind}: F1 {percent(f1)}"), f" ({percent(low)} to {percent(high)}) on {counted(support, 'gold mention')}")


def _heading(report: Report) -> str:
    about = report.analysis.model if report.analysis else report.row.model
    return "Kinds of errors" if about == report.row.model else f"Kinds of errors of {about}"


def _kinds(report: Report) -> list[Html]:
    """List the kinds of errors, the most frequent first, each with an example where one is kept."""
    if report.analysis is None:
        return []
    found = errors(report.analysis.confusion)
    lines: list[tuple[int, Html]] = []
    for name, words in _KINDS.items():
        these = [(kind, count) for kind, count in found if kind.name == name]
        if these:
            total, (kind, count) = sum(count for _, count in these), these[0]
            often = f"most often {_which(kind)} ({count:,})" if len(these) > 1 else f"all of them {_which(kind)}"
            text = [el("strong", f"{words}: {total:,}"), f", {often}"]
            lines.append((total, el("li", el("p", *text), *_example(report, kind))))
    return [line for _, line in sorted(lines, key=lambda pair: -pair[0])]


_KINDS = {"missed": "Missed", "invented": "Invented", "boundary": "Wrong boundary", "confused": "Wrong type"}


def _which(kind: Kind) -> str:
    return kind.type if kind.taken_for is None else f"{kind.type} taken for {kind.taken_for}"


def _example(report: Report, kind: Kind) -> list[Html]:
    found = example(report.analysis, kind) if report.analysis else None
    if found is None or report.analysis is None:
        return []
    one, mention, instead = found
    types = report.analysis.confusion.types
    around = [m for m in (mention, instead) if m is not None]
    lines = []
    for who, shown in (("should be", None if kind.name == "invented" else mention), ("it says", instead)):
        if shown is not None:
            # Both lines show the same words, or the eye compares sentences instead of marks.
            lines.append(el("p", el("span", who, class_="who"), " ", excerpt(one, [shown], around, types, context=5)))
    return [el("div", *lines, class_="example")]


def _interval(low: float, high: float) -> str:
    return f"95 % interval {percent(low)} to {percent(high)}"


def _range(low: float, high: float) -> str:
    return f"{low * 100:.2f} to {high * 100:.2f}"


def _difference_interval(row: Row) -> str:
    return f"95 %: {points(-row.drop_high)} to {points(-row.drop_low)}"


def _difference(row: Row) -> str:
    return f"{points(-row.drop)} points ({_difference_interval(row)})"


def _unsure(row: Row) -> str:
    if row.drop == row.drop_low == row.drop_high == 0:
        return ""
    return "" if row.drop_low > 0 or row.drop_high < 0 else ", which the data cannot tell from no change"
