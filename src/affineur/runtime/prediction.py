"""Raw text to entities, over any engine that gives word logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from affineur.entities import Entity, detect, repair, to_entities, to_mentions, with_prefix
from affineur.runtime.words import split_words

Logits = npt.NDArray[np.float32]


class LogitsTagger(Protocol):
    """A tagger that also gives the numbers behind its tags."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the order of the outputs."""

    def logits(self, sentences: Sequence[Sequence[str]], batch_size: int | None = None) -> list[Logits]:
        """Return an array of shape ``(words, labels)`` for each sentence; a word never seen by the model is all NaN."""


def predict_batch(tagger: LogitsTagger, texts: Sequence[str], batch_size: int | None = 32) -> list[list[Entity]]:
    """Find the entities of raw texts, of any length: nothing is truncated.

    Args:
        tagger: The engine.
        texts: Raw texts.
        batch_size: Most sequences in a batch; batches are sorted by length inside, results come in input order.

    Returns:
        The entities of each text, by position, with character offsets: ``word == text[start:end]``.
    """
    spans = [split_words(text) for text in texts]
    words = [[text[a:b] for a, b in cut] for text, cut in zip(texts, spans, strict=True)]
    tags = [with_prefix(label) for label in tagger.labels]
    scheme = detect(tags)
    results = []
    for text, cut, logits in zip(texts, spans, tagger.logits(words, batch_size), strict=True):
        chosen, scores = best_labels(logits, tags)
        valid, _ = repair(chosen, scheme)
        results.append(to_entities(text, cut, to_mentions(valid, scheme), scores))
    return results


def best_labels(logits: Logits, tags: Sequence[str]) -> tuple[list[str], list[float]]:
    """Choose the likeliest tag of each word and its softmax probability; an unseen word (NaN) is ``O`` with score 0.

    Args:
        logits: Shape ``(words, labels)``.
        tags: The labels as tags, in the order of the columns.
    """
    seen = np.logical_not(np.isnan(logits).any(axis=1))
    safe = np.where(seen[:, None], logits, 0.0)
    best = safe.argmax(axis=1)
    exponent = np.exp(safe - safe.max(axis=1, keepdims=True, initial=-np.inf))
    scores = np.where(seen, exponent.max(axis=1, initial=0.0) / exponent.sum(axis=1), 0.0)
    return [tags[i] if ok else "O" for i, ok in zip(best.tolist(), seen.tolist(), strict=True)], scores.tolist()
