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
        "budget": {"max_drop": 0.49},
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
    assert found.pop("written_by").startswith("affineur ")
    assert found == json.loads(Path("searches/mine/search.json").read_text())
    assert [set(point) >= KEYS for point in found["points"]] == [True]
    said = capsys.readouterr().out
    assert "Take searches/mine/models/L3-packed" in said
    assert "smallest inside" in said
    # Where nothing is inside the budget, the bar is missed.
    recipe.write_text(recipe.read_text().replace("max_drop: 0.49", "max_drop: 0.0"))
    assert main(["search", str(recipe), "-q"]) == 3
    assert "Take none yet" in capsys.readouterr().out


def test_a_model_and_data_are_enough(
    tiny_model,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["search", str(tiny_model("camembert")), "--data", str(corpus), "--max-drop", "0.49"]
    assert main([*words, "--minutes", "0.05", "-o", "best", "-q"]) in (0, 3)
    said = capsys.readouterr().out
    assert said.splitlines()[-1].endswith("written to best")
    found = json.loads(Path("searches/camembert/search.json").read_text())
    [taken] = [point for point in found["points"] if point["smallest_inside"]]
    assert main(["info", "best", "--json", "i.json", "-q"]) == 0
    assert json.loads(Path("i.json").read_text())["size_bytes"] == taken["size_bytes"]
    assert main(["predict", "best", "Marie Duval vit à Paris.", "-q"]) == 0
    # More than one thing is missing, or too much: said before any work, and nothing is left behind.
    capsys.readouterr()
    for more, wanted in (
        ([words[1]], "needs --data"),
        ([*words[1:4], "--teacher", "sample"], "--teacher is for a recipe"),
        ([*words[1:4], "--minutes", "0"], "--minutes 0 is impossible"),
        ([*words[1:4], "--max-drop", "3"], "--max-drop 3 is outside"),
        (["some.yaml", "--max-drop", "0.1"], "--max-drop is for a search without a recipe"),
    ):
        assert main(["search", *more, "--front", "front", "-o", "other", "-q"]) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert wanted in line
    assert not Path("front").exists()
    assert not Path("other").exists()


def test_refused(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def line(*words: str) -> str:
        assert main(["search", *words, "-q", "-o", str(tmp_path / "out")]) == 1
        said = capsys.readouterr().err.strip().splitlines()
        assert len(said) == 1
        return said[0]

    assert "--minutes -1 is impossible, expected 0 to 1000000" in line(str(recipe), "--minutes", "-1")
    assert "cannot be read" in line(str(tmp_path / "none.yaml"))
    assert "is not there" in line(str(recipe), "--teacher", "./nowhere")
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert (
        line(str(recipe))
        == "affineur: affineur search needs packages that are not installed; type: pip install"
        " 'affineur[search]'"
    )
    assert not (tmp_path / "out").exists()
