"""Case 41: the name of a file given as a text is told; ``--file`` reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from affineur.cli.main import main


def test_a_file_given_as_a_text_is_told_and_read_by_its_option(
    shared_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("letter.txt").write_text("Rappeler a@b.fr.\nFin\n", "utf-8")
    model = str(shared_model())
    assert main(["predict", model, "letter.txt"]) == 0
    assert "is the name of a file; to read that file: --file letter.txt" in capsys.readouterr().err
    words = ["predict", model, "--file", "letter.txt", "--redact", "--rules", "fr", "-q"]
    assert main(words) == 0
    lines = capsys.readouterr().out
    assert lines.count("\n") == 2
    assert "[EMAIL]" in lines
    assert main([*words, "--document"]) == 0
    assert capsys.readouterr().out.endswith("\n")
    assert main(["predict", model, "Marie", "--file", "letter.txt", "-q"]) == 1
    assert main(["predict", model, "--file", "none.txt", "-q"]) == 1
    assert "none.txt: cannot be read" in capsys.readouterr().err
