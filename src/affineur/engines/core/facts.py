"""What is known of a model without running it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a model without running it.

    Args:
        kind: Kind of its artifact, such as ``transformers``, or the engine that was asked for by a prefix.
        layers: Encoder layers, 0 where there are none.
        sparsity: Zeros ÷ weights in scope.
        size_bytes: Bytes of its weights on disk, or serialized for a model built in memory.
        parameters: Its parameters, or ``None`` where unknown.
        nonzero: Those that are not zero.
        parts: Bytes by part (embeddings, encoder, head), where the weights lie in files that name them.
    """

    kind: str
    layers: int
    sparsity: float
    size_bytes: int
    parameters: int | None = None
    nonzero: int | None = None
    parts: dict[str, int] = field(default_factory=dict)
