"""A small model folder made without torch, and ways to change it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from affineur.artifact.architecture import architecture_of
from conftest import LABELS, build_tokenizer

TYPES = {"bert": "[PAD]", "camembert": "<pad>"}


def made(folder: Path, family: str = "camembert", labels: tuple[str, ...] = LABELS, **changes: Any) -> Path:
    """Write a token classifier of two layers with random weights."""
    folder.mkdir(parents=True)
    tokenizer = build_tokenizer(family)
    tokenizer.save(str(folder / "tokenizer.json"))
    pad = tokenizer.token_to_id(TYPES[family])
    config = {
        "architectures": [f"{family.title()}ForTokenClassification"],
        "model_type": family,
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 40,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "hidden_act": "gelu",
        "pad_token_id": pad,
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(config))
    random = np.random.default_rng(3)
    built = architecture_of(config, len(labels))
    assert built is not None
    weights = {
        name: (random.normal(size=shape) * 0.3 + name.endswith("Norm.weight")).astype(np.float32)
        for name, shape in built.tensors.items()
    }
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def configure(folder: Path, **entries: Any) -> Path:
    """Change entries of ``config.json``; ``...`` takes one away."""
    config = json.loads((folder / "config.json").read_text("utf-8")) | entries
    kept = {name: value for name, value in config.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(kept))
    return folder


def reweigh(folder: Path, **tensors: Any) -> Path:
    """Change tensors, or add some; ``...`` takes one away."""
    weights = {**load_file(folder / "model.safetensors"), **tensors}
    kept = {name: value for name, value in weights.items() if value is not ...}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    return folder
