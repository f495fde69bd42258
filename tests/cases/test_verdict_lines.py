"""What the last line of a training says (case 34), and what Python refuses in one line (case 38)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import affineur
from affineur import sample
from affineur.entities import Corpus, Sentence
from affineur.errors import ParameterError
from affineur.measure import Benchmark, Budget, Candidate, Curve, Ratio, analyze, compare
from affineur.measure.report import Report, report_html
from affineur.pipeline.ahead import ahead, in_words
from affineur.pipeline.entries import planned
from affineur.pipeline.parts import Parts
from affineur.pipeline.recipe import make_recipe
from affineur.pipeline.runner import quickened
from affineur.runtime.given import given_sentences, given_texts
from affineur.steps.core.step import STEPS, Shape
from affineur.transfer import load_splits


@pytest.mark.parametrize(
    ("keep_best", "dev", "said"),
    [
        (True, [0.5, 0.9, 0.7], "dev F1 of the saved model 0.9000 (after epoch 2 of 3, the best)"),
        (True, [0.5, 0.9], "dev F1 of the saved model 0.9000"),
        (False, [0.5, 0.9, 0.7], "dev F1 of the saved model 0.7000"),
    ],
)
@pytest.mark.parametrize("name", ["train", "distill"])
def test_the_last_line_tells_the_saved_model(name: str, keep_best: bool, dev: list[float], said: str) -> None:
    manifest = SimpleNamespace(scores={"dev_f1": dev}, parameters={"keep_best": keep_best})
    info: Any = SimpleNamespace(manifest=manifest)
    source: Any = None
    step = STEPS.get(name).given({"layers": 1} if name == "distill" else {})
    assert step.said(info, source)[0] == said


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["a", None], "texts[1] is a NoneType, expected a text; leave out what is missing"),
        (["a", float("nan")], "texts[1] is a float, expected a text; leave out what is missing"),
        ([["a", "b"]], "texts[0] is a list, expected a text"),
        ([3], "texts[0] is a int, expected a text"),
        (None, "texts is of type NoneType, expected a text or a list of texts"),
        (3, "texts is of type int, expected a text or a list of texts"),
        (b"a", "texts is of type bytes"),
        ("a", "type predict(text)"),
    ],
)
def test_a_missing_value_among_texts_is_named(texts: Any, said: str) -> None:
    # case 38: predict_batch with a missing value
    with pytest.raises(ParameterError) as caught:
        list(given_texts(texts))
    assert said in str(caught.value)


@pytest.mark.parametrize("sentences", [None, "a b", ["a b"], [["a", None]], [None], 3])
def test_words_are_words(sentences: Any) -> None:
    with pytest.raises(ParameterError, match="sentences"):
        given_sentences(sentences)


@pytest.mark.parametrize("models", [None, 3])
def test_models_are_models(models: Any) -> None:
    with pytest.raises(ParameterError, match="models is of type"):
        affineur.compare(models)


def test_a_page_that_quotes_says_so_and_one_without_text_holds_no_word_of_the_data() -> None:
    # case 36: a report that is mailed
    def source() -> Iterator[Sentence]:
        for number in range(20):
            yield Sentence((f"Zoé{number}", "Ménard", "dort"), ("I-PER", "I-PER", "O"))

    class Silent:
        labels = ("O", "I-PER")

        def tag(self, sentences: Any) -> list[list[str]]:
            return [["O"] * len(words) for words in sentences]

    corpus = Corpus.scan("gold", source)
    models = [Candidate(name, Silent(), 1, 0.0, 1) for name in ("a", "b")]
    table = compare(models, corpus, rounds=1)
    found = analyze(("b", Silent()), ("a", Silent()), corpus, types=("PER",), scheme=corpus.scheme)
    assert (found.disagreements, found.missed is not None) == ((), True)  # missed by both, and still shown
    with_text = report_html(Report("x", table, analysis=found))
    assert "This page quotes sentences of gold" in with_text
    assert "Ménard" in with_text
    without = report_html(Report("x", table, analysis=found.without_text()))
    for word in ("Ménard", "Zoé", "This page quotes"):
        assert word not in without
        assert word not in json.dumps(found.without_text().as_dict(), ensure_ascii=False)


def test_a_finished_part_of_a_killed_run_is_not_measured_again(tmp_path: Path) -> None:
    # case 39: sweep, comparison and benchmark began again
    curve = Curve("m", "dev", 5, "b", 0.9, Budget(max_drop=0.01), ())
    ratio = Ratio(1.0, 0.0, math.inf)
    parts = Parts(tmp_path / "parts", "key")
    asked: list[str] = []

    def once(value: Any) -> Any:
        asked.append("made")
        return value

    for _ in range(2):
        assert parts.get("sweep", tuple[Curve, ...], lambda: once((curve,))) == (curve,)
        assert parts.get("speed", Ratio, lambda: once(ratio)) == ratio
        assert parts.get("benchmark", Benchmark | None, lambda: once(None)) is None
    assert len(asked) == 3
    other = Parts(tmp_path / "parts", "another")
    other.get("speed", Ratio, lambda: once(ratio))
    (tmp_path / "parts" / "sweep.json").write_text("{")  # killed while it was written by something else
    parts.get("sweep", tuple[Curve, ...], lambda: once(()))
    assert len(asked) == 5
    parts.drop()
    assert not (tmp_path / "parts").exists()


def test_quick_leaves_out_what_takes_longest() -> None:
    recipe = make_recipe(
        {"name": "x", "teacher": "sample", "data": "sample", "sweep": None, "benchmark": None}
    )
    quick = quickened(recipe)
    assert (quick.sweep, quick.benchmark, quick.compare.rounds, quick.compare.memory) == (
        None,
        None,
        3,
        False,
    )
    assert recipe.sweep is not None


def test_time_ahead_is_said_in_its_parts() -> None:
    recipe = make_recipe(
        {
            "name": "x",
            "teacher": "sample",
            "data": "sample",
            "sweep": None,
            "benchmark": None,
            "steps": [{"distill": {"layers": 2, "epochs": 1}}],
        }
    )
    splits = load_splits("sample")
    steps = planned(recipe.steps, Shape.of(recipe.steps[0].step.open(sample.model(sample.TEACHER))))
    parts = ahead(recipe, steps, splits, 0.01, 1.0)
    assert list(parts) == ["training", "sweep", "comparison", "benchmark"]
    assert splits.train is not None
    assert parts["training"] > len(splits.train) * 0.03
    assert list(ahead(quickened(recipe), steps, splits, 0.01, 1.0)) == ["training", "comparison"]
    assert in_words({"training": 600.0, "sweep": 12.3}) == (
        "about 10 min ahead, what is done already aside: training 10 min, sweep 13 s"
    )
