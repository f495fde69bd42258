"""``affineur check``: exit status, what is printed, and the files for CI."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from affineur.cli.main import main
from affineur.errors import AffineurError
from affineur.pipeline import processes
from affineur.pipeline.processes import Load

GUIDE = Path(__file__).parents[2] / "bars" / "guide.yaml"
REACHED = "min_f1: 0\nmin_accuracy: 0\nmax_size_bytes: 100_000_000\n"


@pytest.fixture
def model(shared_model) -> str:
    return str(shared_model("camembert"))


@pytest.fixture
def bars(tmp_path: Path):
    def write(text: str) -> str:
        (tmp_path / "bars.yaml").write_text(text)
        return str(tmp_path / "bars.yaml")

    return write


def line_of(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1, said
    return said[0]


def test_reached_bars_exit_0(
    model: str, shared_corpus: Path, bars, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", model, "--bars", bars(REACHED), "--data", str(shared_corpus), "-q"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("camembert on ")
    assert [line.split()[:2] for line in lines[1:4]] == [
        ["pass", "min_f1"],
        ["pass", "min_accuracy"],
        ["pass", "max_size_bytes"],
    ]
    assert lines[4:] == ["passed: 3 of 3 bars"]


def test_missed_bars_exit_3_and_every_file_is_written(
    model: str, shared_corpus: Path, tmp_path: Path, bars, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / "out" / name for name in ("check.json", "check.xml", "summary.md")}
    words = [
        "check",
        model,
        "--bars",
        bars(REACHED + "min_f1_low: 1\nmax_drop: 0.49\nmin_agreement: 1\n"),
        "--data",
        str(shared_corpus),
        "-q",
    ]
    words += [
        "--baseline",
        model,
        "--json",
        str(files["check.json"]),
        "--junit",
        str(files["check.xml"]),
        "--summary",
        str(files["summary.md"]),
    ]
    assert main(words) == 3
    assert capsys.readouterr().out.splitlines()[-1] == "missed: 1 of 6 bars (min_f1_low)"
    found = json.loads(files["check.json"].read_text())
    wanted = (
        "written_by model data baseline passed verdict bars sentences calls confidence data_digest"
        " model_digest baseline_digest date machine"
    )
    assert list(found) == wanted.split()
    assert found["model_digest"] == found["baseline_digest"], "it is its own baseline"
    assert [bar["passed"] for bar in found["bars"]] == [True, True, True, False, True, True]
    suite = ElementTree.parse(files["check.xml"]).getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), len(suite.findall("testcase/failure"))) == (
        "6",
        "1",
        1,
    )
    assert files["summary.md"].read_text().startswith("### affineur check: missed: 1 of 6 bars")
    assert found["date"] in files["summary.md"].read_text()
    assert found["data_digest"][:12] in files["summary.md"].read_text()
    assert main(words) == 3
    assert files["summary.md"].read_text().count("### affineur check") == 2, "a summary is appended to"
    assert "\n\n### " in files["summary.md"].read_text()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(files)


def test_latency_and_memory_under_load(
    model: str, shared_corpus: Path, bars, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "under_load", lambda *_: Load(1000, 1.0, 2.0, 3.0, 4.0, 5_000_000))
    assert (
        main(
            [
                "check",
                model,
                "--bars",
                bars("max_p95_ms: 1.5\nmax_peak_rss_bytes: 5e6"),
                "--data",
                str(shared_corpus),
                "-q",
            ]
        )
        == 1
    )
    assert "write 5000000" in line_of(capsys)
    assert (
        main(
            [
                "check",
                model,
                "--bars",
                bars("max_p95_ms: 1.5\nmax_peak_rss_bytes: 5000000"),
                "--data",
                str(shared_corpus),
                "-q",
            ]
        )
        == 3
    )
    lines = capsys.readouterr().out.splitlines()
    assert "2.0 ms > 1.5 ms" in lines[1]
    assert "5.0 MB ≤ 5.0 MB" in lines[2]


def test_the_guides_bars_are_missed_by_a_random_model(
    model: str, shared_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", model, "--bars", str(GUIDE), "--data", str(shared_corpus), "-q"]) == 3
    assert "84.00%" in capsys.readouterr().out


def test_json_on_standard_output_is_json_alone(
    model: str, shared_corpus: Path, bars, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["check", model, "--bars", bars("min_f1: 1"), "--data", str(shared_corpus), "--json", "-", "-q"])
        == 3
    )
    said = capsys.readouterr()
    assert json.loads(said.out)["passed"] is False
    assert "missed: 1 of 1 bar (min_f1)" in said.err


@pytest.mark.parametrize(
    ("text", "more", "wanted"),
    [
        ("min_f: 0.84", [], "did you mean 'min_f1'?"),
        ("min_f1: 84", [], "write 0.84"),
        ("", [], "is empty"),
        ("min_f1_PERS: 0.84", [], "did you mean 'min_f1_PER'?"),
        ("max_drop: 0.01", [], "--baseline"),
        ("min_agreement: 0.99", [], "--parent"),
        ("min_f1: 0.84", ["--types", "PERS"], "no type PERS"),
        ("max_drop: 0.01", ["--baseline", "/nowhere/at/all"], "/nowhere/at/all"),
    ],
)
def test_bad_bars_are_one_line(
    text: str,
    more: list[str],
    wanted: str,
    model: str,
    shared_corpus: Path,
    bars,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = tmp_path / "check.json"
    assert (
        main(
            [
                "check",
                model,
                "--bars",
                bars(text),
                "--data",
                str(shared_corpus),
                "--json",
                str(target),
                "-q",
                *more,
            ]
        )
        == 1
    )
    assert wanted in line_of(capsys)
    assert not target.exists()


def test_an_empty_split_and_absent_files_are_one_line(
    model: str, bars, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for text in ("", "\n\n"):
        (data / "test.conll").write_text(text)
        assert main(["check", model, "--bars", bars("min_f1: 0.84"), "--data", str(data), "-q"]) == 1
        assert "test.conll" in line_of(capsys)
    assert main(["check", model, "--bars", str(tmp_path / "absent.yaml"), "--data", str(data), "-q"]) == 1
    assert "absent.yaml cannot be read" in line_of(capsys)


@pytest.mark.parametrize("option", ["--junit", "--summary", "--json"])
def test_a_file_that_cannot_be_written_is_said_before_anything_is_measured(
    option: str,
    model: str,
    shared_corpus: Path,
    bars,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measured(*_: object, **__: object) -> None:
        raise AssertionError("it was measured")

    monkeypatch.setattr(
        importlib.import_module("affineur.pipeline.check"), "check", measured
    )  # the room has a function of its name
    (tmp_path / "a file").touch()
    for target in (tmp_path, tmp_path / "a file" / "x", Path("/proc/no/such")):
        assert (
            main(
                [
                    "check",
                    model,
                    "--bars",
                    bars(REACHED),
                    "--data",
                    str(shared_corpus),
                    option,
                    str(target),
                    "-q",
                ]
            )
            == 1
        )
        said = line_of(capsys)
        assert f"{option} {target} cannot be written" in said
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "a file",
        "bars.yaml",
    ], "trying leaves nothing behind"


@pytest.mark.parametrize(("limit", "status"), [("min_f1: 1", 3), ("min_f1: 0", 1)])
def test_a_missed_bar_is_not_hidden_by_a_file_that_fails_after_the_measurement(
    limit: str,
    status: int,
    model: str,
    shared_corpus: Path,
    bars,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(path: Path, text: str) -> None:
        raise AffineurError(f"no space left on the disk of {path.parent}")

    monkeypatch.setattr("affineur.artifact.write_text", full)
    words = [
        "check",
        model,
        "--bars",
        bars(limit),
        "--data",
        str(shared_corpus),
        "--junit",
        str(tmp_path / "j.xml"),
        "-q",
    ]
    words += ["--json", str(tmp_path / "c.json"), "--summary", str(tmp_path / "s.md")]
    assert main(words) == status
    said = capsys.readouterr()
    assert said.out.splitlines()[-1].startswith("missed: 1 of 1 bar" if status == 3 else "passed: 1 of 1 bar")
    assert said.err.splitlines() == [f"affineur: no space left on the disk of {tmp_path}"]
    assert (tmp_path / "c.json").is_file(), "what can be written is written"
    assert (tmp_path / "s.md").is_file()


def test_impossible_threads_are_one_line(
    model: str, shared_corpus: Path, bars, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = dict(os.environ)
    try:
        assert (
            main(
                [
                    "check",
                    model,
                    "--bars",
                    bars("max_p95_ms: 1"),
                    "--data",
                    str(shared_corpus),
                    "--threads",
                    "9999",
                    "-q",
                ]
            )
            == 1
        )
    finally:
        os.environ.clear()
        os.environ.update(environment)
    assert "--threads 9999 is impossible, expected at most" in line_of(capsys)


def test_bars_are_required(model: str, shared_corpus: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["check", model, "--data", str(shared_corpus)])
    assert stop.value.code == 2
