from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affineur.runtime import DEFAULT_BUDGET, plan_batches


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), max_size=60), st.integers(1, 200), st.integers(1, 10))
def test_any_plan(lengths: list[int], budget: int, most: int) -> None:
    batches = plan_batches(lengths, budget, most)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= most
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget
    order = [lengths[i] for batch in batches for i in batch]
    assert order == sorted(lengths, reverse=True)
    for batch in batches[:-1]:  # none could have taken one more
        assert len(batch) == most or (len(batch) + 1) * lengths[batch[0]] > budget


def test_equal_lengths_keep_their_order() -> None:
    assert plan_batches([5, 9, 5, 5], 15) == [[1], [0, 2, 3]]


def test_one_longer_than_the_budget_is_alone() -> None:
    assert plan_batches([3, 100, 3], 10) == [[1], [0, 2]]
    assert plan_batches([100, 100], 10) == [[0], [1]]


def test_nothing_to_plan() -> None:
    assert plan_batches([]) == []


@pytest.mark.parametrize(("length", "sequences"), [(1, 256), (4, 256), (32, 32), (512, 2)])
def test_the_default_budget(length: int, sequences: int) -> None:
    assert DEFAULT_BUDGET == 1024
    assert max(map(len, plan_batches([length] * 1000))) == sequences
