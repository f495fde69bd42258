from __future__ import annotations

import time
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from affineur.measure import Throughput, speed, throughput
from affineur.progress import listening

SENTENCES = [[f"w{i}"] for i in range(4096)]


class Clock:
    """A machine whose time only taggers spend, and that may slow down."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.drag = 1.0
        self.log: list[tuple[str, int]] = []
        monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def tagger(self, name: str, seconds: float, drag: float = 1.0) -> Busy:
        return Busy(self, name, seconds, drag)


class Busy:
    labels = ("O",)

    def __init__(self, clock: Clock, name: str, seconds: float, drag: float) -> None:
        self.clock, self.name, self.seconds, self.slower = clock, name, seconds, drag

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        self.clock.log.append((self.name, len(sentences)))
        self.clock.now += self.seconds * len(sentences) * self.clock.drag
        self.clock.drag *= self.slower
        return [["O"] for _ in sentences]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_taggers_take_turns_after_a_warm_up(clock: Clock) -> None:
    found = throughput([clock.tagger("slow", 0.010), clock.tagger("fast", 0.0025)], SENTENCES, rounds=3)
    assert clock.log[:4] == [("slow", 8), ("slow", 8), ("fast", 8), ("fast", 8)]
    assert clock.log[4:] == [("slow", 200), ("fast", 200)] * 3  # two seconds of the slow one
    assert [f.rounds for f in found] == [pytest.approx([100] * 3), pytest.approx([400] * 3)]
    assert found[1].speedup(found[0]) == pytest.approx(4)
    assert found[0].speedup(found[0]) == 1


def test_a_machine_that_slows_down_is_fair_to_all(clock: Clock) -> None:
    clock.drag = 1.0
    found = throughput([clock.tagger("slow", 0.010), clock.tagger("fast", 0.005, drag=2.0)], SENTENCES, rounds=5)
    assert found[0].rounds[0] == pytest.approx(found[0].rounds[4] * 16)
    assert found[1].speedup(found[0]) == pytest.approx(2)


@pytest.mark.parametrize(
    ("seconds", "count", "used"), [(10.0, 4096, 8), (0.25, 4096, 8), (0.1, 4096, 20), (1e-9, 4096, 4096), (0.1, 5, 5), (0.01, 1, 1)]
)
def test_as_many_sentences_as_two_seconds_take(clock: Clock, seconds: float, count: int, used: int) -> None:
    throughput([clock.tagger("a", seconds)], SENTENCES[:count], rounds=1)
    assert clock.log[-1] == ("a", used)


def test_progress(clock: Clock) -> None:
    steps: list[tuple[str, int | None, int | None]] = []
    with listening(lambda *step: steps.append(step)):
        throughput([clock.tagger("a", 1), clock.tagger("b", 1)], SENTENCES, rounds=2)
    assert steps == [("timing", done, 4) for done in (1, 2, 3, 4)]


def test_medians() -> None:
    first, second = Throughput((10.0, 100.0, 20.0)), Throughput((40.0, 300.0, 20.0))
    assert first.median == 20
    assert second.speedup(first) == 3.0  # of the ratios 4, 3, 1, and not of the medians 40 and 20
    assert Throughput((1.0, 5.0)).speedup(Throughput((1.0, 1.0))) == 3.0


def test_real_time() -> None:
    class Sleeper:
        labels = ("O",)

        def __init__(self, seconds: float) -> None:
            self.seconds = seconds

        def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
            time.sleep(self.seconds * len(sentences))
            return [["O"] for _ in sentences]

    slow, fast = throughput([Sleeper(0.008), Sleeper(0.002)], SENTENCES[:10], rounds=3)
    assert 50 < slow.median <= 125
    assert 2 < fast.speedup(slow) < 6
