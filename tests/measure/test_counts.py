from __future__ import annotations

import numpy as np
import pytest

from affineur.entities import Mention
from affineur.measure import Counts, count_sentence, total

GOLD = [Mention(0, 2, "PER"), Mention(3, 4, "LOC"), Mention(5, 6, "LOC")]


def test_exact_span_and_type() -> None:
    predicted = [Mention(0, 2, "PER"), Mention(3, 4, "PER"), Mention(5, 7, "LOC")]
    assert count_sentence(GOLD, predicted, ("LOC", "PER")).tolist() == [[0, 1, 2], [1, 2, 1]]
    assert count_sentence(GOLD, GOLD, ("PER", "LOC")).tolist() == [[1, 1, 1], [2, 2, 2]]
    assert count_sentence(GOLD, [], ("LOC", "PER")).tolist() == [[0, 0, 2], [0, 0, 1]]


def test_other_types_count_on_neither_side() -> None:
    assert count_sentence(GOLD, [*GOLD, Mention(8, 9, "MISC")], ("PER", "ORG")).tolist() == [
        [1, 1, 1],
        [0, 0, 0],
    ]
    assert count_sentence(GOLD, GOLD, ()).shape == (0, 3)


def test_ratios() -> None:
    counts = Counts(6, 8, 12)
    assert (counts.precision, counts.recall, counts.f1) == (0.75, 0.5, 0.6)
    assert counts.f1 == pytest.approx(
        2 * counts.precision * counts.recall / (counts.precision + counts.recall)
    )


@pytest.mark.parametrize("counts", [Counts(), Counts(0, 3, 0), Counts(0, 0, 3), Counts(0, 3, 3)])
def test_ratios_of_nothing_are_0(counts: Counts) -> None:
    assert (counts.precision, counts.recall, counts.f1) == (0.0, 0.0, 0.0)


def test_counts_add_up() -> None:
    assert Counts(1, 2, 3) + Counts(10, 20, 30) == Counts(11, 22, 33)
    assert total(np.arange(12).reshape(2, 2, 3)) == Counts(18, 22, 26)
    assert total(np.zeros((0, 4, 3), np.int64)) == Counts()
    assert type(total(np.ones((1, 3), np.int64)).gold) is int  # for JSON
