"""Loading and saving torch models: whole or not at all, from safetensors only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForTokenClassification, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.utils import logging as transformers_logging

from affineur.artifact import ModelFolder, open_folder, verify
from affineur.artifact.folder import read_config
from affineur.artifact.reading import read_json
from affineur.artifact.soundness import (
    another_shape,
    lacking,
    refuse_pieces,
    refuse_strange_numbers,
    refuse_unknown,
)
from affineur.artifact.tensors import INDEX, WEIGHTS
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
    model, loading = from_pretrained(folder, dtype)
    refuse_other_shapes(loading, folder.path)
    if missing := sorted(loading["missing_keys"]):
        built = model.state_dict()
        raise ModelError(lacking({name: tuple(built[name].shape) for name in missing}, folder.path))
    found = {tensor.name: tensor.shape for tensor in folder.tensors()}
    refuse_unknown(
        {name: found.get(name, ()) for name in loading["unexpected_keys"]}, folder.path, said=False
    )
    refuse_strange_numbers(strange_numbers(model), folder.path)
    return model.to(pick_device(device)).eval()  # type: ignore[no-any-return]


def from_pretrained(
    folder: ModelFolder, dtype: torch.dtype | str, **options: Any
) -> tuple[Any, dict[str, Any]]:
    """Let transformers load a token classifier, and say in one line what it cannot load.

    Args:
        folder: The folder.
        dtype: The type to compute in, or ``"auto"``.
        options: Entries of the configuration to change.

    Returns:
        The model, and what transformers says of its tensors: ``missing_keys``, ``unexpected_keys``.

    Raises:
        ModelError: If it cannot be loaded, or a tensor has another shape than its configuration says.
    """
    index = folder.path / INDEX
    if not (folder.path / WEIGHTS).is_file() and not isinstance(read_json(index).get("metadata"), dict):
        raise ModelError(
            f"{index} has no table named metadata, without which transformers reads no weights in several "
            'files; add "metadata": {} to it'
        )
    for name in ("hidden_act", "activation", "hidden_activation"):
        if isinstance(value := folder.config.get(name), str) and value not in ACT2FN:
            raise ModelError(
                f"{folder.path}/config.json has {name}={value!r}, which transformers does not "
                "know; correct it"
            )
    with quiet():
        try:
            model, loading = AutoModelForTokenClassification.from_pretrained(
                folder.path,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that they are named below
                **options,
            )
        except Exception as error:  # a damaged configuration makes transformers fail in many ways
            raise ModelError(f"{folder.path} cannot be loaded ({one_line(error)})") from None
    return model, loading


def refuse_other_shapes(loading: Mapping[str, Any], path: Path) -> None:
    """Refuse tensors that have another shape than the configuration asks for.

    Raises:
        ModelError: With the first of them, and both shapes.
    """
    if other := sorted(loading["mismatched_keys"]):
        name, found, expected = other[0]
        raise ModelError(another_shape(name, tuple(found), tuple(expected), path, len(other) - 1))


def strange_numbers(model: PreTrainedModel) -> dict[str, int]:
    """Count the weights that are NaN or infinite, by name; where a sum is a number, all of them are."""
    return {
        name: weight.numel() - int(torch.isfinite(weight).sum())
        for name, weight in model.named_parameters()
        if not torch.isfinite(weight.detach().sum(dtype=torch.float32)) and not torch.isfinite(weight).all()
    }


def load_encoder(folder: ModelFolder | Path | str) -> Encoder:
    """Build the word encoder of a model folder.

    Raises:
        ModelError: If the tokenizer cannot be read.
    """
    folder = folder if isinstance(folder, ModelFolder) else open_folder(folder)
    encoder = Encoder.from_folder(folder.path, folder.config)
    if isinstance(rows := folder.config.get("vocab_size"), int):
        refuse_pieces(encoder.tokenizer.get_vocab().items(), rows, folder.path)
    return encoder


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
