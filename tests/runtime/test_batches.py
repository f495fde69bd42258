from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affineur.errors import ParameterError
from affineur.runtime import DEFAULT_BUDGET, FixedBatches, plan_batches


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


@pytest.mark.parametrize(("length", "sequences"), [(1, 256), (2, 256), (32, 16), (512, 1)])
def test_the_default_budget(length: int, sequences: int) -> None:
    assert DEFAULT_BUDGET == 512
    assert max(map(len, plan_batches([length] * 1000))) == sequences


class Seen:
    """Tags each word with itself, and remembers the batches."""

    labels = ("O", "I-PER")

    def __init__(self) -> None:
        self.batches: list[list[list[str]]] = []

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        self.batches.append([list(words) for words in sentences])
        return [[f"tag of {word}" for word in words] for words in sentences]


def _sentences(lengths: Sequence[int]) -> list[list[str]]:
    return [[f"{number}.{i}" for i in range(length)] for number, length in enumerate(lengths)]


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 12), st.booleans())
def test_any_fixed_batches(lengths: list[int], size: int, by_length: bool) -> None:
    seen, sentences = Seen(), _sentences(lengths)
    assert FixedBatches(seen, size, by_length).tag(sentences) == Seen().tag(sentences), (
        "same tags, in input order"
    )
    order = [words for batch in seen.batches for words in batch]
    assert order == (
        sorted(sentences, key=len) if by_length else sentences
    )  # sorted is stable: equal lengths keep their order
    full, rest = divmod(len(lengths), size)
    assert [len(batch) for batch in seen.batches] == [size] * full + [rest] * bool(rest)


def test_fixed_batches_stand_for_their_tagger() -> None:
    seen = Seen()
    batched = FixedBatches(seen, 32)
    assert batched.labels == seen.labels
    assert batched.whole() is seen
    assert batched.tag([]) == []
    assert seen.batches == []


@pytest.mark.parametrize("size", [0, -1])
def test_batches_of_nothing(size: int) -> None:
    with pytest.raises(ParameterError, match=f"size={size} is impossible"):
        FixedBatches(Seen(), size)
