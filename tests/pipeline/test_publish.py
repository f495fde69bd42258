"""A recipe's ``publish``: the last model goes out where every bar is reached, and nothing where not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from affineur.artifact import verify
from affineur.cli.main import main
from affineur.errors import ParameterError, RecipeError, TransferError
from affineur.pipeline import make_recipe, read_recipe, run
from affineur.pipeline import runner as running
from affineur.transfer.places.core.place import Access, Publication, Pushed
from affineur.transfer.pull import pull


@pytest.fixture
def recipe(tiny_model, corpus: Path, tmp_path: Path) -> dict[str, Any]:
    """Two steps without training, one bar that holds, and a place on this disk."""
    return {
        "name": "tiny",
        "teacher": str(tiny_model("camembert")),
        "data": str(corpus),
        "steps": [{"distill": {"layers": 2, "epochs": 0}}, {"prune": {"sparsity": 0.2}}],
        "compare": {"rounds": 1, "memory": False, "rows": ["teacher", "student_2L_pruned"]},
        "check": {"min_f1": 0.0},
        "publish": {"to": (tmp_path / "place").as_uri()},
    }


def stamps(folder: Path, names: str = "*") -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob(names) if path.is_file()}


def test_what_reaches_its_bars_is_published_once(
    recipe: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, runs = tmp_path / "place", tmp_path / "runs"
    made = run(make_recipe({key: value for key, value in recipe.items() if key != "publish"}), runs=runs)
    assert made.published is None
    before = stamps(runs / "tiny" / "models", "*.safetensors")
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe))
    seen = []
    for _ in range(2):
        assert main(["run", str(file), "--runs", str(runs), "-q"]) == 0
        assert f"Published: {place.as_uri()}\n" in capsys.readouterr().out
        seen.append(stamps(place))
    assert seen[0] == seen[1], "a second run sends nothing"
    assert stamps(runs / "tiny" / "models", "*.safetensors") == before, (
        "to publish is no reason to make it again"
    )
    pull(place.as_uri(), tmp_path / "got")
    assert verify(tmp_path / "got") == verify(runs / "tiny" / "models" / "student_2L_pruned")


def test_what_misses_a_bar_is_not_published(
    recipe: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe | {"check": {"min_f1": 1.0}}))
    assert main(["run", str(file), "--runs", str(tmp_path / "runs")]) == 3
    said = capsys.readouterr()
    assert "Published" not in said.out
    assert f"a bar was missed, so nothing was published to {(tmp_path / 'place').as_uri()}" in said.err
    assert not (tmp_path / "place").exists()


@pytest.mark.parametrize(
    ("section", "error", "wanted"),
    [
        ({"to": "gopher://there"}, ParameterError, "'gopher://there' is at no place that is known"),
        ({"to": "./a_folder"}, ParameterError, r"'\./a_folder' is at no place that is known"),
        ({"to": "file:///there", "tag": "v1"}, ParameterError, "tag says nothing to file:///FOLDER"),
        ({"to": "file:///there", "region": "x"}, ParameterError, "region says nothing to file:///FOLDER"),
        ({"to": "https://me:hush@there/x"}, TransferError, "^https://there/x is only read from"),
    ],
)
def test_a_place_that_cannot_be_is_refused_before_any_step(
    section: dict[str, Any], error: type[Exception], wanted: str, recipe: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(error, match=wanted):
        run(make_recipe(recipe | {"publish": section}), runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("section", "wanted"),
    [
        ({"to": "hub:a/b", "secret_key": "x"}, r"unknown key 'publish\.secret_key'"),
        ({"privat": True, "to": "hub:a/b"}, r"unknown key 'publish\.privat', did you mean 'private'|private"),
        ({"private": True}, r"the key 'publish\.to' is missing"),
    ],
)
def test_a_section_that_is_none(section: dict[str, Any], wanted: str, recipe: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=wanted):
        make_recipe(recipe | {"publish": section})


def test_what_the_section_says_is_told_to_the_place(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[object, ...]] = []

    def send(folder: Path, reference: str, *, access: Access, publication: Publication) -> Pushed:
        told.append((folder.name, reference, access, publication))
        return Pushed("there", (), (), 0)

    monkeypatch.setattr(running, "push", send)
    monkeypatch.setattr(running, "place_to_push", lambda *_: None)
    section = {
        "to": "hub:my-org/mine",
        "private": True,
        "pull_request": True,
        "revision": "next",
        "tag": "v2",
        "license": "mit",
        "message": "smaller",
        "endpoint": "https://hub.example",
        "region": "eu",
        "profile": "mine",
    }
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe | {"publish": section}))
    made = run(read_recipe(file), runs=tmp_path / "runs")
    assert made.published == "there"
    assert told == [
        (
            "student_2L_pruned",
            "hub:my-org/mine",
            Access("https://hub.example", "eu", "mine"),
            Publication(True, True, "next", "v2", "mit", "smaller"),
        )
    ]
