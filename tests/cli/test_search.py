"""``affineur search``: what it prints and writes, how it ends, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from affineur.cli.main import main

pytest.importorskip("optuna")
KEYS = {
    "name",
    "parameters",
    "f1",
    "drop",
    "drop_low",
    "drop_high",
    "size_bytes",
    "speedup",
    "artifact",
    "on_front",
    "knee",
    "smallest_inside",
}


@pytest.fixture
def recipe(tiny_model, corpus: Path, tmp_path: Path) -> Path:
    file = tmp_path / "r.yaml"
    given = {
        "teacher": str(tiny_model("camembert")),
        "data": str(corpus),
        "budget": {"max_drop": 0.9},
        "ranges": {"precision": ["packed"]},
    }
    file.write_text(yaml.safe_dump({"name": "mine", "minutes": 1, **given}))
    return file


def test_found(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["search", str(recipe), "-q", "--json", "s.json"]) == 0
    found = json.loads(Path("s.json").read_text())
    assert found == json.loads(Path("searches/mine/search.json").read_text())
    assert [set(point) >= KEYS for point in found["points"]] == [True]
    said = capsys.readouterr().out
    assert "Take searches/mine/models/L3-packed" in said
    assert "smallest inside" in said
    # Where nothing is inside the budget, the bar is missed.
    recipe.write_text(recipe.read_text().replace("max_drop: 0.9", "max_drop: 0.0"))
    assert main(["search", str(recipe), "-q"]) == 3
    assert "Take none yet" in capsys.readouterr().out


def test_refused(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def line(*words: str) -> str:
        assert main(["search", *words, "-q", "-o", str(tmp_path / "out")]) == 1
        said = capsys.readouterr().err.strip().splitlines()
        assert len(said) == 1
        return said[0]

    assert "'minutes' is -1.0, but it should be greater than 0" in line(str(recipe), "--minutes", "-1")
    assert "cannot be read" in line(str(tmp_path / "none.yaml"))
    assert "is not there" in line(str(recipe), "--teacher", "./nowhere")
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert (
        line(str(recipe))
        == "affineur: affineur search needs packages that are not installed; type: pip install"
        " 'affineur[search]'"
    )
    assert not (tmp_path / "out").exists()
