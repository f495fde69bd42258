"""``prune``: a model folder with its smallest weights set to zero, and ``cast``.

The same weights in another dtype.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from affineur.artifact import open_folder
from affineur.engines.support.checkpoints import load_model
from affineur.engines.support.torch_tagger import load_tagger
from affineur.entities import Corpus
from affineur.errors import ParameterError
from affineur.steps.core.work import Stage
from affineur.steps.pruning.magnitude import PruningInfo, check_pruning, prune_model
from affineur.steps.pruning.wanda import CALIBRATION_SENTENCES, input_norms

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def prune(
    model: Path | str,
    out: Path | str,
    sparsity: float = 0.15,
    method: str = "magnitude",
    scope: str = "attention+ffn",
    max_layer_sparsity: float | None = None,
    calibration: Corpus | None = None,
) -> PruningInfo | None:
    """Prune a model folder and write the result with ``pruning_info.json``; the dtype stays as it was.

    Args:
        model: Folder of the model.
        out: Folder to write to.
        sparsity: Zeros ÷ weights in scope, in [0, 1).
        method: ``magnitude``, ``layerwise`` or ``wanda`` (see
            :func:`~affineur.steps.pruning.magnitude.prune_model`).
        scope: ``attention+ffn``, ``attention`` or ``ffn``.
        max_layer_sparsity: Cap on the sparsity of one encoder layer.
        calibration: Text for ``wanda``, and for it alone. The words of its first 256 sentences are read, its
            labels never: they may be of any types.

    Returns:
        What pruning did, or ``None`` where ``out`` already held this result.

    Raises:
        ParameterError: If a value is out of range, or there is calibration text without ``wanda`` or the
            other way round.
        DataError: If the tokenizer makes no piece of the calibration text.
        ModelError: If the model cannot be used.
    """
    check_pruning(sparsity, method, max_layer_sparsity)
    if (calibration is not None) != (method == "wanda"):
        if calibration is None:
            raise ParameterError(
                "method 'wanda' needs text to calibrate on: affineur prune --method wanda [--calibration DATA], or calibration=CORPUS in Python"
            )
        raise ParameterError(
            f"calibration text is for method 'wanda', but the method is '{method}'; leave it out, or say --method wanda"
        )
    text = calibration.head(CALIBRATION_SENTENCES) if calibration is not None else None
    folder = open_folder(model)
    parameters = {
        "sparsity": sparsity,
        "method": method,
        "scope": scope,
        "max_layer_sparsity": max_layer_sparsity,
    }
    stage = Stage("prune", Path(out), folder, parameters, {"calibration": text} if text else {})
    if stage.finished():
        return None
    # Half precision is calibrated in float32 and pruned as it is, so the model is loaded once for each, one
    # after the other.
    norms = input_norms(load_tagger(folder.path), [s.words for s in text], scope) if text else None
    network = load_model(folder, dtype="auto")
    info = prune_model(network, sparsity, method, scope, max_layer_sparsity, norms)
    if text:
        info = replace(info, calibration={"name": text.name, "digest": text.digest, "sentences": len(text)})
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
