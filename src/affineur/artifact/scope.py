"""Scope: which tensors pruning may touch, told by name for every encoder family.

In scope are the matrices of attention (query, key, value, output) and of the two feed-forward layers; never
embeddings, LayerNorm, biases or the classifier (guide §2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from affineur.errors import ParameterError, did_you_mean

ScopeName = Literal["attention+ffn", "attention", "ffn"]
SCOPES: tuple[ScopeName, ...] = ("attention+ffn", "attention", "ffn")

#: Parts of a model that are never pruned, as ``pruning_info.json`` names them.
EXCLUDED = ("embeddings", "LayerNorm", "biases", "classifier")

PARTS = ("embeddings", "encoder", "head")

_LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.(.+)\.weight$")

# What follows ``layer.N.`` → the matrix it is. BERT's names also serve RoBERTa, CamemBERT, XLM-R and ELECTRA.
_MATRICES = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.output",
    "intermediate.dense": "ffn.intermediate",
    "output.dense": "ffn.output",
    # DistilBERT
    "attention.q_lin": "attention.query",
    "attention.k_lin": "attention.key",
    "attention.v_lin": "attention.value",
    "attention.out_lin": "attention.output",
    "ffn.lin1": "ffn.intermediate",
    "ffn.lin2": "ffn.output",
    # DeBERTa v2/v3, then v1 (query, key and value in one matrix)
    "attention.self.query_proj": "attention.query",
    "attention.self.key_proj": "attention.key",
    "attention.self.value_proj": "attention.value",
    "attention.self.in_proj": "attention.query_key_value",
    # ModernBERT
    "attn.Wqkv": "attention.query_key_value",
    "attn.Wo": "attention.output",
    "mlp.Wi": "ffn.intermediate",
    "mlp.Wo": "ffn.output",
}


@dataclass(frozen=True, slots=True, order=True)
class Matrix:
    """A weight matrix in scope: encoder layer (from 0), what it is, and its tensor name."""

    layer: int
    kind: str
    name: str


def matrix_of(name: str) -> Matrix | None:
    """Say which matrix of which encoder layer a tensor is, or ``None`` if it is out of any scope."""
    match = _LAYER.search(name)
    kind = _MATRICES.get(match[2]) if match else None
    return Matrix(int(match[1]), kind, name) if match and kind else None


def layer_of(name: str) -> int | None:
    """Return the encoder layer a tensor belongs to, in scope or not, or ``None``."""
    match = re.search(r"(?:^|\.)layers?\.(\d+)\.", name)
    return int(match[1]) if match else None


def part_of(name: str) -> str:
    """Say which part of a model a tensor belongs to: ``embeddings``, ``encoder`` or ``head``."""
    steps = name.split(".")
    if layer_of(name) is None and any(step.startswith("embeddings") for step in steps):
        return "embeddings"
    # What is no layer but stands beside them (relative positions, a last LayerNorm) works for them.
    return "encoder" if layer_of(name) is not None or {"encoder", "final_norm"} & set(steps) else "head"


def in_scope(names: list[str], scope: str = "attention+ffn") -> list[Matrix]:
    """Pick the matrices of a scope, ordered by layer, kind and name.

    Args:
        names: Tensor names of a model.
        scope: ``attention+ffn``, ``attention`` or ``ffn``.

    Raises:
        ParameterError: If there is no such scope, or the model has no matrix in it.
    """
    if scope not in SCOPES:
        raise ParameterError(
            f"no scope '{scope}', expected one of {', '.join(SCOPES)}{did_you_mean(scope, SCOPES)}", "scope"
        )
    wanted = tuple(scope.split("+"))
    matrices = sorted(m for name in names if (m := matrix_of(name)) and m.kind.startswith(wanted))
    if not matrices:
        raise ParameterError(
            f"no matrix in scope '{scope}' was found; this architecture's tensor names are not known", "scope"
        )
    return matrices
