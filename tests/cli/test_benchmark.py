"""``affineur benchmark``: what is printed and written, and the errors. No process is started."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from affineur.cli.main import main
from affineur.engines.core.facts import Facts
from affineur.measure import Birth
from affineur.measure.benchmark import SINGLE
from affineur.measure.benchmark_result import Batching
from affineur.pipeline import benchmarking, models

SECONDS = {"camembert": 0.004, "distilbert": 0.002}


class Unreal:
    """Stands for a process with a model: its facts are real, its speed is not."""

    birth = Birth(5.0, 0.25, 400_000_000, 1, cold=True)
    started: list[str] = []

    def __init__(
        self, reference: str, sentences: Sequence[Sequence[str]], device: str, name: str, threads: int | None
    ) -> None:
        self.reference, self.name = reference, name
        self.started.append(reference)

    @property
    def facts(self) -> Facts:
        return models.facts(self.reference)

    def begin(self) -> None:
        """Nothing to start."""

    ready = load = begin

    def run(self, sentences: Sequence[int], batching: Batching) -> list[float]:
        seconds = SECONDS.get(Path(self.reference).name, 0.01)
        return [seconds] * len(sentences) if batching == SINGLE else [seconds * len(sentences)]

    def __enter__(self) -> Unreal:
        return self

    def __exit__(self, *_: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(benchmarking, "ModelProcess", Unreal)
    monkeypatch.setattr(Unreal, "started", [])
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))  # --threads sets them; put back afterwards
    return Unreal.started


@pytest.fixture
def two(shared_model) -> list[str]:
    return [str(shared_model("camembert")), str(shared_model("distilbert"))]


def test_two_models_as_text_json_and_markdown(
    two: list[str], shared_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = {name: tmp_path / f"b.{name}" for name in ("json", "md")}
    words = [
        "benchmark",
        *two,
        "--data",
        str(shared_corpus),
        "--rounds",
        "9",
        "--json",
        str(out["json"]),
        "--markdown",
        str(out["md"]),
        "-q",
    ]
    assert main(words) == 0
    said = json.loads(out["json"].read_text())
    camembert, distilbert = said["models"]
    assert [camembert["model"], distilbert["model"]] == ["camembert", "distilbert"]
    assert camembert["speed"][0]["sentences_per_second"] == pytest.approx(250)
    assert distilbert["speed"][0]["ratio"] == pytest.approx(2)
    assert distilbert["speed"][0]["winner"] == distilbert["latency_ratio"]["winner"] == "faster"
    assert distilbert["latency_ms"] == pytest.approx({"p50": 2, "p95": 2, "p99": 2})
    assert camembert["size_bytes"] == (Path(two[0]) / "model.safetensors").stat().st_size
    assert set(camembert["parts"]) == {"embeddings", "encoder", "head"}
    assert (said["rounds"], said["sentences"]) == (9, 20)
    assert (camembert["load_seconds"], camembert["cold"]) == (0.25, True)
    assert said["verdicts"][0] == "distilbert against camembert: faster, 2.00× (2.00–2.00, 99%)"
    text, markdown = capsys.readouterr().out, out["md"].read_text()
    assert all(verdict in text and verdict in markdown for verdict in said["verdicts"])
    assert (
        "Load: median over 9 starts, its libraries imported before, files read from the disk. Memory"
        in markdown
    )
    assert "(p50, p95, p99; too few for a p99, which needs 1,000)" in markdown, "9 rounds of 40"
    mark, _, table = markdown.partition("\n")
    assert mark.startswith("<!-- written by affineur ")
    assert table.lstrip().startswith("| Model | Size | Embeddings / encoder / head |")
    assert "| 2.00× (2.00–2.00) |" in markdown
    assert text.count("camembert") >= 2


def test_one_round_names_no_winner_and_is_valid_json(
    two: list[str], shared_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", *two, "--data", str(shared_corpus), "--rounds", "1", "--json", "-", "-q"]) == 0
    captured = capsys.readouterr()

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    said = json.loads(captured.out, parse_constant=refuse)
    assert said["models"][1]["speed"][0]["ratio_high"] is None
    assert said["models"][1]["speed"][0]["winner"] == "unclear"
    assert "turn: 1 round of " in captured.err
    assert "no winner, 2.00×: too few rounds" in captured.err, (
        "people read standard error where a machine reads standard output"
    )


def test_the_same_model_twice_gets_two_names(two: list[str], shared_corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.json"
    assert (
        main(
            [
                "benchmark",
                two[0],
                two[0],
                f"guide:{two[0]}",
                "--data",
                str(shared_corpus),
                "--json",
                str(out),
                "-q",
            ]
        )
        == 0
    )
    said = json.loads(out.read_text())
    assert [m["model"] for m in said["models"]] == ["camembert #1", "camembert #2", "guide:camembert"]
    assert said["models"][1]["speed"][0]["winner"] == "same"
    assert (
        said["verdicts"][0] == "camembert #2 against camembert #1: the same within 3%, 1.00× (1.00–1.00, 99%)"
    )


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--threads", "99"], "this machine lets us use"),
        (["--threads", "0"], "--threads 0 is impossible, expected at least 1"),
        (["--rounds", "0"], "--rounds 0 is impossible, expected 1 to 100000"),
        (["--rounds=-1"], "--rounds -1 is impossible, expected 1 to 100000"),
        (["--data", "/nowhere"], "/nowhere"),
        (
            ["--markdown", "/"],
            "--markdown / cannot be written: it is a folder, expected a file, such as /markdown",
        ),
        (["--json", "/proc/no/such.json"], "--json /proc/no/such.json cannot be written"),
    ],
)
def test_errors_are_one_line_and_start_nothing(
    words: list[str],
    wanted: str,
    two: list[str],
    shared_corpus: Path,
    started: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["benchmark", *two, "--data", str(shared_corpus), *words, "-q"]) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("affineur: ")
    assert wanted in said
    assert started == []


def test_as_many_threads_as_asked_for(two: list[str], shared_corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.json"
    usable = sorted(os.sched_getaffinity(0))
    assert (
        main(["benchmark", two[0], "--data", str(shared_corpus), "--threads", "1", "--json", str(out), "-q"])
        == 0
    )
    assert json.loads(out.read_text())["cpus"] == usable[:1]
    assert sorted(os.sched_getaffinity(0)) == usable


def test_the_sample_is_the_default_data(two: list[str], tmp_path: Path) -> None:
    out = tmp_path / "b.json"
    assert main(["benchmark", two[0], "--rounds", "1", "--json", str(out), "-q"]) == 0
    assert json.loads(out.read_text())["sentences"] > 200


@pytest.mark.parametrize("words", [["benchmark"], ["benchmark", "m", "--rounds", "two"]])
def test_wrong_usage_exits_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
