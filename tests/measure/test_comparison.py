from __future__ import annotations

import json
import math
import random
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
    Difference,
    Evaluation,
    compare,
    comparison_cells,
    evaluate,
    f1_difference,
    footnotes,
    in_words,
    markdown,
    speed,
)
from affineur.progress import listening

from .conftest import TYPES, FakeTagger, corpus_of, labels_of, noisy, random_gold, tagger_of

KEYS = {
    *(
        "model",
        "layers",
        "sparsity",
        "size_bytes",
        "f1",
        "f1_low",
        "f1_high",
        "precision",
        "recall",
        "accuracy",
    ),
    *("sentences_per_second", "speedup", "speedup_low", "speedup_high", "peak_rss_bytes"),
    *("drop", "drop_low", "drop_high", "p_value", "verdict", "per_type"),
}
TYPE_KEYS = {
    "f1",
    "f1_low",
    "f1_high",
    "precision",
    "recall",
    "support",
    "drop",
    "drop_low",
    "drop_high",
    "p_value",
}
GOLD = random_gold(random.Random(0), 60, Scheme.BIO)


def tagger(share: float) -> FakeTagger:
    return tagger_of(noisy(random.Random(1), GOLD, labels_of(Scheme.BIO), share), labels_of(Scheme.BIO))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return corpus_of(GOLD, Scheme.BIO)


@pytest.fixture(scope="module")
def candidates() -> list[Candidate]:
    return [
        Candidate("teacher", tagger(0.05), 12, 0.0, 440_000_000, 110_000_000),
        Candidate("same", tagger(0.05), 12, 0.0, 440_000_000),
        Candidate("a|b", tagger(0.5), 11, 0.15, 9_600_000),
    ]


@pytest.fixture(scope="module")
def found(candidates: Sequence[Candidate], corpus: Corpus) -> Comparison:
    return compare(
        candidates,
        corpus,
        rounds=2,
        peak_rss=lambda name: {"teacher": 2_000_000_000, "same": None, "a|b": 99_000_000}[name],
    )


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
    found = compare(candidates[:1], corpus, ["PER"], rounds=1)
    assert found.types == ("PER",)
    assert found.rows[0].peak_rss_bytes is None
    assert (
        found.rows[0].f1
        == found.rows[0].per_type["PER"].f1
        == evaluate(candidates[0].tagger, corpus, ["PER"]).total.f1
    )


def test_scores_that_are_kept_are_not_computed_again(candidates: Sequence[Candidate], corpus: Corpus) -> None:
    kept = replace(evaluate(candidates[0].tagger, corpus, ["PER"]), words_right=0)
    asked: list[tuple[str, Sequence[str] | None, Scheme]] = []

    def scored(candidate: Candidate, types: Sequence[str] | None, scheme: Scheme) -> Evaluation:
        asked.append((candidate.name, types, scheme))
        return kept

    found = compare(candidates, corpus, ["PER"], rounds=1, scored=scored)
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


# ---- models that differ in what they know ----


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
    assert compare(models, corpus, ["PER"], rounds=1).left_out == ()
    with pytest.raises(DataError, match="the model knows LOC, PER"):
        compare(models, corpus, ["PER", "ORG"], rounds=1)


def test_a_type_that_only_the_data_knows_is_an_error(corpus: Corpus) -> None:
    models = [
        Candidate("a", sparse(("LOC", "MISC", "PER")), 1, 0.0, 1),
        Candidate("b", sparse(("LOC", "PER")), 1, 0.0, 1),
    ]
    with pytest.raises(DataError, match="--label-map ORG="):
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


# ---- in words ----


@pytest.mark.parametrize(
    ("value", "low", "high", "words"),
    [
        (0.02, 0.01, 0.03, "new is better than old by 1.00 to 3.00 points (95 %)"),
        (0.001, -0.004, 0.006, "new is not worse than old by more than 0.5 points (95 %)"),
        (0.0, -0.005, 0.005, "new is not worse than old by more than 0.5 points (95 %)"),
        (
            -0.003,
            -0.0045,
            -0.001,
            "new is not worse than old by more than 0.5 points (95 %), though worse by 0.10 to 0.45",
        ),
        (-0.02, -0.03, -0.01, "new is worse than old by 1.00 to 3.00 points (95 %)"),
        (
            0.001,
            -0.0051,
            0.007,
            "new cannot be told from old, nor shown to lose less than 0.5 points: up to 0.51 are possible (95 %)",
        ),
        (
            -0.02,
            -0.04,
            0.0,
            "new cannot be told from old, nor shown to lose less than 0.5 points: up to 4.00 are possible (95 %)",
        ),
    ],
)
def test_what_an_interval_allows_to_say(value: float, low: float, high: float, words: str) -> None:
    assert in_words("new", "old", Difference(value, low, high, 0.5), 0.005) == words


def test_two_models_that_are_the_same(
    found: Comparison, candidates: Sequence[Candidate], corpus: Corpus
) -> None:
    with_mention = sum(any(tag != "O" for tag in tags) for tags in GOLD)
    unseen = 1 - 0.025 ** (1 / with_mention)
    assert found.rows[1].drop_high == pytest.approx(unseen)
    said = f"same cannot be told from teacher, nor shown to lose less than 0.5 points: up to {unseen * 100:.2f} are possible (95 %)"
    assert [row.verdict for row in found.rows[:2]] == [
        "",
        f"{said}; on each of these sentences they score the same",
    ]
    ready = compare(candidates[:2], corpus, rounds=1, margin=unseen + 1e-9).rows[1].verdict
    assert ready.startswith("same is not worse than teacher by more than ")
    assert ready.endswith(" points (95 %); on each of these sentences they score the same")


def test_the_margin_decides_what_is_said(
    found: Comparison, candidates: Sequence[Candidate], corpus: Corpus
) -> None:
    assert found.margin == 0.005
    assert found.rows[2].verdict.startswith("a|b is worse than teacher by ")
    ready = compare(candidates, corpus, rounds=1, margin=0.9)
    assert ready.as_dict()["margin"] == 0.9
    assert ready.rows[2].verdict.startswith(
        "a|b is not worse than teacher by more than 90 points (95 %), though worse by "
    )


# ---- as a table ----


def test_cells(found: Comparison) -> None:
    first, _, bad = comparison_cells(found)
    assert len(first) == len(bad) == len(COLUMNS)
    assert dict(zip(COLUMNS, first, strict=True)) | {
        "Sentences/s": "",
        "F1": "",
        "95 %": "",
        "Accuracy": "",
    } == {
        "Model": "teacher",
        "Layers": "12",
        "Sparsity": "0.0%",
        "Size": "440 MB",
        "F1": "",
        "95 %": "",
        "ΔF1 (95 %)": "–",
        "Accuracy": "",
        "Sentences/s": "",
        "Speed": "1.00×",
        "Memory": "2000 MB",
    }
    row = found.rows[2]
    cells = dict(zip(COLUMNS, bad, strict=True))
    assert (cells["Sparsity"], cells["Size"], cells["Memory"]) == ("15.0%", "9.6 MB", "99.0 MB")
    assert cells["F1"] == f"{row.f1 * 100:.2f}%"
    assert cells["ΔF1 (95 %)"].startswith(f"-{row.drop * 100:.2f} (-{row.drop_high * 100:.2f} … -")
    assert cells["Speed"] == f"{row.speedup:.2f}×"
    assert comparison_cells(found)[1][-1] == "–"


def test_no_zero_has_a_minus(found: Comparison) -> None:
    """The teacher again, and losses and gains too small to be seen."""
    place = COLUMNS.index("ΔF1 (95 %)")
    assert comparison_cells(found)[1][place].startswith("+0.00 (-")
    for tiny in (0.0, -0.0, 4e-5, -4e-5, 1e-17):
        row = replace(found.rows[2], drop=tiny, drop_low=tiny, drop_high=tiny)
        assert (
            comparison_cells(replace(found, rows=(found.rows[0], row)))[1][place] == "+0.00 (+0.00 … +0.00)"
        )
    assert "-0.00" not in markdown(found)


def test_markdown_has_a_cell_for_each_column_even_with_a_bar_in_a_name(found: Comparison) -> None:
    lines = markdown(found).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 3
    for line in table:
        assert line.replace("\\|", "").count("|") == len(COLUMNS) + 1
    assert table[1].split("|")[1:3] == [" --- ", " ---: "]
    assert "| a\\|b |" in table[4]
    assert [line for line in lines if line.startswith("- ")] == [f"- {note}" for note in footnotes(found)]


def test_steps_are_to_the_row_above(
    candidates: Sequence[Candidate], corpus: Corpus, found: Comparison
) -> None:
    first, second, third = found.rows
    assert (first.step, second.step) == (
        None,
        None,
    )  # the first has none above it, the second's is its difference to the baseline
    oracle = evaluate(candidates[2].tagger, corpus).minus(evaluate(candidates[1].tagger, corpus))
    assert third.step is not None
    assert (third.step.above, third.step.drop, third.step.p_value) == ("same", -oracle.value, oracle.p_value)
    assert (third.step.drop_low, third.step.drop_high) == (-oracle.high, -oracle.low)


def test_footnotes(found: Comparison) -> None:
    notes = footnotes(found)
    assert (
        notes[0]
        == f"60 sentences, {found.words} words of gold; types LOC, MISC, ORG, PER; mentions compared in BIO."
    )
    assert notes[-1] == found.machine["description"] + "."
    assert notes[1:3] == [f"{row.verdict}." for row in found.rows[1:]]
    assert notes[3].startswith("Each against the row above it: a|b -")
    assert "95 % bootstrap interval over sentences." in notes[4]
    assert not [note for note in notes if "Left out" in note]
    assert not [note for note in notes if "merge" in note]
    assert "3 gold mentions touch another of their type and merge with it in IO." in footnotes(
        replace(found, merged=3, scheme="IO")
    )
