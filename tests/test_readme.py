"""What the README and the guide to ONNX show is true: the Python runs and prints what stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from affineur.engines.support.onnx_tagger import load_onnx

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
_ROW = re.compile(r"^\|(?!-)(.+)\|$", re.MULTILINE)


def test_python_prints_what_stands_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    block = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL)
    assert block is not None
    code, said = block.groups()
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == said
    assert len([line for line in code.splitlines() if line]) == 6


def test_it_can_be_read_in_one_sitting() -> None:
    assert len(README.splitlines()) <= 120


def test_make_demo_and_make_test_are_the_first_commands() -> None:
    first = re.search(r"```bash\n(.*?)```", README, re.DOTALL)
    assert first is not None
    assert [line.split("#")[0].strip() for line in first[1].splitlines()] == ["make demo", "make test"]


def test_five_rows_say_what_was_measured() -> None:
    section = README.partition("## Measured")[2].partition("\n## ")[0]
    assert len(_ROW.findall(section)) == 1 + 5


def test_every_link_leads_to_a_file_and_its_heading() -> None:
    for place, anchor in re.findall(r"\]\(([^)#:]+)(#[^)]+)?\)", README):
        target = ROOT / place
        assert target.exists(), place
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE)
            assert anchor[1:] in {heading.lower().replace(" ", "-") for heading in headings}, anchor


def test_the_onnx_guide_runs(
    shared_onnx: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guide = (ROOT / "docs" / "onnx.md").read_text("utf-8")
    code = re.search(r"```python\n(.*?)```", guide, re.DOTALL)
    assert code is not None
    (tmp_path / "student_11L_onnx").symlink_to(shared_onnx)
    monkeypatch.chdir(tmp_path)
    exec(compile(code[1], "onnx.md", "exec"), {})
    found = capsys.readouterr().out
    tagger = load_onnx(shared_onnx)
    words = ["Marie", "travaille", "à", "Paris", "."]
    assert found == f"{list(zip(words, tagger.tag([words])[0], strict=True))}\n"
