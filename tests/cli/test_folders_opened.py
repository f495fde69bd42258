"""A command opens, verifies and describes a folder once: counted, by folder."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from affineur import artifact
from affineur.cli.main import main

Counts = dict[str, Counter[str]]


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """Count the calls of what looks at folders, by function and folder, wherever a name of it is kept."""
    found: Counts = {}

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        seen = found[name] = Counter()

        def counting(folder: Any, *more: Any) -> Any:
            seen[Path(getattr(folder, "path", folder)).name] += 1
            return call(folder, *more)

        return counting

    for name in ("open_folder", "verify", "describe"):
        real = getattr(artifact, name)
        stand_in = counted(name, real)
        for module in [m for n, m in sys.modules.items() if n.startswith("affineur")]:
            if vars(module).get(name) is real:
                monkeypatch.setattr(module, name, stand_in)
    return found


@pytest.mark.parametrize(
    "words",
    [
        ["export", "camembert", "-o", "out"],
        ["prune", "camembert", "--sparsity", "0.3", "-o", "out"],
        ["prune", "camembert", "--method", "wanda", "--sparsity", "0.3", "-o", "out"],
        ["pack", "camembert", "-o", "out"],
    ],
)
def test_once_per_command(
    words: list[str], shared_model, counts: Counts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "camembert").symlink_to(shared_model("camembert", num_hidden_layers=2))
    assert main([*words, "-q"]) == 0
    for name in ("open_folder", "verify", "describe"):
        assert set(counts[name]) <= {"camembert", "out", *building(counts[name])}, "and no other folder"
    assert counts["open_folder"]["camembert"] == 1
    assert counts["verify"]["camembert"] <= 2, "when its weights are loaded, and to describe it"
    assert counts["describe"]["camembert"] <= 1
    assert counts["open_folder"]["out"] == counts["verify"]["out"] == counts["describe"]["out"] == 1
    # What is being built is loaded to prove it where that is promised, and described for its card.
    for name, most in (("open_folder", 2), ("verify", 2), ("describe", 1)):
        assert sum(counts[name][folder] for folder in building(counts[name])) <= most


def building(seen: Counter[str]) -> list[str]:
    """Name the folder that becomes the result."""
    return [folder for folder in seen if folder.startswith(".out")]


def test_what_was_changed_after_it_was_opened_is_not_loaded(
    tiny_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That a folder is opened once leaves each load its check of every file."""
    from affineur.steps.core.step import STEPS

    model = tmp_path / "model"
    assert main(["prune", str(tiny_model("camembert")), "-o", str(model), "-q"]) == 0
    prune = STEPS.get("prune")
    opened = prune.open

    def tampered(path: Path) -> Any:
        folder = opened(path)
        weights = folder.path / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
        return folder

    monkeypatch.setattr(prune, "open", staticmethod(tampered))
    assert main(["prune", str(model), "--sparsity", "0.5", "-o", str(tmp_path / "out"), "-q"]) == 1
    assert "is not the file that was written (sha256 differs" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
