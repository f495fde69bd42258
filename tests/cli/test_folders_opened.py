"""A command opens and describes a folder once, and reads no file twice to verify it: counted, by folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from affineur.artifact import folder as folder_module
from affineur.artifact import info as info_module
from affineur.cli.main import main

Counts = dict[str, Counter[str]]


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """Count what is really done, by path: folders opened, weights counted, files read for their digests."""
    found: Counts = {}

    def counted(work: Callable[..., Any], seen: Counter[str]) -> Callable[..., Any]:
        @lru_cache
        def counting(path: Any, state: Any) -> Any:
            seen[str(path)] += 1
            return work(path, state)

        return counting

    for module, name in ((folder_module, "_opened"), (info_module, "_described")):
        found[name] = Counter()
        monkeypatch.setattr(module, name, counted(getattr(module, name).__wrapped__, found[name]))
    found["_digest"], digest = Counter(), folder_module._digest

    def digesting(file: Path) -> str:
        found["_digest"][str(file.absolute())] += 1
        return digest(file)

    monkeypatch.setattr(folder_module, "_digest", digesting)
    monkeypatch.setattr(folder_module, "_DIGESTS", {})
    return found


@pytest.mark.parametrize(
    "words",
    [
        ["export", "camembert"],
        ["prune", "camembert", "--sparsity", "0.3"],
        ["prune", "camembert", "--method", "wanda", "--sparsity", "0.3"],
        ["pack", "camembert"],
    ],
)
def test_once_per_command(
    words: list[str], shared_model, counts: Counts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("camembert").symlink_to(shared_model("camembert", num_hidden_layers=2))
    assert main([*words, "-o", "out", "-q"]) == 0
    for what in ("_opened", "_described"):
        folders = {Path(path).name.split(".tmp")[0] for path in counts[what]}
        assert folders <= {"camembert", "out", ".out"}, (
            "the source, the result, and it while it is being built"
        )
        assert set(counts[what].values()) == {1}
    assert set(counts["_digest"].values()) == {1}, "no file is read twice for its digest"


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
