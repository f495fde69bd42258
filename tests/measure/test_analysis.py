"""Errors and disagreements, against a slow and plain way to count them."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affineur.entities import Mention, Scheme, to_mentions
from affineur.measure import Analysis, Confusion, agreement, analysis, analyze

from .conftest import TYPES, corpus_of, labels_of, noisy, random_gold, tagger_of, words_of


@st.composite
def mentions(draw: st.DrawFn) -> list[Mention]:
    """Mentions of one sentence, in order, apart or touching."""
    found, position = [], 0
    for gap, length, kind in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from(TYPES)), max_size=6)
    ):
        found.append(Mention(position + gap, position + gap + length, kind))
        position += gap + length
    return found


def _naive(gold: Sequence[Mention], predicted: Sequence[Mention]) -> Counter[tuple[str, ...]]:
    """Name the fate of each mention, with sets of words."""

    def words(mention: Mention) -> set[int]:
        return set(range(mention.start, mention.end))

    fates: Counter[tuple[str, ...]] = Counter()
    for mention in gold:
        shared = [len(words(mention) & words(other)) for other in predicted]
        most = [other for other, many in zip(predicted, shared, strict=True) if many and many == max(shared)]
        if any((m.start, m.end, m.type) == (mention.start, mention.end, mention.type) for m in predicted):
            fates["right", mention.type] += 1
        elif not most:
            fates["missed", mention.type] += 1
        elif mention.type in [m.type for m in most]:
            fates["boundary", mention.type] += 1
        else:
            fates["confused", mention.type, most[0].type] += 1
    for mention in predicted:
        if not words(mention) & {word for other in gold for word in words(other)}:
            fates["invented", mention.type] += 1
    return fates


def _fates(found: Confusion) -> Counter[tuple[str, ...]]:
    fates: Counter[tuple[str, ...]] = Counter()
    for i, kind in enumerate(found.types):
        fates["right", kind] = int(found.confused[i, i])
        fates["boundary", kind], fates["missed", kind], fates["invented", kind] = (
            int(counts[i]) for counts in (found.boundary, found.missed, found.invented)
        )
        for j, other in enumerate(found.types):
            if i != j:
                fates["confused", kind, other] = int(found.confused[i, j])
    return fates


@given(st.lists(st.tuples(mentions(), mentions()), max_size=5))
def test_any_sentences_against_the_plain_way(sentences: list[tuple[list[Mention], list[Mention]]]) -> None:
    found = Confusion.empty(TYPES)
    wanted: Counter[tuple[str, ...]] = Counter()
    for gold, predicted in sentences:
        found.add(gold, predicted)
        wanted += _naive(gold, predicted)
    assert +_fates(found) == wanted
    every_gold = Counter(mention.type for gold, _ in sentences for mention in gold)
    counted = found.confused.sum(axis=1) + found.boundary + found.missed
    assert counted.tolist() == [every_gold[kind] for kind in TYPES], "each gold mention once"


@given(mentions())
def test_gold_against_itself_is_all_right(gold: list[Mention]) -> None:
    found = Confusion.empty(TYPES)
    found.add(gold, gold)
    assert found.confused.sum() == np.trace(found.confused) == len(gold)
    assert not found.boundary.any()
    assert not found.missed.any()
    assert not found.invented.any()


@pytest.mark.parametrize(
    ("gold", "predicted", "wanted"),
    [
        ([Mention(0, 2, "PER")], [], {("missed", "PER"): 1}),
        ([], [Mention(0, 2, "PER")], {("invented", "PER"): 1}),
        ([Mention(0, 2, "PER")], [Mention(0, 1, "PER")], {("boundary", "PER"): 1}),
        ([Mention(0, 2, "PER")], [Mention(0, 2, "ORG")], {("confused", "PER", "ORG"): 1}),
        (
            [Mention(0, 4, "PER")],
            [Mention(0, 1, "PER"), Mention(1, 4, "ORG")],
            {("confused", "PER", "ORG"): 1},
        ),  # ORG overlaps it most
        (
            [Mention(0, 2, "PER")],
            [Mention(0, 1, "LOC"), Mention(1, 2, "PER")],
            {("boundary", "PER"): 1},
        ),  # of two alike, the right type
        (
            [Mention(0, 2, "PER")],
            [Mention(2, 4, "PER")],
            {("missed", "PER"): 1, ("invented", "PER"): 1},
        ),  # touching is not overlapping
        ([Mention(0, 1, "PER"), Mention(1, 2, "PER")], [Mention(0, 2, "PER")], {("boundary", "PER"): 2}),
        (
            [Mention(0, 1, "LOC"), Mention(1, 2, "PER")],
            [Mention(0, 2, "PER")],
            {("confused", "LOC", "PER"): 1, ("boundary", "PER"): 1},
        ),
    ],
)
def test_cases_by_hand(
    gold: list[Mention], predicted: list[Mention], wanted: dict[tuple[str, ...], int]
) -> None:
    found = Confusion.empty(TYPES)
    found.add(gold, predicted)
    assert +_fates(found) == wanted


def test_its_json() -> None:
    found = Confusion.empty(("LOC", "PER"))
    found.add(
        [Mention(0, 1, "PER"), Mention(3, 4, "LOC")],
        [Mention(0, 1, "LOC"), Mention(3, 5, "LOC"), Mention(7, 8, "PER")],
    )
    assert json.loads(json.dumps(found.as_dict())) == {
        "LOC": {"right": 0, "boundary": 1, "missed": 0, "confused_with": {"PER": 0}, "invented": 0},
        "PER": {"right": 0, "boundary": 0, "missed": 0, "confused_with": {"LOC": 1}, "invented": 1},
    }


def _run(seed: int, sentences: int, most: int, share: float = 0.2) -> tuple[Analysis, list[list[list[str]]]]:
    """Two noisy IO models on random data, so that no tag is ever repaired."""
    rng = random.Random(seed)
    gold = random_gold(rng, sentences, Scheme.IO)
    labels = labels_of(Scheme.IO)
    ours, theirs = noisy(rng, gold, labels, share), noisy(rng, gold, labels, share)
    found = analyze(
        ("ours", tagger_of(ours, labels)),
        ("theirs", tagger_of(theirs, labels)),
        corpus_of(gold, Scheme.IO),
        types=TYPES,
        scheme=Scheme.IO,
        most=most,
    )
    return found, [gold, ours, theirs]


@pytest.mark.parametrize(
    ("seed", "sentences", "most"),
    [(1, 200, 20), (2, 30, 7), (3, 5, 20), (4, 40, 1), (5, 40, 0), (6, 1100, 20)],
)
def test_analysis_against_a_full_sort(seed: int, sentences: int, most: int) -> None:
    found, (gold, ours, theirs) = _run(seed, sentences, most)
    apart = [sum(a != b for a, b in zip(*pair, strict=True)) for pair in zip(ours, theirs, strict=True)]
    words = sum(map(len, gold))
    assert found.agreement == pytest.approx(1 - sum(apart) / words)
    assert found.sentences_apart == sum(map(bool, apart))
    numbers = sorted((n for n in range(sentences) if apart[n]), key=lambda n: (-apart[n], n))[:most]
    assert [d.number for d in found.disagreements] == [n + 1 for n in numbers]
    for one, number in zip(found.disagreements, numbers, strict=True):
        assert one.words == words_of(number, len(gold[number]))
        assert one.words_apart == apart[number]
        for mentions_said, tags in ((one.gold, gold), (one.model, ours), (one.baseline, theirs)):
            assert list(mentions_said) == to_mentions(tags[number], Scheme.IO)
    for confusion, predicted in ((found.confusion, ours), (found.baseline_confusion, theirs)):
        wanted: Counter[tuple[str, ...]] = Counter()
        for right, tags in zip(gold, predicted, strict=True):
            wanted += _naive(to_mentions(right, Scheme.IO), to_mentions(tags, Scheme.IO))
        assert +_fates(confusion) == wanted


def test_ties_go_to_the_earlier_sentence() -> None:
    gold = [["O", "O"]] * 10
    other = [["I-PER", "O"] if i % 2 else ["O", "O"] for i in range(10)]
    labels = labels_of(Scheme.IO)
    found = analyze(
        ("a", tagger_of(other, labels)),
        ("b", tagger_of(gold, labels)),
        corpus_of(gold, Scheme.IO),
        types=TYPES,
        scheme=Scheme.IO,
        most=3,
    )
    assert [d.number for d in found.disagreements] == [2, 4, 6]
    assert found.sentences_apart == 5


def test_only_the_most_different_are_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    alive = [0, 0]

    class Counted:
        def __init__(self, *_: Any) -> None:
            alive[0] += 1
            alive[1] = max(alive)

        def __del__(self) -> None:
            alive[0] -= 1

    monkeypatch.setattr(analysis, "Disagreement", Counted)
    found, _ = _run(8, 300, 5, share=0.5)
    assert found.sentences_apart > 200
    assert len(found.disagreements) == 5
    assert alive[1] <= 5 + 3  # one missed mention, one being made, one being thrown away


def test_agreement() -> None:
    labels = labels_of(Scheme.IO)
    gold = [["I-PER", "O", "O"], ["O"]]
    other = [["I-PER", "I-LOC", "O"], ["O"]]
    corpus = corpus_of(gold, Scheme.IO)
    one, two = tagger_of(gold, labels), tagger_of(other, labels)
    assert (
        agreement(one, two, corpus, types=TYPES, scheme=Scheme.IO)
        == agreement(two, one, corpus, types=TYPES, scheme=Scheme.IO)
        == 0.75
    )
    assert agreement(one, one, corpus, types=TYPES, scheme=Scheme.IO) == 1.0
    assert agreement(one, two, corpus, types=["PER"], scheme=Scheme.IO) == 1.0, (
        "they differ in a type that is ignored"
    )


def test_types_that_do_not_count_are_nowhere() -> None:
    labels = labels_of(Scheme.IO)
    corpus = corpus_of([["I-PER", "O", "I-LOC"]], Scheme.IO)
    found = analyze(
        ("a", tagger_of([["I-LOC", "O", "I-LOC"]], labels)),
        ("b", tagger_of([["O", "O", "O"]], labels)),
        corpus,
        types=["PER"],
        scheme=Scheme.IO,
    )
    assert found.confusion.as_dict() == {
        "PER": {"right": 0, "boundary": 0, "missed": 1, "confused_with": {}, "invented": 0}
    }
    assert found.disagreements == ()


def test_models_of_different_schemes_are_compared_in_one() -> None:
    gold = [["B-PER", "I-PER", "O", "B-LOC"]]
    corpus = corpus_of(gold, Scheme.BIO)
    io, bio = (
        tagger_of([["I-PER", "I-PER", "O", "I-LOC"]], labels_of(Scheme.IO)),
        tagger_of(gold, labels_of(Scheme.BIO)),
    )
    found = analyze(("io", io), ("bio", bio), corpus, types=TYPES, scheme=Scheme.IO)
    assert (found.agreement, found.sentences_apart) == (1.0, 0)
    assert np.trace(found.confusion.confused) == np.trace(found.baseline_confusion.confused) == 2


def test_the_json_of_an_analysis() -> None:
    found, _ = _run(9, 50, 3)
    said = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert list(said) == [
        "model",
        "baseline",
        "errors",
        "baseline_errors",
        "agreement",
        "sentences_apart",
        "better",
        "worse",
        "disagreements",
        "missed_example",
        "quotes_text",
    ]
    assert said["quotes_text"] is True
    bare = found.without_text().as_dict()
    assert (bare["disagreements"], bare["missed_example"], bare["quotes_text"]) == ([], None, False)
    assert bare["errors"] == said["errors"]
    assert len(said["disagreements"]) == 3
    assert set(said["disagreements"][0]) == {"number", "words", "gold", "baseline", "model", "words_apart"}


def test_better_and_worse_sentences_by_their_errors() -> None:
    found, (gold, ours, theirs) = _run(11, 120, 5)

    def wrong(tags: list[str], truth: list[str]) -> int:
        seen, wanted = to_mentions(tags, Scheme.IO), to_mentions(truth, Scheme.IO)
        return sum(m not in wanted for m in seen) + sum(m not in seen for m in wanted)

    pairs = [(wrong(a, g), wrong(b, g)) for a, b, g in zip(ours, theirs, gold, strict=True)]
    assert (found.better, found.worse) == (sum(a < b for a, b in pairs), sum(a > b for a, b in pairs))
    assert 0 < found.better + found.worse <= found.sentences_apart
