"""On real French NER, where it lies beside the checkout: our F1 is seqeval's, and the teacher scores what its
card says.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from affineur import sample
from affineur.entities import Scheme, open_corpus, project
from affineur.measure import evaluate
from affineur.pipeline import load

DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("name", "types", "f1"),
    [
        ("wikineural-fr/test.conll", None, None),
        ("europeana-fr/press-a.conll", ["LOC", "ORG", "PER"], None),
        pytest.param("wikineural-fr/test.conll", None, 0.930, marks=pytest.mark.slow, id="the card's F1"),
    ],
)
def test_f1_is_seqevals(name: str, types: list[str] | None, f1: float | None) -> None:
    """On 400 sentences with the small model; what the teacher's card says, on all of them."""
    if not (DATA / name).exists():
        pytest.skip(f"{name} is not beside this checkout")
    metrics = pytest.importorskip("seqeval.metrics")
    corpus = open_corpus(DATA / name).head(400 if f1 is None else 1378)
    tagger = load(sample.DEFAULT if f1 is None else sample.TEACHER)
    ours = evaluate(tagger, corpus, types=types)
    sentences = list(corpus)
    kept = {f"I-{kind}" for kind in types or corpus.types}
    gold = [project(s.tags, corpus.scheme, Scheme.IO) for s in sentences]
    predicted = [
        [tag if tag in kept else "O" for tag in tags] for tags in tagger.tag([s.words for s in sentences])
    ]
    assert ours.total.f1 == pytest.approx(metrics.f1_score(gold, predicted), abs=5e-5)
    report = metrics.classification_report(gold, predicted, output_dict=True)
    for kind in ours.types:
        assert ours.of_type(kind).f1 == pytest.approx(report[kind]["f1-score"], abs=5e-5)
        assert ours.of_type(kind).gold == report[kind]["support"]
    if f1 is not None:
        assert ours.total.f1 == pytest.approx(f1, abs=5e-4)
