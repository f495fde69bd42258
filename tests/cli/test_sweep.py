"""``affineur sweep``: what it prints and writes, how it ends, and what it refuses."""

from __future__ import annotations

import json
import shlex
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from affineur import sample
from affineur.artifact import CARD, describe, read_manifest, verify
from affineur.cli.main import build_parser, main
from affineur.entities import open_corpus
from affineur.measure import Point
from affineur.pipeline.points import Points

KEYS = {"sparsity", "f1", "drop", "drop_low", "drop_high", "points"}
CHOSEN = {"method", "asked", "recovered", "f1_low", "f1_high", "p_value", "inside", "sparsity_of_model"}
ABOUT = {
    "scope",
    "model",
    "data",
    "data_digest",
    "sentences",
    "baseline",
    "baseline_f1",
    "min_f1",
    "max_drop",
    "confidence",
}
MORE = (
    CHOSEN | ABOUT | {"recovery", "best_by_method", "unpruned", "nearest", "confirmation", "out", "machine"}
)


@pytest.fixture
def model(tiny_model) -> Path:
    return tiny_model("camembert")


def line_of(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line of the error."""
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1, said
    assert said[0].startswith("affineur: ")
    return said[0]


def test_found(model: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, target, svg = tmp_path / "out", tmp_path / "s.json", tmp_path / "pictures" / "s.svg"
    words = [
        "sweep",
        str(model),
        "--data",
        str(corpus),
        "--max-drop",
        "0.49",
        "--points",
        "0.3, 0.1,0.3",
        "--method",
        "all",
        "-o",
        str(out),
        "-q",
    ]
    assert main([*words, "--json", str(target), "--svg", str(svg)]) == 0
    found = json.loads(target.read_text())
    assert set(found) >= KEYS | MORE
    assert [(p["method"], p["asked"]) for p in found["points"]] == [
        (m, s) for m in ("layerwise", "magnitude", "wanda") for s in (0.1, 0.3)
    ]
    assert found["sparsity"] == describe(out).sparsity == pytest.approx(0.3, abs=1e-3)
    assert found["points"][3]["f1"] == found["best_by_method"]["magnitude"]["f1"]
    assert found["max_drop"] == 0.49
    assert found["confirmation"]["data_digest"] == open_corpus(corpus / "test.conll").digest
    assert found["data_digest"] == open_corpus(corpus / "dev.conll").digest
    verify(out)
    mark, _, picture = svg.read_bytes().partition(b"\n")
    assert mark.startswith(b"<!-- written by affineur ")
    assert picture == (out / "sweep.svg").read_bytes()
    ET.parse(svg)
    said = capsys.readouterr().out
    for words in (
        "wanda",
        "attention+ffn",
        "a drop of at most 49 points with 95% confidence",
        "of the whole model",
        "Chosen among 6 points, so that interval flatters it",
        f"Its interval on {found['data']} is inside the budget",
        f"(20 sentences, {found['confirmation']['shared']} of them seen before)",
    ):
        assert words in said
    assert "shown to be inside" not in said.replace(
        next(line for line in said.splitlines() if line.startswith("Confirmation on")), ""
    )
    assert found.pop("written_by").startswith("affineur ")
    assert json.loads((out / "sweep.json").read_text()) == found


def test_none_is_inside(
    model: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, target, svg = tmp_path / "out", tmp_path / "s.json", tmp_path / "s.svg"
    words = [
        "sweep",
        str(model),
        "--data",
        str(corpus),
        "--min-f1",
        "0.99",
        "-o",
        str(out),
        "-q",
        "--svg",
        str(svg),
    ]
    assert main([*words, "--json", str(target)]) == 3
    said = capsys.readouterr().out
    assert "Even the unpruned model is outside the budget" in said
    assert "The best point, magnitude at 0.00%" in said
    assert not out.exists()
    found = json.loads(target.read_text())
    assert set(found) >= KEYS | MORE
    assert all(found[key] is None for key in KEYS - {"points"})
    assert found["nearest"]["asked"] == 0.0
    ET.parse(svg)
    assert main([*words, "--points", "0.1,0.2", "--json", str(target)]) == 3
    assert [p["asked"] for p in json.loads(target.read_text())["points"]] == [0.1, 0.2]
    assert not out.exists()


@pytest.mark.parametrize(("f1", "inside", "status"), [(0.9, True, 0), (0.9, False, 0), (0.1, False, 3)])
def test_the_status_follows_the_confirmation(
    f1: float,
    inside: bool,
    status: int,
    model: Path,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from affineur.measure import Budget

    real = Budget.point
    dev = len(open_corpus(corpus / "dev.conll"))

    def point(self: Budget, evaluation, *given, **more) -> Point:
        found = real(self, evaluation, *given, **more)
        return (
            replace(found, f1=f1, inside=inside)
            if evaluation.corpus.endswith("test.conll")
            else replace(found, inside=True)
        )

    monkeypatch.setattr(Budget, "point", point)
    assert dev == 20
    words = [
        "sweep",
        str(model),
        "--data",
        str(corpus),
        "--min-f1",
        "0.5",
        "--points",
        "0.1",
        "-o",
        str(tmp_path / "out"),
        "-q",
    ]
    assert main(words) == status
    state = read_manifest(tmp_path / "out").scores["sweep"]["confirmation"]["state"]
    assert state == {(0.9, True): "confirmed", (0.9, False): "agrees", (0.1, False): "disagrees"}[f1, inside]
    assert ("shown to be inside" in capsys.readouterr().out) is (state == "confirmed")


def test_the_card_has_the_commands_that_give_the_model_and_its_scores_again(
    model: Path, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "my out"
    words = [
        "sweep",
        str(model),
        "--data",
        str(corpus),
        "--max-drop",
        "0.49",
        "--points",
        "0.1,0.3",
        "--scope",
        "ffn",
        "--types",
        "PER,LOC",
    ]
    words += ["--recover", "--epochs", "0.1", "--dev-share", "0.1"]
    assert main([*words, "-o", str(out), "-q"]) == 0
    block = (out / CARD).read_text("utf-8").partition("## Reproduce")[2]
    commands = {
        shlex.split(line)[1]: shlex.split(line)[1:]
        for line in block.splitlines()
        if line.startswith("affineur ") and "DATA" not in line
    }
    again, first = (
        build_parser().parse_args(commands["sweep"]),
        build_parser().parse_args([*words, "-o", "my out"]),
    )
    assert {**vars(again), "run": None} == {**vars(first), "run": None}
    target = tmp_path / "e.json"
    assert (
        main(
            [
                *(str(out) if word == "my out" else word for word in commands["evaluate"]),
                "--json",
                str(target),
                "-q",
            ]
        )
        == 0
    )
    assert json.loads(target.read_text())["f1"] == read_manifest(out).scores["measured"]["f1"]


def test_the_sample_is_called_by_the_name_that_is_typed(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_model
) -> None:
    small = Path(shutil.copytree(shared_model("camembert"), tmp_path / "package" / "sample"))
    monkeypatch.setattr(sample, "model", {"sample": small}.get)
    assert (
        main(
            [
                "sweep",
                "sample",
                "--data",
                str(corpus),
                "--max-drop",
                "0.49",
                "--points",
                "0.1",
                "-o",
                str(tmp_path / "out"),
                "-q",
            ]
        )
        == 0
    )
    card = (tmp_path / "out" / CARD).read_text("utf-8")
    assert "base_model" not in yaml.safe_load(card.split("---\n")[1]), "it is on no hub"
    assert "affineur prune sample --sparsity 0.1" in card


def test_json_on_standard_output_is_json_alone(
    model: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "sweep",
        str(model),
        "--data",
        str(corpus),
        "--max-drop",
        "0.49",
        "--points",
        "0.1",
        "-o",
        str(tmp_path / "out"),
        "-q",
        "--json",
        "-",
    ]
    assert main(words) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["asked"] == 0.1
    assert "Chosen as the only point: magnitude" in said.err


def test_recover(model: Path, corpus: Path, tmp_path: Path) -> None:
    out, target = tmp_path / "out", tmp_path / "s.json"
    words = [
        "sweep",
        str(model),
        "--data",
        str(corpus),
        "--max-drop",
        "0.49",
        "--points",
        "0.3",
        "-o",
        str(out),
        "--json",
        str(target),
        "-q",
    ]
    assert (
        main(
            [
                *words,
                "--recover",
                "--epochs",
                "0.1",
                "--learning-rate",
                "1e-3",
                "--teacher",
                str(model),
                "--temperature",
                "3",
                "--seed",
                "4",
            ]
        )
        == 0
    )
    found = json.loads(target.read_text())
    assert found["recovered"] is True
    assert (found["recovery"]["epochs"], found["recovery"]["temperature"], found["recovery"]["seed"]) == (
        0.1,
        3.0,
        4,
    )
    assert read_manifest(out).stage == "recover"
    assert found["sparsity"] == describe(out).sparsity


BUDGET = ("--max-drop", "0.01")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], "--min-f1 (such as 0.845) or --max-drop"),
        (["--min-f1", "84.5"], "--min-f1 84.5"),
        (["--max-drop", "1"], "--max-drop 1"),
        ([*BUDGET, "--confidence", "95"], "--confidence 95"),
        ([*BUDGET, "--points", "0.1,zero"], "--points 0.1,zero"),
        ([*BUDGET, "--points", ","], "--points"),
        ([*BUDGET, "--points", "0.1,1.5"], "1.5 is outside"),
        ([*BUDGET, "--points", "nan"], "nan"),
        ([*BUDGET, "--tolerance", "0"], "--tolerance 0"),
        ([*BUDGET, "--method", "magnitud"], "did you mean 'magnitude'"),
        ([*BUDGET, "--method", ","], "--method"),
        ([*BUDGET, "--scope", "fnn"], "no --scope 'fnn'"),
        ([*BUDGET, "--calibration", "sample"], "one of those as --method, such as wanda"),
        ([*BUDGET, "--teacher", "sample"], "--recover"),
        ([*BUDGET, "--epochs", "2"], "--recover"),
        ([*BUDGET, "--recover", "--temperature", "3"], "--teacher"),
        ([*BUDGET, "--recover", "--epochs", "-1"], "epochs"),
        ([*BUDGET, "--types", "DATE"], "no type DATE"),
        ([*BUDGET, "--baseline", "/nowhere/at/all"], "/nowhere/at/all"),
    ],
    ids=" ".join,
)
def test_impossible_values_are_one_line(
    words: list[str],
    wanted: str,
    model: Path,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["sweep", str(model), "--data", str(corpus), "-o", str(tmp_path / "out"), *words, "-q"]) == 1
    assert wanted in line_of(capsys)
    assert list(tmp_path.iterdir()) == []


def test_data_that_will_not_do(
    model: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", str(model), *BUDGET, "-o", str(tmp_path / "out"), "-q", "--data"]
    assert main([*words, "/nowhere/at/all"]) == 1
    assert "/nowhere/at/all" in line_of(capsys)
    assert main([*words, str(corpus / "train.conll")]) == 1
    assert "no test split" in line_of(capsys)
    test = (corpus / "test.conll").read_text()
    (corpus / "test.conll").write_text((corpus / "dev.conll").read_text())
    assert main([*words, str(corpus)]) == 1
    assert "dev and test are the same sentences" in line_of(capsys)
    (corpus / "test.conll").write_text(test)
    (corpus / "dev.conll").write_text("Paris\tI-LOC\n")
    assert main([*words, str(corpus)]) == 1
    assert "found 1 sentence to search on" in line_of(capsys)
    assert list(tmp_path.iterdir()) == []


def test_interrupted(
    model: Path,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*given: object) -> Point:
        raise KeyboardInterrupt

    monkeypatch.setattr(Points, "point", stop)
    assert (
        main(["sweep", str(model), "--data", str(corpus), *BUDGET, "-o", str(tmp_path / "out"), "-q"]) == 130
    )
    assert "goes on where it stopped" in line_of(capsys)
    assert list(tmp_path.iterdir()) == []
