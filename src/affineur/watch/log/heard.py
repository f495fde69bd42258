"""What a log is told by an endpoint, whose room it does not import."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from affineur.entities import Entity, LabeledPiece
from affineur.runtime import Evidence, PredictOptions


class About(Protocol):
    """What is told of a model that answers."""

    @property
    def sha256(self) -> str:
        """Digest of its weights, configuration and tokenizer."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Its labels."""


class Answered(Protocol):
    """What an endpoint tells of a request that was answered (:class:`affineur.serve.listeners.Answered`)."""

    @property
    def texts(self) -> Sequence[str]:
        """Its texts."""

    @property
    def results(self) -> Sequence[Sequence[Entity] | Sequence[LabeledPiece]]:
        """What was found in each."""

    @property
    def options(self) -> PredictOptions:
        """How they were wanted."""

    @property
    def model(self) -> About:
        """What answered."""

    @property
    def seconds(self) -> float:
        """From arrival to result."""

    @property
    def evidence(self) -> Callable[[], Sequence[Evidence]]:
        """Computes what the probabilities say."""
