"""What a gate's figures rest on, so that a file found months later can be told from another."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from affineur.errors import counted

# People are shown the first characters of a digest.
_SHA256, _SHORT = re.compile(r"([0-9a-f]{12})[0-9a-f]{52}"), r"\1"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What was measured, on what, when.

    Args:
        sentences: Sentences of the data.
        calls: Sentences timed one by one, or ``None`` where no bar needed it.
        confidence: Mass inside the intervals that bars look at.
        data_digest: Digest of words and tags.
        model_digest: Digest of what decides the model's tags.
        baseline_digest: The same of the baseline, where a bar needed one.
        date: Day of the measurement, as ``2026-11-23``.
        machine: What it was measured on; ``description`` says it in a line.
    """

    sentences: int
    calls: int | None
    confidence: float
    data_digest: str
    model_digest: str
    baseline_digest: str | None
    date: str
    machine: dict[str, Any]

    def __str__(self) -> str:
        """Say it in one line."""
        digests = {"data": self.data_digest, "model": self.model_digest, "baseline": self.baseline_digest}
        shown = ", ".join(
            f"{what} {_SHA256.sub(_SHORT, digest)}" for what, digest in digests.items() if digest
        )
        calls = "" if self.calls is None else f", {counted(self.calls, 'call')} one by one"
        seen = f"{counted(self.sentences, 'sentence')}{calls}; intervals at {self.confidence * 100:g} %"
        return f"{seen}; {shown}; {self.date}; {self.machine['description']}"
