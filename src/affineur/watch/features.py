"""How sentences look to a model: figures that explain why an estimate moved, and never judge alone.

The population stability index compares shares of the reference's tenths. Its folk limit of 0.2 is passed by
chance alone where there are few sentences (arXiv 2307.11878), so the limit here grows as they get fewer: to
the quantile of the chi-square distribution that its sampling distribution has, at one false alarm in a
thousand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from affineur.watch.signals import FloatArray, Signals

#: PSI that counts as small however many sentences there are.
FOLK = 0.2
_CHI_SQUARE = 27.877  # its 0.999 quantile with nine degrees of freedom: ten shares
_TENTHS = np.linspace(0.1, 0.9, 9)


@dataclass(frozen=True)
class Moved:
    """One figure, here and on the reference.

    Args:
        reference: Its mean on the reference set.
        here: Its mean here.
        psi: Population stability index.
        limit: What chance and custom allow it.
    """

    reference: float
    here: float
    psi: float
    limit: float

    @property
    def moved(self) -> bool:
        """Whether it moved by more than that."""
        return self.psi > self.limit


@dataclass(frozen=True)
class Features:
    """Tenths of each figure over the sentences of a reference set.

    Args:
        sentences: How many there are.
        means: Mean of each figure.
        edges: What parts its tenths, ascending, without repetition.
        shares: How much of the reference lies between them.
    """

    sentences: int
    means: Mapping[str, float]
    edges: Mapping[str, FloatArray]
    shares: Mapping[str, FloatArray]

    @classmethod
    def fit(cls, signals: Signals, types: Sequence[str]) -> Features:
        """Look at the signals of a reference set."""
        figures = figures_of(signals, types)
        edges = {name: np.unique(np.quantile(values, _TENTHS)) for name, values in figures.items()}
        shares = {name: _shares(values, edges[name]) for name, values in figures.items()}
        return cls(len(signals), {name: float(v.mean()) for name, v in figures.items()}, edges, shares)

    def compare(self, signals: Signals, types: Sequence[str]) -> dict[str, Moved]:
        """Compare some sentences with the reference, figure by figure."""
        limit = max(FOLK, _CHI_SQUARE * (1 / max(1, len(signals)) + 1 / self.sentences))
        found = {}
        for name, values in figures_of(signals, types).items():
            if name in self.means and len(values):
                # Half a sentence in each tenth, so that an empty one has a logarithm.
                ours, theirs = (
                    (shares * n + 0.5) / (n + 0.5 * len(shares))
                    for shares, n in (
                        (_shares(values, self.edges[name]), len(values)),
                        (self.shares[name], self.sentences),
                    )
                )
                psi = float(np.sum((ours - theirs) * np.log(ours / theirs)))
                found[name] = Moved(self.means[name], float(values.mean()), psi, limit)
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "sentences": self.sentences,
            "figures": {
                name: {
                    "mean": self.means[name],
                    "edges": self.edges[name].tolist(),
                    "shares": self.shares[name].tolist(),
                }
                for name in self.means
            },
        }

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Features:
        """Make it again from what :meth:`as_dict` gave.

        Raises:
            ValueError: If edges and shares do not fit.
        """
        figures = said["figures"]
        edges = {name: np.array(each["edges"], dtype=np.float64) for name, each in figures.items()}
        shares = {name: np.array(each["shares"], dtype=np.float64) for name, each in figures.items()}
        if any(edges[name].ndim != 1 or shares[name].shape != (len(edges[name]) + 1,) for name in figures):
            raise ValueError("the tenths of a figure and their shares differ in number")
        return cls(int(said["sentences"]), {n: float(e["mean"]) for n, e in figures.items()}, edges, shares)


def figures_of(signals: Signals, types: Sequence[str]) -> dict[str, FloatArray]:
    """Return the figures of each sentence.

    Args:
        signals: Of the sentences.
        types: The types, in the order in which signals number them.
    """
    words = np.maximum(1, signals.words)
    found = {
        "confidence": signals.confidence,
        "words": signals.words.astype(np.float64),
        "pieces per word": signals.pieces / words,
        "unknown pieces": signals.unknown / np.maximum(1, signals.pieces),
    }
    for number, kind in enumerate(types):
        own = signals.mention_sentence[signals.mention_type == number]
        found[f"{kind} per 100 words"] = 100 * np.bincount(own, minlength=len(signals)) / words
    return found


def _shares(values: FloatArray, edges: FloatArray) -> FloatArray:
    places = np.searchsorted(edges, values, side="left")
    found: FloatArray = np.bincount(places, minlength=len(edges) + 1) / max(1, len(values))
    return found
