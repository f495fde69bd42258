"""Who gives up memory first."""

from __future__ import annotations

import pytest

from affineur.serve import holding
from affineur.serve.holding import Holdings


class Holder:
    given_up = 0

    def give_up(self) -> None:
        self.given_up += 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(holding.time, "monotonic", lambda: now[0])
    return now


def test_whoever_has_held_most_for_longest_gives_up(clock: list[float]) -> None:
    holdings, (long, large, new) = Holdings(100), (Holder(), Holder(), Holder())
    holdings.hold(long, 20)
    clock[0] = 5.0
    holdings.hold(large, 60)
    clock[0] = 6.0
    holdings.hold(new, 20)
    assert holdings.total == 100
    clock[0] = 6.5
    holdings.hold(new, 21)
    assert [each.given_up for each in (long, large, new)] == [1, 0, 0]
    assert holdings.total == 81
    clock[0] = 7.0
    holdings.hold(new, 99)
    assert [each.given_up for each in (long, large, new)] == [1, 1, 0]
    holdings.release(new)
    holdings.release(new)
    assert holdings.total == 0


def test_who_alone_holds_too_much_gives_up(clock: list[float]) -> None:
    holdings, alone = Holdings(100), Holder()
    holdings.hold(alone, 101)
    assert (alone.given_up, holdings.total) == (1, 0)
