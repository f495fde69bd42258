"""What is kept of a text that was answered: figures, offsets and a keyed hash, not the text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from affineur.entities import Entity, LabeledPiece, encodable
from affineur.runtime import Evidence, PredictOptions
from affineur.watch.log.keys import LogKey

#: Digits of a probability that are kept.
_DIGITS = 5
#: Characters of a text in clear that weigh as much as a row.
_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The model that answered.

    Args:
        digest: Of its weights, configuration and tokenizer.
        types: Types of mentions that it knows.
    """

    digest: str
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """The rows of one text, until they are written.

    Args:
        model: What answered.
        text: Columns of the text, without those that the database decides.
        mentions: Columns of its mentions, without the text's id.
        sample: The text in clear, where it is kept.
    """

    model: ModelFacts
    text: dict[str, Any]
    mentions: list[dict[str, Any]]
    sample: str | None

    @property
    def weight(self) -> int:
        """Rows that it takes, text in clear as so many as take about its bytes."""
        return 1 + len(self.mentions) + (0 if self.sample is None else 1 + len(self.sample) // _CHARACTERS)


def entry(
    text: str,
    found: Sequence[Entity | LabeledPiece],
    evidence: Evidence,
    *,
    model: ModelFacts,
    options: PredictOptions,
    latency: float,
    time: float,
    key: LogKey,
    share: float = 0.0,
) -> Entry:
    """Return what is kept of a text.

    Args:
        text: The text, of which only a hash stays unless it is sampled.
        found: What was answered. Pieces (strategy ``none``) are no mentions, and are not kept.
        evidence: What the probabilities say.
        model: What answered.
        options: How it was wanted.
        latency: Seconds until it was answered.
        time: Seconds UTC.
        key: Hashes it.
        share: Of the texts that stay in clear; the same text always does, or never.
    """
    hashed, chance = key.hash(text)
    columns = {
        "time": time,
        "key": key.id,
        "hash": hashed,
        "characters": len(text),
        "words": evidence.words,
        "pieces": evidence.pieces,
        "unknown_pieces": evidence.unknown_pieces,
        "latency": latency,
        "strategy": options.strategy,
        "context": "sentence" if options.by_sentence else "document",
        "threshold": options.threshold,
        "confidence": evidence.confidence,
        "begin_mass": json.dumps({kind: round(mass, _DIGITS) for kind, mass in evidence.begin_mass.items()}),
    }
    mentions = [
        {
            "number": number,
            "type": each.type,
            "start": each.start,
            "end": each.end,
            "score": each.score,
            "probabilities": str([round(p, _DIGITS) for p in about.probabilities]),
            "before": about.before,
            "after": about.after,
        }
        for number, (each, about) in enumerate(zip(found, evidence.mentions, strict=True))
        if isinstance(each, Entity)
    ]
    kept = encodable(text).replace("\0", "�") if chance < share else None  # PostgreSQL has no NUL
    return Entry(model, columns, mentions, kept)
