"""What goes into a graph of ours and what must come out of it, whatever computes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from affineur.errors import ModelError
from affineur.runtime.prediction import Logits

#: Inputs that are known; a piece's segment is always the first.
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def fitting(logits: Logits, ids: npt.NDArray[np.int64], labels: Sequence[str]) -> Logits:
    """Return logits as they are, after checking their shape: a graph need not say it before it is run.

    Raises:
        ModelError: If it is not ``(sequences, longest, labels)``.
    """
    if logits.shape != (expected := (*ids.shape, len(labels))):
        raise ModelError(
            f"the graph gives logits of shape {logits.shape}, expected {expected}: {len(labels)} labels are "
            "named in config.json"
        )
    return logits
