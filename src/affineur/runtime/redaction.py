"""Entities out of a text: each becomes its type or a pseudonym, and a list of them leads back exactly."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Literal, get_args

from affineur.entities import Entity, LabeledPiece
from affineur.errors import ParameterError, did_you_mean
from affineur.runtime.folding import word_spans
from affineur.runtime.repetitions import Repetitions
from affineur.runtime.restoring import Replacement
from affineur.runtime.restoring import restore as restore

RedactionStyle = Literal["type", "pseudonym"]

#: ``type`` writes ``[PER]``, ``pseudonym`` writes ``[PER_1]``.
STYLES: tuple[str, ...] = get_args(RedactionStyle)


@dataclass(frozen=True, slots=True)
class Redacted:
    """A text without its mentions. Only ``replacements`` still holds their words.

    Args:
        text: The text with a placeholder for each mention.
        entities: The mentions by position, with offsets in the redacted text: ``word == text[start:end]``,
            the placeholder.
        replacements: One for each entity, in the same order; with them :func:`restore` gives the original.
    """

    text: str
    entities: list[Entity]
    replacements: list[Replacement]


def redact(text: str, entities: Sequence[Entity], *, style: RedactionStyle = "type") -> Redacted:
    """Replace each mention in a text by its type or by a pseudonym.

    A mention is widened to whole words. A name that was found once is replaced wherever it stands in the
    text, whatever its case and accents, whatever signs stand between its words and whatever is not seen in
    them, broken at a line's end or not; of a person's name each word that is a name by itself goes, too.
    Such a repetition takes type and score of the first mention of the name. A name that is a common word as
    well (``Rose``) is looked for with a capital, in addresses, and where no word in lower case precedes it;
    one of less than two or more than 200 letters and digits, or of more than 40 words, is not looked for.
    What overlaps is replaced as one, under the type of the longest mention in it, of two as long the surer
    one's; a mention without characters is dropped.

    Args:
        text: The text of one document.
        entities: Its mentions, from any strategy but ``none``.
        style: ``type`` gives ``[PER]`` (``[PER*]`` where the text holds ``[PER]`` already). ``pseudonym``
            gives ``[PER_1]``, the same number for the same name: the same type and the same letters and
            digits, whatever their case and accents; numbers follow first appearance, and those that stand in
            the text already (it holds ``[PER_1]``) are skipped.

    Raises:
        ParameterError: If there is no such style, an entity lies outside the text, or pieces are given.
    """
    check_style(style)
    if entities and isinstance(entities[0], LabeledPiece):
        raise ParameterError("entities are pieces (strategy none), expected whole entities", "entities")
    given = [_inside(text, entity) for entity in entities]
    widened = _widened(text, [entity for entity in given if entity.start < entity.end])
    repetitions = Repetitions(text, widened)
    mentions = _merged([*widened, *repetitions])
    placeholders = _placeholders(text, mentions, style, repetitions)
    kept: list[str] = []
    found: list[Entity] = []
    replacements: list[Replacement] = []
    last = length = 0
    for mention, placeholder in zip(mentions, placeholders, strict=True):
        start = length + mention.start - last
        length = start + len(placeholder)
        kept += text[last : mention.start], placeholder
        found.append(replace(mention, word=placeholder, start=start, end=length))
        replacements.append(Replacement(placeholder, start, length, text[mention.start : mention.end]))
        last = mention.end
    return Redacted("".join([*kept, text[last:]]), found, replacements)


def check_style(name: str) -> None:
    """Refuse a name that is no style.

    Raises:
        ParameterError: With the names there are.
    """
    if name not in STYLES:
        raise ParameterError(
            f"no redaction style '{name}', expected one of {', '.join(STYLES)}{did_you_mean(name, STYLES)}",
            "style",
        )


def without_overlap(text: str, entities: Sequence[Entity]) -> list[Entity]:
    """Return entities by position, without those that have no characters or overlap a longer or surer one.

    Raises:
        ParameterError: If one lies outside the text.
    """
    covered = bytearray(len(text))
    kept: list[Entity] = []
    for entity in sorted(entities, key=lambda e: (e.start - e.end, -e.score, e.start)):
        _inside(text, entity)
        if entity.start < entity.end and covered.find(1, entity.start, entity.end) < 0:
            covered[entity.start : entity.end] = b"\1" * (entity.end - entity.start)
            kept.append(entity)
    return sorted(kept, key=lambda e: e.start)


def _inside(text: str, entity: Entity) -> Entity:
    if not 0 <= entity.start <= entity.end <= len(text):
        raise ParameterError(
            f"an entity at {entity.start}-{entity.end} lies outside its text of {len(text)} characters",
            "entities",
        )
    return entity


def _widened(text: str, entities: Sequence[Entity]) -> list[Entity]:
    """Return entities by position, none of which ends inside a word.

    Hugging Face's strategy ``simple`` gives pieces of words, and a model may read only what lies before an
    invisible character.
    """
    words = word_spans(text) if entities else []
    starts, ends = [start for start, _ in words], [end for _, end in words]
    whole: dict[tuple[int, int], Entity] = {}  # many pieces of one word are one mention
    for entity in entities:
        first, last = bisect_right(ends, entity.start), bisect_left(starts, entity.end) - 1
        start, end = entity.start, entity.end
        if first <= last:
            start, end = min(start, starts[first]), max(end, ends[last])
        if (start, end) != (entity.start, entity.end):
            entity = replace(entity, start=start, end=end)
        if (start, end) not in whole or entity.score > whole[start, end].score:
            whole[start, end] = entity
    return sorted(whole.values(), key=lambda e: e.start)


def _merged(mentions: Sequence[Entity]) -> list[Entity]:
    """Return mentions by position, those that overlap as one: all of each is covered."""
    merged: list[Entity] = []
    best: tuple[int, float] = (0, 0.0)
    for mention in sorted(mentions, key=lambda e: e.start):
        worth = mention.end - mention.start, mention.score
        if not merged or mention.start >= merged[-1].end:
            merged.append(mention)
            best = worth
            continue
        last = merged[-1]
        kind = mention if worth > best else last
        best = max(best, worth)
        merged[-1] = replace(kind, start=last.start, end=max(last.end, mention.end))
    return merged


def _placeholders(
    text: str, mentions: Sequence[Entity], style: RedactionStyle, repetitions: Repetitions
) -> Iterator[str]:
    free: dict[str, Iterator[str]] = {}
    known: dict[tuple[str, str], str] = {}
    for mention in mentions:
        kind = mention.type
        if style == "type":
            if (kind, "") not in known:
                known[kind, ""] = _free_type(kind, text)
            yield known[kind, ""]
            continue
        name = repetitions.identity(mention.start, mention.end)
        identity = kind, name or text[mention.start : mention.end]
        if kind not in free:
            free[kind] = _free_pseudonyms(kind, text)
        if identity not in known:
            known[identity] = next(free[kind])
        yield known[identity]


def _free_type(kind: str, text: str) -> str:
    """Return a type's placeholder, with stars where the text holds it already."""
    while (placeholder := f"[{kind}]") in text:
        kind += "*"
    return placeholder


def _free_pseudonyms(kind: str, text: str) -> Iterator[str]:
    taken = set(re.findall(rf"\[{re.escape(kind)}_[0-9]+\]", text))
    return (name for number in count(1) if (name := f"[{kind}_{number}]") not in taken)
