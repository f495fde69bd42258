"""From mentions over words, or pieces and their labels, to entities over characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from affineur.entities.mentions import Mention


@dataclass(frozen=True, slots=True)
class Entity:
    """A mention in raw text, under the field names of Hugging Face's token-classification pipeline.

    Args:
        entity_group: The type, without prefix.
        score: Mean probability of the winning label over the entity's words or pieces, in [0, 1].
        word: ``text[start:end]`` by the strategy ``word``; by Hugging Face's strategies what the tokenizer
            makes of the pieces.
        start: First character, in code points.
        end: One past the last character.
    """

    entity_group: str
    score: float
    word: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class LabeledPiece:
    """One piece of raw text with its label.

    Under the field names of Hugging Face's pipeline without aggregation.

    Args:
        entity: The label, prefix included.
        score: Its probability, in [0, 1].
        index: Position among the pieces of the whole text, special pieces counted.
        word: The piece as it stands in the vocabulary, or the text where that does not know it.
        start: First character, in code points.
        end: One past the last character.
    """

    entity: str
    score: float
    index: int
    word: str
    start: int
    end: int


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
        entities.append(Entity(mention.type, score, text[start:end], start, end))
    return entities
