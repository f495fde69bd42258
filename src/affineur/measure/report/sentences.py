"""Sentences with their mentions marked, each with its type in letters."""

from __future__ import annotations

from collections.abc import Sequence

from affineur.entities import Mention
from affineur.measure.analysis import Analysis, Disagreement
from affineur.measure.report.markup import Html, breakable, el, hidden, join
from affineur.measure.report.words import counted

_STYLES = 6


def highlighted(words: Sequence[str], mentions: Sequence[Mention], types: Sequence[str], gold: Sequence[Mention] | None = None) -> Html:
    """Mark the mentions of a sentence.

    Args:
        words: The words.
        mentions: What to mark; they do not overlap.
        types: All types, whose order gives each its color and its line.
        gold: Where given, a mention that is not among these is marked as wrong.
    """
    parts: list[str] = []
    position = 0
    for mention in sorted(mentions):
        if mention.start < position or mention.end > len(words):
            continue  # it overlaps the one before, or belongs to another sentence
        parts += words[position : mention.start]
        wrong = gold is not None and mention not in gold
        style = f"t{types.index(mention.type) % _STYLES if mention.type in types else _STYLES - 1}"
        kind = el("small", mention.type, *([" ✗", hidden(" wrong")] if wrong else []))
        parts.append(el("mark", " ".join(words[mention.start : mention.end]), " ", kind, class_=f"{style} wrong" if wrong else style))
        position = mention.end
    return join([*parts, *words[position:]], " ")


def excerpt(one: Disagreement, mentions: Sequence[Mention], around: Sequence[Mention], types: Sequence[str], context: int = 6) -> Html:
    """Mark some mentions in the words around others."""
    start = max(0, min(m.start for m in around) - context)
    end = min(len(one.words), max(m.end for m in around) + context)
    moved = [Mention(m.start - start, m.end - start, m.type) for m in mentions]
    middle = highlighted(one.words[start:end], moved, types)
    return join([*(["…"] if start else []), middle, *(["…"] if end < len(one.words) else [])], " ")


def disagreements(analysis: Analysis, types: Sequence[str]) -> Html:
    """Set gold, baseline and model under each other for every sentence kept."""
    shown, apart = len(analysis.disagreements), analysis.sentences_apart
    if not shown:
        return el("p", f"{analysis.model} and {analysis.baseline} tag every sentence alike.")
    intro = (
        f"The two tag {counted(apart, 'sentence')} differently. "
        + (f"Shown {'is' if shown == 1 else 'are'} the {shown} where most words differ, {apart - shown} more are not. " if apart > shown else "")
        + "Each entity carries its type; ✗ marks one that is not in the gold data, by span or by type."
    )
    return join([el("p", intro), el("ol", *(_three_lines(one, analysis, types) for one in analysis.disagreements), class_="sentences")])


def _three_lines(one: Disagreement, analysis: Analysis, types: Sequence[str]) -> Html:
    lines = [el("dt", "Gold"), el("dd", highlighted(one.words, one.gold, types))]
    for name, mentions in ((analysis.baseline, one.baseline), (analysis.model, one.model)):
        right = len(set(mentions) & set(one.gold))
        tally = f"{right} of {len(one.gold)} right, {len(set(mentions)) - right} wrong" if one.gold else f"{len(set(mentions))} wrong"
        lines += [el("dt", breakable(name), " ", el("small", tally)), el("dd", highlighted(one.words, mentions, types, one.gold))]
    about = f"Sentence {one.number} of the data: {counted(one.words_apart, 'word')} tagged differently"
    return el("li", el("p", about, class_="note"), el("dl", *lines))
