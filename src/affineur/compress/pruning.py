"""``prune``: a model folder with its smallest weights set to zero, and ``cast``: the same weights in another dtype."""

from __future__ import annotations

from pathlib import Path

import torch

from affineur.artifact import open_folder
from affineur.compress.magnitude import PruningInfo, check_pruning, prune_model
from affineur.compress.models import load_model
from affineur.compress.stage import Stage
from affineur.errors import ParameterError

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def prune(
    model: Path | str,
    out: Path | str,
    sparsity: float = 0.15,
    method: str = "magnitude",
    scope: str = "attention+ffn",
    max_layer_sparsity: float | None = None,
) -> PruningInfo | None:
    """Prune a model folder and write the result with ``pruning_info.json``; the dtype stays as it was.

    Args:
        model: Folder of the model.
        out: Folder to write to.
        sparsity: Zeros ÷ weights in scope, in [0, 1).
        method: ``magnitude`` or ``layerwise`` (see :func:`~affineur.compress.magnitude.prune_model`).
        scope: ``attention+ffn``, ``attention`` or ``ffn``.
        max_layer_sparsity: Cap on the sparsity of one encoder layer.

    Returns:
        What pruning did, or ``None`` where ``out`` already held this result.

    Raises:
        ParameterError: If a value is out of range.
        ModelError: If the model cannot be used.
    """
    check_pruning(sparsity, method, max_layer_sparsity)
    folder = open_folder(model)
    parameters = {"sparsity": sparsity, "method": method, "scope": scope, "max_layer_sparsity": max_layer_sparsity}
    stage = Stage("prune", Path(out), folder, parameters)
    if stage.finished():
        return None
    network = load_model(folder, dtype="auto")
    info = prune_model(network, sparsity, method, scope, max_layer_sparsity)
    stage.write(network, extra={"pruning_info.json": info.as_dict()})
    return info


def cast(model: Path | str, out: Path | str, dtype: str) -> Path:
    """Write a model's weights in another dtype.

    Args:
        model: Folder of the model.
        out: Folder to write to.
        dtype: ``float32``, ``float16`` or ``bfloat16``.

    Raises:
        ParameterError: If there is no such dtype.
        ModelError: If the model cannot be used.
    """
    if dtype not in _DTYPES:
        raise ParameterError(f"no dtype '{dtype}', expected one of {', '.join(_DTYPES)}")
    folder = open_folder(model)
    stage = Stage("cast", Path(out), folder, {"dtype": dtype})
    if not stage.finished():
        stage.write(load_model(folder, dtype=_DTYPES[dtype]))
    return stage.out
