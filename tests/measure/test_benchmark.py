"""The benchmark on machines that are made up: steady, drifting, noisy, in bursts."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affineur.engines.core.facts import Facts
from affineur.errors import ParameterError
from affineur.measure import (
    Benchmark,
    Birth,
    Ratio,
    benchmark,
    benchmark_markdown,
    percentiles,
    speed_in_words,
)
from affineur.measure.benchmark import OWN, ROUNDS, SINGLE
from affineur.measure.benchmark_result import Batching

Drag = Callable[[float], float]
Call = tuple[str, tuple[int, ...], Batching, list[float]]

MACHINE = {"description": "a made-up machine"}


class Machine:
    """A clock that only subjects move; ``drag`` says how much slower everything is at some moment."""

    def __init__(self, drag: Drag = lambda _: 1.0) -> None:
        self.now, self.drag = 0.0, drag
        self.calls: list[Call] = []

    def subject(
        self, name: str, seconds: float, noise: Drag = lambda _: 1.0, birth: Birth | None = None
    ) -> Simulated:
        return Simulated(self, name, seconds, noise, birth or Birth(2.0, 0.5, 10**8, 2))

    def of(self, name: str, batching: Batching | None = None) -> list[Call]:
        return [call for call in self.calls if call[0] == name and batching in (None, call[2])]


class Simulated:
    facts = Facts(
        "transformers", 11, 0.15, 10**6, 250_000, 212_500, {"embeddings": 4, "encoder": 5, "head": 6}
    )

    def __init__(self, machine: Machine, name: str, seconds: float, noise: Drag, birth: Birth) -> None:
        self.machine, self.name, self.seconds, self.noise, self.birth = machine, name, seconds, noise, birth

    def run(self, sentences: Sequence[int], batching: Batching) -> list[float]:
        spent = []
        for many in [1] * len(sentences) if batching == SINGLE else [len(sentences)]:
            seconds = self.seconds * many * self.machine.drag(self.machine.now) * self.noise(self.machine.now)
            self.machine.now += seconds
            spent.append(seconds)
        self.machine.calls.append((self.name, tuple(sentences), batching, spent))
        return spent


def measured(
    machine: Machine, *seconds: float, sentences: int = 512, rounds: int = ROUNDS, shapes: bool = False
) -> Benchmark:
    subjects = [machine.subject(f"m{place}", each) for place, each in enumerate(seconds)]
    return benchmark(
        subjects, [5] * sentences, data="made up", machine=MACHINE, rounds=rounds, cpus=(0, 1), shapes=shapes
    )


def test_speeds_and_ratios_of_a_steady_machine() -> None:
    found = measured(Machine(), 0.010, 0.005, 0.020, shapes=True)
    for model, seconds, winner in zip(
        found.models, (0.010, 0.005, 0.020), ("same", "faster", "slower"), strict=True
    ):
        assert len(model.timings) == 5
        for timing in model.timings:
            assert timing.sentences_per_second == pytest.approx(1 / seconds)
            assert timing.words_per_second == pytest.approx(5 / seconds)
            assert timing.ratio.value == pytest.approx(0.010 / seconds)
        for ratio in (model.timings[0].ratio, model.latency):
            assert (ratio.value, ratio.low, ratio.high) == pytest.approx((0.010 / seconds,) * 3)
            assert ratio.winner() == winner
        assert (model.p50_ms, model.p95_ms, model.p99_ms) == pytest.approx((seconds * 1e3,) * 3)
        assert model.spread == pytest.approx(0)
    assert [str(t.batching) for t in found.models[0].timings] == [
        "own",
        "naive 8",
        "naive 32",
        "sorted 8",
        "sorted 32",
    ]
    assert found.verdicts() == [
        "m1 against m0: faster, 2.00× (2.00–2.00, 99%)",
        "m1 against m0 for one sentence at a time: faster, 2.00× (2.00–2.00, 99%)",
        "m2 against m0: slower, 0.50× (0.50–0.50, 99%)",
        "m2 against m0 for one sentence at a time: slower, 0.50× (0.50–0.50, 99%)",
    ]


def test_words_per_second_are_those_of_the_sentences_timed() -> None:
    machine = Machine()
    words = [1] * 50 + [9] * 50
    found = benchmark([machine.subject("a", 0.01)], words, data="made up", machine=MACHINE, rounds=8)
    timed = machine.of("a", OWN)[-1][1]
    assert found.timed == len(timed) < 80
    assert found.words == 500
    assert found.models[0].timings[0].words_per_second == pytest.approx(
        sum(words[i] for i in timed) / (0.01 * len(timed))
    )


def test_the_order_alternates_and_all_get_the_same_sentences() -> None:
    machine = Machine()
    measured(machine, 0.01, 0.02, 0.005, rounds=8, shapes=True)
    timed = [
        call for call in machine.calls[6:] if not (call[2] == SINGLE and len(call[1]) == 8)
    ]  # two to warm up, one to size the blocks
    names = [call[0] for call in timed]
    rounds = [names[i : i + 3] for i in range(0, len(names), 3)]
    assert len(rounds) == 8 + 4 * 5 + 8
    counted = Counter(map(tuple, rounds))
    assert counted == {("m0", "m1", "m2"): 4 + 4 * 3 + 4, ("m2", "m1", "m0"): 4 + 4 * 2 + 4}
    assert (
        rounds[0] == rounds[1] == ["m0", "m1", "m2"]
    )  # throughput and single sentences of one round go the same way
    assert all(a != b for a, b in pairwise(rounds[:16:2]))
    assert all(a != b for a, b in pairwise(rounds[1:16:2]))
    for i in range(0, len(timed), 3):
        assert len({call[1:3] for call in timed[i : i + 3]}) == 1


def test_what_is_timed_comes_from_the_whole_corpus() -> None:
    machine = Machine()
    found = measured(machine, 0.005, sentences=512)
    passes = {call[1] for call in machine.of("m0", OWN)[2:]}
    assert len(passes) == 1
    (chosen,) = passes
    assert len(chosen) == found.timed == pytest.approx(0.7 / 0.005, abs=1)
    assert chosen[0] == 0
    assert max(b - a for a, b in pairwise(chosen)) <= math.ceil(512 / len(chosen))
    assert 512 - chosen[-1] <= math.ceil(512 / len(chosen))
    blocks = [call[1] for call in machine.of("m0", SINGLE)[1:]]
    assert len(blocks) == ROUNDS
    assert found.singles == sum(map(len, blocks))
    for block in blocks:
        assert len(set(block)) == len(block) >= 8
        assert max(block) - min(block) > 512 * 0.8, "one part of the corpus only"
    assert len(set(blocks)) == ROUNDS


@pytest.mark.parametrize(
    ("seconds", "passed", "block"),
    [(10.0, 16, 8), (1e-5, 512, 40), (0.007, 100, 40), (0.035, 64, 20), (0.125, 40, 8)],
)
def test_a_pass_takes_about_as_long_as_meant(seconds: float, passed: int, block: int) -> None:
    machine = Machine()
    found = measured(machine, seconds, seconds / 50, sentences=600, rounds=8)
    assert found.timed == pytest.approx(passed, abs=passed == 100)
    assert found.singles / 8 == pytest.approx(block, abs=block == 20)


@pytest.mark.parametrize("sentences", [1, 2, 5, 8, 9, 15, 16, 17, 41])
def test_few_sentences(sentences: int) -> None:
    machine = Machine()
    found = measured(machine, 1e-4, 2e-4, sentences=sentences, shapes=True)
    assert (found.sentences, found.words, found.timed) == (sentences, 5 * sentences, sentences)
    asked = [i for call in machine.calls for i in call[1]]
    assert set(asked) == set(range(sentences))
    for call in machine.of("m0", SINGLE)[1:]:  # no sentence is favored in any block
        assert len(call[1]) == 40
        counts = Counter(call[1])
        assert len(counts) == min(40, sentences)
        assert max(counts.values()) <= math.ceil(40 / sentences)
    json.dumps(found.as_dict(), allow_nan=False)


def test_percentiles_are_those_of_every_single_sentence() -> None:
    rng = random.Random(2)
    machine = Machine()
    subject = machine.subject("a", 0.01, lambda _: rng.lognormvariate(0, 0.7))
    found = benchmark([subject], [3] * 100, data="made up", machine=MACHINE, rounds=9, shapes=False)
    spent = [second for call in machine.of("a", SINGLE)[1:] for second in call[3]]
    assert len(spent) == found.singles
    wanted = [float(np.percentile(spent, q)) * 1e3 for q in (50, 95, 99)]
    assert [found.models[0].p50_ms, found.models[0].p95_ms, found.models[0].p99_ms] == pytest.approx(wanted)
    assert wanted[0] < wanted[1] < wanted[2]


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=50))
def test_percentiles_against_numpy(seconds: list[float]) -> None:
    assert percentiles(seconds) == pytest.approx(tuple(np.percentile(seconds, [50, 95, 99]) * 1e3))


def _shaky(rng: random.Random, machine: Machine) -> None:
    """Noise on every call, a speed that wanders, and bursts in which everything takes three times as long."""
    state = {"until": -1.0, "walk": 0.0}

    def drag(now: float) -> float:
        state["walk"] = 0.98 * state["walk"] + rng.gauss(0, 0.03)
        if rng.random() < 0.03:
            state["until"] = now + rng.expovariate(1 / 0.5)
        return math.exp(state["walk"] + rng.gauss(0, 0.2)) * (3.0 if now < state["until"] else 1.0)

    machine.drag = drag


def test_a_model_against_itself_gets_no_winner_on_a_noisy_machine() -> None:
    said: Counter[str] = Counter()
    wrong = 0
    for run in range(100):
        machine = Machine()
        _shaky(random.Random(run), machine)
        second = measured(machine, 0.01, 0.01, sentences=200).models[1]
        winners = {second.timings[0].ratio.winner(), second.latency.winner()}
        said.update(winners)
        wrong += bool(winners & {"faster", "slower"})
    assert wrong <= 5, said
    assert said["unclear"] > 50, "this machine was meant to be noisy"


@pytest.mark.parametrize(("faster", "winner"), [(1.08, "faster"), (1 / 1.08, "slower")])
def test_eight_percent_are_seen_under_moderate_noise(faster: float, winner: str) -> None:
    throughput = latency = 0
    for run in range(40):
        rng = random.Random(run)
        walk = [0.0]

        def drag(now: float, rng: random.Random = rng, walk: list[float] = walk) -> float:
            walk[0] += rng.gauss(0, 0.003)
            return math.exp(walk[0] + rng.gauss(0, 0.02))

        second = measured(Machine(drag), 0.01, 0.01 / faster, sentences=200).models[1]
        throughput += second.timings[0].ratio.winner() == winner
        latency += second.latency.winner() == winner
    assert throughput >= 34
    assert latency >= 34


@pytest.mark.parametrize("slower", [1.0015, 0.998])
def test_a_steady_drift_gives_no_model_an_advantage(slower: float) -> None:
    found = measured(Machine(lambda now: slower ** (now * 10)), 0.01, 0.01, 0.01)
    assert {m.timings[0].ratio.winner() for m in found.models} <= {"same", "unclear"}
    assert {m.latency.winner() for m in found.models} <= {"same", "unclear"}
    assert found.models[0].spread > 0.02


def test_the_same_speed_is_said_to_be_the_same() -> None:
    rng = random.Random(1)
    found = measured(Machine(lambda _: 1 + rng.uniform(-0.005, 0.005)), 0.01, 0.0101)
    assert found.models[1].timings[0].ratio.winner() == "same"
    assert "m1 against m0: the same within 3%, 0.99× (" in found.verdicts()[0]


def test_an_unsteady_machine_is_said_to_be_one() -> None:
    rng = random.Random(4)
    machine = Machine()
    steady, shaky = (
        machine.subject("steady", 0.01),
        machine.subject("shaky", 0.01, lambda _: rng.choice((0.7, 1.3))),
    )
    found = benchmark([steady, shaky], [5] * 100, data="made up", machine=MACHINE, shapes=False)
    said = found.verdicts()[-1]
    assert said.startswith("this machine was not steady: ")
    assert f"shaky {found.models[1].spread:.0%} (interquartile)" in said
    assert "steady 0%" not in said
    low, middle, high = np.percentile(
        [found.timed / call[3][0] for call in machine.of("shaky", OWN)[2:]], [25, 50, 75]
    )
    assert found.models[1].spread == pytest.approx((high - low) / middle)
    assert not any("not steady" in verdict for verdict in measured(Machine(), 0.01, 0.02).verdicts())


@pytest.mark.parametrize("rounds", [1, 7])
def test_json_has_no_infinity_where_there_are_too_few_rounds(rounds: int) -> None:
    found = measured(Machine(), 0.01, 0.005, rounds=rounds, shapes=True)
    said = found.as_dict()
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    second = said["models"][1]
    for ratio in (second["latency_ratio"], *second["speed"]):
        assert (ratio["ratio"], ratio["ratio_low"], ratio["ratio_high"], ratio["winner"]) == (
            pytest.approx(2),
            0,
            None,
            "unclear",
        )
    assert said["verdicts"][0] == "m1 against m0: no winner, 2.00×: too few rounds for an interval at 99%"
    assert "inf" not in " ".join(said["verdicts"])


def test_the_keys_of_the_json() -> None:
    machine = Machine()
    nothing = machine.subject("unknown memory", 0.01, birth=Birth(1.0, 0.1, None, 1))
    said = benchmark(
        [machine.subject("a", 0.01), nothing], [5] * 20, data="made up", machine=MACHINE, rounds=8, cpus=(3,)
    ).as_dict()
    json.dumps(said, allow_nan=False)
    wanted = (
        "models verdicts data sentences words sentences_in_a_pass sentences_one_by_one rounds confidence "
        "same_within cpus machine"
    )
    assert list(said) == wanted.split()
    wanted = (
        "model kind layers sparsity size_bytes parameters nonzero parts start_seconds load_seconds "
        "peak_rss_bytes threads cold latency_ms "
        "latency_ratio"
    )
    assert list(said["models"][0]) == [*wanted.split(), "speed", "spread"]
    assert said["models"][1]["peak_rss_bytes"] is None
    assert (said["confidence"], said["same_within"], said["cpus"], said["data"]) == (
        0.99,
        0.03,
        [3],
        "made up",
    )
    assert [(s["batching"], s["batch_size"]) for s in said["models"][0]["speed"]] == [
        ("own", None),
        ("naive", 8),
        ("naive", 32),
        ("sorted", 8),
        ("sorted", 32),
    ]


def test_markdown_names_every_model_and_says_every_verdict() -> None:
    found = measured(Machine(), 0.01, 0.005, shapes=True)
    text = benchmark_markdown(found)
    assert all(f"| {model.model} |" in text for model in found.models)
    assert all(f"- {verdict}\n" in text for verdict in found.verdicts())


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (Ratio(1.5, 1.4, 1.6), "faster, 1.50× (1.40–1.60, 99%)"),
        (Ratio(0.5, 0.4, 0.6), "slower, 0.50× (0.40–0.60, 99%)"),
        (Ratio(1.0, 0.98, 1.02), "the same within 3%, 1.00× (0.98–1.02, 99%)"),
        (Ratio(1.1, 0.98, 1.2), "no winner, 1.10× (0.98–1.20, 99%): this run cannot tell it from ±3%"),
        (Ratio(1.1, 0.0, math.inf), "no winner, 1.10×: too few rounds for an interval at 99%"),
    ],
)
def test_speed_in_words(ratio: Ratio, words: str) -> None:
    assert speed_in_words(ratio) == words


def test_every_round_but_the_first_starts_afresh() -> None:
    machine = Machine()
    subjects, at = [machine.subject("a", 0.01), machine.subject("b", 0.01)], []
    benchmark(
        subjects,
        [5] * 50,
        data="made up",
        machine=MACHINE,
        rounds=8,
        shapes=False,
        renew=lambda _: at.append(len(machine.calls)),
    )
    assert len(at) == 7
    assert {b - a for a, b in pairwise(at)} == {4}, (
        "both models, throughput and single sentences, between two starts"
    )


@pytest.mark.parametrize("luck", [0.05, 0.2])
def test_the_luck_of_a_process_is_no_winner(luck: float) -> None:
    """The same model in two processes may differ as long as both live; over fresh ones, that is noise."""
    said: Counter[str] = Counter()
    for run in range(100):
        rng, machine = random.Random(run), Machine()
        pace = [1.0, 1.0]

        def renew(_: Sequence[int] = (), rng: random.Random = rng, pace: list[float] = pace) -> None:
            pace[:] = [math.exp(rng.gauss(0, luck)) for _ in pace]

        renew()
        subjects = [machine.subject(f"m{i}", 0.01, lambda _, i=i, pace=pace: pace[i]) for i in (0, 1)]
        found = benchmark(subjects, [5] * 200, data="made up", machine=MACHINE, shapes=False, renew=renew)
        said.update({found.models[1].timings[0].ratio.winner(), found.models[1].latency.winner()})
    assert said["faster"] + said["slower"] <= 3, said


def test_nothing_to_time() -> None:
    machine = Machine()
    some = [machine.subject("a", 0.01)]
    for subjects, words, rounds in (([], [5], 9), (some, [], 9), (some, [5], 0), (some, [5], -1)):
        with pytest.raises(ParameterError, match="at least one"):
            benchmark(subjects, words, data="made up", machine=MACHINE, rounds=rounds)
    assert not machine.calls
