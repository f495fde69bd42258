"""Several models on the same sentences: scores, speeds, memory, differences."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest

from affineur.entities import Corpus, Scheme
from affineur.errors import DataError, ParameterError
from affineur.measure import (
    COLUMNS,
    Candidate,
    Comparison,
    Evaluation,
    compare,
    comparison_cells,
    evaluate,
    f1_difference,
    footnotes,
    speed,
)
from affineur.progress import listening

from .comparison_samples import GOLD, KEYS, TYPE_KEYS
from .comparison_samples import candidates as candidates
from .comparison_samples import corpus as corpus
from .comparison_samples import found as found
from .conftest import TYPES, FakeTagger, corpus_of, labels_of, tagger_of


def test_rows_hold_what_was_given_and_what_was_measured(
    found: Comparison, candidates: Sequence[Candidate], corpus: Corpus
) -> None:
    for row, candidate in zip(found.rows, candidates, strict=True):
        evaluation = evaluate(candidate.tagger, corpus)
        interval = evaluation.interval()
        assert (row.model, row.layers, row.sparsity, row.size_bytes) == (
            candidate.name,
            candidate.layers,
            candidate.sparsity,
            candidate.size_bytes,
        )
        assert (row.f1, row.f1_low, row.f1_high, row.accuracy) == (
            evaluation.total.f1,
            interval.low,
            interval.high,
            evaluation.accuracy,
        )
        assert (row.precision, row.recall) == (evaluation.total.precision, evaluation.total.recall)
        assert tuple(row.per_type) == TYPES
        for kind, one in row.per_type.items():
            counts, ends = evaluation.of_type(kind), evaluation.interval(kind)
            assert (one.f1, one.precision, one.recall, one.support) == (
                counts.f1,
                counts.precision,
                counts.recall,
                counts.gold,
            )
            assert (one.f1_low, one.f1_high) == (ends.low, ends.high)
        assert row.sentences_per_second > 0
        assert row.parameters == candidate.parameters
    assert [row.peak_rss_bytes for row in found.rows] == [2_000_000_000, None, 99_000_000]
    assert (found.data, found.data_digest, found.sentences, found.words) == (
        "gold",
        corpus.digest,
        len(corpus),
        corpus.words,
    )
    assert (found.types, found.scheme, found.merged) == (TYPES, "BIO", 0)


def test_differences_are_to_the_first_row(found: Comparison) -> None:
    first, same, bad = found.rows
    assert (first.drop, first.drop_low, first.drop_high, first.p_value, first.speedup) == (0, 0, 0, 1.0, 1.0)
    assert (same.drop, same.p_value) == (0, 1.0)
    assert bad.drop == pytest.approx(first.f1 - bad.f1)
    assert 0 < bad.drop_low < bad.drop < bad.drop_high
    assert bad.p_value < 0.01
    assert same.drop_low == -same.drop_high < 0


def test_differences_of_each_type_are_those_of_its_own_counts(
    found: Comparison, candidates: Sequence[Candidate], corpus: Corpus
) -> None:
    first, *others = [evaluate(c.tagger, corpus) for c in candidates]
    for row, evaluation in zip(found.rows[1:], others, strict=True):
        for place, kind in enumerate(TYPES):
            oracle = f1_difference(evaluation.counts[:, place], first.counts[:, place])
            one = row.per_type[kind]
            assert (one.drop, one.drop_low, one.drop_high, one.p_value) == (
                -oracle.value,
                -oracle.high,
                -oracle.low,
                oracle.p_value,
            )
        oracle = f1_difference(evaluation.counts.sum(axis=1), first.counts.sum(axis=1))
        assert (row.drop, row.drop_low, row.drop_high, row.p_value) == (
            -oracle.value,
            -oracle.high,
            -oracle.low,
            oracle.p_value,
        )
    for one in found.rows[0].per_type.values():
        assert (one.drop, one.drop_low, one.drop_high, one.p_value) == (0, 0, 0, 1)
        assert math.copysign(1, one.drop) == 1


def test_the_keys_of_compare_json(found: Comparison) -> None:
    written = json.loads(json.dumps(found.as_dict()))
    assert len(written["rows"]) == 3
    for row in written["rows"]:
        assert row.keys() >= KEYS
        assert all(one.keys() == TYPE_KEYS for one in row["per_type"].values())
    assert written["machine"]["libraries"]["numpy"]
    assert (written["types"], written["merged_gold_mentions"]) == (list(TYPES), 0)


def test_without_memory_and_with_types(candidates: Sequence[Candidate], corpus: Corpus) -> None:
    found = compare(candidates[:1], corpus, types=["PER"], rounds=1)
    assert found.types == ("PER",)
    assert found.rows[0].peak_rss_bytes is None
    assert (
        found.rows[0].f1
        == found.rows[0].per_type["PER"].f1
        == evaluate(candidates[0].tagger, corpus, types=["PER"]).total.f1
    )


def test_scores_that_are_kept_are_not_computed_again(candidates: Sequence[Candidate], corpus: Corpus) -> None:
    kept = replace(evaluate(candidates[0].tagger, corpus, types=["PER"]), words_right=0)
    asked: list[tuple[str, Sequence[str] | None, Scheme]] = []

    def scored(candidate: Candidate, types: Sequence[str] | None, scheme: Scheme) -> Evaluation:
        asked.append((candidate.name, types, scheme))
        return kept

    found = compare(candidates, corpus, types=["PER"], rounds=1, scored=scored)
    assert asked == [(name, ["PER"], Scheme.BIO) for name in ("teacher", "same", "a|b")]
    assert [row.accuracy for row in found.rows] == [0, 0, 0]
    compare(
        candidates,
        corpus,
        rounds=1,
        scored=lambda c, types, scheme: asked.append((c.name, types, scheme)) or kept,
    )
    assert asked[3:] == [(name, None, Scheme.BIO) for name in ("teacher", "same", "a|b")]


def test_speedups_are_to_the_first_row(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    class Busy(FakeTagger):
        def __init__(self, seconds: float) -> None:
            answers = tagger_of([["O"]] * 600, ["O", "I-PER"]).answers
            super().__init__(["O", "I-PER"], answers)
            self.seconds = seconds

        def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
            nonlocal now
            now += self.seconds * len(sentences)
            return super().tag(sentences)

    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=lambda: now))
    models = [
        Candidate(name, Busy(seconds), 1, 0.0, 1)
        for name, seconds in (("slow", 0.01), ("fast", 0.0025), ("slower", 0.02))
    ]
    rows = compare(models, corpus_of([["O"]] * 600), rounds=3).rows
    assert [row.sentences_per_second for row in rows] == pytest.approx([100, 400, 50])
    assert [row.speedup for row in rows] == pytest.approx([1, 4, 0.5])


def test_speedups_have_an_interval_where_there_are_rounds_enough(
    candidates: Sequence[Candidate], corpus: Corpus
) -> None:
    few = compare(candidates[:2], corpus, rounds=2)
    assert [(row.speedup_low, row.speedup_high) for row in few.rows] == [(0, None), (0, None)]
    assert "(" not in comparison_cells(few)[1][COLUMNS.index("Speed")]
    many = compare(candidates[:2], corpus, rounds=9)
    for row in many.rows:
        assert row.speedup_high is not None
        assert 0 < row.speedup_low <= row.speedup <= row.speedup_high
    row = many.rows[1]
    assert (
        comparison_cells(many)[1][COLUMNS.index("Speed")]
        == f"{row.speedup:.2f}× ({row.speedup_low:.2f}–{row.speedup_high:.2f})"
    )
    json.dumps(few.as_dict(), allow_nan=False)


def test_only_some_sentences_are_timed() -> None:
    tagger = tagger_of([["O"]] * 600, ["O", "I-PER"])
    compare([Candidate("m", tagger, 1, 0.0, 1)], corpus_of([["O"]] * 600), rounds=1)
    assert tagger.batches == [600, 8, 8, 512]


def test_it_says_what_it_does(candidates: Sequence[Candidate], corpus: Corpus) -> None:
    said: list[str] = []
    with listening(lambda what, *_: said.append(what)):
        compare(candidates[:1], corpus, rounds=1, peak_rss=len)
    assert list(dict.fromkeys(said)) == [
        "scoring teacher",
        "scoring sentences",
        "timing",
        "peak memory of a fresh process: teacher",
    ]


def test_nothing_or_the_same_twice(candidates: Sequence[Candidate], corpus: Corpus) -> None:
    for wrong in ([], [candidates[0], candidates[0]]):
        with pytest.raises(ParameterError, match="at least one model, each of them once"):
            compare(wrong, corpus)


def sparse(
    types: Sequence[str], scheme: Scheme = Scheme.BIO, gold: Sequence[Sequence[str]] = GOLD
) -> FakeTagger:
    """A tagger that finds all mentions of its types, and knows no other."""
    known = [[tag if tag[2:] in types else "O" for tag in tags] for tags in gold]
    if scheme is Scheme.IO:
        known = [[tag.replace("B-", "I-") for tag in tags] for tags in known]
    return tagger_of(known, labels_of(scheme, types))


def test_types_that_not_every_model_knows_are_left_out_for_all_and_said(corpus: Corpus) -> None:
    models = [
        Candidate("all", sparse(TYPES), 1, 0.0, 1),
        Candidate("some", sparse(("LOC", "PER")), 1, 0.0, 1),
    ]
    found = compare(models, corpus, rounds=1)
    assert (found.types, found.left_out) == (("LOC", "PER"), ("MISC", "ORG"))
    assert [row.f1 for row in found.rows] == [1, 1], "what one of them cannot know costs neither anything"
    assert [tuple(row.per_type) for row in found.rows] == [("LOC", "PER")] * 2
    assert found.as_dict()["types_left_out"] == ["MISC", "ORG"]
    assert "Left out, since not every model knows them: MISC, ORG." in footnotes(found)
    assert compare(models[::-1], corpus, rounds=1).left_out == found.left_out


def test_types_that_are_asked_for_are_not_left_out_in_silence(corpus: Corpus) -> None:
    models = [
        Candidate("all", sparse(TYPES), 1, 0.0, 1),
        Candidate("some", sparse(("LOC", "PER")), 1, 0.0, 1),
    ]
    assert compare(models, corpus, types=["PER"], rounds=1).left_out == ()
    with pytest.raises(DataError, match="the model knows LOC, PER"):
        compare(models, corpus, types=["PER", "ORG"], rounds=1)


def test_a_type_that_only_the_data_knows_is_an_error(corpus: Corpus) -> None:
    models = [
        Candidate("a", sparse(("LOC", "MISC", "PER")), 1, 0.0, 1),
        Candidate("b", sparse(("LOC", "PER")), 1, 0.0, 1),
    ]
    with pytest.raises(DataError, match="label_map ORG="):
        compare(models, corpus, rounds=1)


def test_models_that_share_no_type(corpus: Corpus) -> None:
    models = [
        Candidate("a", sparse(("LOC", "MISC")), 1, 0.0, 1),
        Candidate("b", sparse(("ORG", "PER")), 1, 0.0, 1),
    ]
    with pytest.raises(ParameterError, match=r"share no type: a knows LOC, MISC; b knows ORG, PER$"):
        compare(models, corpus, rounds=1)


def test_models_of_two_schemes_are_scored_in_the_coarser_one(corpus: Corpus) -> None:
    exact, coarse = (
        Candidate("bio", sparse(TYPES), 1, 0.0, 1),
        Candidate("io", sparse(TYPES, Scheme.IO), 1, 0.0, 1),
    )
    alone = compare([exact], corpus, rounds=1)
    assert (alone.scheme, alone.merged) == ("BIO", 0)
    for models in ([exact, coarse], [coarse, exact]):
        found = compare(models, corpus, rounds=1)
        assert found.scheme == "IO"
        assert found.merged == evaluate(coarse.tagger, corpus).merged > 0
        assert [row.f1 for row in found.rows] == [1, 1]
        assert [row.drop for row in found.rows] == [0, 0]
        support = {kind: one.support for kind, one in found.rows[0].per_type.items()}
        assert support == {kind: one.support for kind, one in found.rows[1].per_type.items()}
        assert sum(support.values()) < sum(one.support for one in alone.rows[0].per_type.values())
