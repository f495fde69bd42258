"""Sentences with their mentions marked, each with its type in letters."""

from __future__ import annotations

from collections.abc import Sequence

from affineur.entities import Mention
from affineur.measure.analysis import Analysis, Disagreement
from affineur.measure.report.markup import Html, breakable, el, hidden, join
from affineur.measure.report.words import counted

_STYLES = 6
_OPEN = 5  # sentences that are not folded away
_LONG = 24  # letters of a word that may stand beside its type even on a narrow screen


def highlighted(
    words: Sequence[str],
    mentions: Sequence[Mention],
    types: Sequence[str],
    gold: Sequence[Mention] | None = None,
    stressed: Mention | None = None,
) -> Html:
    """Mark the mentions of a sentence.

    Args:
        words: The words.
        mentions: What to mark; they do not overlap.
        types: All types, whose order gives each its color and its line.
        gold: Where given, a mention that is not among these is marked as wrong.
        stressed: The one that is spoken of, which stands out.
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
        # No line breaks between the last word and the type.
        *before, last = words[mention.start : mention.end]
        inside = join(
            [*before, el("span", last, " ", kind, class_="kept" if len(last) <= _LONG else None)], " "
        )
        parts.append(
            el("mark", inside, class_=style + " wrong" * wrong + " stressed" * (mention == stressed))
        )
        position = mention.end
    return join([*parts, *words[position:]], " ")


def excerpt(
    one: Disagreement,
    mentions: Sequence[Mention],
    about: Sequence[Mention],
    types: Sequence[str],
    context: int = 6,
) -> Html:
    """Mark the mentions in the words around some, which stand out; the words are the same whatever is marked.

    Args:
        one: The sentence.
        mentions: What to mark: its gold mentions, or those of the model.
        about: What the excerpt is about.
        types: All types.
        context: Words on either side.
    """
    start = max(0, min(m.start for m in about) - context)
    end = min(len(one.words), max(m.end for m in about) + context)
    # A mention is shown whole or not at all; one widens the excerpt into the next, never past the sentence.
    while cut := [m for m in (*one.gold, *one.model) if m.start < start < m.end or m.start < end < m.end]:
        start, end = min(start, *(m.start for m in cut)), max(end, *(m.end for m in cut))
    moved = [
        (m, Mention(m.start - start, m.end - start, m.type))
        for m in mentions
        if start <= m.start and m.end <= end
    ]
    stressed = next((there for here, there in moved if here in about), None)
    middle = highlighted(one.words[start:end], [there for _, there in moved], types, stressed=stressed)
    return join([*(["…"] if start else []), middle, *(["…"] if end < len(one.words) else [])], " ")


def disagreements(analysis: Analysis, types: Sequence[str]) -> Html:
    """Set gold, baseline and model under each other for every sentence kept; most of them are folded away."""
    kept, apart = analysis.disagreements, analysis.sentences_apart
    if not apart:
        return el("p", f"{analysis.model} and {analysis.baseline} tag every sentence alike.")
    level = apart - analysis.better - analysis.worse
    lead = (
        f"Of the {counted(apart, 'sentence')} tagged differently, {analysis.model} is better in "
        f"{analysis.better:,}, worse in {analysis.worse:,} "
        f"and level in {level:,}, by the number of errors."
    )
    if not kept:
        return el("p", lead)
    most = (
        f"the {len(kept)} where most words differ, {apart - len(kept):,} more are not"
        if apart > len(kept)
        else "all of them"
    )
    intro = (
        f"Shown {'is' if len(kept) == 1 else 'are'} {most}. Each entity carries its type; ✗ marks one that "
        "is not in the gold data."
    )
    shown = [_three_lines(one, analysis, types) for one in kept]
    parts = [el("p", lead, class_="lead"), el("p", intro), el("ol", *shown[:_OPEN], class_="sentences")]
    if len(shown) > _OPEN:
        summary = el("summary", f"The other {counted(len(shown) - _OPEN, 'sentence')}")
        parts.append(el("details", summary, el("ol", *shown[_OPEN:], class_="sentences", start=_OPEN + 1)))
    return join(parts)


def _three_lines(one: Disagreement, analysis: Analysis, types: Sequence[str]) -> Html:
    lines = [el("dt", "Gold"), el("dd", highlighted(one.words, one.gold, types))]
    for name, mentions in ((analysis.baseline, one.baseline), (analysis.model, one.model)):
        right = len(set(mentions) & set(one.gold))
        tally = (
            f"{right} of {len(one.gold)} right, {len(set(mentions)) - right} wrong"
            if one.gold
            else f"{len(set(mentions))} wrong"
        )
        lines += [
            el("dt", breakable(name), " ", el("small", tally)),
            el("dd", highlighted(one.words, mentions, types, one.gold)),
        ]
    about = f"Sentence {one.number} of the data: {counted(one.words_apart, 'word')} tagged differently"
    return el("li", el("p", about, class_="note"), el("dl", *lines))
