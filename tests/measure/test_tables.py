from __future__ import annotations

import pytest

from affineur.entities import Scheme
from affineur.measure import evaluate, evaluation_cells, markdown_table, megabytes

from .conftest import corpus_of, labels_of, tagger_of


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "–"),
        (0, "0.0 MB"),
        (1_250_000, "1.2 MB"),
        (99_900_000, "99.9 MB"),
        (100_000_000, "100 MB"),
        (440_400_000, "440 MB"),
    ],
)
def test_megabytes(size: int | None, text: str) -> None:
    assert megabytes(size) == text


def test_a_markdown_table() -> None:
    assert (
        markdown_table(["A", "B"], [["x|y", "1"], ["z", ""]])
        == "| A | B |\n| --- | ---: |\n| x\\|y | 1 |\n| z |  |\n"
    )


def test_evaluation_cells() -> None:
    gold, predicted = ["B-LOC", "O", "B-PER", "B-PER"], ["B-LOC", "B-LOC", "B-PER", "O"]
    types = ["LOC", "PER"]
    rows = evaluation_cells(evaluate(tagger_of([predicted], labels_of(Scheme.BIO, types)), corpus_of([gold])))
    assert rows == [
        ["LOC", "50.00%", "100.00%", "66.67%", "1.7–99.2", "1"],
        ["PER", "100.00%", "50.00%", "66.67%", "1.7–99.2", "2"],
        ["all", "66.67%", "66.67%", "66.67%", "1.7–99.2", "3"],
    ]
