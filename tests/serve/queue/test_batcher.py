"""The queue before the engine, against an engine that writes down what it sees and waits until it is told to
go on.
"""

from __future__ import annotations

import json
import logging
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affineur.errors import ModelError
from affineur.runtime import EngineTagger, Logits
from affineur.runtime.texts import TextWindow
from affineur.serve.queue.batcher import Batcher, Expired, Job, Observer

from ..held import logged

_POISON = 666


def window(length: int, value: int = 1) -> TextWindow:
    """A window that can be recognized by its pieces."""
    return TextWindow(0, (value,) * length, (False,) * length, ((0, 0),) * length, 0, range(length))


class Engine:
    """Gives the value of a window in every row, and refuses what is poisoned."""

    encoder = SimpleNamespace(max_length=64)

    def __init__(self, budget: int = 64, lanes: int = 1, error: BaseException | None = None) -> None:
        self.budget, self.lanes = budget, lanes
        self.error = error or ValueError("Marie Duval")
        self.seen: list[list[tuple[int, ...]]] = []
        self.go = threading.Event()
        self.entered = threading.Semaphore(0)
        self.go.set()

    def lane_logits(self, windows: Sequence[TextWindow], alone: bool = False) -> Logits:
        self.entered.release()
        assert self.go.wait(30)
        self.seen.append([w.ids for w in windows])
        if any(w.ids[0] == _POISON for w in windows):
            raise self.error
        longest = max(map(len, windows))
        return np.array([[[w.ids[0]]] * longest for w in windows], np.float32)


class Ear:
    """Who is told."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int]] = []
        self.depths: list[int] = []
        self.waits = 0
        self.deaf = True

    def batch(self, windows: int, tokens: int, seconds: float) -> None:
        self.batches.append((windows, tokens))

    def waited(self, seconds: float) -> None:
        self.waits += 1
        if not self.deaf:
            raise RuntimeError("a bug")

    def depth(self, windows: int) -> None:
        self.depths.append(windows)


class Waiter:
    """A job whose end can be waited for; it must come once."""

    def __init__(self, windows: list[TextWindow], seconds: float = 60.0) -> None:
        self.times, self.over = 0, threading.Event()
        self.job = Job(windows, time.perf_counter() + seconds, self._done)

    def _done(self, job: Job) -> None:
        self.times += 1
        self.over.set()

    def wait(self) -> Job:
        assert self.over.wait(30)
        return self.job


Make = Callable[..., Batcher]
Told = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def told() -> Iterator[Told]:
    with logged() as told:
        yield told


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Batcher] = []

    def build(engine: Engine, ear: Ear | None = None, **options: Any) -> Batcher:
        made.append(Batcher(cast(EngineTagger, engine), cast(Observer, ear or Ear()), **options))
        return made[-1]

    yield build
    for batcher in made:
        cast(Any, batcher.tagger).go.set()
        batcher.close(30)


def hold(engine: Engine, batcher: Batcher) -> Waiter:
    """Keep the engine busy, so that what is submitted next waits; until ``engine.go`` is set."""
    engine.go.clear()
    first = Waiter([window(1, 999)])
    batcher.submit(first.job)
    assert engine.entered.acquire(timeout=30)
    return first


def run_held(engine: Engine, batcher: Batcher, waiters: Sequence[Waiter]) -> list[list[tuple[int, ...]]]:
    """Submit jobs while the engine is busy; return the batches it saw afterwards."""
    hold(engine, batcher)
    for waiter in waiters:
        batcher.submit(waiter.job)
    engine.go.set()
    for waiter in waiters:
        waiter.wait()
    return engine.seen[1:]


def test_padded_tokens_stay_within_the_budget_but_for_a_window_alone(make: Make) -> None:
    rng = random.Random(1)
    engine, ear = Engine(64), Ear()
    seen = run_held(
        engine,
        make(engine, ear),
        [Waiter([window(rng.randint(1, 100), i) for i in range(rng.randint(1, 6))]) for _ in range(60)],
    )
    assert all(len(batch) == 1 or len(batch) * max(map(len, batch)) <= 64 for batch in seen)
    assert any(len(batch) == 1 and len(batch[0]) > 64 for batch in seen)
    assert ear.batches[1:] == [(len(batch), len(batch) * max(map(len, batch))) for batch in seen]
    assert ear.depths[-1] == 0


def test_windows_of_equal_length_are_computed_together(make: Make) -> None:
    engine = Engine(64)
    lengths = [8, 32, 8, 16, 32, 8, 16, 8, 16, 16, 8, 8, 8, 8]  # 8 x 8, 4 x 16 and 2 x 32 fill a batch each
    seen = run_held(engine, make(engine), [Waiter([window(length)]) for length in lengths])
    assert sorted([len(ids) for ids in batch] for batch in seen) == [[8] * 8, [16] * 4, [32] * 2]


def test_first_come_first_served_where_lengths_do_not_count(make: Make) -> None:
    engine = Engine(64)
    seen = run_held(
        engine,
        make(engine, by_length=False),
        [Waiter([window(length, i)]) for i, length in enumerate([8, 60, 8, 8, 60, 1])],
    )
    assert [ids[0] for batch in seen for ids in batch] == [0, 1, 2, 3, 4, 5]


def test_a_long_window_is_overtaken_for_a_bounded_time(make: Make) -> None:
    """By the clock of arrivals: who came less than ``age`` later may pass, who came more than that later may
    not.
    """
    engine = Engine(64)
    batcher = make(engine, age=0.5)
    long, soon, late = Waiter([window(64, 1)]), Waiter([window(40, 2)]), Waiter([window(40, 3)])
    soon.job.arrived = long.job.arrived + 0.1  # due after 0.1 + 0.5 * 40 / 64 = 0.41
    late.job.arrived = long.job.arrived + 0.3  # due after 0.61
    seen = run_held(engine, batcher, [late, soon, long])
    assert [batch[0][0] for batch in seen] == [2, 1, 3]


def test_cancelled_jobs_are_never_computed(make: Make) -> None:
    engine, ear = Engine(), Ear()
    batcher = make(engine, ear)
    first = hold(engine, batcher)
    stays, goes = Waiter([window(3, 7)]), Waiter([window(3, 8), window(9, 8)])
    batcher.submit(goes.job)
    batcher.submit(stays.job)
    batcher.cancel(goes.job)
    batcher.cancel(goes.job)
    assert ear.depths[-1] == 1
    engine.go.set()
    assert [stays.wait().left, first.wait().left] == [0, 0]
    assert {ids[0] for batch in engine.seen for ids in batch} == {999, 7}
    assert goes.times == 0


def test_who_is_cancelled_while_it_is_computed_hears_nothing(make: Make) -> None:
    engine = Engine()
    batcher = make(engine)
    first = hold(engine, batcher)
    batcher.cancel(first.job)
    engine.go.set()
    batcher.close(30)
    assert first.times == 0


def test_expired_jobs_are_dropped_before_they_are_computed(make: Make) -> None:
    engine = Engine()
    batcher = make(engine)
    hold(engine, batcher)
    late, fine = Waiter([window(3, 8)] * 2, seconds=0.0), Waiter([window(3, 7)])
    batcher.submit(fine.job)
    batcher.submit(late.job)
    engine.go.set()
    assert isinstance(late.wait().error, Expired)
    assert fine.wait().error is None
    assert 8 not in {ids[0] for batch in engine.seen for ids in batch}
    assert late.times == 1


@pytest.mark.parametrize(
    "error",
    [ValueError("Marie Duval"), SystemExit(3), KeyboardInterrupt(), MemoryError(), ModelError("damaged")],
    ids=repr,
)
def test_a_poisoned_window_fails_its_own_job_alone(make: Make, error: BaseException, told: Told) -> None:
    engine = Engine(error=error)
    batcher = make(engine)
    poisoned = Waiter([window(4, _POISON), window(4, 5), window(4, 6)])
    others = [Waiter([window(4, value), window(4, value)]) for value in (1, 2)]
    run_held(engine, batcher, [others[0], poisoned, others[1]])
    for value, other in zip((1, 2), others, strict=True):
        assert other.job.error is None
        assert [row is not None and row[0, 0] == value for row in other.job.rows] == [True, True]
    assert isinstance(poisoned.job.error, ModelError)
    assert "Marie" not in str(poisoned.job.error)
    assert [(5,) * 4] not in engine.seen, "windows of a job that has failed are not computed"
    after = Waiter([window(2, 9)])
    batcher.submit(after.job)
    assert after.wait().error is None
    assert [line["exception"] for line in told()] == (
        [] if isinstance(error, ModelError) else [type(error).__name__]
    )
    assert "Marie" not in json.dumps(told())


def test_an_engine_that_gives_too_few_rows_fails_the_jobs_and_not_the_thread(make: Make, told: Told) -> None:
    engine = Engine()
    good = engine.lane_logits
    engine.lane_logits = lambda windows, alone=False: good(windows, alone)[:-1]  # type: ignore[method-assign]
    batcher = make(engine)
    waiters = [Waiter([window(3)]), Waiter([window(3)])]
    run_held(engine, batcher, waiters)
    assert all(isinstance(waiter.job.error, ModelError) for waiter in waiters)
    engine.lane_logits = good  # type: ignore[method-assign]
    after = Waiter([window(3)])
    batcher.submit(after.job)
    assert after.wait().error is None


def test_a_bug_in_the_thread_is_told_to_those_who_wait(make: Make, told: Told) -> None:
    engine, ear = Engine(), Ear()
    batcher = make(engine, ear)
    hold(engine, batcher)
    ear.deaf = False
    waiters = [Waiter([window(3)]), Waiter([window(64)])]
    for waiter in waiters:
        batcher.submit(waiter.job)
    engine.go.set()
    assert all(isinstance(waiter.wait().error, ModelError) for waiter in waiters)
    assert told()[0]["exception"] == "RuntimeError"
    ear.deaf = True
    after = Waiter([window(3)])
    batcher.submit(after.job)
    assert after.wait().error is None


def test_a_bug_of_one_that_waits_is_not_the_others(make: Make, told: Told) -> None:
    def broken(_: Job) -> None:
        raise RuntimeError("Marie Duval")

    batcher = make(Engine())
    batcher.submit(Job([window(3)], time.perf_counter() + 60, broken))
    after = Waiter([window(3)])
    batcher.submit(after.job)
    assert after.wait().error is None
    assert [line["event"] for line in told()] == ["queue fault"]


def test_every_lane_computes_beside_the_others(make: Make) -> None:
    engine = Engine(16, lanes=3)
    engine.go.clear()
    batcher = make(engine)
    waiters = [Waiter([window(16, i)]) for i in range(6)]
    for waiter in waiters:
        batcher.submit(waiter.job)
    for _ in range(3):
        assert engine.entered.acquire(timeout=30)  # three at once, though none has come back
    assert not engine.entered.acquire(timeout=0.05)
    engine.go.set()
    for waiter in waiters:
        assert waiter.wait().error is None
    assert len(engine.seen) == 6


def test_an_idle_engine_waits_for_a_batch_to_fill_and_no_longer(make: Make) -> None:
    engine = Engine(16)
    batcher = make(engine, batch_wait=30.0)
    waiters = [Waiter([window(4)]) for _ in range(4)]
    for waiter in waiters:
        batcher.submit(waiter.job)
    for waiter in waiters:
        waiter.wait()
    assert len(engine.seen) == 1
    short = make(engine, batch_wait=0.01)
    alone = Waiter([window(4)])
    short.submit(alone.job)
    alone.wait()


def test_close_computes_what_waits_and_takes_no_more(make: Make) -> None:
    engine = Engine()
    batcher = make(engine, batch_wait=30.0)
    waiters = [Waiter([window(3, i)]) for i in range(5)]
    for waiter in waiters:
        batcher.submit(waiter.job)
    batcher.close(30)
    assert [waiter.job.left for waiter in waiters] == [0] * 5
    with pytest.raises(ModelError, match="put away"):
        batcher.submit(Waiter([window(3)]).job)


def test_a_job_without_windows_is_over_at_once(make: Make) -> None:
    empty = Waiter([])
    make(Engine()).submit(empty.job)
    assert (empty.times, empty.job.error, empty.job.rows) == (1, None, [])


_jobs = st.lists(
    st.tuples(
        st.lists(st.integers(1, 80), max_size=5), st.sampled_from(["stay", "cancel", "poison", "late"])
    ),
    max_size=30,
)


@given(_jobs, st.integers(1, 3), st.booleans(), st.sampled_from([0.0, 0.001]))
def test_every_job_is_over_once_with_the_rows_of_its_own_windows(
    jobs: list[tuple[list[int], str]], lanes: int, by_length: bool, batch_wait: float
) -> None:
    logging.getLogger("affineur.serve").setLevel("CRITICAL")
    engine, ear = Engine(64, lanes), Ear()
    batcher = Batcher(cast(EngineTagger, engine), cast(Observer, ear), batch_wait, 0.001, by_length)
    waiters = []
    for number, (lengths, fate) in enumerate(jobs):
        values = [1000 * (number + 1) + i for i in range(len(lengths))]
        if fate == "poison":
            values[-1:] = [_POISON] if values else []
        waiters.append(
            Waiter(
                [window(*each) for each in zip(lengths, values, strict=True)], 0.0 if fate == "late" else 60.0
            )
        )
        batcher.submit(waiters[-1].job)
        if fate == "cancel":
            batcher.cancel(waiters[-1].job)
    batcher.close(30)
    for waiter, (lengths, fate) in zip(waiters, jobs, strict=True):
        job = waiter.job
        assert job.over
        assert waiter.times == 1 or (fate == "cancel" and waiter.times == 0)
        if not lengths or (fate == "cancel" and job.left):
            continue
        if fate in ("poison", "late"):
            assert isinstance(job.error, Expired if fate == "late" else ModelError)
        else:
            assert job.error is None
            assert [row is not None and int(row[0, 0]) for row in job.rows] == [w.ids[0] for w in job.windows]
    logging.getLogger("affineur.serve").setLevel("NOTSET")
    assert ear.depths[-1:] in ([], [0])


def test_choosing_a_batch_among_thousands_is_cheap(make: Make) -> None:
    """The thread chooses while it holds the queue's lock, which a request needs: linear in what waits would
    be felt, quadratic an outage.
    """
    engine = Engine(512)
    batcher = make(engine)
    hold(engine, batcher)
    rng = random.Random(2)
    for _ in range(2000):
        batcher.submit(Waiter([window(rng.randint(5, 60))]).job)
    steps = 0

    def count(frame: Any, event: str, _: Any) -> Any:
        nonlocal steps
        steps += event == "line" and "batcher" in frame.f_code.co_filename
        return count

    before = sys.gettrace()
    sys.settrace(count)
    batcher._take_expired()
    batch = batcher._take()
    sys.settrace(before)
    assert batch
    assert steps < 2000  # lines of Python, which are a few for each window taken and none for those that wait


def test_the_windows_of_a_document_leave_half_of_the_engine_to_others(make: Make) -> None:
    engine = Engine(16)
    engine.go.clear()
    batcher = make(engine)
    batcher.speed.learn(0.1)
    busy, document = Waiter([window(16, 9)]), Waiter([window(16, 1) for _ in range(4)])
    batcher.submit(busy.job)
    assert engine.entered.acquire(timeout=30)
    batcher.submit(document.job)
    late = [Waiter([window(16, 2)]), Waiter([window(16, 3)])]
    for waiter in late:
        batcher.submit(waiter.job)
    engine.go.set()
    for waiter in (busy, document, *late):
        waiter.wait()
    assert [ids[0][0] for ids in engine.seen] == [9, 1, 2, 3, 1, 1, 1]
