"""From mentions over words, or pieces and their labels, to entities over characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from affineur.entities.mentions import Mention


@dataclass(frozen=True, slots=True, repr=False)
class Entity:
    """A mention in raw text.

    Args:
        type: The type, such as ``PER``, without prefix.
        word: ``text[start:end]`` by the strategy ``word``; by Hugging Face's strategies what the tokenizer
            makes of the pieces.
        start: First character, in code points.
        end: One past the last character.
        score: Mean probability of the winning label over the entity's words or pieces, in [0, 1].
    """

    type: str
    word: str
    start: int
    end: int
    score: float

    def __repr__(self) -> str:
        return f"Entity({self.type} {self.word!r} {self.start}:{self.end} {self.score:.2f})"

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON, under the keys of Hugging Face's token-classification pipeline."""
        return {
            "entity_group": self.type,
            "score": self.score,
            "word": self.word,
            "start": self.start,
            "end": self.end,
        }


@dataclass(frozen=True, slots=True, repr=False)
class LabeledPiece:
    """One piece of raw text with its label: what the strategy ``none`` gives.

    Args:
        label: The label, prefix included, such as ``I-PER``.
        word: The piece as it stands in the vocabulary, or the text where that does not know it.
        start: First character, in code points.
        end: One past the last character.
        score: The label's probability, in [0, 1].
        index: Position among the pieces of the whole text, special pieces counted.
    """

    label: str
    word: str
    start: int
    end: int
    score: float
    index: int

    def __repr__(self) -> str:
        return f"LabeledPiece({self.label} {self.word!r} {self.start}:{self.end} {self.score:.2f})"

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON, under the keys of Hugging Face's pipeline without aggregation."""
        return {
            "entity": self.label,
            "score": self.score,
            "index": self.index,
            "word": self.word,
            "start": self.start,
            "end": self.end,
        }


def to_entities(
    text: str, spans: Sequence[tuple[int, int]], mentions: Sequence[Mention], scores: Sequence[float]
) -> list[Entity]:
    """Place mentions in the text their words were cut from.

    Args:
        text: The text.
        spans: Character span of each word, in order.
        mentions: Mentions over those words.
        scores: Probability of each word's label.
    """
    entities = []
    for mention in mentions:
        start, end = spans[mention.start][0], spans[mention.end - 1][1]
        score = sum(scores[mention.start : mention.end]) / (mention.end - mention.start)
        entities.append(Entity(mention.type, text[start:end], start, end, score))
    return entities


def encodable(text: str) -> str:
    """Replace what UTF-8 cannot carry (lone surrogates), one for one, so that no offset shifts."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
