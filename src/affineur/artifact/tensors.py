"""Reading safetensors without torch: headers, zeros, sizes. Tensors are visited one chunk at a time."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from safetensors import SafetensorError, safe_open

from affineur.errors import ModelError, one_line

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_NOT_WEIGHTS = ("optimizer", "scheduler", "scaler", "rng_state", "training_args")  # of a Trainer
_CHUNK = 1 << 22  # elements looked at together

# safetensors dtype → unsigned integer of the same width, and the mask that clears the sign of a float
_BITS: dict[str, tuple[type[np.unsignedinteger], int]] = {
    "F64": (np.uint64, 0x7FFF_FFFF_FFFF_FFFF),
    "F32": (np.uint32, 0x7FFF_FFFF),
    "F16": (np.uint16, 0x7FFF),
    "BF16": (np.uint16, 0x7FFF),
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where one tensor lies: its file, its dtype as safetensors names it, its shape and its bytes."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size_bytes: int

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def zeros(self) -> int:
        """Count elements equal to zero (−0.0 included), reading a few megabytes at a time."""
        bits, mask = _BITS.get(self.dtype, (np.uint8, 0xFF))
        if self.dtype not in _BITS or not self.elements:
            return 0
        raw = np.memmap(self.file, dtype=bits, mode="r", offset=self.offset, shape=(self.elements,))
        return sum(len(part) - int(np.count_nonzero(part & bits(mask))) for part in (raw[i : i + _CHUNK] for i in range(0, len(raw), _CHUNK)))


def weight_files(folder: Path) -> list[Path]:
    """List the safetensors files of a model folder, in order.

    Raises:
        ModelError: If there is none, naming the pickles that are there instead; or a shard is missing.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        try:
            files = [folder / name for name in sorted(set(json.loads((folder / INDEX).read_text("utf-8"))["weight_map"].values()))]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{folder / INDEX} is not a safetensors index ({one_line(error)})") from None
        if not files:
            raise ModelError(f"{folder / INDEX} names no weights; the model is incomplete")
        for file in files:
            if file.parent != folder or not file.is_file():
                raise ModelError(f"{folder / INDEX} names {file.name}, which is not there; the model is incomplete")
        return files
    if pickles := pickled_weights(folder):
        raise ModelError(
            f"{folder} has its weights only as {', '.join(pickles)}, a pickle, which can run code when it is read; expected {WEIGHTS}. "
            "Convert it where you trust it: AutoModelForTokenClassification.from_pretrained(…).save_pretrained(…)"
        )
    raise ModelError(f"{folder} has no {WEIGHTS}; expected a folder written by save_pretrained")


def pickled_weights(folder: Path) -> list[str]:
    """List the files that look like pickled weights; what a Trainer leaves beside them is not."""
    return sorted(p.name for p in folder.iterdir() if is_pickle(p.name) and not p.name.startswith(_NOT_WEIGHTS))


def is_pickle(name: str) -> bool:
    """Say whether a file is a pickle by its name. OpenVINO keeps its weights in a ``.bin`` that is none."""
    path = PurePosixPath(name)
    return path.suffix in _PICKLES and not path.name.startswith("openvino")


def tensors(folder: Path) -> list[Tensor]:
    """List the tensors of a model folder, by name.

    Raises:
        ModelError: If a file is damaged or cut short.
    """
    return sorted((t for file in weight_files(folder) for t in _read_header(file)), key=lambda t: t.name)


def _read_header(file: Path) -> list[Tensor]:
    try:
        with safe_open(file, "np"):  # checks header, offsets and file length
            pass
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{file} is not a readable safetensors file ({one_line(error)}); fetch or write it again") from None
    return [
        Tensor(name, file, t["dtype"], tuple(t["shape"]), 8 + length + t["data_offsets"][0], t["data_offsets"][1] - t["data_offsets"][0])
        for name, t in header.items()
        if name != "__metadata__"
    ]
