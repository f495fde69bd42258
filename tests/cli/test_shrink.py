"""``trim-vocab`` and ``shrink`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from affineur.cli.main import main


def test_trim_vocab_says_what_it_did(
    tiny_model, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, file = tmp_path / "out", tmp_path / "t.json"
    words = [
        "trim-vocab",
        str(tiny_model()),
        "--data",
        str(corpus),
        "--min-count",
        "3",
        "-o",
        str(out),
        "--json",
        str(file),
        "-q",
    ]
    assert main(words) == 0
    said, found = capsys.readouterr().out, json.loads(file.read_text())
    assert f"{found['pieces']} of {found['pieces_before']} pieces stay" in said
    assert "cut in another way" in said
    assert found["unseen"]["sentences"] == 20
    assert found["size_bytes"] == (out / "model.safetensors").stat().st_size
    assert main(words) == 0  # up to date, and it says the same
    assert capsys.readouterr().out == said
    assert main(["evaluate", str(out), "--data", str(corpus), "-q"]) == 0


def test_trim_vocab_on_raw_text(tiny_model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, file = tmp_path / "raw.txt", tmp_path / "t.json"
    raw.write_text("Marie habite à Paris.\n" * 40)
    assert (
        main(
            [
                "trim-vocab",
                str(tiny_model()),
                "--text",
                str(raw),
                "-o",
                str(tmp_path / "out"),
                "--json",
                str(file),
                "-q",
            ]
        )
        == 0
    )
    assert json.loads(file.read_text())["unseen"]["sentences"] == 2


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        (["--keep", "0"], "--keep 0"),
        (["--data", "/nowhere/x.conll"], "/nowhere/x.conll"),
        (["--text", "/nowhere/x"], "/nowhere/x"),
    ],
)
def test_trim_vocab_errors_are_one_line(
    more: list[str], wanted: str, tiny_model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trim-vocab", str(tiny_model()), *more, "-o", str(tmp_path / "out"), "-q"]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert wanted in said[0]
    assert not (tmp_path / "out").exists()


def test_shrink_says_what_it_did(
    tiny_model, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, file = tmp_path / "out", tmp_path / "s.json"
    assert (
        main(
            [
                "shrink",
                str(tiny_model()),
                "--ffn-width",
                "0.5",
                "--data",
                str(corpus),
                "-o",
                str(out),
                "--json",
                str(file),
                "-q",
            ]
        )
        == 0
    )
    assert "24 of 48 neurons stay" in capsys.readouterr().out
    assert json.loads(file.read_text())["width"] == 24
    assert main(["evaluate", str(out), "--data", str(corpus), "-q"]) == 0


def test_an_impossible_width_is_one_line(
    tiny_model, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(
            [
                "shrink",
                str(tiny_model()),
                "--ffn-width",
                "nan",
                "--data",
                str(corpus),
                "-o",
                str(tmp_path / "out"),
                "-q",
            ]
        )
        == 1
    )
    assert "expected a finite number" in capsys.readouterr().err


def test_shrink_says_which_layers_stay(
    tiny_model, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, file = tmp_path / "out", tmp_path / "s.json"
    words = [
        "shrink",
        str(tiny_model()),
        "--layers",
        "2",
        "--data",
        str(corpus),
        "-o",
        str(out),
        "--json",
        str(file),
        "-q",
    ]
    assert main(words) == 0
    said, found = capsys.readouterr().out, json.loads(file.read_text())
    assert f"2 of 3 encoder layers stay, of 0 to 2: 0, {found['layers_kept'][1]}\n" in said
    assert f"{found['divergence']:.3g} nats per word" in said
    assert "neurons" not in said
    assert found["size_bytes"] == (out / "model.safetensors").stat().st_size
    assert main(words) == 0  # up to date, and it says the same
    assert capsys.readouterr().out == said
    assert main([*words, "--ffn-width", "20"]) == 0
    said = capsys.readouterr().out
    assert "2 of 3 encoder layers stay" in said
    assert "20 of 48 neurons stay" in said


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ([], "nothing to shrink; say how many encoder layers stay with --layers"),
        (["--layers", "3"], "--layers 3 is impossible: the model has 3 encoder layers"),
        (["--layers", "2", "--no-reconstruct"], "--no-reconstruct is for --ffn-width"),
    ],
)
def test_shrink_errors_are_one_line(
    more: list[str], wanted: str, tiny_model, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["shrink", str(tiny_model()), *more, "--data", str(corpus), "-o", str(tmp_path / "out"), "-q"])
        == 1
    )
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert wanted in said[0]
    assert not (tmp_path / "out").exists()
