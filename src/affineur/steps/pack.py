"""``pack``: a model folder as one sparse file, lossless to the bit, and ``unpack``: the dense folder back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from affineur.artifact import TOKENIZER_FILES, ModelFolder, open_folder, write_text
from affineur.artifact.packed import FORMAT
from affineur.artifact.packed_files import pack_weights, quantization_config, unpack_weights
from affineur.artifact.tensors import WEIGHTS
from affineur.errors import ModelError
from affineur.steps.core.work import Stage

_CARRIED = (*TOKENIZER_FILES, "pruning_info.json")


def pack(model: Path | str, out: Path | str) -> Path:
    """Write a model packed: of each matrix in which it pays, a bitmask and the values that are not zero.

    ``AutoModelForTokenClassification.from_pretrained`` loads the result after ``import affineur``, with the
    same weights bit for bit; without it, it raises an error (``docs/packed-format.md``).

    Args:
        model: Folder of the model, of any dtype.
        out: Folder to write to.

    Raises:
        ModelError: If the model cannot be used, is packed already, or is no model of transformers.
    """
    folder = open_folder(model)
    if folder.kind == "packed":
        raise ModelError(
            f"{folder.path} is packed already; use it as it is, or make it dense: affineur unpack {folder.path} -o OUT"
        )
    if folder.kind != "transformers":
        raise ModelError(
            f"{folder.path} is an {folder.kind.upper()} model, expected one with {WEIGHTS}; pack the model it was exported from"
        )
    if quantized := folder.config.get("quantization_config"):
        method = quantized.get("quant_method") if isinstance(quantized, dict) else quantized
        raise ModelError(
            f"{folder.path} is quantized already ({method}), expected plain weights; pack the model it was made from"
        )
    stage = Stage("pack", Path(out), folder, {"format": FORMAT})

    def fill(target: Path) -> None:
        packed = pack_weights(folder, target / WEIGHTS)
        _write_rest(folder, target, folder.config | {"quantization_config": quantization_config(packed)})

    return stage.out if stage.finished() else stage.write_files(fill, kind="packed")


def unpack(model: Path | str, out: Path | str) -> Path:
    """Write a packed model dense again: the ``model.safetensors`` it was packed from, byte for byte.

    Args:
        model: Folder of the packed model.
        out: Folder to write to.

    Raises:
        ModelError: If the model is not packed, or damaged.
    """
    folder = open_folder(model)
    if folder.kind != "packed":
        raise ModelError(f"{folder.path} is not packed, so there is nothing to unpack; use it as it is")
    stage = Stage("unpack", Path(out), folder, {"format": FORMAT})

    def fill(target: Path) -> None:
        unpack_weights(folder, target / WEIGHTS)
        _write_rest(
            folder,
            target,
            {key: value for key, value in folder.config.items() if key != "quantization_config"},
        )

    return stage.out if stage.finished() else stage.write_files(fill)


def _write_rest(folder: ModelFolder, target: Path, config: dict[str, Any]) -> None:
    # As transformers writes it: unpacked, the configuration is what it was, and so is the digest of the
    # model.
    write_text(target / "config.json", json.dumps(config, indent=2) + "\n")
    for name in _CARRIED:
        if (folder.path / name).is_file():
            shutil.copyfile(folder.path / name, target / name)
