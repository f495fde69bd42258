"""The three answers a report begins with: is the model good enough, what did it cost, where does it fail."""

from __future__ import annotations

from dataclasses import dataclass

from affineur.measure.bootstrap import FEWEST
from affineur.measure.comparison import Row, TypeRow
from affineur.measure.report.alternatives import better_line, errors_moved, same_for_less, steps
from affineur.measure.report.bars import bar_list, outcome
from affineur.measure.report.contents import Report
from affineur.measure.report.failures import ErrorKind, Share, by_share, example, gold_mentions, totals
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
    speed_said,
)

#: A sparsity that rounds to 0.0 % is none: trained weights have a few zeros by chance.
SPARSE = 0.0005
_NAME = 30  # columns of a name in big type
_STEPS = 6  # lines that an answer holds without being buried under them


@dataclass(frozen=True, slots=True)
class Finding:
    """A question, its answer in one line, and what stands behind it.

    Args:
        question: The question.
        short: The answer in big type.
        detail: What stands behind it.
        tone: ``good``, ``bad`` or ``open``, for a color beside the words.
        plain: What the answer means, in one sentence of large type.
        basis: What that sentence was counted on.
    """

    question: str
    short: str
    detail: Html
    tone: str = "open"
    plain: str = ""
    basis: str = ""


def answers(report: Report) -> list[Finding]:
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
        met = "meets its only bar" if many == 1 else f"meets all {many} bars"
        if missed:
            met = f"misses {missed} of {counted(many, 'bar')}"
            if gate.verdict == "not provable":
                met = f"cannot be shown to meet {missed} of {counted(many, 'bar')} with so few sentences"
        bars = f"; {who}{met}"
    if report.alone:
        return f"{row.model} scores F1 {percent(row.f1, 2)} ({_interval(row.f1_low, row.f1_high)}){bars}."
    return (
        f"{row.model} scores F1 {percent(row.f1, 2)} against {percent(first.f1, 2)} for {first.model}: "
        f"{_difference(row)}{_unsure(row)}; "
        f"{size_change(row.size_bytes, first.size_bytes)}, {speed_said(row.speed)}{bars}."
    )


def zeros_note(report: Report) -> str:
    """Say what zeros do to size and speed, where the row has any: in a dense file, nothing."""
    row, info = report.row, report.models.get(report.row.model)
    if row.sparsity < SPARSE:
        return ""
    whole = (
        f", {percent(1 - info.nonzero / info.parameters)} of the whole model"
        if info and info.parameters
        else ""
    )
    share = f"{percent(row.sparsity)} of its attention and feed-forward weights are zero{whole}."
    others = (
        o
        for o in report.comparison.rows
        if o.sparsity < SPARSE
        and o.layers == row.layers
        and abs(o.size_bytes - row.size_bytes) <= row.size_bytes / 1000
    )
    twin = next(others, None)
    if twin is not None:
        return (
            f"{share} Its file stores them like any other number: {twin.model}, without zeros, is as large. "
            "Zeros alone made it neither smaller nor faster."
        )
    if info is not None and info.manifest is not None and info.manifest.kind == "transformers":
        return (
            f"{share} Its file stores them like any other number: zeros alone made it neither smaller nor "
            "faster."
        )
    return share


def _good_enough(report: Report) -> Finding:
    question, row, gate = "Is it good enough?", report.row, report.gate
    finds = _finds(row)
    seen = (
        f"{counted(_gold(row), 'entity', 'entities')} in {counted(report.comparison.sentences, 'sentence')}"
    )
    basis = f"F1 {percent(row.f1)}, on {seen}"
    better = [el("p", line, class_="other-row") for line in (better_line(report),) if line]
    if gate is not None and gate.verdicts:
        return Finding(
            question,
            outcome(gate),
            join([bar_list(report, gate), *better]),
            {"passed": "good", "failed": "bad", "not provable": "open"}[gate.verdict],
            finds,
            basis,
        )
    no_bar = el(
        "p",
        "No bar was set, so this says how it compares; whether that is enough for your use is yours to "
        "judge.",
        class_="note",
    )
    if report.alone:
        scores = el("p", f"{row.model} scores F1 {percent(row.f1, 2)}, {_interval(row.f1_low, row.f1_high)}.")
        short = "Open: no bar was set, and it is compared with nothing."
        return Finding(question, short, join([scores, *better]), plain=finds, basis=basis)
    short, tone = _compared(report)
    said = [el("p", f"{row.verdict}.")] if row.verdict else []
    question = f"Is it as good as {shortened(report.baseline.model, _NAME)}?"
    return Finding(question, short, join([*said, *better, no_bar]), tone, finds, basis)


def _compared(report: Report) -> tuple[str, str]:
    """Say what the paired interval allows to say, and whether that is good news."""
    row, margin = report.row, report.comparison.margin
    if report.comparison.sentences < FEWEST:
        return f"Not shown: {counted(report.comparison.sentences, 'sentence')} cannot tell.", "open"
    if row.drop_high < 0:
        return f"Yes: better by {_range(-row.drop_high, -row.drop_low)} points of F1.", "good"
    if row.drop_high <= margin:
        worse = f", though by {_range(row.drop_low, row.drop_high)}" if row.drop_low > 0 else ""
        return f"Yes: not worse by more than {margin * 100:g} points of F1{worse}.", "good"
    if row.drop_low > 0:
        return f"No: worse by {_range(row.drop_low, row.drop_high)} points of F1.", "bad"
    return f"Not shown: up to {row.drop_high * 100:.2f} points of F1 may be lost.", "open"


def _finds(row: Row) -> str:
    """Say what an F1 means in entities found and marks that are right."""
    if not _gold(row):
        return ""
    found = _of_hundred(row.recall)
    finds = {0: "none of the entities", 100: "every entity"}.get(found, f"{found} of every 100 entities")
    right = _of_hundred(row.precision)
    marks = {0: "", 100: "; all it marks are right"}.get(
        right,
        f"; of every 100 it marks, {right} {'is' if right == 1 else 'are'} right and {100 - right} wrong",
    )
    return f"It finds {finds}{marks}."


def _gold(row: Row) -> int:
    return sum(one.support for one in row.per_type.values())


def _of_hundred(share: float) -> int:
    # Rounding must not turn nearly all into all, nor a few into none.
    return 99 if 0.99 < share < 1 else 1 if 0 < share < 0.01 else round(share * 100)


def _cost(report: Report) -> Finding:
    row, first = report.row, report.baseline
    size, speed = size_change(row.size_bytes, first.size_bytes), speed_change(row.speed)
    both = (
        "neither smaller nor faster"
        if (size, speed) == ("the same size", "the same speed")
        else f"{size}, {speed_said(row.speed)}"
    )
    now, before = bytes_apart(row.size_bytes, first.size_bytes)
    tiles = [
        _tile("F1", *_f1_figures(row, first)),
        _tile("Size", size, _instead(now, before), _instead(_layers(row), _layers(first))),
        _tile("Speed", speed, f"{row.speedup:.2f}× the sentences a second", speed_interval(row.speed)),
        _tile("Memory", memory_change(row.peak_rss_bytes, first.peak_rss_bytes), *_memory(row, first)),
    ]
    lines = [line for line in (same_for_less(report), *errors_moved(report), zeros_note(report)) if line]
    parts = [el("dl", *tiles, class_="tiles"), *(el("p", line) for line in lines)]
    if found := steps(report):
        about, lines_of = (
            "F1 step by step, each row against the one above it",
            el("ul", *(el("li", line) for line in found)),
        )
        parts += (
            [el("h3", about), lines_of]
            if len(found) <= _STEPS
            else [el("details", el("summary", about), lines_of)]
        )
    return Finding(
        f"What did it cost, what was gained, against {shortened(first.model, _NAME)}?",
        f"{_f1_change(row)}; {both}.",
        join(parts),
    )


def _memory(row: Row, first: Row) -> tuple[str, str]:
    if row.peak_rss_bytes is None or first.peak_rss_bytes is None:
        return "", ""
    now, before = bytes_apart(row.peak_rss_bytes, first.peak_rss_bytes)
    return _instead(now, before), "peak of a fresh process"


def _f1_figures(row: Row, first: Row) -> tuple[str, str, str]:
    if row.drop == row.drop_low == row.drop_high == 0:
        return "unchanged", percent(row.f1, 2), ""
    return (
        f"{points(-row.drop)} points",
        _instead(percent(row.f1, 2), percent(first.f1, 2)),
        f"{_difference_interval(row)}{_unsure(row)}",
    )


def _instead(now: str, before: str) -> str:
    return f"{now} instead of {before}" if now != before else now


def _tile(name: str, change: str, figures: str, small: str) -> Html:
    lines = [
        el("dd", change, class_="change"),
        *([el("dd", figures)] if figures else []),
        *([el("dd", small, class_="note")] if small else []),
    ]
    return el("div", el("dt", name), *lines)


def _f1_change(row: Row) -> str:
    if row.drop == row.drop_low == row.drop_high == 0:
        return "F1 unchanged"
    if row.drop_low > 0:
        return f"{row.drop * 100:.2f} points of F1 lost"
    return (
        f"{-row.drop * 100:.2f} points of F1 gained"
        if row.drop_high < 0
        else "No change of F1 that the data can show"
    )


#: Gold mentions that have to stand behind a type that is named in a headline.
_ENOUGH = 20


def _layers(row: Row) -> str:
    return counted(row.layers, "layer") if row.layers else "layers unknown"


def _fails(report: Report) -> Finding | None:
    seen = sorted(
        ((kind, one) for kind, one in report.row.per_type.items() if one.support), key=lambda pair: pair[1].f1
    )
    enough = [(kind, one) for kind, one in seen if one.support >= _ENOUGH]
    clearly = [(kind, one) for kind, one in seen if one.f1_high < report.row.f1]
    lines = [_type_line(report, kind, one) for kind, one in clearly or seen[:2]]
    unseen = [kind for kind, one in report.row.per_type.items() if not one.support]
    if unseen:
        lines.append(el("li", f"{listed(unseen)}: no gold mention in this data, so nothing can be said."))
    lost = [(kind, one) for kind, one in seen if one.drop_low > 0]
    if lost and not report.alone:
        kind, one = max(lost, key=lambda pair: pair[1].drop)
        lines.append(
            el(
                "li",
                f"Clearly worse than {report.baseline.model} on {kind}, by "
                f"{_range(one.drop_low, one.drop_high)} points of F1.",
            )
        )
    kinds = _kinds(report)
    if not seen and not kinds:
        return None
    if seen and seen[0][1].f1 == 1:
        short = "Nowhere in this data: every entity was found, and no other marked."
    elif seen and not enough:
        short = f"Too few mentions of any type to say: fewer than {_ENOUGH} of each."
    elif seen:
        short = (
            f"Most on {enough[0][0]}: F1 {percent(enough[0][1].f1)}."
            if len(seen) > 1
            else f"On {seen[0][0]}, the only type: F1 {percent(seen[0][1].f1)}."
        )
    else:
        short = "It marks entities where there are none."
    parts = [el("ul", *lines)] if lines else []
    if kinds:
        parts += [el("h3", _heading(report)), el("ul", *kinds, class_="kinds")]
    return Finding("Where does it fail?", short, join(parts))


def _type_line(report: Report, kind: str, one: TypeRow) -> Html:
    other = None if report.alone else report.baseline.per_type.get(kind)
    beside = f"; {report.baseline.model} has {percent(other.f1)}" if other is not None else ""
    figures = (
        f" (95\u00a0%: {percent(one.f1_low)} to {percent(one.f1_high)}) on "
        f"{counted(one.support, 'gold mention')}{beside}"
    )
    return el("li", el("strong", f"{kind}: F1 {percent(one.f1)}"), figures)


def _heading(report: Report) -> str:
    about = report.analysis.model if report.analysis else report.row.model
    return "Kinds of errors" if about == report.row.model else f"Kinds of errors of {about}"


def _kinds(report: Report) -> list[Html]:
    """List the kinds of errors, the largest share of a type first, each with an example where one is kept."""
    if report.analysis is None:
        return []
    found = report.analysis.confusion
    ranked, count, gold = by_share(found), totals(found), sum(gold_mentions(found))
    lines = []
    # What was missed stands first: for redaction it is what remains readable.
    for name in sorted(dict.fromkeys(one.kind.name for one in ranked), key=lambda name: name != "missed"):
        these = [one for one in ranked if one.kind.name == name]
        of = (
            "marks that touch no gold mention"
            if name == "invented"
            else f"of {counted(gold, 'gold mention')}"
        )
        text = [
            el("strong", f"{_KINDS[name]}: {count[name]:,}"),
            f" {of}, {'most of all' if len(these) > 1 else 'all of them'} {_worst(these[0])}",
        ]
        lines.append(el("li", el("p", *text), *_example(report, [one.kind for one in these])))
    return lines


_KINDS = {"missed": "Missed", "invented": "Invented", "boundary": "Wrong boundary", "confused": "Wrong type"}


def _worst(one: Share) -> str:
    kind = one.kind
    if not one.gold:
        return f"{_which(kind)} ({one.count:,}, and no gold mention of it)"
    if kind.name == "invented":
        return f"{_which(kind)} ({one.count:,}, beside {counted(one.gold, 'gold mention')} of it)"
    return f"{_which(kind)} ({one.count:,} of {one.gold:,} {kind.type}, {percent(one.share, 0)})"


def _which(kind: ErrorKind) -> str:
    return kind.type if kind.taken_for is None else f"{kind.type} taken for {kind.taken_for}"


def _example(report: Report, kinds: list[ErrorKind]) -> list[Html]:
    """Show, of the first kind of which a sentence is kept, gold mentions and what the model marks there."""
    if report.analysis is None:
        return []
    found = next((one for one in (example(report.analysis, kind) for kind in kinds) if one is not None), None)
    if found is None:
        return []
    one, mention, instead = found
    types = report.analysis.confusion.types
    about = [m for m in (mention, instead) if m is not None]
    # Both lines show the same words, or the eye compares sentences instead of marks.
    lines = [
        el("p", el("span", who, class_="who"), " ", excerpt(one, marks, about, types, context=5))
        for who, marks in (("should be", one.gold), ("it says", one.model))
    ]
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
