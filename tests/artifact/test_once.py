"""The way of data: in one command a folder is opened, hashed and counted once; what changes is looked at again."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from affineur.artifact import describe, folder, info, open_folder, verify
from affineur.cli.main import main
from affineur.errors import ModelError


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Counter[str]]:
    """How often each folder was opened and described, and each file was hashed: what is remembered is not."""
    found: dict[str, Counter[str]] = {}

    def counted(module: Any, name: str) -> None:
        remembered = getattr(module, name)
        count = found[name.removeprefix("_")] = Counter()
        inner: Callable[..., Any] = remembered.__wrapped__

        def work(place: object, state: object) -> Any:
            count[os.fspath(place)] += 1  # type: ignore[call-overload]
            return inner(place, state)

        monkeypatch.setattr(module, name, lru_cache(maxsize=None)(work))

    counted(folder, "_opened")
    counted(folder, "_digest")
    counted(info, "_described")
    return found


@pytest.mark.parametrize(
    "words",
    [
        ["export", "--to", "onnx"],
        ["prune", "--sparsity", "0.3"],
        ["pack"],
    ],
)
def test_once_in_a_command(
    words: list[str], tiny_model, tmp_path: Path, seen: dict[str, Counter[str]]
) -> None:
    model, out = tiny_model(), tmp_path / "out"
    assert main([words[0], str(model), *words[1:], "-o", str(out), "-q"]) == 0
    for what, count in seen.items():
        twice = {place: times for place, times in count.items() if times > 1 and Path(place).exists()}
        assert not twice, f"{what} more than once: {twice}"
    assert seen["opened"][str(model)] == 1
    assert seen["digest"][str(model / "model.safetensors")] == 1
    assert seen["digest"][str(out / "config.json")] <= 1


def test_what_changes_is_looked_at_again(tiny_model) -> None:
    path = tiny_model()
    before = describe(path)
    assert describe(path) is before
    assert open_folder(path) is before.folder
    weights = load_file(path / "model.safetensors")
    name = next(name for name in weights if name.endswith("layer.1.output.dense.weight"))
    weights[name][:] = 0
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    assert describe(path).nonzero < before.nonzero
    (path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="has no model.safetensors"):
        open_folder(path)


def test_what_is_tampered_with_is_refused_though_it_was_fine_before(tiny_model, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["prune", str(tiny_model()), "--sparsity", "0.3", "-o", str(out), "-q"]) == 0
    assert verify(out) is not None
    describe(out)
    raw = bytearray((out / "model.safetensors").read_bytes())
    raw[-1] ^= 1
    times = (out / "model.safetensors").stat()
    (out / "model.safetensors").write_bytes(raw)
    os.utime(out / "model.safetensors", ns=(times.st_atime_ns, times.st_mtime_ns))  # as if nothing had been
    with pytest.raises(ModelError, match="sha256 differs"):
        verify(out)
    with pytest.raises(ModelError, match="sha256 differs"):
        describe(out)


def test_another_folder_of_the_same_relative_path(
    tiny_model, shared_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, model in (("a", shared_model("camembert")), ("b", shared_model("bert"))):
        (tmp_path / place).mkdir()
        (tmp_path / place / "model").symlink_to(model)
    kinds = []
    for place in "ab":
        monkeypatch.chdir(tmp_path / place)
        kinds.append(open_folder("model").config["model_type"])
    assert kinds == ["camembert", "bert"]
