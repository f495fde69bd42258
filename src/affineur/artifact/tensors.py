"""Reading safetensors without torch: headers, zeros, sizes. Tensors are visited one chunk at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from affineur.artifact.formats.core.format import FORMATS
from affineur.artifact.packed import Layout, check_mask, is_packed, read_layout
from affineur.artifact.reading import WRONG, parse_json, read_json
from affineur.errors import ModelError, one_line

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_NOT_WEIGHTS = ("optimizer", "scheduler", "scaler", "rng_state", "training_args")  # of a Trainer
_CHUNK = 1 << 16  # elements looked at together: they stay in the processor's cache

# safetensors dtype → unsigned integer of the same width, the mask that clears the sign of a float, and the
# bits of infinity, above which NaNs lie
_BITS: dict[str, tuple[type[np.unsignedinteger], int, int]] = {
    "F64": (np.uint64, 0x7FFF_FFFF_FFFF_FFFF, 0x7FF0_0000_0000_0000),
    "F32": (np.uint32, 0x7FFF_FFFF, 0x7F80_0000),
    "F16": (np.uint16, 0x7FFF, 0x7C00),
    "BF16": (np.uint16, 0x7FFF, 0x7F80),
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where one tensor lies: its file, its dtype as safetensors names it, its shape and its bytes there.

    Of a packed one, dtype and shape are those of the dense tensor it stands for.
    """

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size_bytes: int
    packed: Layout | None = None

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def zeros(self) -> int:
        """Count elements equal to zero (−0.0 included), reading a few megabytes at a time."""
        return self.counts()[0]

    def counts(self) -> tuple[int, int]:
        """Count elements equal to zero, and those that are NaN or infinite, in one reading."""
        bits, mask, infinite = _BITS.get(self.dtype, (np.uint8, 0xFF, 0))
        if self.dtype not in _BITS or not self.elements:
            return 0, 0
        start, kept = self.offset, self.elements
        if self.packed:
            check_mask(self.raw(), self.packed, f"{self.file}: {self.name}")
            start, kept = self.offset + self.packed.values_at, self.packed.values
            if not kept:
                return self.elements, 0
        found = np.asarray(np.memmap(self.file, dtype=bits, mode="r", offset=start, shape=(kept,)))
        magnitudes = np.empty(min(kept, _CHUNK), dtype=bits)
        present = strange = 0
        for i in range(0, kept, _CHUNK):
            chunk = found[i : i + _CHUNK]
            part = np.bitwise_and(chunk, bits(mask), out=magnitudes[: len(chunk)])
            present += int(np.count_nonzero(part))
            if part.max() >= infinite:
                strange += int(np.count_nonzero(part >= infinite))
        return self.elements - present, strange

    def raw(self) -> NDArray[np.uint8]:
        """Map its bytes in the file, shape ``(size_bytes,)``."""
        return np.memmap(self.file, dtype=np.uint8, mode="r", offset=self.offset, shape=(self.size_bytes,))


def safetensors_files(folder: Path) -> list[Path]:
    """List the safetensors with the weights of a model folder, in order; none where it has none.

    Raises:
        ModelError: If the index is damaged, or one that it names is missing.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = folder / INDEX
    if not index.is_file():
        return []
    try:
        names = sorted(set(read_json(index)["weight_map"].values()))
        files = [folder / name for name in names]
    except (OSError, *WRONG) as error:
        raise ModelError(f"{index} is not a safetensors index ({one_line(error)})") from None
    if not files:
        raise ModelError(f"{index} names no weights; the model is incomplete")
    for file in files:
        if file.parent != folder or not file.is_file():
            raise ModelError(f"{index} names {file.name}, which is not there; the model is incomplete")
    return files


def pickled_weights(folder: Path) -> list[str]:
    """List the files that look like pickled weights; what a Trainer leaves beside them is not."""
    return sorted(
        p.name for p in folder.iterdir() if is_pickle(p.name) and not p.name.startswith(_NOT_WEIGHTS)
    )


def is_pickle(name: str) -> bool:
    """Say whether a file is a pickle by its name; some formats have files that only look so."""
    path = PurePosixPath(name)
    if path.suffix not in _PICKLES:
        return False
    return not any(path.name.startswith(each.prefixes) for each in FORMATS.all().values())


def tensors(folder: Path) -> list[Tensor]:
    """List the tensors in the safetensors of a model folder, by name.

    Raises:
        ModelError: If there are none, naming the pickles that are there instead; or a file is damaged or cut
            short.
    """
    files = safetensors_files(folder)
    if not files:
        raise without_weights(folder)
    return sorted((t for file in files for t in read_header(file)[0]), key=lambda t: t.name)


def without_weights(folder: Path) -> ModelError:
    """Make the error for a folder without weights that we read, naming the pickles that are there instead."""
    if pickles := pickled_weights(folder):
        return ModelError(
            f"{folder} has its weights only as {', '.join(pickles)}, a pickle, which can run code when it is "
            f"read; expected {WEIGHTS}. Convert it where you trust it: "
            "AutoModelForTokenClassification.from_pretrained(…).save_pretrained(…)"
        )
    return ModelError(f"{folder} has no {WEIGHTS}; expected a folder written by save_pretrained")


def read_header(file: Path) -> tuple[list[Tensor], dict[str, str] | None]:
    """List the tensors of a safetensors file in the order of its header, and its metadata.

    Raises:
        ModelError: If the file is damaged or cut short.
    """
    try:
        with safe_open(file, "np"):  # checks header, offsets and file length
            pass
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = parse_json(stream.read(length))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{file} is not a readable safetensors file ({one_line(error)}); fetch or write it again"
        ) from None
    metadata = header.pop("__metadata__", None)
    found = [
        Tensor(
            name,
            file,
            t["dtype"],
            tuple(t["shape"]),
            8 + length + t["data_offsets"][0],
            t["data_offsets"][1] - t["data_offsets"][0],
        )
        for name, t in header.items()
    ]
    return [_seen_through(tensor) for tensor in found], metadata


def _seen_through(tensor: Tensor) -> Tensor:
    """Give a packed tensor the dtype and shape of the dense one it stands for."""
    if tensor.dtype != "U8" or len(tensor.shape) != 1 or not tensor.size_bytes:
        return tensor
    raw = tensor.raw()
    if not is_packed(raw[:8].tobytes()):
        return tensor
    layout = read_layout(raw, f"{tensor.file}: {tensor.name}")
    return replace(tensor, dtype=layout.dtype, shape=layout.shape, packed=layout)
