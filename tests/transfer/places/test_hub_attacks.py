"""Issue 19, numbers 20 and 21: weights beside a graph on the Hub, and a cache of the Hub that is full."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ..conftest import run
from .hub_server import READER, hub_server

RESOLVE = """
import warnings
warnings.simplefilter("default")
from affineur.transfer import resolve_model
from affineur.artifact.formats.onnx import FORMAT
folder = resolve_model("owner/graph")
print(*sorted(file.name for file in FORMAT.weight_files(folder)))
"""
FULL = """
import errno, huggingface_hub
def full(**said):
    raise OSError(errno.ENOSPC, "No space left on device")
huggingface_hub.snapshot_download = full
from affineur.artifact import new_folder
from affineur.transfer import resolve_model
from pathlib import Path
with new_folder(Path("out/model")):
    resolve_model("owner/graph")
"""


def graph(folder: Path) -> dict[str, bytes]:
    """A graph as others publish it: in onnx/, its weights under a name of their own."""
    onnx = pytest.importorskip("onnx")
    (folder / "onnx").mkdir(parents=True)
    weight = onnx.numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    onnx.save(
        onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [weight])),
        folder / "onnx" / "model.onnx",
        save_as_external_data=True,
        location="theirs.bin",
        size_threshold=0,
    )
    config = {"model_type": "camembert", "architectures": ["CamembertForTokenClassification"]}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "unasked.bin").write_bytes(b"a pickle")
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_weights_beside_a_graph_are_fetched_by_whatever_name(tmp_path: Path) -> None:
    with hub_server(tmp_path / "hub") as server:
        server.add("owner/graph", graph(tmp_path / "g"))
        done = run(RESOLVE, tmp_path / "home", server.url, HF_TOKEN=READER)
        assert done.stdout.splitlines() == ["model.onnx theirs.bin"], done.stdout + done.stderr
        assert not [asked for asked in server.requests if "unasked.bin" in asked]


def test_a_cache_of_the_hub_that_is_full_is_named(tmp_path: Path) -> None:
    with hub_server(tmp_path / "hub") as server:
        server.add("owner/graph", {"config.json": b"{}"})
        done = run(FULL, tmp_path / "home", server.url, HF_TOKEN=READER)
    cache = tmp_path / "home" / "hub"
    assert f"the cache of the Hub, {cache}, cannot be written (no space left" in done.stdout
    assert "out" not in done.stdout.replace(str(tmp_path), "")
