"""What a model keeps when only the form of its weights changes; no torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affineur.artifact import PRUNING_INFO, TOKENIZER_FILES, ModelFolder, ModelInfo, write_text

_CARRIED = (*TOKENIZER_FILES, PRUNING_INFO)


def write_carried(model: ModelFolder, target: Path, config: Mapping[str, Any]) -> None:
    """Write everything but the weights: a configuration, the tokenizer, and what is known of the pruning.

    Args:
        model: Where tokenizer and pruning come from, byte for byte.
        target: The folder being built.
        config: Content of its ``config.json``, written as transformers does: unpacked, the file is what it
            was, and so is the digest of the model.
    """
    write_text(target / "config.json", json.dumps(config, indent=2) + "\n")
    for name in _CARRIED:
        if (model.path / name).is_file():
            shutil.copyfile(model.path / name, target / name)


def sizes(info: ModelInfo, source: ModelFolder) -> dict[str, Any]:
    """Return the sizes of a model before and after it took another form, under stable keys.

    Args:
        info: The model now.
        source: The model before.
    """
    size, was = info.folder.size_bytes, source.size_bytes
    return {
        "model": str(info.folder.path),
        "size_bytes": size,
        "size_bytes_before": was,
        "ratio": size / was,
        "packed_tensors": sum(tensor.packed is not None for tensor in info.folder.tensors()),
    }
