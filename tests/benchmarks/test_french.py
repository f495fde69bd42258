"""The logic of the table of French models: which types are scored, and when a promise holds."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from affineur.entities import Scheme
from affineur.errors import DataError, ParameterError
from affineur.measure import Candidate, Evaluation
from affineur.measure.speed import Ratio
from measure.conftest import FakeTagger, corpus_of, labels_of, tagger_of

GOLD = [["B-PER", "I-PER", "O"], ["B-LOC", "O", "O"]] * 6
SURE = Ratio(2.4, 2.2, 2.6)


@pytest.fixture(scope="module")
def french(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_module("french")


def _model(name: str, tagger: FakeTagger) -> Candidate:
    return Candidate(name, tagger, 1, 0.0, 100)


# ---- types ----


def test_a_type_that_the_corpus_does_not_have_is_left_out_for_all(french: ModuleType) -> None:
    plain = [["I-PER", "I-PER", "O"], ["I-LOC", "O", "O"]] * 6
    with_misc = [["I-PER", "I-PER", "I-MISC"], ["I-LOC", "O", "I-MISC"]] * 6
    models = [
        _model(n, tagger_of(tags, labels_of(Scheme.IO))) for n, tags in (("a", plain), ("b", with_misc))
    ]
    found = french.score(models, corpus_of(GOLD))
    assert found.types == ("LOC", "PER")
    assert found.unscored == ()
    # As the commands score it, each mention of a type nobody looked for would be wrong.
    assert [each.f1 for each in found.evaluations] == [1.0, 1.0]
    assert {each.types for each in found.evaluations} == {("LOC", "PER")}


def test_a_type_that_some_model_does_not_know_is_left_out_and_told(french: ModuleType) -> None:
    whole = tagger_of(GOLD, labels_of(Scheme.BIO))
    half = tagger_of([["B-PER", "I-PER", "O"], ["O", "O", "O"]] * 6, labels_of(Scheme.BIO, ["PER"]))
    found = french.score([_model("whole", whole), _model("half", half)], corpus_of(GOLD))
    assert (found.types, found.unscored) == (("PER",), ("LOC",))
    assert [each.f1 for each in found.evaluations] == [1.0, 1.0]
    assert "left out since not every model knows it: LOC" in french.notes({"x": found}, [], {})[1]


def test_all_models_are_scored_in_one_scheme(french: ModuleType) -> None:
    adjacent = [["B-PER", "B-PER", "O"]] * 12
    bio = tagger_of(adjacent, labels_of(Scheme.BIO))
    io = tagger_of([["I-PER", "I-PER", "O"]] * 12, labels_of(Scheme.IO))
    found = french.score([_model("io", io), _model("bio", bio)], corpus_of(adjacent))
    assert [each.scheme for each in found.evaluations] == [Scheme.IO, Scheme.IO]
    assert [each.f1 for each in found.evaluations] == [1.0, 1.0]
    assert "12 of them merged" in french.notes({"x": found}, [], {})[1]


def test_models_and_a_corpus_without_a_common_type_are_an_error(french: ModuleType) -> None:
    stranger = tagger_of(GOLD, labels_of(Scheme.BIO, ["DATE"]))
    with pytest.raises(DataError, match=r"types here are LOC, PER, those that all models know DATE"):
        french.score([_model("stranger", stranger)], corpus_of(GOLD))


def test_kept_scores_are_not_computed_again(
    french: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(french, "model_digest", lambda reference: f"digest of {reference}")
    tagger, book = tagger_of(GOLD, labels_of(Scheme.BIO)), french.ScoreBook(tmp_path)
    first, second = (french.score([_model("a", tagger)], corpus_of(GOLD), book, ["a"]) for _ in range(2))
    assert tagger.batches == [12]
    assert [each.f1 for each in (*first.evaluations, *second.evaluations)] == [1.0, 1.0]


# ---- promises ----


def _evaluation(right: int, sentences: int = 4000) -> Evaluation:
    """Score a model that finds the one mention of so many sentences and misses the others."""
    counts = np.array([[1, 1, 1]] * right + [[0, 0, 1]] * (sentences - right), dtype=np.int64)
    return Evaluation(
        *(("PER",), counts[:, None, :], None, 1, 1, Scheme.IO, 0, 0, "text", "digest", 1),
        np.zeros((2, 4, 5), np.int64),
        (Scheme.IO, Scheme.IO),
    )


def _judged(
    french: ModuleType, right: tuple[int, int, int] = (3800, 3790, 3000), speed: Ratio = SURE, size: int = 49
) -> dict[str, str]:
    """Judge a student beside a teacher and a peer that find so many of 4,000 mentions."""
    scored = french.Scored(corpus_of(GOLD), ("PER",), (), tuple(_evaluation(each) for each in right))
    names = ("teacher", "student", "peer")
    sizes = {"teacher": 200, "student": size, "peer": 100}
    found = french.promises(names, "peer", ["student"], scored, {1: {"student": speed}}, sizes)
    assert {each.model for each in found} == {"student"}
    return dict(zip(("above", "teacher", "speed", "bytes"), (each.verdict for each in found), strict=True))


def test_each_promise_holds_where_its_figures_say_so(french: ModuleType) -> None:
    assert _judged(french) == {"above": "holds", "teacher": "holds", "speed": "holds", "bytes": "holds"}


def test_points_above_the_peer_count_by_the_lower_end_alone(french: ModuleType) -> None:
    scored = [_evaluation(right) for right in (3800, 3421)]
    above = scored[0].minus(scored[1])
    assert above.value > french.ABOVE > above.low
    assert _judged(french, (3800, 3800, 3421))["above"] == "falls short"


@pytest.mark.parametrize(
    ("right", "verdict"),
    [(3790, "holds"), (3731, "holds by the estimate, not by the interval"), (3600, "falls short")],
)
def test_nearness_to_the_teacher_has_three_answers(french: ModuleType, right: int, verdict: str) -> None:
    assert _judged(french, (3800, right, 3000))["teacher"] == verdict


@pytest.mark.parametrize(
    ("speed", "verdict"),
    [
        (Ratio(2.1, 2.0, 2.2), "holds"),
        (Ratio(2.1, 1.9, 2.2), "holds by the estimate, not by the interval"),
        (Ratio(2.1, 0.0, math.inf), "holds by the estimate, not by the interval"),
        (Ratio(1.9, 1.8, 2.2), "falls short"),
    ],
)
def test_speed_has_three_answers(french: ModuleType, speed: Ratio, verdict: str) -> None:
    assert _judged(french, speed=speed)["speed"] == verdict


@pytest.mark.parametrize(("size", "verdict"), [(50, "holds"), (51, "falls short")])
def test_half_the_bytes_are_enough(french: ModuleType, size: int, verdict: str) -> None:
    assert _judged(french, size=size)["bytes"] == verdict


def test_what_was_not_measured_is_not_judged(french: ModuleType) -> None:
    found = french.promises(["t", "s", "p"], "p", ["s"], None, {}, {"t": 2, "s": 1, "p": 2})
    assert [each.verdict for each in found] == ["not measured"] * 3 + ["holds"]
    assert "wikineural-fr is not there" in str(found[0])


# ---- the corpora ----


def test_what_is_not_there_is_told_and_the_sample_always_is(french: ModuleType, tmp_path: Path) -> None:
    found, absent = french.opened(None, list(french.CORPORA))
    assert list(found) == ["sample-text"]
    assert len(absent) == len(french.CORPORA) - 1
    found, absent = french.opened(tmp_path, ["sample-text", "newseye-fr"])
    assert absent == [f"newseye-fr is left out: {tmp_path / 'newseye-fr/dev.conll'} is not there"]


def test_a_wrong_name_and_nothing_at_all_are_errors(french: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"no corpus 'newseye', .*did you mean 'newseye-fr'"):
        french.opened(tmp_path, ["newseye"])
    with pytest.raises(ParameterError, match="is not there"):
        french.opened(tmp_path, ["newseye-fr"])
    with pytest.raises(DataError, match="no such folder"):
        french.opened(tmp_path / "none", ["sample-text"])


# ---- the command ----


def test_the_command_prints_one_table_and_writes_both_files(
    french: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "clinical-fr" / "a.conll"
    text.parent.mkdir()
    text.write_text("\n".join(["Marie\tB-PER\npart\tO\n"] * 12), "utf-8")
    names = ("teacher", "student", "peer")
    for name, size in zip(names, (200, 60, 100), strict=True):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"0" * (size - 2))
        (tmp_path / name / "README.md").write_bytes(b"00")
    tags = {"teacher": ["I-PER", "O"], "student": ["I-PER", "I-MISC"], "peer": ["O", "O"]}

    def candidate(reference: str, threads: int) -> Candidate:
        name = Path(reference).name
        return _model(name, FakeTagger(labels_of(Scheme.IO), {("Marie", "part"): tags[name]}))

    monkeypatch.setattr(french, "candidate", candidate)
    models = [str(tmp_path / name) for name in names]
    asked = [*models, "--peer", models[2], "--data", str(tmp_path), "--corpora", "clinical-fr"]
    files = ["--json", str(tmp_path / "all.json"), "--markdown", str(tmp_path / "all.md")]
    monkeypatch.setattr(sys, "argv", ["french.py", *asked, "--rounds", "0", *files])
    assert french.main() == 1  # the student has more than half of the peer's bytes
    shown = capsys.readouterr().out
    told: dict[str, Any] = json.loads((tmp_path / "all.json").read_text("utf-8"))
    page = (tmp_path / "all.md").read_text("utf-8")
    assert told["corpora"]["clinical-fr"]["types"] == ["PER"]
    assert told["size_bytes"] == {"teacher": 200, "student": 60, "peer": 100}
    above = {
        name: each["above_peer"]["value"] for name, each in told["corpora"]["clinical-fr"]["models"].items()
    }
    assert above == {"teacher": 1, "student": 1, "peer": 0}
    for written in (shown, page):
        assert "F1 clinical-fr" in written
        assert "12 sentences, 24 words, 12 mentions of PER" in written
    assert "at most 50% of the bytes of peer: FALLS SHORT (60%" in shown
    assert shown.count("FALLS SHORT") == 1
