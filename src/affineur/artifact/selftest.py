"""The self-test that an exported artifact carries: a few real inputs with the logits of its fp32 parent.

An INT8 kernel that saturates finds no entity and says nothing (x86 without VNNI multiplies U8 by S8 into 16
bits that overflow). So whoever loads the artifact first runs the self-test on the CPU at hand, and refuses
the model if it disagrees.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from affineur.artifact.reading import WRONG, parse_json
from affineur.errors import ModelError, one_line

#: File of the self-test in an artifact; the name is older than the word.
SELF_TEST = "probe.safetensors"
#: Error of logits at which an artifact is nothing like its parent: half as wrong as a constant.
FURTHEST = 0.5
#: CPU flags of x86, any of which brings instructions that multiply U8 by S8 into 32 bits, where sums do not
#: overflow.
VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near a model's logits come to its parent's, over the attended positions of the same inputs.

    Args:
        same_tags: Share of positions where the likeliest label is the same, in [0, 1].
        error: Root mean square of the difference ÷ root mean square of the parent's logits around their mean;
            0 is equal, 1 is as wrong as a constant.
    """

    same_tags: float
    error: float

    @classmethod
    def between(cls, logits: npt.NDArray[np.float32], parent: npt.NDArray[np.float32]) -> Agreement:
        """Compare two arrays of shape ``(positions, labels)``."""
        if not np.isfinite(logits).all():
            return cls(0.0, float("inf"))
        spread = parent - parent.mean()
        scale = float(np.sqrt(np.mean(np.square(spread, dtype=np.float64)))) or 1.0
        error = float(np.sqrt(np.mean(np.square(logits - parent, dtype=np.float64)))) / scale
        return cls(float((logits.argmax(axis=1) == parent.argmax(axis=1)).mean()), error)


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Inputs, what the parent said of them, and how near the artifact came where it was made.

    Args:
        ids: Piece ids, shape ``(sequences, longest)``.
        mask: 1 where there is a piece, 0 where there is padding; same shape.
        logits: The parent's, shape ``(sequences, longest, labels)``, in full precision.
        made: Agreement measured when it was made.
        scheme: How the matrices are stored: ``fp32``, ``u8s8``, …
        target: The CPU it was made for.
        labels: The parent's labels, in the order of the logits; empty where that is not known.
    """

    ids: npt.NDArray[np.int64]
    mask: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]
    made: Agreement
    scheme: str
    target: str
    labels: tuple[str, ...] = ()

    def agreement(self, logits: npt.NDArray[np.float32]) -> Agreement:
        """Compare logits of the same shape with the parent's, where there are pieces."""
        seen = self.mask.astype(bool)
        return Agreement.between(logits[seen], self.logits[seen])

    def passes(self, found: Agreement) -> bool:
        """Say whether an agreement is as good as where the artifact was made, but for rounding.

        Kernels differ in the order of their sums, which may move a rounded activation by one step: an error
        half as large again, and one position in a hundred, are granted. A saturating kernel is wrong by far
        more. What is further from its parent than :data:`FURTHEST` is refused whatever was measured where it
        was made.
        """
        return (
            found.error <= min(1.5 * self.made.error + 0.01, FURTHEST)
            and found.same_tags >= self.made.same_tags - 0.01
        )


def write_self_test(folder: Path, test: SelfTest) -> None:
    """Write the self-test into an artifact that is being built."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "input_ids": test.ids.astype(np.int32),
        "attention_mask": test.mask.astype(np.uint8),
        "logits": test.logits.astype(np.float32),
    }
    about = {
        "made": json.dumps(asdict(test.made)),
        "scheme": test.scheme,
        "target": test.target,
        "labels": json.dumps(test.labels),
    }
    save_file(arrays, folder / SELF_TEST, metadata=about)


def read_self_test(folder: Path) -> SelfTest | None:
    """Read the self-test of an artifact, or return ``None`` where it has none.

    Raises:
        ModelError: If it is damaged.
    """
    path = folder / SELF_TEST
    if not path.is_file():
        return None
    try:
        with safe_open(path, "np") as file:
            about = file.metadata() or {}
            ids, mask = (file.get_tensor(name).astype(np.int64) for name in ("input_ids", "attention_mask"))
            logits = file.get_tensor("logits")
        if logits.ndim != 3 or ids.shape != mask.shape or logits.shape[:2] != ids.shape:
            raise ValueError(f"shapes {ids.shape}, {mask.shape} and {logits.shape} do not fit")
        if not mask.any() or not np.isfinite(logits).all():
            raise ValueError("it holds no piece, or logits that are not numbers")
        made = parse_json(about["made"])
        agreed, labels = (
            Agreement(float(made["same_tags"]), float(made["error"])),
            tuple(map(str, parse_json(about.get("labels", "[]")))),
        )
        return SelfTest(ids, mask, logits, agreed, about["scheme"], about["target"], labels)
    except (SafetensorError, OSError, *WRONG) as error:
        raise ModelError(f"{path} is damaged ({one_line(error)}); fetch or make the artifact again") from None
