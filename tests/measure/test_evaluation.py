from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from seqeval.metrics import accuracy_score
from seqeval.metrics.sequence_labeling import precision_recall_fscore_support

from affineur.entities import Corpus, Scheme, Sentence
from affineur.errors import DataError, ParameterError
from affineur.measure import Counts, Evaluation, by_document, evaluate, f1_interval
from affineur.progress import listening

from .conftest import TYPES, corpus_of, labels_of, noisy, random_gold, tagger_of

IO, BIO, BIOES = Scheme.IO, Scheme.BIO, Scheme.BIOES


def tags(text: str) -> list[str]:
    return text.split()


def scored(
    gold: Sequence[str],
    predicted: Sequence[str],
    model: Scheme,
    data: Scheme,
    types: Sequence[str] | None = None,
) -> Evaluation:
    """The evaluation of one sentence."""
    return evaluate(tagger_of([predicted], labels_of(model)), corpus_of([gold], data), types=types)


def halves(gold: list[list[str]], predicted: list[list[str]], scheme: Scheme) -> Iterator[Evaluation]:
    for part in (slice(None, 7), slice(7, None)):
        yield evaluate(tagger_of(predicted[part], labels_of(scheme)), corpus_of(gold[part], scheme))


# ---- exact counts ----


def test_integer_counts() -> None:
    gold = [tags("B-PER I-PER O B-LOC"), tags("O"), tags("B-ORG O B-LOC I-LOC")]
    predicted = [tags("B-PER I-PER O B-ORG"), tags("B-LOC"), tags("B-ORG O B-LOC O")]
    found = evaluate(tagger_of(predicted, labels_of(BIO)), corpus_of(gold))
    assert found.types == TYPES
    assert found.counts.tolist() == [
        [[0, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]],
        [[0, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[0, 1, 1], [0, 0, 0], [1, 1, 1], [0, 0, 0]],
    ]
    assert found.total == Counts(2, 5, 4)
    assert [found.of_type(kind) for kind in TYPES] == [
        Counts(0, 2, 2),
        Counts(),
        Counts(1, 2, 1),
        Counts(1, 1, 1),
    ]
    assert (found.sentences, found.words, found.words_right) == (3, 9, 6)
    assert found.accuracy == 6 / 9
    assert (found.scheme, found.merged, found.repaired, found.documents) == (BIO, 0, 0, None)


@pytest.mark.filterwarnings("ignore::UserWarning:seqeval", "ignore:.*:DeprecationWarning")
@pytest.mark.parametrize("scheme", [IO, BIO])
@pytest.mark.parametrize("seed", range(4))
def test_scores_are_those_of_seqeval(scheme: Scheme, seed: int) -> None:
    rng = random.Random(seed)
    gold = random_gold(rng, 60, scheme)
    predicted = noisy(rng, gold, labels_of(scheme))
    found = evaluate(tagger_of(predicted, labels_of(scheme)), corpus_of(gold, scheme))
    precision, recall, f1, _ = precision_recall_fscore_support(
        gold, predicted, average="micro", zero_division=0
    )
    assert found.total.precision == pytest.approx(precision, abs=1e-12)
    assert found.total.recall == pytest.approx(recall, abs=1e-12)
    assert found.total.f1 == pytest.approx(f1, abs=1e-12)
    by_type = np.array(precision_recall_fscore_support(gold, predicted, average=None, zero_division=0))
    assert by_type.shape == (4, len(TYPES))
    ours = [found.of_type(kind) for kind in TYPES]
    assert (
        np.abs(
            by_type
            - [
                [c.precision for c in ours],
                [c.recall for c in ours],
                [c.f1 for c in ours],
                [c.gold for c in ours],
            ]
        ).max()
        < 1e-12
    )
    assert found.accuracy == pytest.approx(accuracy_score(gold, predicted), abs=1e-12)
    if scheme is IO:
        assert (found.repaired, found.accuracy_repaired) == (0, found.accuracy)
    else:
        assert found.repaired > 0


def test_counts_add_up_across_shards() -> None:
    rng = random.Random(1)
    gold = random_gold(rng, 20, BIO)
    predicted = noisy(rng, gold, labels_of(BIO))
    whole = evaluate(tagger_of(predicted, labels_of(BIO)), corpus_of(gold, BIO))
    first, second = halves(gold, predicted, BIO)
    assert whole.total == first.total + second.total
    assert whole.total.f1 != first.total.f1
    for kind in TYPES:
        assert whole.of_type(kind) == first.of_type(kind) + second.of_type(kind)
    assert (whole.outcomes == first.outcomes + second.outcomes).all()
    for number in ("words", "words_right", "words_right_repaired", "repaired", "sentences"):
        assert getattr(whole, number) == getattr(first, number) + getattr(second, number)


def test_a_perfect_model_and_a_silent_one() -> None:
    gold = random_gold(random.Random(2), 30, BIO)
    perfect = evaluate(tagger_of(gold, labels_of(BIO)), corpus_of(gold, BIO))
    assert (perfect.total.f1, perfect.accuracy) == (1.0, 1.0)
    with_mention = sum(any(tag != "O" for tag in tags) for tags in gold)
    assert (perfect.interval().low, perfect.interval().high) == (
        pytest.approx(0.025 ** (1 / with_mention)),
        1.0,
    )
    silent = evaluate(tagger_of([["O"] * len(tags) for tags in gold], labels_of(BIO)), corpus_of(gold, BIO))
    assert silent.total == Counts(0, 0, perfect.total.gold)
    assert silent.total.f1 == 0


# ---- schemes ----


def test_a_bio_model_on_io_data_is_scored_in_io() -> None:
    found = scored(tags("I-PER I-PER O I-LOC"), tags("B-PER B-PER O B-LOC"), BIO, IO)
    assert found.scheme is IO
    assert (found.total, found.merged, found.accuracy_repaired) == (Counts(2, 2, 2), 0, 1.0)


def test_an_io_model_on_bio_data_is_scored_in_io_and_says_what_was_merged() -> None:
    found = scored(tags("B-PER B-PER I-PER B-LOC B-LOC"), tags("I-PER I-PER I-PER I-LOC I-LOC"), IO, BIO)
    assert found.scheme is IO
    assert (found.total, found.merged, found.accuracy_repaired) == (Counts(2, 2, 2), 2, 1.0)
    assert found.accuracy == 1 / 5  # no B- can be right
    assert found.as_dict()["merged_gold_mentions"] == 2


def test_bioes_and_bio_meet_in_bio() -> None:
    found = scored(tags("B-PER B-PER I-PER O"), tags("S-PER B-PER E-PER O"), BIOES, BIO)
    assert found.scheme is BIO
    assert (found.total, found.merged, found.accuracy_repaired) == (Counts(2, 2, 2), 0, 1.0)
    back = scored(tags("S-PER B-PER E-PER O"), tags("B-PER B-PER I-PER O"), BIO, BIOES)
    assert (back.total, back.scheme, back.accuracy_repaired) == (Counts(2, 2, 2), BIO, 1.0)


def test_bare_types_are_io_labels() -> None:
    found = evaluate(
        tagger_of([tags("PER PER O LOC")], ["O", "LOC", "PER"]), corpus_of([tags("I-PER I-PER O I-LOC")])
    )
    assert (found.total, found.types) == (Counts(2, 2, 2), ("LOC", "PER"))


def test_only_predictions_are_repaired_and_it_is_counted() -> None:
    found = scored(tags("B-PER I-PER O B-LOC"), tags("I-PER I-PER O I-LOC"), BIO, BIO)
    assert (found.total, found.repaired) == (Counts(2, 2, 2), 2)
    assert found.as_dict()["repaired_tags"] == 2
    with pytest.raises(DataError, match="gold: tag I-PER follows O"):
        corpus_of([["I-PER", "B-PER"]], BIO)


# ---- types ----


def test_types_restrict_both_sides() -> None:
    gold, predicted = tags("B-PER B-PER O B-LOC B-LOC"), tags("B-PER O B-ORG B-LOC B-PER")
    found = scored(gold, predicted, BIO, BIO, ["PER"])
    assert found.types == ("PER",)
    assert (found.total, found.words_right, found.words) == (Counts(1, 2, 2), 3, 5)
    assert scored(gold, predicted, BIO, BIO, ["PER", "LOC", "PER"]).types == ("LOC", "PER")
    io = ["I-PER", "I-PER", "O", "I-LOC", "I-LOC"]
    assert [scored(gold, io, IO, BIO, types).merged for types in (None, ["PER"], ["ORG"])] == [2, 1, 0]


def test_types_the_model_does_not_know() -> None:
    tagger = tagger_of([["O", "O", "O"]], ["O", "I-LOC", "I-PER"])
    corpus = corpus_of([["I-GPE", "O", "I-PER"]])
    with pytest.raises(DataError) as error:
        evaluate(tagger, corpus)
    assert "the data has types GPE, PER, the model knows LOC, PER" in str(error.value)
    assert "label_map GPE=LOC" in str(error.value)
    assert "(types)" in str(error.value)
    assert evaluate(tagger, corpus, types=["PER"]).total == Counts(0, 0, 1)
    assert evaluate(tagger, corpus.with_types({"GPE": "LOC"})).total == Counts(0, 0, 2)
    with pytest.raises(DataError, match="label_map GPE=LOC"):
        evaluate(tagger, corpus, types=["GPE"])


def test_types_that_nobody_knows() -> None:
    with pytest.raises(ParameterError, match="no type DATE here; model and data know LOC, MISC, ORG, PER"):
        scored(["B-PER"], ["B-PER"], BIO, BIO, ["DATE", "PER"])


def test_types_that_only_the_model_knows_count_as_wrong() -> None:
    found = scored(["B-PER", "O"], ["B-PER", "B-MISC"], BIO, BIO)
    assert (found.types, found.total) == (TYPES, Counts(1, 2, 1))


def test_data_and_model_without_types() -> None:
    found = evaluate(tagger_of([["O", "O"]], ["O"]), corpus_of([["O", "O"]]))
    assert (found.types, found.total, found.accuracy, found.counts.shape) == ((), Counts(), 1.0, (1, 0, 3))
    assert found.as_dict()["f1"] == 0


# ---- intervals ----


def test_documents_are_the_units_where_there_are_any() -> None:
    rng = random.Random(3)
    gold = random_gold(rng, 90, BIO)
    predicted = noisy(rng, gold, labels_of(BIO))
    documents = [number // 9 for number in range(90)]
    tagger = tagger_of(predicted, labels_of(BIO))
    plain, grouped = (evaluate(tagger, corpus_of(gold, BIO, d)) for d in (None, documents))
    assert grouped.documents is not None
    assert grouped.documents.tolist() == documents
    assert (plain.total, plain.as_dict()["bootstrap_over"]) == (grouped.total, "sentences")
    assert grouped.as_dict()["bootstrap_over"] == "documents"
    summed = grouped.counts.sum(axis=1).reshape(10, 9, 3).sum(axis=1)
    assert grouped.interval() == f1_interval(summed)
    assert grouped.interval() != plain.interval()
    assert grouped.interval("PER") == f1_interval(
        by_document(grouped.counts[:, TYPES.index("PER")], np.array(documents))
    )


def test_differences_are_paired_over_the_same_sentences_and_types() -> None:
    rng = random.Random(4)
    gold = random_gold(rng, 80, BIO)
    corpus = corpus_of(gold, BIO)
    good, bad = (
        evaluate(tagger_of(noisy(rng, gold, labels_of(BIO), share), labels_of(BIO)), corpus)
        for share in (0.02, 0.4)
    )
    difference = bad.minus(good)
    assert difference.value == pytest.approx(bad.total.f1 - good.total.f1)
    assert difference.low < difference.value < difference.high < 0
    assert difference.p_value < 0.01
    assert bad.minus(good, "PER").value == pytest.approx(bad.of_type("PER").f1 - good.of_type("PER").f1)
    with pytest.raises(ParameterError, match="gold and gold are not the same sentences"):
        good.minus(evaluate(tagger_of(gold, labels_of(BIO)), corpus_of(gold[:79], BIO)))
    with pytest.raises(
        ParameterError,
        match=r"scored on LOC, MISC, ORG, PER, the other on PER; name those both know \(types\)",
    ):
        good.minus(evaluate(tagger_of(gold, labels_of(BIO)), corpus, types=["PER"]))


# ---- the whole ----


def test_the_keys_of_evaluate_json() -> None:
    gold = random_gold(random.Random(5), 20, BIO)
    found = evaluate(tagger_of(gold, labels_of(BIO)), corpus_of(gold, BIO))
    keys = json.loads(json.dumps(found.as_dict()))
    assert keys.keys() >= {
        "f1",
        "precision",
        "recall",
        "accuracy",
        "f1_low",
        "f1_high",
        "per_type",
        "sentences",
        "words",
    }
    assert keys["per_type"].keys() == set(TYPES)
    for kind in TYPES:
        assert keys["per_type"][kind].keys() >= {"precision", "recall", "f1", "support"}
        assert keys["per_type"][kind]["support"] == found.of_type(kind).gold
    assert keys["true_positive"] == keys["predicted"] == keys["gold"] == found.total.gold
    assert (keys["data"], keys["data_digest"], keys["scheme"]) == ("gold", corpus_of(gold, BIO).digest, "BIO")


def test_the_corpus_is_streamed() -> None:
    waiting, most = 0, 0

    def source() -> Iterator[Sentence]:
        nonlocal waiting, most
        for number in range(3000):
            waiting += 1
            most = max(most, waiting)
            yield Sentence((f"w{number}",), ("O",))

    class Counting:
        labels = ("O", "I-PER")

        def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
            nonlocal waiting
            waiting -= len(sentences)
            return [["O"] for _ in sentences]

    corpus = Corpus.scan("stream", source)
    waiting = most = 0
    steps: list[tuple[str, int | None, int | None]] = []
    with listening(lambda *step: steps.append(step)):
        assert evaluate(Counting(), corpus).words == 3000
    assert most <= 1024
    assert steps == [("scoring sentences", done, 3000) for done in (1024, 2048, 3000)]


def test_a_tagger_that_loses_words_is_a_bug() -> None:
    tagger = tagger_of([["O", "O"]], labels_of(BIO))
    tagger.answers = {words: ["O"] for words in tagger.answers}
    with pytest.raises(ValueError, match="1 tags for 2 words"):
        evaluate(tagger, corpus_of([["O", "O"]]))
