"""``affineur probe-endpoint`` and ``scripts/test_endpoint.py URL``: exit status, what is printed, and the
file for machines.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from affineur.cli.main import main
from affineur.entities import Entity
from affineur.measure.bars import ENDPOINT, read_endpoint_bars
from probe.fakes import Fake, entities, running, send

ROOT = Path(__file__).parents[2]
FEW = ["--requests", "4", "--concurrency", "2", "-q"]


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AFFINEUR_KEY", raising=False)


def probe(*words: str, fake: Fake | None = None) -> int:
    with running(fake or Fake()) as server:
        return main(["probe-endpoint", server.url, *FEW, *words])


def bars(folder: Path, text: str) -> str:
    (folder / "bars.yaml").write_text(text)
    return str(folder / "bars.yaml")


def test_reached_bars_exit_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = "min_found: 1\nmax_p99_ms: 5000\nmax_errors: 0\nmin_requests_per_second: 0\n"
    assert probe("--bars", bars(tmp_path, wanted), "--json", str(tmp_path / "out.json")) == 0
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert lines[0] == "correctness: 29 of 29 known mentions found, 0 faults"
    assert any(line.startswith("capacity: throughput ") for line in lines)
    assert "the server's own clock, one at a time: 1.5 ms in its queue, 2.5 ms in its model (p50)" in lines
    assert [line.split()[:2] for line in lines[-5:-1]] == [
        ["pass", name] for name in ("min_found", "max_p99_ms", "max_errors", "min_requests_per_second")
    ]
    assert lines[-1] == "passed: 4 of 4 bars"
    found = json.loads((tmp_path / "out.json").read_text())
    keys = (
        "url data parameters expected found missed faults remarks requests errors queue_ms inference_ms "
        "steps capacity stopped agreement passed bars written_by"
    )
    assert sorted(found) == sorted(keys.split())
    assert found["passed"] is True
    assert [step["statuses"] for step in found["steps"]] == [{"200": 4}, {"200": 8}]


def test_missed_bars_exit_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only_names = Fake(lambda text, _: [each for each in entities(text) if each["entity_group"] == "PER"])
    assert probe("--bars", bars(tmp_path, "min_found: 0.9\nmax_errors: 0\n"), fake=only_names) == 3
    out = capsys.readouterr().out
    assert "  missed LOC 'Lyon' in 'Le train pour Lyon part à midi.' (found: nothing)" in out
    assert "MISS  min_found   34.48% < 90.00%  10 of 29 known mentions" in out
    assert out.splitlines()[-1] == "missed: 1 of 2 bars (min_found)"


def test_faults_exit_1_without_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        probe(fake=Fake(lambda text, _: [{**each, "start": each["start"] + 1} for each in entities(text)]))
        == 1
    )
    said = capsys.readouterr()
    assert "gives answers that cannot be true: " in said.err
    assert len(said.err.splitlines()) == 1
    assert "  … and " in said.out


def test_what_was_measured_is_kept_when_the_server_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Fake()

    def handle(handler: Any, body: dict[str, Any]) -> bool:
        lost = len(fake.bodies) > 30
        if lost:
            handler.close_connection = True
        return lost

    fake.handle = handle
    assert probe("--json", str(tmp_path / "out.json"), "--requests", "20", fake=fake) == 1
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert "was lost at concurrency 1: it closes the connection without an answer; is it running" in error[0]
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["found"] == 29
    assert found["steps"][0]["statuses"].keys() == {"200", "connection"}


def test_the_key_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def handle(handler: Any, body: dict[str, Any]) -> bool:
        if handler.headers["Authorization"] == "Bearer open sesame":
            return False
        send(handler, 401, {"error": "no valid key", "error_type": "Unauthorized"})
        return True

    assert probe(fake=Fake(handle=handle)) == 1
    assert (
        "answers 401 (no valid key); give its key: with --key, or in AFFINEUR_KEY" in capsys.readouterr().err
    )
    monkeypatch.setenv("AFFINEUR_KEY", "open sesame")
    assert probe(fake=Fake(handle=handle)) == 0
    assert "sesame" not in "".join(capsys.readouterr())
    assert probe("--key", "other", fake=Fake(handle=handle)) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["nonsense"],
            "'nonsense' is not a URL, expected an address such as http://127.0.0.1:8000/predict; type: http://nonsense",
        ),
        (["http://127.0.0.1:1/"], "http://127.0.0.1:1/ cannot be reached (Connection refused)"),
        (["http://127.0.0.1:1/", "--requests", "0"], "--requests 0 is impossible"),
        (
            ["http://127.0.0.1:1/", "--concurrency", "1,many"],
            "--concurrency '1,many' is no list of numbers, expected such as 1,8,64",
        ),
        (["http://127.0.0.1:1/", "--concurrency", ","], "--concurrency ',' is no list of numbers"),
        (["http://127.0.0.1:1/", "--data", "nowhere.txt"], "nowhere.txt"),
        (
            ["http://127.0.0.1:1/", "--bars", "nowhere.yaml"],
            "nowhere.yaml cannot be read (No such file or directory)",
        ),
        (["http://127.0.0.1:1/", "--agree-with", "./nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe-endpoint", *words, "-q"]) == 1
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert said in error[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "max_p95: 3\n",
            "unknown bar 'max_p95' of an endpoint; did you mean 'max_p95_ms'? (known: max_p95_ms, ",
        ),
        ("min_f1: 0.8\n", "unknown bar 'min_f1' of an endpoint"),
        ("3: 0.8\n", "unknown bar '3'"),
        ("min_found: 90\n", "'min_found' is 90, expected a share from 0 to 1; write 0.9"),
        ("max_errors: 0\nmax_errors: 1\n", "the key 'max_errors' is there twice"),
        ("", "is empty, expected bars such as max_p95_ms: 100"),
        ("- max_p95_ms\n", "is not a mapping"),
        (
            "min_agreement: 0.9\n",
            "min_agreement needs a model to compare with; type: --agree-with MODEL",
        ),
    ],
)
def test_bars_that_cannot_be_are_refused_before_anything_is_sent(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Fake()
    assert probe("--bars", bars(tmp_path, text), fake=fake) == 1
    assert said in capsys.readouterr().err
    assert not fake.bodies


def test_agreement_with_a_local_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Local:
        def predict_batch(self, texts: list[str]) -> list[list[Entity]]:
            return [[Entity("PER", text[:2], 0, 2, 0.5)] for text in texts]

    asked: list[tuple[str, str]] = []
    monkeypatch.setattr("affineur.pipeline.load", lambda *what: asked.append(what) or Local())
    words = ("--agree-with", "ours", "--bars", bars(tmp_path, "min_agreement: 1\n"))
    same = Fake(
        lambda text, _: [
            {
                "entity": "B-PERSON",
                "entity_group": "PERSON",
                "score": 1,
                "word": text[:2],
                "start": 0,
                "end": 2,
            }
        ]
    )
    assert probe(*words, fake=same) == 0
    assert "agreement: 4 of 4 texts with the same spans as ours" in capsys.readouterr().out
    assert asked == [("ours", "cpu")]
    assert probe(*words, fake=Fake(lambda *_: [])) == 3
    assert "MISS  min_agreement  0.00% < 100.00%" in capsys.readouterr().out


def test_the_shipped_bars_can_be_read() -> None:
    path = ROOT / "bars" / "endpoint.yaml"
    assert set(read_endpoint_bars(path)) == set(ENDPOINT) - {"min_agreement"}
    assert all(f"{name}: " in path.read_text() for name in ENDPOINT)


def test_the_script_probes_a_url() -> None:
    with running(Fake()) as fake:
        words = [sys.executable, str(ROOT / "scripts" / "test_endpoint.py"), fake.url, *FEW]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("correctness: 29 of 29 known mentions found")
