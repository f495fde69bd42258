"""The packed layout: lossless to the bit, smaller or not used, and refused when damaged."""

from __future__ import annotations

import io
import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from affineur.artifact import packed as module
from affineur.artifact.folder import ModelFolder
from affineur.artifact.packed import WIDTHS, Layout, check_mask, pack_into, read_layout, unpack
from affineur.artifact.packed_files import check_packed, pack_weights, unpack_weights
from affineur.artifact.tensors import INDEX, WEIGHTS, read_header
from affineur.errors import ModelError

DOC = (Path(__file__).parents[2] / "docs" / "packed-format.md").read_text("utf-8")
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
NAME = "encoder.layer.0.output.dense.weight"


def folder(path: Path) -> ModelFolder:
    return ModelFolder(path, {}, ("O",))


def packed_bytes(dense: np.ndarray[Any, Any], dtype: str, shape: tuple[int, ...]) -> tuple[Layout, bytes]:
    layout = Layout(dtype, shape, int(np.count_nonzero(dense)))
    stream = io.BytesIO()
    pack_into(stream, dense, layout)
    return layout, stream.getvalue()


def by_hand(dense: list[int], width: int, dtype: str, shape: tuple[int, ...]) -> bytes:
    """Write the layout of the document one bit at a time."""
    mask = bytearray(-(-len(dense) // 8))
    values = b""
    for i, value in enumerate(dense):
        if value:
            mask[i // 8] |= 1 << (i % 8)
            values += value.to_bytes(width, "little")
    head = (
        b"AFPACK"
        + struct.pack("<H8sQQ", 1, dtype.encode(), len(shape), sum(map(bool, dense)))
        + b"".join(n.to_bytes(8, "little") for n in shape)
    )
    return head + bytes(mask) + bytes(-len(mask) % 8) + values + bytes(-len(values) % 8)


@given(st.data())
def test_round_trip_of_any_bits_is_the_documents_layout(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(sorted(WIDTHS)))
    width = WIDTHS[dtype]
    rows, columns = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 40))
    largest = 256**width - 1
    value = st.sampled_from([0, 0, 1, largest, 1 << (8 * width - 1)]) | st.integers(0, largest)
    bits = data.draw(st.lists(value, min_size=rows * columns, max_size=rows * columns))
    chunk = data.draw(st.sampled_from([8, 16, module._CHUNK]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", chunk)
        dense = np.array(bits, f"<u{width}")
        layout, written = packed_bytes(dense, dtype, (rows, columns))
        assert written == by_hand(bits, width, dtype, (rows, columns))
        assert layout.size_bytes == len(written)
        raw = np.frombuffer(written, np.uint8)
        assert read_layout(raw, "here") == layout
        check_mask(raw, layout, "here")
        assert unpack(raw, layout).tobytes() == dense.tobytes()


def special(dtype: torch.dtype, seed: int, share: float) -> torch.Tensor:
    """Zeros of both signs, subnormals, infinities and NaNs of several payloads among random values."""
    made = torch.randn(24, 40, generator=torch.Generator().manual_seed(seed)).to(dtype)
    made[torch.rand(24, 40, generator=torch.Generator().manual_seed(seed + 1)) < share] = 0
    small = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    made[3, :6] = torch.tensor([-0.0, small, -small, float("inf"), float("-inf"), float("nan")], dtype=dtype)
    whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}[made.element_size()]
    made.view(whole)[4, :2] = torch.tensor([-1, -3], dtype=whole)  # NaNs with payloads
    return made


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.15, 0.5, 1.0])
def test_files_come_back_byte_for_byte_and_the_documents_reader_reads_them(
    dtype: torch.dtype, share: float, tmp_path: Path
) -> None:
    weights = {
        NAME: special(dtype, 1, share),
        "empty.weight": torch.zeros(40, 40, dtype=dtype),
        "bias": torch.zeros(700, dtype=dtype),
        "élan.weight": special(dtype, 2, 0.9),
        "positions": torch.zeros(5, 5, dtype=torch.int64),
        "odd.weight": torch.zeros(1, 1, dtype=dtype),
        "nothing.weight": torch.zeros(0, 4, dtype=dtype),
        "bytes.weight": torch.arange(9, dtype=torch.uint8),
    }
    save_file(weights, tmp_path / WEIGHTS, metadata={"format": "pt"})
    (tmp_path / "packed").mkdir()
    count = pack_weights(folder(tmp_path), tmp_path / "packed" / WEIGHTS)
    unpack_weights(folder(tmp_path / "packed"), tmp_path / "dense.safetensors")
    assert (tmp_path / "dense.safetensors").read_bytes() == (tmp_path / WEIGHTS).read_bytes()

    space: dict[str, Any] = {}
    code = re.search(r"```python\n(.*?)```", DOC, re.DOTALL)
    assert code is not None
    exec(compile(code[1], "packed-format.md", "exec"), space)
    read = space["read"](str(tmp_path / "packed" / WEIGHTS))
    assert len(read) == count
    assert {"empty.weight", "élan.weight"} <= set(read) <= {NAME, "empty.weight", "élan.weight"}
    assert (NAME in read) == (share >= 0.15)
    for name, (_, shape, raw) in read.items():
        assert shape == tuple(weights[name].shape)
        assert raw == weights[name].reshape(-1).view(torch.uint8).numpy().tobytes()

    tensors, metadata = read_header(tmp_path / "packed" / WEIGHTS)
    assert metadata == {"format": "pt"}
    for tensor in tensors:
        dense = weights[tensor.name]
        assert tensor.shape == tuple(dense.shape)
        assert (tensor.packed is not None) == (tensor.name in read)
        assert tensor.zeros() == (int((dense == 0).sum()) if dense.is_floating_point() else 0)
    # What is not packed is there for any reader of safetensors.
    plain = load_file(tmp_path / "packed" / WEIGHTS)
    assert torch.equal(plain["positions"], weights["positions"])


@given(st.sampled_from(sorted(WIDTHS)), st.integers(1, 400), st.integers(1, 400), st.data())
def test_packed_where_it_is_smaller_to_the_byte(
    dtype: str, rows: int, columns: int, data: st.DataObject
) -> None:
    n, width = rows * columns, WIDTHS[dtype]
    kept = data.draw(st.integers(0, n))
    size = 32 + 16 + (n + 63) // 64 * 8 + (kept * width + 7) // 8 * 8
    layout = Layout(dtype, (rows, columns), kept)
    assert (layout.size_bytes, layout.pays()) == (size, size < n * width)


def test_the_smallest_matrix_that_pays(tmp_path: Path) -> None:
    """fp32, 64 × 64: 48 bytes of head, 512 of mask; one value more than 141 zeros spare is too many."""
    for zeros, pays in ((140, False), (141, False), (142, True)):
        weight = torch.ones(64, 64)
        weight.view(-1)[:zeros] = 0
        save_file({"a.weight": weight}, tmp_path / WEIGHTS)
        (tmp_path / "out").mkdir(exist_ok=True)
        assert pack_weights(folder(tmp_path), tmp_path / "out" / WEIGHTS) == pays, zeros


def test_shards_become_one_file(tmp_path: Path) -> None:
    parts = {
        "a.safetensors": {"a.weight": special(torch.float16, 1, 0.5)},
        "b.safetensors": {"b.weight": special(torch.float32, 2, 0.5)},
    }
    for name, part in parts.items():
        save_file(part, tmp_path / name, metadata={"format": "pt"})
    (tmp_path / INDEX).write_text(
        json.dumps({"weight_map": {t: name for name, part in parts.items() for t in part}})
    )
    (tmp_path / "packed").mkdir()
    assert pack_weights(folder(tmp_path), tmp_path / "packed" / WEIGHTS) == 2
    unpack_weights(folder(tmp_path / "packed"), tmp_path / "dense.safetensors")
    save_file(
        {k: v for part in parts.values() for k, v in part.items()},
        tmp_path / "wanted.safetensors",
        metadata={"format": "pt"},
    )
    assert (tmp_path / "dense.safetensors").read_bytes() == (tmp_path / "wanted.safetensors").read_bytes()


def damaged(tmp_path: Path, change: Any) -> Path:
    """Write a packed file with one packed tensor, whose bytes ``change`` has changed."""
    dense = np.arange(1, 1002, dtype=np.uint32)
    dense[::2] = 0
    raw = bytearray(packed_bytes(dense, "F32", (7, 143))[1])
    changed = change(raw) or raw
    save_file({NAME: torch.frombuffer(bytearray(changed), dtype=torch.uint8)}, tmp_path / WEIGHTS)
    return tmp_path / WEIGHTS


def _set(at: int, value: int) -> Any:
    return lambda raw: raw.__setitem__(at, value)


def _move_the_last_one_past_the_end(raw: bytearray) -> None:
    raw[48 + 124] ^= 0b1000_0000
    raw[48 + 125] |= 0b10


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set(6, 2), "packed format 2, this Affineur reads 1"),
        (_set(8, ord("Q")), "is damaged (dtype 'Q32'"),
        (_set(16, 200), "is damaged (dtype 'F32', 200 dimensions)"),
        (_set(24, 7), "found 2176"),
        (_set(32, 11), "found 2176"),
        (_set(48, 0b1010_1011), "its mask names 501 values, found 500"),
        (_move_the_last_one_past_the_end, "its mask names 499 values, found 500"),
        (lambda raw: raw[:-8], "take 2176 bytes, found 2168"),
        (lambda raw: raw[:20], "at least 32 bytes, found 20"),
    ],
)
def test_damage_is_one_clear_line(change: Any, said: str, tmp_path: Path) -> None:
    file = damaged(tmp_path, change)
    with pytest.raises(ModelError) as error:
        check_packed([file], 1)
    assert said in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_number_of_packed_tensors_must_be_what_the_configuration_says(tmp_path: Path) -> None:
    file = damaged(tmp_path, bytes)
    check_packed([file], 1)
    with pytest.raises(ModelError, match=r"has 1 packed tensors, but config.json beside it says 3"):
        check_packed([file], 3)
