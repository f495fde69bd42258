"""What probabilities say of a text: checked against every way to label it."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest

from affineur.entities import Entity, detect, repaired_mentions, with_prefix
from affineur.pipeline.models import load_to_serve
from affineur.runtime import Predicted, PredictOptions
from affineur.runtime.evidence import text_evidence

LABELS = {
    "IO": ("O", "I-PER", "I-LOC"),
    "IO, bare": ("O", "PER", "LOC"),
    "BIO": ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"),
    "BIOES": ("O", "B-PER", "I-PER", "E-PER", "S-PER"),
    "BILOU": ("O", "B-PER", "I-PER", "L-PER", "U-PER"),
}
SPANS = [(0, 5), (6, 9), (10, 14), (14, 15)]


def _logits(labels: int, words: int = 4) -> np.ndarray:
    return np.random.default_rng(labels).normal(0, 1.5, (words, labels)).astype(np.float32)


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponent / exponent.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("ends", [(), (2,)])
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_begin_mass_is_the_mean_over_all_ways_to_label(
    labels: tuple[str, ...], ends: tuple[int, ...]
) -> None:
    logits = _logits(len(labels))
    scores, tags = _softmax(logits), [with_prefix(label) for label in labels]
    edges = [0, *ends, 4]
    expected: Counter[str] = Counter()
    for way in product(range(len(labels)), repeat=4):
        chance = float(np.prod([scores[word, label] for word, label in enumerate(way)]))
        for begin, end in pairwise(edges):
            for mention in repaired_mentions([tags[label] for label in way[begin:end]], detect(tags)):
                expected[mention.type] += chance
    found = text_evidence(SPANS, logits, labels, [], ends)
    assert found.begin_mass == pytest.approx(dict(expected), rel=1e-4)
    assert found.confidence == pytest.approx(float(scores.max(axis=1).mean()), rel=1e-5)


def test_a_mention_has_the_probabilities_of_its_words_and_of_its_neighbors() -> None:
    labels = LABELS["BIO"]
    logits = _logits(5)
    person = _softmax(logits)[:, 1:3].sum(axis=1)
    found = [Entity("PER", "x", 6, 14, 0.5), Entity("PER", "x", 0, 5, 0.5), Entity("O", "x", 14, 15, 0.5)]
    middle, first, outside = text_evidence(SPANS, logits, labels, found).mentions
    assert middle.probabilities == pytest.approx(tuple(person[1:3]), rel=1e-5)
    assert (middle.before, middle.after) == pytest.approx((person[0], person[3]), rel=1e-5)
    assert (first.before, first.after) == (0.0, pytest.approx(person[1], rel=1e-5))
    assert outside.probabilities == ()
    parted = text_evidence(SPANS, logits, labels, found[:1], ends=(1, 3)).mentions[0]
    assert (parted.before, parted.after) == (0.0, 0.0)  # in other sentences


def test_words_that_no_piece_stands_for_say_nothing() -> None:
    logits = _logits(3)
    logits[1] = np.nan
    whole, three = text_evidence(SPANS, logits, LABELS["IO"], []), np.delete(logits, 1, axis=0)
    assert whole.words == 4
    assert whole.confidence == pytest.approx(float(_softmax(three).max(axis=1).mean()), rel=1e-5)
    nothing = text_evidence([], np.zeros((0, 3), np.float32), LABELS["IO"], [])
    assert (nothing.words, nothing.confidence, nothing.begin_mass) == (0, 1.0, {"LOC": 0.0, "PER": 0.0})


@pytest.mark.parametrize("context", ["sentence", "document"])
@pytest.mark.parametrize("strategy", ["word", "simple", "first", "none"])
def test_all_that_is_predicted_is_heard_with_its_evidence(shared_onnx: Path, strategy, context) -> None:
    tagger, _ = load_to_serve(str(shared_onnx), threads=1)
    heard: list[Predicted] = []
    tagger.listener = heard.append
    long = "Marie Duval habite à Paris. " * 40
    texts = ["Marie Duval habite à Paris. Élodie aussi.\nFin", "", long]
    results = tagger.predict_batch(texts, strategy=strategy, context=context)
    (predicted,) = heard
    assert predicted.options == PredictOptions(strategy, context=context)
    assert list(predicted.results) == results
    first, empty, many = predicted.evidence
    assert (empty.words, empty.pieces, empty.mentions) == (0, 0, [])
    assert many.words > 40 * 4 < many.pieces
    assert 0 <= first.unknown_pieces <= first.pieces
    for about, found, text in zip(predicted.evidence, results, texts, strict=True):
        assert len(about.mentions) == len(found)
        assert 0 < about.confidence <= 1
        assert all(0 <= mass <= len(text) for mass in about.begin_mass.values())
    if strategy == "word":
        for mention, entity in zip(first.mentions, results[0], strict=True):
            assert len(mention.probabilities) == len(tagger.encoder.split(entity.word))
            assert np.mean(mention.probabilities) >= entity.score - 1e-4  # the type, by any label of it


def test_pieces_that_the_vocabulary_lacks_are_counted(shared_onnx: Path) -> None:
    tagger, _ = load_to_serve(str(shared_onnx), threads=1)
    heard: list[Predicted] = []
    tagger.listener = heard.append
    tagger.predict_batch(["Marie", "漢字 Marie 漢"], strategy="word")
    tagger.predict_batch(["Marie", "漢字 Marie 漢"], strategy="simple")
    counts = [[each.unknown_pieces for each in predicted.evidence] for predicted in heard]
    assert [known for known, _ in counts] == [0, 0]
    assert all(unknown > 0 for _, unknown in counts)
