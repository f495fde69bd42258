"""Formats of weights: each folder has one, found in the registry, that of another package included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from affineur.artifact import open_folder
from affineur.artifact.folder import ModelFolder, has_weights
from affineur.artifact.formats.core.format import FORMATS, Format, library_of, weights_among
from affineur.artifact.packed import PACKED
from affineur.artifact.tensors import is_pickle
from affineur.errors import ModelError
from distributions import distribution

OURS = {"dense": "transformers", "onnx": "onnx", "openvino": "openvino", "packed": "packed"}


def test_ours_are_found_by_their_files() -> None:
    assert {name: each.kind for name, each in FORMATS.all().items()} == OURS
    assert all(each.summary and isinstance(each, Format) for each in FORMATS.all().values())
    assert [each.kind for each in FORMATS.all().values() if each.is_graph] == ["onnx", "openvino"]


def test_a_model_has_one_format(shared_model, shared_onnx: Path) -> None:
    dense, graph = open_folder(shared_model()), open_folder(shared_onnx)
    assert (dense.kind, dense.is_graph, dense.format) == ("transformers", False, FORMATS.get("dense"))
    assert (graph.kind, graph.is_graph, graph.format) == ("onnx", True, FORMATS.get("onnx"))
    assert [file.name for file in graph.weight_files()] == ["model.onnx"]
    assert graph.tensors() == []
    assert graph.size_bytes == (shared_onnx / "model.onnx").stat().st_size


def test_safetensors_come_before_a_graph_beside_them(tiny_model) -> None:
    folder = tiny_model()
    (folder / "model.onnx").write_bytes(b"a graph")
    assert open_folder(folder).kind == "transformers"
    assert [file.name for file in ModelFolder(folder, {}, ()).weight_files()] == ["model.safetensors"]
    (folder / "model.safetensors").unlink()
    (folder / "openvino_model.xml").write_text("<net/>")
    assert open_folder(folder).kind == "onnx"
    (folder / "model.onnx.data").write_bytes(b"its constants")
    assert [file.name for file in ModelFolder(folder, {}, ()).weight_files()] == [
        "model.onnx",
        "model.onnx.data",
    ]
    for name in ("model.onnx", "model.onnx.data"):
        (folder / name).unlink()
    (folder / "openvino_model.bin").write_bytes(b"constants")
    assert open_folder(folder).kind == "openvino"
    assert [file.name for file in ModelFolder(folder, {}, ()).weight_files()] == [
        "openvino_model.xml",
        "openvino_model.bin",
    ]


def test_packed_is_what_the_configuration_says(tiny_model) -> None:
    folder = tiny_model()
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["quantization_config"] = {"quant_method": PACKED, "format": 1, "tensors": 3}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"has 0 packed tensors, but its config\.json speaks of 3"):
        open_folder(folder)


def test_a_configuration_alone_has_no_weights(tiny_model) -> None:
    folder = tiny_model()
    (folder / "model.safetensors").unlink()
    assert not has_weights(folder)
    with pytest.raises(ModelError, match=r"has no model\.safetensors"):
        ModelFolder(folder, {}, ()).weight_files()


def test_what_only_looks_like_a_pickle() -> None:
    assert is_pickle("pytorch_model.bin")
    assert not is_pickle("openvino_model.bin")
    assert not is_pickle("a/openvino_model_quantized.bin")


def test_what_is_said_of_a_kind() -> None:
    files = ["config.json", "model.onnx", "model.safetensors", "openvino_model.xml", "probe.safetensors"]
    assert weights_among("onnx", files) == ["model.onnx"]
    assert weights_among("openvino", files) == ["openvino_model.xml"]
    assert weights_among("transformers", files) == weights_among("packed", files) == ["model.safetensors"]
    assert weights_among("gone", files) == []
    assert [library_of(kind) for kind in ("onnx", "openvino", "packed", "gone")] == [
        "onnxruntime",
        "openvino",
        "transformers",
        "transformers",
    ]


_MODULE = """
from affineur.artifact.formats.dense import Dense
from affineur.artifact.tensors import read_header


class Single(Dense):
    kind = "single"
    summary = "one tensor per file"

    def weight_files(self, folder):
        return sorted(folder.glob("weights.*.safetensors"))

    def marks(self, folder, config):
        return bool(self.weight_files(folder))

    def tensors(self, folder):
        return sorted((t for f in self.weight_files(folder) for t in read_header(f)[0]), key=lambda t: t.name)


FORMAT = Single()
"""


def test_a_format_of_another_package(tiny_model, tmp_path: Path) -> None:
    distribution(tmp_path / "site", "single-plugin", _MODULE, "affineur.formats", single="FORMAT")
    folder = tiny_model()
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    for name, tensor in weights.items():
        save_file({name: np.ascontiguousarray(tensor)}, folder / f"weights.{name}.safetensors")
    path = os.pathsep.join([str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "affineur", "info", str(folder), "--json", "-", "-q"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout[done.stdout.index("{") :])
    assert said["kind"] == "single"
    assert said["parameters"] == sum(tensor.size for tensor in weights.values())
