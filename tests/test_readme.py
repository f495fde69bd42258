"""The README's Python runs, and its first lines are what a newcomer needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from affineur.engines.support.onnx_tagger import load_onnx

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def test_python_block_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    exec(compile(code[1].replace("runs/demo/models/student_11L_pruned", "sample"), "README.md", "exec"), {})
    assert "LOC Paris 31 36" in capsys.readouterr().out


def test_the_first_lines_have_commands_transcript_python_and_table() -> None:
    top = "\n".join(README.splitlines()[:40])
    for wanted in ("make demo", "make test", "```console", "```python", "| Model | Layers | Sparsity |"):
        assert wanted in top


def test_the_onnx_guide_runs(
    shared_onnx: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guide = (Path(__file__).parents[1] / "docs" / "onnx.md").read_text("utf-8")
    code = re.search(r"```python\n(.*?)```", guide, re.DOTALL)
    assert code is not None
    (tmp_path / "student_11L_onnx").symlink_to(shared_onnx)
    monkeypatch.chdir(tmp_path)
    exec(compile(code[1], "onnx.md", "exec"), {})
    found = capsys.readouterr().out
    tagger = load_onnx(shared_onnx)
    words = ["Marie", "travaille", "à", "Paris", "."]
    assert found == f"{list(zip(words, tagger.tag([words])[0], strict=True))}\n"
