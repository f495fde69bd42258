"""Issue 15: the attacks that safetensors tries on itself (``attacks/``, ``tensor.rs``), on our opener.

Those on pickles, HDF5 and Keras files do not apply: such weights are never read.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from affineur.artifact import describe, open_folder
from affineur.artifact.tensors import read_header
from affineur.errors import ModelError

from .models import made


def written(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def one(shape: list[int], offsets: list[int]) -> dict[str, object]:
    return {"test": {"dtype": "I32", "shape": shape, "data_offsets": offsets}}


SQUARE = one([2, 2], [0, 16])
REFUSED = {
    "abuse_attempt_1: a header longer than the file": written(SQUARE, bytes(16), 1000),
    "abuse_attempt_2: many tensors that share their bytes": written(
        {f"weight_{i}": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]} for i in range(5000)},
        bytes(16),
    ),
    "abuse_attempt_3: large ones that share them": written(
        {
            f"weight_{i}": {"dtype": "F32", "shape": [200, 200], "data_offsets": [0, 160_000]}
            for i in range(99)
        },
        bytes(160_000),
    ),
    "json_attack: lists that share them": written(
        {f"weight_{i}": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for i in range(10)}, bytes(8)
    ),
    "metadata_incomplete_buffer: a second file behind": written(SQUARE, bytes(16) + b"another file"),
    "metadata_incomplete_buffer: bytes are missing": written(SQUARE, bytes(14)),
    "header_too_large": written(SQUARE, bytes(16), 0xFFFFFF << 40 | 60),
    "header_too_small": b"",
    "invalid_header_length": (60).to_bytes(8, "little"),
    "invalid_header_non_utf8": written(b"\xff"),
    "invalid_header_not_json": written(b"{"),
    "invalid_info": written(one([2, 2], [0, 4])),
    "validation_overflow: of the elements": written(one([2, (1 << 64) - 2], [0, 16]), bytes(16)),
    "validation_overflow: of the bytes": written(one([2, (1 << 63) - 1], [0, 16]), bytes(16)),
    "invalid_header_size: white space for ever": written(b"{}" + b" " * 99, b"", 100_000_001),
    "duplicate keys": written(b'{"test":1,"test":{"dtype":"I32","shape":[],"data_offsets":[0,4]}}', bytes(4)),
    "metadata that is no text": written({"__metadata__": {"format": 1}}),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("attacked") / "camembert")


@pytest.mark.parametrize("name", REFUSED)
def test_attacks_end_in_one_line(name: str, whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "m"))
    (folder / "model.safetensors").write_bytes(REFUSED[name])
    for by in (open_folder, describe):
        with pytest.raises(ModelError, match="not a readable safetensors file") as caught:
            by(folder)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [written(b"{}\r \t\n"), written(b"\t\n{}\r "), written(one([2, 0], [0, 0]))],
    ids=["whitespace_padded_header", "whitespace_leading_padded_header", "zero_sized_tensor"],
)
def test_what_is_no_attack_is_read(content: bytes, whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "m"))
    (folder / "model.safetensors").write_bytes(content)
    found, metadata = read_header(folder / "model.safetensors")
    assert [(t.name, t.shape, t.elements) for t in found] in ([], [("test", (2, 0), 0)])
    assert metadata is None
    with pytest.raises(ModelError, match=r"no tensor|lacks|I32"):  # and is no model
        open_folder(folder)
