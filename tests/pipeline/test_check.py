"""What is measured for which bars, on which types, in which scheme, and against whom."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from affineur.entities import Corpus, Scheme, Sentence, Tagger
from affineur.errors import DataError, ModelError, ParameterError, RecipeError
from affineur.measure import Candidate, Evaluation, evaluate, parse_bars, summary_markdown
from affineur.pipeline import models, processes
from affineur.pipeline.check import check
from affineur.pipeline.processes import Load
from affineur.transfer import load_corpus

LOAD = Load(
    calls=1024, p50_ms=10.0, p95_ms=20.0, p99_ms=30.0, sentences_per_second=50.0, peak_rss_bytes=1_000_000
)
GOLD = [["I-PER", "O", "I-LOC", "O"]] * 20


class Fake:
    def __init__(self, labels: Sequence[str], tags: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self.tags = list(tags)

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        return [self.tags for _ in sentences]


def corpus_of(gold: Sequence[Sequence[str]], scheme: Scheme | None = None) -> Corpus:
    def source() -> Iterator[Sentence]:
        for number, tags in enumerate(gold):
            yield Sentence(tuple(f"w{number}.{i}" for i in range(len(tags))), tuple(tags), None)

    return Corpus.scan("gold", source, scheme)


IO = ("O", "I-LOC", "I-PER")
FAKES: dict[str, Tagger] = {
    "good": Fake(IO, GOLD[0]),
    "half": Fake(IO, ["I-PER", "O", "O", "O"]),
    "torch-int8:half": Fake(IO, ["I-PER", "O", "O", "I-LOC"]),
    "narrow": Fake(("O", "I-PER"), ["I-PER", "O", "O", "O"]),
    "wide": Fake((*IO, "I-ORG"), ["I-PER", "I-ORG", "I-LOC", "O"]),
    "bio": Fake(("O", "B-LOC", "I-LOC", "B-PER", "I-PER"), ["B-PER", "O", "B-LOC", "O"]),
    "other": Fake(("O", "I-DATE"), ["O"] * 4),
    "a/same": Fake(IO, GOLD[0]),
    "b/same": Fake(IO, ["I-PER", "O", "O", "O"]),
}


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Models made of lists, and which were loaded or put under load."""
    seen: list[str] = []

    def candidate(
        reference: str, device: str = "cpu", name: str | None = None, *, threads: int | None = None
    ) -> Candidate:
        seen.append(reference)
        return Candidate(reference.rpartition("/")[2], FAKES[reference], 11, 0.15, 200_000_000)

    def under_load(reference: str, corpus: Corpus, device: str = "cpu", threads: int | None = None) -> Load:
        seen.append(f"load {reference} on {device}")
        return LOAD

    monkeypatch.setattr(models, "candidate", candidate)
    monkeypatch.setattr(processes, "under_load", under_load)
    monkeypatch.setattr(
        models, "model_digest", lambda reference: hashlib.sha256(reference.encode()).hexdigest()
    )
    return seen


@pytest.mark.parametrize(
    ("bar", "reached", "beyond"),
    [
        ("min_f1", 0.66, 0.67),
        ("min_f1_PER", 1.0, None),
        ("min_f1_LOC", 0.0, 0.1),
        ("min_f1_low", 0.66, 0.67),
        ("min_accuracy", 0.75, 0.76),
        ("max_drop", 0.45, 0.44),
        ("max_drop_PER", 0.17, 0.16),
        ("max_size_bytes", 200_000_000, 199_999_999),
        ("max_p50_ms", 10, 9),
        ("max_p95_ms", 20, 19),
        ("max_p99_ms", 30, 29),
        ("max_peak_rss_bytes", 1_000_000, 999_999),
        ("min_sentences_per_second", 50, 51),
        ("min_agreement", 0.75, 0.76),
    ],
)
def test_each_bar_passes_and_is_missed(
    bar: str, reached: float, beyond: float | None, loaded: list[str]
) -> None:
    corpus = corpus_of(GOLD)
    assert check("half", parse_bars({bar: reached}, "bars"), corpus, "good").passed
    if beyond is not None:
        gate = check("half", parse_bars({bar: beyond}, "bars"), corpus, "good")
        assert [(v.bar, v.passed, v.measured is not None) for v in gate.verdicts] == [(bar, False, True)]


@pytest.mark.parametrize(
    ("bars", "wanted"),
    [
        ({"max_size_bytes": 1}, ["half"]),
        ({"min_f1": 0.5, "min_accuracy": 0.5}, ["half"]),
        ({"max_p95_ms": 1}, ["half", "load half on cpu"]),
        ({"max_drop": 0.49}, ["half", "good"]),
        ({"min_agreement": 0.5, "max_drop": 0.49}, ["half", "good"]),
        ({"max_drop": 0.49, "max_peak_rss_bytes": 1, "max_p50_ms": 1}, ["half", "good", "load half on cpu"]),
    ],
)
def test_nothing_is_measured_in_vain(bars: dict[str, float], wanted: list[str], loaded: list[str]) -> None:
    gate = check("half", parse_bars(bars, "bars"), corpus_of(GOLD), "good")
    assert loaded == wanted
    assert gate.baseline == ("good" if "max_drop" in bars else None)
    assert (gate.model, gate.data) == ("half", "gold")


@pytest.mark.parametrize(
    ("model", "baseline", "parent", "agreement", "name"),
    [
        ("torch-int8:half", None, None, 0.75, "half"),
        ("torch-int8:half", "good", None, 0.75, "half"),
        ("torch-int8:half", "good", "good", 0.5, "good"),
        ("half", "good", None, 0.75, "good"),
        ("half", "good", "wide", 0.5, "wide"),
        ("narrow", "wide", None, 0.5, "wide"),
    ],
)
def test_the_parent_whose_tags_are_kept(
    model: str, baseline: str | None, parent: str | None, agreement: float, name: str, loaded: list[str]
) -> None:
    gate = check(model, parse_bars({"min_agreement": agreement}, "bars"), corpus_of(GOLD), baseline, parent)
    assert gate.verdicts[0].measured == agreement
    assert gate.passed
    assert name in gate.verdicts[0].detail


@pytest.mark.parametrize(
    ("bar", "wanted"),
    [
        ("max_drop", "b.yaml has max_drop, which needs a model to compare with, as baseline"),
        ("min_agreement", "needs the model half was made from, as parent"),
    ],
)
def test_a_missing_model_is_said_before_anything_is_loaded(bar: str, wanted: str, loaded: list[str]) -> None:
    with pytest.raises(ParameterError) as caught:
        check("half", parse_bars({bar: 0.4}, "b.yaml"), corpus_of(GOLD))
    assert wanted in str(caught.value)
    assert loaded == []


def test_an_unknown_type_is_said_before_anything_is_measured(loaded: list[str]) -> None:
    with pytest.raises(RecipeError, match="did you mean 'min_f1_PER'"):
        check("half", parse_bars({"min_f1_PERS": 0.5, "max_p95_ms": 1}, "bars"), corpus_of(GOLD))
    assert loaded == ["half"]


def test_a_type_left_out_by_types_is_no_longer_scored(loaded: list[str]) -> None:
    bars = parse_bars({"min_f1": 1.0, "max_drop": 0.2}, "bars")
    assert check("half", bars, corpus_of(GOLD), "good", types=["PER"]).passed
    with pytest.raises(RecipeError, match="the types scored are PER"):
        check("half", parse_bars({"min_f1_LOC": 0.5}, "bars"), corpus_of(GOLD), types=["PER"])
    with pytest.raises(ParameterError, match="no type is left"):
        check("half", bars, corpus_of(GOLD), "good", types=[])


def test_a_type_without_gold_mention_is_a_miss(loaded: list[str]) -> None:
    gate = check("wide", parse_bars({"min_f1_ORG": 0.0, "min_f1_PER": 1.0}, "bars"), corpus_of(GOLD))
    assert [(v.measured, v.passed) for v in gate.verdicts] == [(None, False), (1.0, True)]
    assert gate.verdicts[0].detail == "no gold mention of ORG in gold"


def test_model_and_baseline_of_different_types_pair_on_those_both_know(loaded: list[str]) -> None:
    bars = parse_bars({"min_f1": 0.5, "min_f1_LOC": 1.0, "max_drop": 0.2, "max_drop_PER": 0.2}, "bars")
    gate = check("wide", bars, corpus_of(GOLD), "good")
    assert gate.passed
    assert gate.verdicts[0].measured == pytest.approx(2 * 40 / (60 + 40)), (
        "the model's own invented ORG count against it"
    )
    assert "over LOC, PER" in gate.verdicts[2].detail
    # The baseline knows less than the data: the model is still held to all of it.
    gate = check(
        "half",
        parse_bars({"max_drop": 0.2, "max_drop_LOC": 0.49, "min_f1_LOC": 0.0}, "bars"),
        corpus_of(GOLD),
        "narrow",
    )
    assert [v.passed for v in gate.verdicts] == [True, False, True]
    assert gate.verdicts[1].detail == "narrow does not know LOC"


def test_a_model_that_lost_a_type_is_an_error_even_where_the_baseline_knows_it(loaded: list[str]) -> None:
    with pytest.raises(DataError, match=r"\(types\)"):
        check("narrow", parse_bars({"max_drop": 0.2}, "bars"), corpus_of(GOLD), "good")
    assert check(
        "narrow", parse_bars({"max_drop": 0.2}, "bars"), corpus_of(GOLD), "good", types=["PER"]
    ).passed


def test_models_without_a_common_type(loaded: list[str]) -> None:
    with pytest.raises(ParameterError, match="half and other share no type"):
        check("half", parse_bars({"max_drop": 0.2}, "bars"), corpus_of(GOLD), "other")


def test_schemes_are_brought_together(loaded: list[str]) -> None:
    gold = corpus_of([["B-PER", "O", "B-LOC", "O"]] * 20)
    for model, baseline in (("bio", "good"), ("good", "bio")):
        gate = check(
            model, parse_bars({"min_f1": 1.0, "max_drop": 0.2, "min_agreement": 1.0}, "bars"), gold, baseline
        )
        assert gate.passed
        assert "in IO" in gate.verdicts[0].detail
    assert "in BIO" in check("bio", parse_bars({"min_f1": 1.0}, "bars"), gold).verdicts[0].detail


def test_two_folders_of_one_name_are_told_apart(loaded: list[str]) -> None:
    gate = check("b/same", parse_bars({"max_drop": 0.49}, "bars"), corpus_of(GOLD), "a/same")
    assert (gate.model, gate.baseline) == ("same", "a/same")


def test_memory_the_system_does_not_tell_is_a_miss(
    loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "under_load", lambda *_: Load(1000, 1.0, 2.0, 3.0, 4.0, None))
    gate = check("half", parse_bars({"max_peak_rss_bytes": 10**12, "max_p95_ms": 2}, "bars"), corpus_of(GOLD))
    assert [(v.measured, v.passed) for v in gate.verdicts] == [(None, False), (2.0, True)]
    assert "does not tell" in gate.verdicts[0].detail


@pytest.mark.parametrize(
    ("calls", "p95", "p99"),
    [
        (1024, "1,024 calls, one sentence after another, in a fresh process", ""),
        (
            256,
            "256 calls, one sentence after another, in a fresh process",
            "; too few for a 99th percentile, which needs 1,000",
        ),
        (
            1,
            "1 call, one sentence after another, in a fresh process",
            "; too few for a 99th percentile, which needs 1,000",
        ),
    ],
)
def test_percentiles_say_how_many_calls_they_rest_on(
    calls: int, p95: str, p99: str, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "under_load", lambda *_: replace(LOAD, calls=calls))
    gate = check("half", parse_bars({"max_p95_ms": 20, "max_p99_ms": 30}, "bars"), corpus_of(GOLD))
    assert [v.detail for v in gate.verdicts] == [p95, p95 + p99]


def test_the_gate_carries_what_its_figures_rest_on(loaded: list[str]) -> None:
    corpus = corpus_of(GOLD)
    gate = check(
        "half", parse_bars({"max_drop": 0.49, "max_p95_ms": 20, "confidence": 0.9}, "bars"), corpus, "good"
    )
    said = gate.as_dict()
    assert list(said)[:6] == ["model", "data", "baseline", "passed", "verdict", "bars"]
    assert (said["sentences"], said["calls"], said["confidence"], said["data_digest"]) == (
        20,
        1024,
        0.9,
        corpus.digest,
    )
    assert said["model_digest"] == hashlib.sha256(b"half").hexdigest()
    assert said["baseline_digest"] == hashlib.sha256(b"good").hexdigest()
    assert date.fromisoformat(said["date"])
    assert said["machine"]["cores"] >= 1
    summary = summary_markdown(gate)
    for wanted in (
        "20 sentences, 1,024 calls one by one; intervals at 90 %",
        corpus.digest[:12],
        said["baseline_digest"][:12],
        said["date"],
    ):
        assert wanted in summary
    assert corpus.digest not in summary, "people see the first characters"
    alone = check("half", parse_bars({"min_f1": 0.5}, "bars"), corpus).as_dict()
    assert (alone["calls"], alone["baseline_digest"]) == (None, None)


def test_impossible_threads_are_said_before_anything_is_loaded(loaded: list[str]) -> None:
    for threads in (0, 10_000):
        with pytest.raises(ParameterError, match=f"threads={threads}( is impossible|, but this machine)"):
            check("half", parse_bars({"max_p95_ms": 1}, "bars"), corpus_of(GOLD), threads=threads)
    assert loaded == []


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system cannot pin processes")
def test_under_load_the_model_has_the_processors_asked_for(
    loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usable, seen = os.sched_getaffinity(0), []

    def under_load(*given: object) -> Load:
        seen.append((given[-1], os.sched_getaffinity(0)))
        return LOAD

    monkeypatch.setattr(processes, "under_load", under_load)
    check("half", parse_bars({"max_p95_ms": 20}, "bars"), corpus_of(GOLD), threads=1)
    assert seen == [(1, {min(usable)})]
    assert os.sched_getaffinity(0) == usable


def test_scores_come_from_the_caller_who_has_them(loaded: list[str]) -> None:
    asked: list[tuple[str, Sequence[str] | None, Scheme]] = []
    corpus = corpus_of(GOLD)

    def scored(reference: str, tagger: Tagger, types: Sequence[str] | None, scheme: Scheme) -> Evaluation:
        asked.append((reference, types, scheme))
        return evaluate(tagger, corpus, types=types, scheme=scheme)

    check("half", parse_bars({"max_drop": 0.49, "min_agreement": 0.5}, "bars"), corpus, "good", scored=scored)
    assert asked == [("half", None, Scheme.IO), ("good", None, Scheme.IO)]
    asked.clear()
    check("wide", parse_bars({"max_drop": 0.49}, "bars"), corpus, "good", scored=scored)
    assert asked == [("wide", None, Scheme.IO), ("good", ["LOC", "PER"], Scheme.IO)]


@pytest.mark.slow
def test_a_real_model_against_itself(tiny_model, corpus: Path) -> None:
    model = str(tiny_model("camembert"))
    data = load_corpus(str(corpus), "test")
    bars = {
        "min_f1": 0,
        "min_accuracy": 0,
        "max_drop": 0.2,
        "min_agreement": 1,
        "max_size_bytes": 10**6,
        "max_p99_ms": 60_000,
        "min_sentences_per_second": 0.01,
    }
    gate = check(model, parse_bars(bars, "bars"), data, model)
    assert gate.passed, gate
    assert all(v.measured is not None for v in gate.verdicts)
    int8 = check(
        f"torch-int8:{model}", parse_bars({"min_agreement": 0.5, "max_size_bytes": 1000}, "bars"), data
    )
    assert [v.passed for v in int8.verdicts] == [True, False]


def test_a_model_that_is_none(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        check(str(tmp_path), parse_bars({"max_size_bytes": 1}, "bars"), load_corpus(str(corpus), "test"))
