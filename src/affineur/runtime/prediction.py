"""Logits of words to tags and entities."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from affineur.entities import Entity, Mention, Scheme, detect, repaired_mentions, to_entities, with_prefix

Logits = npt.NDArray[np.float32]


def word_entities(
    text: str,
    spans: Sequence[tuple[int, int]],
    logits: Logits,
    labels: Sequence[str],
    ignored: Collection[str] = ("O",),
    ends: Sequence[int] = (),
) -> list[Entity]:
    """Read the entities of a text from the logits of its words.

    Args:
        text: The text.
        spans: Character span of each word, in order.
        logits: Shape ``(words, labels)``; a word never seen by the model is all NaN.
        labels: Labels in the order of the columns.
        ignored: Types that are left out; without ``O`` in it, what lies between mentions comes too, as type
            ``O``. It means what lies between them and nothing else: a mention of a type that a model calls
            ``O`` stays.
        ends: Words, in order, before which a mention ends whatever the labels say.

    Returns:
        By position, with character offsets: ``word == text[start:end]``.
    """
    tags, scheme = _scheme(tuple(labels))
    chosen, scores = best_labels(logits, tags)
    mentions = repaired_mentions(chosen, scheme)
    if ends:
        mentions = [part for mention in mentions for part in _ended(mention, ends)]
    if "O" not in ignored:
        mentions = _with_gaps(mentions, len(spans))
    kept = [mention for mention in mentions if mention.type == "O" or mention.type not in ignored]
    return to_entities(text, spans, kept, scores)


@lru_cache(16)  # a server reads text after text by the same labels
def _scheme(labels: tuple[str, ...]) -> tuple[tuple[str, ...], Scheme]:
    tags = tuple(with_prefix(label) for label in labels)
    return tags, detect(tags)


def _ended(mention: Mention, ends: Sequence[int]) -> Iterator[Mention]:
    """Cut a mention where it has to end."""
    inside = ends[bisect_right(ends, mention.start) : bisect_left(ends, mention.end)]
    for start, end in pairwise([mention.start, *inside, mention.end]):
        yield Mention(start, end, mention.type)


def _with_gaps(mentions: Sequence[Mention], words: int) -> list[Mention]:
    """Return mentions with the stretches between them as mentions of type ``O``."""
    edges = [0, *(edge for mention in mentions for edge in (mention.start, mention.end)), words]
    gaps = [Mention(start, end, "O") for start, end in list(pairwise(edges))[::2] if start < end]
    return sorted([*mentions, *gaps])


def best_labels(logits: Logits, tags: Sequence[str]) -> tuple[list[str], list[float]]:
    """Choose the likeliest tag of each word, and its softmax probability; an unseen word is ``O`` with 0.

    Args:
        logits: Shape ``(words, labels)``.
        tags: The labels as tags, in the order of the columns.
    """
    seen = np.logical_not(np.isnan(logits).any(axis=1))
    safe = np.where(seen[:, None], logits, 0.0)
    best = safe.argmax(axis=1)
    exponent = np.exp(safe - safe.max(axis=1, keepdims=True, initial=-np.inf))
    scores = np.where(seen, 1 / exponent.sum(axis=1), 0.0)  # that of the likeliest is exp(0)
    chosen = [tags[i] if ok else "O" for i, ok in zip(best.tolist(), seen.tolist(), strict=True)]
    return chosen, scores.tolist()
