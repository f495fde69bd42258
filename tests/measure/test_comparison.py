from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest

from affineur.entities import Corpus, Scheme
from affineur.errors import ParameterError
from affineur.measure import COLUMNS, Candidate, Comparison, Evaluation, compare, comparison_cells, evaluate, footnotes, markdown, speed
from affineur.progress import listening

from .conftest import TYPES, FakeTagger, corpus_of, labels_of, noisy, random_gold, tagger_of

KEYS = {
    *("model", "layers", "sparsity", "size_bytes", "f1", "f1_low", "f1_high", "accuracy"),
    *("sentences_per_second", "speedup", "peak_rss_bytes"),
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
    return compare(candidates, corpus, rounds=2, peak_rss=lambda name: {"teacher": 2_000_000_000, "same": None, "a|b": 99_000_000}[name])


def test_rows_hold_what_was_given_and_what_was_measured(found: Comparison, candidates: Sequence[Candidate], corpus: Corpus) -> None:
    for row, candidate in zip(found.rows, candidates, strict=True):
        evaluation = evaluate(candidate.tagger, corpus)
        interval = evaluation.interval()
        assert (row.model, row.layers, row.sparsity, row.size_bytes) == (candidate.name, candidate.layers, candidate.sparsity, candidate.size_bytes)
        assert (row.f1, row.f1_low, row.f1_high, row.accuracy) == (evaluation.total.f1, interval.low, interval.high, evaluation.accuracy)
        assert row.per_type == {kind: evaluation.of_type(kind).f1 for kind in TYPES}
        assert row.sentences_per_second > 0
        assert row.parameters == candidate.parameters
    assert [row.peak_rss_bytes for row in found.rows] == [2_000_000_000, None, 99_000_000]
    assert (found.data, found.data_digest, found.sentences, found.words) == ("gold", corpus.digest, len(corpus), corpus.words)
    assert (found.types, found.scheme, found.merged) == (TYPES, "BIO", 0)


def test_differences_are_to_the_first_row(found: Comparison) -> None:
    first, same, bad = found.rows
    assert (first.drop, first.drop_low, first.drop_high, first.p_value, first.speedup) == (0, 0, 0, 1.0, 1.0)
    assert (same.drop, same.p_value) == (0, 1.0)
    assert bad.drop == pytest.approx(first.f1 - bad.f1)
    assert 0 < bad.drop_low < bad.drop < bad.drop_high
    assert bad.p_value < 0.01


def test_the_keys_of_compare_json(found: Comparison) -> None:
    written = json.loads(json.dumps(found.as_dict()))
    assert len(written["rows"]) == 3
    for row in written["rows"]:
        assert row.keys() >= KEYS
    assert written["machine"]["libraries"]["numpy"]
    assert (written["types"], written["merged_gold_mentions"]) == (list(TYPES), 0)


def test_without_memory_and_with_types(candidates: Sequence[Candidate], corpus: Corpus) -> None:
    found = compare(candidates[:1], corpus, ["PER"], rounds=1)
    assert found.types == ("PER",)
    assert found.rows[0].peak_rss_bytes is None
    assert found.rows[0].f1 == found.rows[0].per_type["PER"] == evaluate(candidates[0].tagger, corpus, ["PER"]).total.f1


def test_scores_that_are_kept_are_not_computed_again(candidates: Sequence[Candidate], corpus: Corpus) -> None:
    kept = replace(evaluate(candidates[0].tagger, corpus), words_right=0)
    asked: list[str] = []

    def scored(candidate: Candidate) -> Evaluation:
        asked.append(candidate.name)
        return kept

    found = compare(candidates, corpus, rounds=1, scored=scored)
    assert asked == ["teacher", "same", "a|b"]
    assert [row.accuracy for row in found.rows] == [0, 0, 0]


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
    models = [Candidate(name, Busy(seconds), 1, 0.0, 1) for name, seconds in (("slow", 0.01), ("fast", 0.0025), ("slower", 0.02))]
    rows = compare(models, corpus_of([["O"]] * 600), rounds=3).rows
    assert [row.sentences_per_second for row in rows] == pytest.approx([100, 400, 50])
    assert [row.speedup for row in rows] == pytest.approx([1, 4, 0.5])


def test_only_some_sentences_are_timed() -> None:
    tagger = tagger_of([["O"]] * 600, ["O", "I-PER"])
    compare([Candidate("m", tagger, 1, 0.0, 1)], corpus_of([["O"]] * 600), rounds=1)
    assert tagger.batches == [600, 8, 8, 512]


def test_it_says_what_it_does(candidates: Sequence[Candidate], corpus: Corpus) -> None:
    said: list[str] = []
    with listening(lambda what, *_: said.append(what)):
        compare(candidates[:1], corpus, rounds=1, peak_rss=len)
    assert list(dict.fromkeys(said)) == ["scoring teacher", "scoring sentences", "timing", "peak memory of a fresh process: teacher"]


def test_nothing_or_the_same_twice(candidates: Sequence[Candidate], corpus: Corpus) -> None:
    for wrong in ([], [candidates[0], candidates[0]]):
        with pytest.raises(ParameterError, match="at least one model, each of them once"):
            compare(wrong, corpus)


# ---- as a table ----


def test_cells(found: Comparison) -> None:
    first, _, bad = comparison_cells(found)
    assert len(first) == len(bad) == len(COLUMNS)
    assert dict(zip(COLUMNS, first, strict=True)) | {"Sentences/s": "", "F1": "", "95 %": "", "Accuracy": ""} == {
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


def test_markdown_has_a_cell_for_each_column_even_with_a_bar_in_a_name(found: Comparison) -> None:
    lines = markdown(found).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 3
    for line in table:
        assert line.replace("\\|", "").count("|") == len(COLUMNS) + 1
    assert table[1].split("|")[1:3] == [" --- ", " ---: "]
    assert "| a\\|b |" in table[4]
    assert [line for line in lines if line.startswith("- ")] == [f"- {note}" for note in footnotes(found)]


def test_footnotes(found: Comparison) -> None:
    notes = footnotes(found)
    assert notes[0] == f"60 sentences, {found.words} words of gold; types LOC, MISC, ORG, PER; mentions compared in BIO."
    assert notes[-1] == found.machine["description"] + "."
    assert not [note for note in notes if "merge" in note]
    assert "3 gold mentions touch another of their type and merge with it in IO." in footnotes(replace(found, merged=3, scheme="IO"))
