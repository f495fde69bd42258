"""Labels of pieces to entities by the strategies of transformers' ``TokenClassificationPipeline`` (5.23).

Its faults are kept, so that nothing changes for who comes from there: a word is what lies between spaces, so
``Paris.`` is one and *l'Olympique* too; ``S-`` and ``E-`` are no prefixes; ``word`` is the tokenizer's
rendering and not the text. One is not: it drops mentions of a type called ``O`` (transformers#30028).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from affineur.entities import Entity, LabeledPiece, encodable
from affineur.errors import ParameterError, did_you_mean
from affineur.runtime.prediction import Logits
from affineur.runtime.texts import TextEncoder, TextWindow

Grouping = Literal["word", "simple", "first", "average", "max"]
AggregationStrategy = Literal[Grouping, "none"]

#: ``word`` is ours; the others are Hugging Face's.
STRATEGIES: tuple[str, ...] = get_args(AggregationStrategy)


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece, or a word of several, with its label: the pipeline's pre-entity."""

    label: str
    score: float
    token: str
    start: int
    end: int


def check_strategy(name: str) -> None:
    """Refuse a name that is no strategy.

    Raises:
        ParameterError: With the names there are.
    """
    if name not in STRATEGIES:
        raise ParameterError(
            f"no aggregation strategy '{name}', expected one of {', '.join(STRATEGIES)}"
            f"{did_you_mean(name, STRATEGIES)}",
            "strategy",
        )


def label_pieces(
    text: str,
    window: TextWindow,
    logits: Logits,
    labels: Sequence[str],
    encoder: TextEncoder,
    ignored: Collection[str] = ("O",),
) -> list[LabeledPiece]:
    """Strategy ``none``: the pieces of a window that are labeled in it.

    Args:
        text: The text.
        window: One of its windows.
        logits: Shape ``(pieces, labels)``, or longer where there is padding.
        labels: Labels in the order of the columns.
        encoder: Made the window.
        ignored: Labels whose pieces are left out.
    """
    scores = _softmax(logits[: len(window)])
    best = scores.argmax(axis=1).tolist()
    pieces = []
    for i in window.own:
        label = labels[best[i]]
        if window.special[i] or label in ignored:
            continue
        start, end = window.offsets[i]
        token, score = _token(text, window, i, encoder), float(scores[i, best[i]])
        pieces.append(LabeledPiece(label, token, start, end, score, window.first + i))
    return pieces


def group_pieces(
    text: str,
    window: TextWindow,
    logits: Logits,
    labels: Sequence[str],
    encoder: TextEncoder,
    strategy: str,
    ignored: Collection[str] = ("O",),
) -> list[Entity]:
    """Strategies ``simple``, ``first``, ``average`` and ``max``: the entities of a window.

    Args:
        text: The text.
        window: One of its windows.
        logits: Shape ``(pieces, labels)``, or longer where there is padding.
        labels: Labels in the order of the columns.
        encoder: Made the window.
        strategy: How the pieces of a word agree on a label.
        ignored: Types whose entities are left out; ``O`` is what lies between entities.
    """
    scores = _softmax(logits[: len(window)])
    words: list[list[int]] = []
    for i in range(len(window)):
        if window.special[i]:
            continue
        if strategy != "simple" and words and continues_word(text, window, i, encoder):
            words[-1].append(i)
        else:
            words.append([i])
    parts = []
    for word in words:
        tokens = [_token(text, window, i, encoder) for i in word]
        row = _AGREE[strategy](scores[word])
        best = int(row.argmax())
        token = tokens[0] if strategy == "simple" else encoder.join(tokens)
        start, end = window.offsets[word[0]][0], window.offsets[word[-1]][1]
        parts.append(_Part(labels[best], float(row[best]), token, start, end))
    return _group(parts, encoder, ignored)


def merge_windows(entities: Sequence[Entity]) -> list[Entity]:
    """Choose among the entities of overlapping windows: of two that overlap the longer, then the surer one.

    An entity without characters (a space that became a piece) overlaps nothing, not even itself: the first of
    them comes twice.
    """
    ordered = sorted(entities, key=lambda e: e.start)
    merged = ordered[:1]
    for entity in ordered:
        if merged[-1].start <= entity.start < merged[-1].end:
            last = merged[-1]
            if (entity.end - entity.start, entity.score) > (last.end - last.start, last.score):
                merged[-1] = entity
        else:
            merged.append(entity)
    return merged


def _softmax(logits: Logits) -> Logits:
    exponent: Logits = np.exp(logits - logits.max(axis=-1, keepdims=True))
    exponent /= exponent.sum(axis=-1, keepdims=True)
    return exponent


def _first(scores: Logits) -> Logits:
    row: Logits = scores[0]
    return row


def _average(scores: Logits) -> Logits:
    row: Logits = scores.mean(axis=0)
    return row


def _surest(scores: Logits) -> Logits:
    row: Logits = scores[scores.max(axis=1).argmax()]
    return row


_AGREE: dict[str, Callable[[Logits], Logits]] = {
    "simple": _first,
    "first": _first,
    "average": _average,
    "max": _surest,
}


def _token(text: str, window: TextWindow, place: int, encoder: TextEncoder) -> str:
    known = encoder.token(window.ids[place])
    return encodable(text[slice(*window.offsets[place])]) if known is None else known


def continues_word(text: str, window: TextWindow, place: int, encoder: TextEncoder) -> bool:
    """Say whether a piece goes on with the word before: the pipeline's guess, where pieces do not show it."""
    known, (start, end) = encoder.token(window.ids[place]), window.offsets[place]
    if known is None:
        return False
    if encoder.marks_continuation:
        return len(known) != end - start
    return start > 0 and " " not in text[start - 1 : start + 1]


def _group(parts: Sequence[_Part], encoder: TextEncoder, ignored: Collection[str]) -> list[Entity]:
    groups: list[list[_Part]] = []
    for part in parts:
        begins, kind = _split(part.label)
        before = groups[-1][-1].label if groups else ""
        # What lies between mentions is no type, not even beside one that is called O.
        apart = (part.label == "O") != (before == "O")
        if groups and not begins and kind == _split(before)[1] and not apart:
            groups[-1].append(part)
        else:
            groups.append([part])
    entities = []
    for group in groups:
        outside = group[0].label == "O"  # and not a type of that name, which the pipeline drops too
        kind = group[0].label.split("-", 1)[-1]
        if kind in ignored and (outside or kind != "O"):
            continue
        score = float(np.mean(np.array([part.score for part in group], dtype=np.float32)))
        word = encoder.join([part.token for part in group])
        entities.append(Entity(kind, word, group[0].start, group[-1].end, score))
    return entities


def _split(label: str) -> tuple[bool, str]:
    return label.startswith("B-"), label[2:] if label.startswith(("B-", "I-")) else label
