"""Long texts in portions: every text once and in order, no portion longer than it may be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from affineur.serve.queue.portions import _PORTION, Portions

T = TypeVar("T")
LENGTHS = st.lists(st.sampled_from([0, 1, 50, 4000, _PORTION - 1, _PORTION, _PORTION + 1, 3 * _PORTION]))


class FakeReading:
    """A window for each text; what is found is its length."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.windows = [text[:3] for text in texts]
        self._lengths = [len(text) for text in texts]

    def results(self, rows: Sequence[Any]) -> list[list[int]]:
        assert len(rows) == len(self.windows)
        return [[length, int(row[0])] for length, row in zip(self._lengths, rows, strict=True)]


@given(LENGTHS)
def test_every_text_is_read_and_answered_once_and_in_order(lengths: list[int]) -> None:
    texts, turns, seen, told = ["a" * length for length in lengths], [0], [], []

    def read(part: Sequence[str]) -> Any:
        seen.append([len(text) for text in part])
        return FakeReading(part)

    async def turn(work: Callable[[], T]) -> T:
        turns[0] += 1
        return work()

    async def run() -> tuple[Any, Any]:
        portions = Portions(texts, turn)
        await portions.read(read, lambda *counted: told.append(counted))
        assert len(portions.windows) == len(texts)
        assert portions.tokens == sum(min(3, length) for length in lengths)
        rows = [np.full(1, place, np.float32) for place in range(len(texts))]
        return await portions.results(rows, lambda text, found: (len(text), found))

    found, shaped = asyncio.run(run())
    assert [length for part in seen for length in part] == lengths
    assert all(sum(part) <= _PORTION or len(part) == 1 for part in seen)
    assert found == [[length, place] for place, length in enumerate(lengths)]
    assert shaped == list(zip(lengths, found, strict=True))
    assert turns[0] == 2 * len(seen)
    assert not told or told[-1][1] == 0
    assert [left for _, left in told] == sorted((left for _, left in told), reverse=True)
