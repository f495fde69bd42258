"""A model folder, looked at without torch: what it is, whether it is whole, what its labels are."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from affineur.artifact.packed import read_format
from affineur.artifact.tensors import (
    INDEX,
    ONNX,
    OPENVINO,
    WEIGHTS,
    Tensor,
    has_weights,
    tensors,
    weight_files,
)
from affineur.errors import ModelError

_HEAD = "ForTokenClassification"
#: ``quant_method`` of a packed sparse file in ``config.json``.
PACKED = "affineur_packed"
#: Any of these makes a tokenizer …
_VOCABULARIES = (
    "tokenizer.json",
    "sentencepiece.bpe.model",
    "spm.model",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
)
#: … and these belong to it where they are there.
TOKENIZER_FILES = (
    *_VOCABULARIES,
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder that ``AutoModelForTokenClassification.from_pretrained`` can load.

    Args:
        path: The folder.
        config: Its ``config.json``.
        labels: Labels in the order of the classifier's outputs, as the model names them.
    """

    path: Path
    config: dict[str, Any]
    labels: tuple[str, ...]

    @property
    def kind(self) -> str:
        """What holds its weights: ``transformers``, ``packed``, ``onnx`` or ``openvino``."""
        if not ((self.path / WEIGHTS).is_file() or (self.path / INDEX).is_file()):
            exported = {"onnx": ONNX, "openvino": OPENVINO}
            if kind := next((kind for kind, file in exported.items() if (self.path / file).is_file()), None):
                return kind
        quantized = self.config.get("quantization_config")
        return (
            "packed"
            if isinstance(quantized, dict) and quantized.get("quant_method") == PACKED
            else "transformers"
        )

    @property
    def is_graph(self) -> bool:
        """Whether it is an exported graph, which is run by its own engine and cannot be changed."""
        return self.kind not in ("transformers", "packed")

    @property
    def layers(self) -> int:
        """Number of encoder layers."""
        found = self.config.get("num_hidden_layers") or self.config.get("n_layers")
        return found if isinstance(found, int) else 0

    @property
    def size_bytes(self) -> int:
        """Bytes of the weight files on disk."""
        return sum(file.stat().st_size for file in weight_files(self.path))

    def tensors(self) -> list[Tensor]:
        """List its tensors, by name; of an exported graph none (see ``exported``)."""
        return [] if self.is_graph else tensors(self.path)

    def digest(self) -> str:
        """Return the sha256 over what decides its outputs.

        Weights (a configuration to train from has none), configuration, tokenizer.
        """
        weights = weight_files(self.path) if has_weights(self.path) else []
        files = [
            *weights,
            *(self.path / n for n in ("config.json", *TOKENIZER_FILES) if (self.path / n).is_file()),
        ]
        whole = hashlib.sha256()
        for file in files:
            whole.update(f"{file.name} {file_digest(file)}\n".encode())
        return whole.hexdigest()


def open_folder(path: Path | str) -> ModelFolder:
    """Look at a model folder and check that it is usable.

    Raises:
        ModelError: If it is missing, has no token-classification head, no safetensors weights, damaged
            weights, no tokenizer, or labels that do not fit the classifier.
    """
    path = Path(path)
    if not path.is_dir():
        raise ModelError(f"{path} is {'a file' if path.is_file() else 'not there'}, expected a model folder")
    config = read_config(path)
    if not is_token_classifier(config):
        found = config.get("architectures") or "none named"
        found = ", ".join(map(str, found)) if isinstance(found, list) else found
        raise ModelError(
            f"{path} has no token-classification head (architecture: {found}, expected …{_HEAD}); train one with: affineur train"
        )
    labels = labels_of(config, path)
    if "O" not in labels:
        raise ModelError(
            f"{path} has the labels {', '.join(labels)}, none of them O; name them in config.json's id2label, as in O, I-PER, I-LOC"
        )
    folder = ModelFolder(path, config, labels)
    listed = folder.tensors()
    said = read_format(config["quantization_config"]) if folder.kind == "packed" else 0
    packed = sum(t.packed is not None for t in listed)
    if packed != said:
        raise ModelError(
            f"{path} has {packed} packed tensors, but its config.json speaks of {said}; its files do not belong together: fetch or pack it again"
        )
    heads = [t for t in listed if t.name in ("classifier.weight", "classifier.out_proj.weight")]
    if heads and (outputs := sum(heads[0].shape[:1])) != len(labels):
        raise ModelError(
            f"{path}: the classifier has {outputs} outputs but config.json names {len(labels)} labels"
        )
    require_tokenizer(path)
    return folder


def require_tokenizer(path: Path) -> None:
    """Check that a folder has a tokenizer; without one transformers would make one up.

    Raises:
        ModelError: If it has none.
    """
    if not any((path / name).is_file() for name in _VOCABULARIES):
        raise ModelError(f"{path} has no tokenizer (expected tokenizer.json)")


def read_config(path: Path) -> dict[str, Any]:
    """Read the ``config.json`` of a model folder.

    Raises:
        ModelError: If it is missing or damaged.
    """
    file = path / "config.json"
    if not file.is_file():
        raise ModelError(f"{path} has no config.json, expected a model folder written by save_pretrained")
    try:
        config = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ModelError(f"{file} is not valid JSON ({error})") from None
    if not isinstance(config, dict):
        raise ModelError(f"{file} is not a JSON object")
    return config


def is_token_classifier(config: dict[str, Any]) -> bool:
    """Say whether a configuration names a token-classification head."""
    named = config.get("architectures")
    return isinstance(named, list) and any(str(name).endswith(_HEAD) for name in named)


def labels_of(config: dict[str, Any], path: Path) -> tuple[str, ...]:
    """Read the labels of a configuration, in the order of the classifier's outputs.

    Raises:
        ModelError: If it does not name one label for each output.
    """
    try:
        named = {int(k): str(v) for k, v in config["id2label"].items()}
        return tuple(named[i] for i in range(len(named)))
    except (KeyError, ValueError, AttributeError):
        raise ModelError(
            f"{path}/config.json has no usable id2label, expected one label for each output, numbered from 0"
        ) from None


def file_digest(file: Path) -> str:
    """Return the sha256 of a file, remembered while its size and time stay the same."""
    status = file.stat()
    return _digest(os.fspath(file.absolute()), status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=256)
def _digest(path: str, *_state: int) -> str:
    """Digest a file; ``_state`` makes the cache forget it when it changes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
