"""Safetensors files are read without torch, and hostile ones are refused in one line."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from affineur.artifact import tensors as module
from affineur.artifact.folder import ModelFolder
from affineur.artifact.tensors import INDEX, WEIGHTS, tensors
from affineur.errors import ModelError

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def _special(dtype: torch.dtype) -> torch.Tensor:
    """Both zeros, the smallest subnormals, infinities and NaN, among many others."""
    smallest = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    values = torch.tensor(
        [0.0, -0.0, smallest, -smallest, float("inf"), float("-inf"), float("nan"), 1.0, -0.0], dtype=dtype
    )
    return torch.cat(
        [values, torch.randn(991, dtype=dtype, generator=torch.Generator().manual_seed(1)), values]
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("chunk", [1, 7, 1 << 22])
def test_zeros_are_torchs(
    dtype: torch.dtype, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    weights = {
        "a": _special(dtype),
        "b": torch.zeros(3, 5, dtype=dtype),
        "c": torch.ones(4, dtype=dtype),
        "odd": -torch.zeros(1, dtype=dtype),
    }
    save_file(weights, tmp_path / WEIGHTS)
    found = tensors(tmp_path)
    assert [t.name for t in found] == ["a", "b", "c", "odd"]
    for tensor in found:
        wanted = weights[tensor.name]
        assert tensor.zeros() == int((wanted == 0).sum()), tensor.name
        assert tensor.shape == tuple(wanted.shape)
        assert tensor.elements == wanted.numel()
        assert tensor.size_bytes == wanted.numel() * wanted.element_size()


@given(
    st.lists(st.floats(width=16) | st.sampled_from([0.0, -0.0]), min_size=1, max_size=30),
    st.sampled_from(DTYPES),
)
def test_zeros_of_any_values(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], dtype: torch.dtype
) -> None:
    folder = tmp_path_factory.mktemp("any")
    weight = torch.tensor(values, dtype=dtype)
    save_file(
        {"a": torch.ones(len(values) % 3, dtype=torch.uint8), "w": weight}, folder / WEIGHTS
    )  # so that offsets are odd
    assert tensors(folder)[1].zeros() == int((weight == 0).sum())


def test_scalars_empty_tensors_and_integers(tmp_path: Path) -> None:
    save_file(
        {"scalar": torch.tensor(0.0), "empty": torch.zeros(0, 3), "ids": torch.zeros(4, dtype=torch.int64)},
        tmp_path / WEIGHTS,
    )
    found = {t.name: (t.elements, t.zeros()) for t in tensors(tmp_path)}
    assert found == {"scalar": (1, 1), "empty": (0, 0), "ids": (4, 0)}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_file({"a": torch.ones(10, 10), "b": torch.zeros(7)}, tmp_path / WEIGHTS)
    return tmp_path / WEIGHTS


def refused(weights: Path, match: str = "not a readable safetensors file") -> None:
    with pytest.raises(ModelError, match=match) as caught:
        tensors(weights.parent)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 50, -100, -4, -1])
def test_cut_short(keep: int, weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:keep])
    refused(weights)


def test_longer_than_it_says(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes() + b"\0")
    refused(weights)


@pytest.mark.parametrize("length", [0, 1, 10**4, 2**31, 2**63, 2**64 - 1])
def test_a_header_length_that_lies(length: int, weights: Path) -> None:
    weights.write_bytes(struct.pack("<Q", length) + weights.read_bytes()[8:])
    refused(weights)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 100, b"garbage" * 100, b"PK\x03\x04" + b"\0" * 200, np.random.default_rng(1).bytes(5000)],
)
def test_garbage(content: bytes, weights: Path) -> None:
    weights.write_bytes(content)
    refused(weights)


@pytest.mark.parametrize(
    "header",
    [
        [],
        {"a": 3},
        {"a": {"dtype": "F32", "shape": [1]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F31", "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}},
        {
            "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        },
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**40]}},
    ],
)
def test_headers_that_lie(header: object, weights: Path) -> None:
    text = json.dumps(header).encode()
    weights.write_bytes(struct.pack("<Q", len(text)) + text + b"\0\0\0\0")
    refused(weights)


def test_a_file_that_is_a_folder_is_no_weights(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).mkdir()
    with pytest.raises(ModelError, match=r"has no model.safetensors"):
        ModelFolder(tmp_path, {}, ()).weight_files()


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    save_file({"b": torch.zeros(2)}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"a": torch.ones(3), "c": torch.ones(1)}, tmp_path / "model-00002-of-00002.safetensors")
    index(
        tmp_path,
        {
            "b": "model-00001-of-00002.safetensors",
            "a": "model-00002-of-00002.safetensors",
            "c": "model-00002-of-00002.safetensors",
        },
    )
    return tmp_path


def index(folder: Path, weight_map: object) -> None:
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_shards(sharded: Path) -> None:
    assert [f.name for f in ModelFolder(sharded, {}, ()).weight_files()] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
    assert [(t.name, t.zeros()) for t in tensors(sharded)] == [("a", 0), ("b", 2), ("c", 0)]


def test_a_missing_shard(sharded: Path) -> None:
    (sharded / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match=r"names model-00002-of-00002.safetensors, which is not there"):
        tensors(sharded)


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "/tmp/model.safetensors", "sub/model.safetensors", "..", ".", ""]
)
def test_an_escaping_shard(name: str, sharded: Path, tmp_path: Path) -> None:
    save_file({"a": torch.ones(3)}, tmp_path.parent / "model.safetensors")
    index(sharded, {"a": name})
    with pytest.raises(ModelError, match="incomplete"):
        tensors(sharded)


@pytest.mark.parametrize(
    "weight_map", [None, [], "x", {"a": 3}, {"a": None}, {"a": ["x"]}, {"a": "x", "b": 1}]
)
def test_a_weight_map_of_the_wrong_kind(weight_map: object, sharded: Path) -> None:
    index(sharded, weight_map)
    with pytest.raises(ModelError, match="is not a safetensors index"):
        tensors(sharded)


@pytest.mark.parametrize("text", ["", "[]", "{", "3", "{}", "null", b"\xff"])
def test_a_damaged_index(text: str | bytes, sharded: Path) -> None:
    (sharded / INDEX).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ModelError, match="is not a safetensors index"):
        tensors(sharded)


def test_an_index_of_nothing(sharded: Path) -> None:
    index(sharded, {})
    with pytest.raises(ModelError, match="names no weights"):
        tensors(sharded)
