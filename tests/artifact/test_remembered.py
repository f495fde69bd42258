"""What is remembered of a folder is forgotten as soon as one of its files changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from affineur.artifact import describe, open_folder, verify
from affineur.cli.main import main
from affineur.errors import ModelError


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
    with pytest.raises(ModelError, match=r"has no model\.safetensors"):
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
