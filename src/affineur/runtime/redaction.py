"""Entities out of a text: each becomes its type or a pseudonym, and a list of them leads back exactly."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Literal, NamedTuple, get_args

from affineur.entities import Entity, LabeledPiece
from affineur.errors import ParameterError, did_you_mean

RedactionStyle = Literal["type", "pseudonym"]

#: ``type`` writes ``[PER]``, ``pseudonym`` writes ``[PER_1]``.
STYLES: tuple[str, ...] = get_args(RedactionStyle)

_FEWEST_LETTERS = 3
_MOST_TOKENS = 100  # of a name that is looked for again: bounds the time that a text made to be slow can take
# What is written in more than one way and not folded by NFKC: apostrophes (with accents and letters used as
# such), hyphens and dashes.
_ALIKE = str.maketrans(
    dict.fromkeys("\u2019\u2018\u201b\u2032\u02b9\u02bb\u02bc\u02bd\u00b4`", "'")
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
)
# What nobody sees, such as soft hyphens: Unicode's category Cf (DerivedGeneralCategory.txt, version 16).
_UNSEEN = (
    r"\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064"
    r"\u2066-\u206f\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
_UNSEEN_RUN = re.compile(f"[{_UNSEEN}]+")
# A letter or digit takes the combining marks after it along, everything what nobody sees; ``_`` ends a word,
# as file names have it, and so does an apostrophe that is a letter to Unicode.
_TOKEN = re.compile(
    rf"(?:[^\W_\u02b9\u02bb-\u02bd][\u0300-\u036f{_UNSEEN}]*+)++|(?:\s[{_UNSEEN}]*+)++|.[{_UNSEEN}]*+",
    re.DOTALL,
)


class Replacement(NamedTuple):
    """One mention that was replaced.

    Args:
        placeholder: What stands in the redacted text.
        start: First character there, in code points.
        end: One past the last character.
        word: What stood in the original.
    """

    placeholder: str
    start: int
    end: int
    word: str


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

    A name that was found once is replaced wherever it stands in the text: the same words in the same case or
    all in capitals, between word boundaries, with at least three letters; such a repetition takes type and
    score of the first mention of the name. Words are compared in NFKC, whatever apostrophes and hyphens they
    are written with and whatever invisible characters (Unicode's Cf) stand in them, with and without the
    punctuation around a name; one of more than 100 words, spaces and punctuation marks is not looked for
    again. Of mentions that overlap the longer one is replaced, of two as long the surer one; one without
    characters is dropped.

    Args:
        text: The text of one document.
        entities: Its mentions, from any strategy but ``none``.
        style: ``type`` gives ``[PER]``. ``pseudonym`` gives ``[PER_1]``, the same number for the same name:
            the same type and the same words so compared, whatever their case, the spaces between them and the
            punctuation around them; numbers follow first appearance, and those that stand in the text already
            (it holds ``[PER_1]``) are skipped.

    Raises:
        ParameterError: If there is no such style, an entity lies outside the text, or pieces are given.
    """
    check_style(style)
    if entities and isinstance(entities[0], LabeledPiece):
        raise ParameterError("entities are pieces (strategy none), expected whole entities", "entities")
    mentions = _mentions(text, entities)
    kept: list[str] = []
    found: list[Entity] = []
    replacements: list[Replacement] = []
    last = length = 0
    for mention, placeholder in zip(mentions, _placeholders(text, mentions, style), strict=True):
        start = length + mention.start - last
        length = start + len(placeholder)
        kept += text[last : mention.start], placeholder
        found.append(replace(mention, word=placeholder, start=start, end=length))
        replacements.append(Replacement(placeholder, start, length, text[mention.start : mention.end]))
        last = mention.end
    return Redacted("".join([*kept, text[last:]]), found, replacements)


def restore(redacted_text: str, replacements: Sequence[tuple[str, int, int, str]]) -> str:
    """Undo :func:`redact`, to the character.

    Args:
        redacted_text: The redacted text, unchanged.
        replacements: Those of the same text, in order: placeholder, start, end, original word.

    Raises:
        ParameterError: If a placeholder is not where it should be.
    """
    parts: list[str] = []
    last = 0
    for placeholder, start, end, word in replacements:
        if start < last or redacted_text[start:end] != placeholder:
            raise ParameterError(
                f"no '{placeholder}' at {start}-{end}: these replacements belong to another text, "
                "or it was changed",
                "replacements",
            )
        parts += redacted_text[last:start], word
        last = end
    return "".join([*parts, redacted_text[last:]])


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
        if not 0 <= entity.start <= entity.end <= len(text):
            raise ParameterError(
                f"an entity at {entity.start}-{entity.end} lies outside its text of {len(text)} characters",
                "entities",
            )
        if entity.start < entity.end and covered.find(1, entity.start, entity.end) < 0:
            covered[entity.start : entity.end] = b"\1" * (entity.end - entity.start)
            kept.append(entity)
    return sorted(kept, key=lambda e: e.start)


def _mentions(text: str, entities: Sequence[Entity]) -> list[Entity]:
    """Return what is replaced, by position: entities without overlap, and repetitions of their words."""
    mentions = without_overlap(text, entities)
    covered = bytearray(len(text))
    for mention in mentions:
        covered[mention.start : mention.end] = b"\1" * (mention.end - mention.start)
    return sorted([*mentions, *_repetitions(text, mentions, covered)], key=lambda e: e.start)


def _repetitions(text: str, mentions: Sequence[Entity], covered: bytearray) -> Iterator[Entity]:
    """Yield where the words of a mention stand again, the longest from the left.

    Walks a trie, so many names cost no more than few.
    """
    # A trie of tokens; under None lies the first mention whose words end there.
    names: dict[str | None, Any] = {}
    forms = [(form, mention) for mention in mentions for form in _forms(text[mention.start : mention.end])]
    capitals = [([_folded(token.upper()) for token in form], mention) for form, mention in forms]
    for form, mention in [*forms, *capitals]:  # what was found in capitals itself comes first
        node = names
        for token in form:
            node = node.setdefault(token, {})
        node.setdefault(None, mention)
    if not names:
        return
    tokens = list(_tokens(text))
    # A token that a mention touches equals no other.
    free = ["" if covered.find(1, start, end) >= 0 else token for token, start, end in tokens]
    place = 0
    while place < len(free):
        node, after, best = names, place, None
        while after < len(free) and free[after] in node:
            node = node[free[after]]
            after += 1
            if None in node:
                best = after, node[None]
        if best is None:
            place += 1
            continue
        after, mention = best
        yield replace(mention, start=tokens[place][1], end=tokens[after - 1][2])
        place = after


def _forms(name: str) -> Iterator[list[str]]:
    """Yield the tokens of a name to look for, without the spaces, then the punctuation around it, too."""
    tokens = [token for token, _, _ in _tokens(name)]
    for is_edge in (_is_space, _is_punctuation):
        form = _trimmed(tokens, is_edge)
        if len(form) <= _MOST_TOKENS and sum(map(str.isalpha, "".join(form))) >= _FEWEST_LETTERS:
            yield form


def _trimmed(tokens: list[str], is_edge: Callable[[str], bool]) -> list[str]:
    inside = [place for place, token in enumerate(tokens) if not is_edge(token)]
    return tokens[inside[0] : inside[-1] + 1] if inside else []


def _is_space(token: str) -> bool:
    return token in ("", " ")


def _is_punctuation(token: str) -> bool:
    return all(unicodedata.category(character)[0] in "PZ" for character in token)


def _tokens(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield words, spaces and single other characters in the form they are compared in, with their places."""
    for match in _TOKEN.finditer(text):
        token = _folded(match[0])
        yield " " if token.isspace() else token, *match.span()


def _folded(text: str) -> str:
    """Return the form in which words are compared: NFKC, one apostrophe, one hyphen, nothing invisible."""
    return unicodedata.normalize("NFKC", _UNSEEN_RUN.sub("", text).translate(_ALIKE))


def _identity(name: str) -> str:
    tokens = [token for token, _, _ in _tokens(name)]
    return " ".join("".join(_trimmed(tokens, _is_punctuation) or tokens).casefold().split())


def _placeholders(text: str, mentions: Sequence[Entity], style: RedactionStyle) -> Iterator[str]:
    free: dict[str, Iterator[str]] = {}
    known: dict[tuple[str, str], str] = {}
    for mention in mentions:
        kind = mention.type
        if style == "type":
            yield f"[{kind}]"
            continue
        identity = kind, _identity(text[mention.start : mention.end])
        if kind not in free:
            free[kind] = _free_pseudonyms(kind, text)
        if identity not in known:
            known[identity] = next(free[kind])
        yield known[identity]


def _free_pseudonyms(kind: str, text: str) -> Iterator[str]:
    taken = set(re.findall(rf"\[{re.escape(kind)}_[0-9]+\]", text))
    return (name for number in count(1) if (name := f"[{kind}_{number}]") not in taken)
