"""Corpora and taggers made of lists."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest

from affineur.entities import Corpus, Mention, Scheme, Sentence, to_tags
from affineur.measure import Comparison

TYPES = ("LOC", "MISC", "ORG", "PER")


class FakeTagger:
    """Gives the tags it was made with, by the sentence's words."""

    def __init__(self, labels: Sequence[str], answers: dict[tuple[str, ...], list[str]]) -> None:
        self.labels = tuple(labels)
        self.answers = answers
        self.batches: list[int] = []

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        self.batches.append(len(sentences))
        return [self.answers[tuple(words)] for words in sentences]


def labels_of(scheme: Scheme, types: Sequence[str] = TYPES) -> list[str]:
    letters = {Scheme.IO: "I", Scheme.BIO: "BI", Scheme.BIOES: "BIES"}[scheme]
    return ["O", *(f"{letter}-{kind}" for kind in types for letter in letters)]


def corpus_of(
    gold: Sequence[Sequence[str]], scheme: Scheme | None = None, documents: Sequence[int] | None = None
) -> Corpus:
    """A corpus of these tags; the words say where they stand, so that each sentence is another."""

    def source() -> Iterator[Sentence]:
        for number, tags in enumerate(gold):
            yield Sentence(
                words_of(number, len(tags)), tuple(tags), None if documents is None else documents[number]
            )

    return Corpus.scan("gold", source, scheme)


def words_of(sentence: int, length: int) -> tuple[str, ...]:
    return tuple(f"w{sentence}.{i}" for i in range(length))


def tagger_of(predicted: Sequence[Sequence[str]], labels: Sequence[str]) -> FakeTagger:
    """A tagger that answers the sentences of :func:`corpus_of` in order."""
    return FakeTagger(
        labels, {words_of(number, len(tags)): list(tags) for number, tags in enumerate(predicted)}
    )


def random_gold(
    rng: random.Random, sentences: int, scheme: Scheme, types: Sequence[str] = TYPES
) -> list[list[str]]:
    """Valid tags with many touching mentions."""
    gold = []
    for _ in range(sentences):
        mentions, position = [], 0
        for _ in range(rng.randrange(5)):
            start = position + rng.choice((0, 0, 1, 2))
            position = start + rng.choice((1, 1, 2, 3))
            mentions.append(Mention(start, position, rng.choice(types)))
        gold.append(to_tags(mentions, position + rng.randrange(1, 4), scheme))
    return gold


def noisy(
    rng: random.Random, gold: Sequence[Sequence[str]], labels: Sequence[str], share: float = 0.15
) -> list[list[str]]:
    """Predictions: gold with some tags replaced by any label, so often invalid."""
    return [[rng.choice(labels) if rng.random() < share else tag for tag in tags] for tags in gold]


@pytest.fixture(scope="session")
def compared() -> Comparison:
    """A teacher and a student, compared."""
    from .report_samples import comparison

    return comparison()
