"""What a model's probabilities say of a text beside its answer: what an estimate of F1 without labels needs.

Probabilities are the model's own (softmax), of the words that the answer was read from; to calibrate them is
the estimator's.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from affineur.entities import Entity, LabeledPiece, split_tag, types_of, with_prefix
from affineur.runtime.prediction import Logits


@dataclass(frozen=True, slots=True)
class MentionEvidence:
    """What the probabilities say of one mention that was found.

    Args:
        probabilities: For each of its words, that it is in a mention of this type.
        before: The same of the word before it; 0 where there is none in its sentence.
        after: The same of the word after it.
    """

    probabilities: tuple[float, ...]
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the probabilities say of one text.

    Args:
        words: Words, those without a piece included.
        pieces: Pieces that were computed, special ones not counted; where windows overlap, twice.
        unknown_pieces: Those that the vocabulary lacks.
        confidence: Mean over the words of the highest probability; 1 without words.
        begin_mass: For each type of the model, how many of its mentions begin in the text, as expected.
        mentions: Of each mention found, in its order.
    """

    words: int
    pieces: int
    unknown_pieces: int
    confidence: float
    begin_mass: dict[str, float]
    mentions: list[MentionEvidence] = field(default_factory=list)


def text_evidence(
    spans: Sequence[tuple[int, int]],
    logits: Logits,
    labels: Sequence[str],
    found: Sequence[Entity | LabeledPiece],
    ends: Sequence[int] = (),
    pieces: tuple[int, int] = (0, 0),
) -> Evidence:
    """Say what the probabilities of a text's words are evidence of.

    A mention of a type begins at a word that is labeled as its first (``B-``, ``S-``), or as inside of one
    (``I-``, ``E-``) where the word before cannot be in the same mention: so the expected number of beginnings
    is the sum of p(first) + p(inside) · (1 − p(the word before goes on)), neighbors taken as independent.

    Args:
        spans: Character span of each word, in order.
        logits: Shape ``(words, labels)``; a word never seen by the model is all NaN.
        labels: Labels in the order of the columns.
        found: What was answered.
        ends: Words, in order, before which a mention ends whatever the labels say.
        pieces: Pieces, and unknown ones.
    """
    types, roles = _roles(tuple(labels))
    seen = np.isfinite(logits[:, 0])
    if not seen.all():
        logits = np.where(seen[:, None], logits, 0.0)
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    if not (all_seen := bool(seen.all())):
        scores[~seen] = 0.0
    shares, kinds = scores @ roles, len(types)
    first, inside, goes_on = shares[:, :kinds], shares[:, kinds : 2 * kinds], shares[:, 2 * kinds :]
    before = np.zeros_like(goes_on)
    before[1:] = goes_on[:-1]
    if len(ends):
        before[list(ends)] = 0.0
    mass = (first + inside * (1 - before)).sum(axis=0)
    best = scores.max(axis=1)
    count = len(spans) if all_seen else int(seen.sum())
    return Evidence(
        len(spans),
        *pieces,
        float(best.sum()) / count if count else 1.0,
        dict(zip(types, mass.tolist(), strict=True)),
        _of_mentions(spans, first + inside, types, found, ends),
    )


def _of_mentions(
    spans: Sequence[tuple[int, int]],
    typed: npt.NDArray[np.float32],
    types: Sequence[str],
    found: Sequence[Entity | LabeledPiece],
    ends: Sequence[int],
) -> list[MentionEvidence]:
    if not found:
        return []
    starts = [start for start, _ in spans]
    edges = {0, len(spans), *ends}
    mentions = []
    for each in found:
        kind = each.type if isinstance(each, Entity) else split_tag(with_prefix(each.label))[1]
        if kind not in types:  # O, where it was asked for
            mentions.append(MentionEvidence((), 0.0, 0.0))
            continue
        column = typed[:, types.index(kind)]
        begin = max(0, bisect_right(starts, each.start) - 1)
        end = max(begin + 1, bisect_left(starts, each.end))
        mentions.append(
            MentionEvidence(
                tuple(column[begin:end].tolist()),
                0.0 if begin in edges else float(column[begin - 1]),
                0.0 if end in edges else float(column[end]),
            )
        )
    return mentions


@lru_cache(16)
def _roles(labels: tuple[str, ...]) -> tuple[tuple[str, ...], npt.NDArray[np.float32]]:
    """Return the types, and for each label whether it is the first of a type, inside it, and goes on.

    Returns:
        The types, and a matrix of shape ``(labels, 3 × types)``.
    """
    tags = [split_tag(with_prefix(label)) for label in labels]
    types = types_of(with_prefix(label) for label in labels)
    roles = np.zeros((len(labels), 3, len(types)), dtype=np.float32)
    for row, (prefix, kind) in enumerate(tags):
        if prefix != "O":
            column = types.index(kind)
            roles[row, 0 if prefix in "BS" else 1, column] = 1
            roles[row, 2, column] = prefix in "BI"
    return types, roles.reshape(len(labels), -1)
