"""Loading and saving torch models: whole or not at all, from safetensors only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import AutoModelForTokenClassification, PreTrainedModel
from transformers.utils import logging as transformers_logging

from affineur.artifact import ModelFolder, layer_of, open_folder, verify
from affineur.artifact.folder import read_config
from affineur.errors import ModelError, ParameterError, one_line
from affineur.runtime import Encoder
from affineur.runtime.tokenization import write_tokenizer


def load_model(
    folder: ModelFolder | Path | str, device: str = "cpu", dtype: torch.dtype | str = torch.float32
) -> PreTrainedModel:
    """Load a token-classification model, in evaluation mode.

    Args:
        folder: The model folder; where it has a manifest, every file is checked against it.
        device: A torch device.
        dtype: The type to compute in, or ``"auto"`` for the type it is stored in.

    Raises:
        ModelError: If it is not whole: transformers would invent weights, or leave layers out.
    """
    folder = folder if isinstance(folder, ModelFolder) else open_folder(folder)
    if folder.is_graph:
        raise ModelError(
            f"{folder.path} is an exported graph ({folder.kind}), which cannot be trained or pruned; "
            "give the model it was made from"
        )
    verify(folder.path)
    with quiet():
        try:
            model, loading = AutoModelForTokenClassification.from_pretrained(
                folder.path,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
        except Exception as error:  # a damaged configuration makes transformers fail in many ways
            raise ModelError(f"{folder.path} cannot be loaded ({one_line(error)})") from None
    if missing := sorted(loading["missing_keys"]):
        raise ModelError(
            f"{folder.path} lacks {len(missing)} tensors of its architecture (such as {missing[0]}); "
            "they would be random, so it is refused"
        )
    # A pooler or a language-model head that is left over is harmless; a layer that is left out changes every
    # output.
    if strange := sorted(name for name in loading["unexpected_keys"] if layer_of(name) is not None):
        raise ModelError(
            f"{folder.path} has {len(strange)} tensors in its layers that its config.json does not know "
            f"(such as {strange[0]}); they would be left out, so it is refused"
        )
    return model.to(pick_device(device)).eval()  # type: ignore[no-any-return]


def load_encoder(folder: ModelFolder | Path | str) -> Encoder:
    """Build the word encoder of a model folder.

    Raises:
        ModelError: If the tokenizer cannot be read.
    """
    folder = folder if isinstance(folder, ModelFolder) else open_folder(folder)
    return Encoder.from_folder(folder.path, folder.config)


def save_model(model: PreTrainedModel, target: Path, tokenizer_from: Path) -> None:
    """Write ``config.json``, ``model.safetensors``, ``tokenizer.json`` and the other tokenizer files.

    Args:
        model: The model.
        target: An existing folder, normally one still being built.
        tokenizer_from: The folder whose tokenizer goes with it.
    """
    with quiet():
        # One file whatever the size: the guide names model.safetensors, and every encoder fits into one.
        model.save_pretrained(target, max_shard_size="100GB")
    write_tokenizer(tokenizer_from, target, read_config(tokenizer_from))


def pick_device(device: str) -> str:
    """Turn ``auto`` into ``cuda`` where there is one, and refuse a device that is not there.

    Raises:
        ParameterError: If the device is unknown or absent.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise ParameterError(f"no device '{device}', expected cpu, cuda or auto", "device")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ParameterError(f"device={device}: no CUDA device on this machine; use cpu", "device")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ParameterError(
            f"no device '{device}': this machine has {torch.cuda.device_count()}, numbered from 0", "device"
        )
    return device


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars and loading remarks.

    What matters in them is raised as an error here.
    """
    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
