"""What the tests of model cards share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard

from affineur.artifact import (
    CARD,
    SCORES,
    Manifest,
    Measured,
    Parent,
)

TRAINING = {
    "epochs": 1.0,
    "learning_rate": 2e-4,
    "batch_size": 16,
    "weight_decay": 0.01,
    "warmup": 0.1,
    "seed": 13,
}
UNUSED = {"label_smoothing": 0.0, "patience": None, "keep_best": False}
SOFT = {"soft_weight": 0.3, "temperature": 2.0, "hidden_weight": 0.0}
DATA = {
    "train": {"name": "/home/me/secret/train.conll", "digest": "ab" * 32, "sentences": 2400},
    "dev": {"name": "dev.conll", "digest": "cd" * 32, "sentences": 400},
}
DISTILL = Parent(
    "distill", "d1" * 32, "student_11L", {"layers": 11, "keep": "search", **TRAINING, **UNUSED, **SOFT}, DATA
)
GIVEN = Parent("given", "d2" * 32, "teacher")
PRUNED = Manifest(
    "transformers",
    "prune",
    {"sparsity": 0.15, "method": "magnitude", "scope": "attention+ffn", "max_layer_sparsity": None},
    [DISTILL, GIVEN],
    key="ef" * 32,
    recipe="0a" * 32,
)
SCORED = Measured(
    data="/home/me/secret/test.conll",
    data_digest="12" * 32,
    sentences=541,
    words=12345,
    f1=0.84512345,
    f1_low=0.8312,
    f1_high=0.8599,
    precision=0.85,
    recall=0.84,
    accuracy=0.97,
    per_type={
        "PER": {
            "f1": 0.9,
            "f1_low": 0.88,
            "f1_high": 0.92,
            "precision": 0.91,
            "recall": 0.89,
            "support": 1200,
        },
        "MISC": {"f1": 0.0, "f1_low": 0.0, "f1_high": 0.0, "precision": 0.0, "recall": 0.0, "support": 0},
    },
    baseline="teacher",
    drop=0.0042,
    drop_low=-0.001,
    drop_high=0.0094,
    columns=("Model", "F1"),
    cells=(("teacher", "84.93%"), ("a|b", "84.51%")),
    footnotes=("541 sentences of student_data.",),
    commands={SCORES: "affineur evaluate student_11L_pruned --data DIR"},
    notes=("Measured on a Monday.",),
)
PARENT = (
    "---\nlicense: cc-by-nc-sa-4.0\nlanguage: fr\n---\n\n# A teacher\n\n"
    "**Limits.** It knows Wikipedia alone.\n"
)


def state(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    return {p.name: (p.stat().st_mtime_ns, p.stat().st_ino, p.read_bytes()) for p in sorted(folder.iterdir())}


def front(folder: Path) -> dict[str, Any]:
    found = ModelCard.load(folder / CARD).data.to_dict()
    raw = yaml.safe_load((folder / CARD).read_text("utf-8").split("---\n")[1])
    assert {**raw, "model-index": None} == {**found, "model-index": None}
    return found


def text_of(folder: Path) -> str:
    return (folder / CARD).read_text("utf-8")
