"""What ``affineur data`` says of labeled text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import affineur
from affineur.cli.main import main

ONE = "Camille\tB_PER\nRey\tI_PER\nvit\tO\nà\tO\nBrest\tB_LOC\n\n,\tB_PER\n\nBrest\tB_LOC\nLyon\tB_LOC\n"
TWO = "Camille\tB-PER\nRey\tI-PER\nvit\tO\nà\tO\nBrest\tB-ORG\n\nDr\tB-PER\nRey\tI-PER\n\nx\tB-Org\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "one.conll").write_text(ONE, "utf-8")
    (tmp_path / "two.conll").write_text(TWO, "utf-8")
    return tmp_path / "one.conll", tmp_path / "two.conll"


def test_one_file(files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", str(files[0]), "--json", str(tmp_path / "d.json")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{files[0]}: conll, word in column 0 and tag in column 1 of 2, scheme BIO, 3 sentences" in said
    assert "understood: B_LOC is read as B-LOC, and the others alike" in said
    assert "look at: 1 mentions without a letter or digit (line 7 ',')" in said
    assert "look at: 1 mentions right after one of the same type (line 9 'Brest Lyon')" in said
    (found,) = json.loads((tmp_path / "d.json").read_text("utf-8"))["data"]
    assert found["types"] == {"LOC": {"mentions": 3, "words": 3}, "PER": {"mentions": 2, "words": 3}}
    assert (found["format"], found["scheme"], found["longest_sentence"]) == ("conll", "BIO", 5)


def test_two_files_are_compared(files: tuple[Path, Path]) -> None:
    found = affineur.describe_data(*files)
    said = "\n".join(found.differences)
    assert f"1 text of type LOC in {files[0]} and ORG in {files[1]}: 'Brest'" in said
    assert f"only {files[1]} has ORG, Org" in said
    assert f"0% of PER in {files[0]} begin with a title, 50% in {files[1]}" in said
    assert list(found.shared.values()) == [1]
    alike = [each.what for each in found.parts[1].findings if "alike" in each.what]
    assert alike == ["types that are spelled alike: ORG, Org"]


def test_a_folder_is_described_split_by_split(tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text(ONE.replace("_", "-"), "utf-8")
    (tmp_path / "test.conll").write_text(ONE.replace("_", "-"), "utf-8")
    found = affineur.describe_data(tmp_path)
    assert [part.sentences for part in found.parts] == [3, 3]
    assert found.shared == {"test in train": 3}
    assert "look at: 3 sentences of test in train too" in str(found)


def test_bad_data_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.conll").write_text("a\tO\nb\n", "utf-8")
    assert main(["data", str(tmp_path / "x.conll")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
