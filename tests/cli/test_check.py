"""``affineur check``: exit status, what is printed, and the files for CI."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from affineur.cli.main import main
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


def test_reached_bars_exit_0(model: str, shared_corpus: Path, bars, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", model, "--bars", bars(REACHED), "--data", str(shared_corpus), "-q"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("camembert on ")
    assert [line.split()[:2] for line in lines[1:4]] == [["pass", "min_f1"], ["pass", "min_accuracy"], ["pass", "max_size_bytes"]]
    assert lines[4:] == ["passed: 3 of 3 bars"]


def test_missed_bars_exit_3_and_every_file_is_written(
    model: str, shared_corpus: Path, tmp_path: Path, bars, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / "out" / name for name in ("check.json", "check.xml", "summary.md")}
    words = ["check", model, "--bars", bars(REACHED + "min_f1_low: 1\nmax_drop: 0\nmin_agreement: 1\n"), "--data", str(shared_corpus), "-q"]
    words += ["--baseline", model, "--json", str(files["check.json"]), "--junit", str(files["check.xml"]), "--summary", str(files["summary.md"])]
    assert main(words) == 3
    assert capsys.readouterr().out.splitlines()[-1] == "missed: 1 of 6 bars (min_f1_low)"
    found = json.loads(files["check.json"].read_text())
    assert list(found) == ["model", "data", "baseline", "passed", "bars"]
    assert [bar["passed"] for bar in found["bars"]] == [True, True, True, False, True, True]
    suite = ElementTree.parse(files["check.xml"]).getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), len(suite.findall("testcase/failure"))) == ("6", "1", 1)
    assert files["summary.md"].read_text().startswith("### affineur check: missed: 1 of 6 bars")
    assert main(words) == 3
    assert files["summary.md"].read_text().count("### affineur check") == 2, "a summary is appended to"
    assert "\n\n### " in files["summary.md"].read_text()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(files)


def test_latency_and_memory_under_load(
    model: str, shared_corpus: Path, bars, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "under_load", lambda *_: Load(1.0, 2.0, 3.0, 4.0, 5_000_000))
    assert main(["check", model, "--bars", bars("max_p95_ms: 1.5\nmax_peak_rss_bytes: 5e6"), "--data", str(shared_corpus), "-q"]) == 1
    assert "write 5000000" in line_of(capsys)
    assert main(["check", model, "--bars", bars("max_p95_ms: 1.5\nmax_peak_rss_bytes: 5000000"), "--data", str(shared_corpus), "-q"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert "2.0 ms > 1.5 ms" in lines[1]
    assert "5.0 MB ≤ 5.0 MB" in lines[2]


def test_the_guides_bars_are_missed_by_a_random_model(model: str, shared_corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", model, "--bars", str(GUIDE), "--data", str(shared_corpus), "-q"]) == 3
    assert "84.00%" in capsys.readouterr().out


def test_json_on_standard_output_is_json_alone(model: str, shared_corpus: Path, bars, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", model, "--bars", bars("min_f1: 1"), "--data", str(shared_corpus), "--json", "-", "-q"]) == 3
    said = capsys.readouterr()
    assert json.loads(said.out)["passed"] is False
    assert "missed: 1 of 1 bars (min_f1)" in said.err


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
    text: str, more: list[str], wanted: str, model: str, shared_corpus: Path, bars, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "check.json"
    assert main(["check", model, "--bars", bars(text), "--data", str(shared_corpus), "--json", str(target), "-q", *more]) == 1
    assert wanted in line_of(capsys)
    assert not target.exists()


def test_an_empty_split_and_absent_files_are_one_line(model: str, bars, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for text in ("", "\n\n"):
        (data / "test.conll").write_text(text)
        assert main(["check", model, "--bars", bars("min_f1: 0.84"), "--data", str(data), "-q"]) == 1
        assert "test.conll" in line_of(capsys)
    assert main(["check", model, "--bars", str(tmp_path / "absent.yaml"), "--data", str(data), "-q"]) == 1
    assert "absent.yaml cannot be read" in line_of(capsys)


def test_files_that_cannot_be_written_are_one_line(model: str, shared_corpus: Path, bars, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--junit", "--summary"):
        assert main(["check", model, "--bars", bars(REACHED), "--data", str(shared_corpus), option, str(tmp_path), "-q"]) == 1
        assert "cannot be written" in line_of(capsys)


def test_bars_are_required(model: str, shared_corpus: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["check", model, "--data", str(shared_corpus)])
    assert stop.value.code == 2
