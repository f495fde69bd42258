"""Benchmarks of real models in real processes, few of them; names and order with made-up ones."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from affineur.engines.core.facts import Facts
from affineur.errors import ModelError, ParameterError
from affineur.measure import Birth
from affineur.measure.benchmark import SINGLE
from affineur.measure.benchmark_result import Batching
from affineur.pipeline import benchmark_models, benchmarking, processes
from affineur.transfer import load_corpus


class Unreal:
    """Stands for a process; ``log`` tells what was opened and closed, in which order."""

    log: list[str] = []
    birth = Birth(1.0, 0.1, None, 1)
    facts = Facts("transformers", 3, 0.0, 1000)

    def __init__(
        self, reference: str, sentences: Sequence[Sequence[str]], device: str, name: str, threads: int | None
    ) -> None:
        if "bad" in reference:
            raise ModelError("no such model")
        self.name, self.threads = name, threads
        self.log.append(f"+{name}")

    def run(self, sentences: Sequence[int], batching: Batching) -> list[float]:
        return [0.01] * len(sentences) if batching == SINGLE else [0.01 * len(sentences)]

    def begin(self) -> None:
        self.log.append(f"begin {self.name}")

    def ready(self) -> None:
        self.log.append(f"ready {self.name}")

    def load(self) -> None:
        self.log.append(f"load {self.name}")

    def __enter__(self) -> Unreal:
        return self

    def __exit__(self, *_: Any) -> None:
        self.log.append(f"-{self.name}")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(benchmarking, "ModelProcess", Unreal)
    monkeypatch.setattr(Unreal, "log", [])
    return Unreal.log


@pytest.mark.slow
def test_two_real_models(shared_model, shared_corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[subprocess.Popen[str]] = []

    class Watched(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            if str(processes._WORKER) in map(str, args[0]):  # not what describes the machine
                seen.append(self)

    monkeypatch.setattr(processes.subprocess, "Popen", Watched)
    usable = sorted(os.sched_getaffinity(0))
    model = str(shared_model("camembert"))
    corpus = load_corpus(str(shared_corpus), "test")
    found = benchmark_models([model, f"torch-int8:{model}"], corpus, rounds=2, threads=1)
    assert sorted(os.sched_getaffinity(0)) == usable, "we are not pinned any more"
    assert [p.returncode is not None for p in seen] == [True] * 4, (
        "each model afresh in each of two rounds, and none left"
    )
    assert list(found.cpus) == usable[:1]
    assert (found.sentences, found.words, found.rounds) == (len(corpus), corpus.words, 2)
    plain, int8 = found.models
    assert [m.model for m in found.models] == ["camembert", "torch-int8:camembert"]
    assert [m.facts.kind for m in found.models] == ["transformers", "torch-int8"]
    assert plain.facts.size_bytes == (Path(model) / "model.safetensors").stat().st_size
    assert 0 < int8.facts.size_bytes < plain.facts.size_bytes
    assert int8.facts.parameters == plain.facts.parameters
    for m in found.models:
        assert m.birth.threads == 1
        assert m.birth.peak_rss_bytes is not None
        assert 50e6 < m.birth.peak_rss_bytes < 5e9
        assert 0 < m.p50_ms <= m.p95_ms <= m.p99_ms
        assert all(t.sentences_per_second > 0 for t in m.timings)
        assert len(m.timings) == 5
    json.dumps(found.as_dict(), allow_nan=False)


def _names(references: list[str], corpus: Path) -> list[str]:
    return [
        m.model
        for m in benchmark_models(references, load_corpus(str(corpus), "test"), 1, shapes=False).models
    ]


def test_every_model_has_a_name_of_its_own(log: list[str], shared_corpus: Path, tmp_path: Path) -> None:
    for parent in "ab":
        (tmp_path / parent / "m").mkdir(parents=True)
    a, b = str(tmp_path / "a" / "m"), str(tmp_path / "b" / "m")
    assert _names([a], shared_corpus) == ["m"]
    assert _names([a, f"torch-int8:{a}", "x/y"], shared_corpus) == ["m", "torch-int8:m", "x/y"]
    assert _names([a, a], shared_corpus) == ["m #1", "m #2"]
    assert _names([a, b], shared_corpus) == [a, b]
    assert _names([a, b, "x/y"], shared_corpus) == [a, b, "x/y"]
    assert _names([a, b, a, b], shared_corpus) == [f"{a} #1", f"{b} #1", f"{a} #2", f"{b} #2"]
    assert _names([a, a + "/"], shared_corpus) == [a, a + "/"]
    assert _names(["x/y", a, a], shared_corpus) == ["x/y", "m #1", "m #2"]


def test_all_are_up_before_any_is_timed_and_all_are_closed(log: list[str], shared_corpus: Path) -> None:
    _names(["p", "q"], shared_corpus)
    assert log == ["+p", "+q", "-q", "-p"]


def test_models_import_side_by_side_and_load_one_after_another(log: list[str], shared_corpus: Path) -> None:
    benchmark_models(["p", "q"], load_corpus(str(shared_corpus), "test"), 2, shapes=False)
    assert log[2:-2] == ["begin p", "begin q", "ready p", "ready q", "load p", "load q"]


def test_a_bad_second_model_closes_the_first(log: list[str], shared_corpus: Path) -> None:
    usable = sorted(os.sched_getaffinity(0))
    with pytest.raises(ModelError, match="no such model"):
        benchmark_models(["p", "bad"], load_corpus(str(shared_corpus), "test"), threads=1)
    assert log == ["+p", "-p"]
    assert sorted(os.sched_getaffinity(0)) == usable


@pytest.mark.parametrize(
    ("references", "rounds", "said"),
    [
        ([], 3, "needs at least one model"),
        (["p"], 0, "rounds=0 is impossible, expected at least 1"),
        (["p"], -2, "rounds=-2 is impossible, expected at least 1"),
    ],
)
def test_nothing_is_started_in_vain(
    references: list[str], rounds: int, said: str, log: list[str], shared_corpus: Path
) -> None:
    with pytest.raises(ParameterError, match=said):
        benchmark_models(references, load_corpus(str(shared_corpus), "test"), rounds)
    assert log == []


def test_too_many_threads_start_nothing(log: list[str], shared_corpus: Path) -> None:
    with pytest.raises(ParameterError, match="threads=99"):
        benchmark_models(["p"], load_corpus(str(shared_corpus), "test"), threads=99)
    assert log == []
