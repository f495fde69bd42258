"""What a corpus can show at all: how many sentences a claim about a loss of F1 needs.

Of *n* sentences with a mention that a model tags as the baseline does, a share of 1 - tail^(1/n) of another
kind may have gone unseen (Clopper and Pearson 1934; see :mod:`affineur.measure.bootstrap`). A margin below
that cannot be shown even for a model that loses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log, log1p

from affineur.entities import Corpus, split_tag
from affineur.errors import counted
from affineur.measure.bootstrap import FEWEST


@dataclass(frozen=True, slots=True)
class Power:
    """Whether so many sentences can show a loss within a margin.

    Args:
        sentences: All sentences of the data.
        telling: Sentences, or documents where those are drawn, with a mention of what is scored.
        needed: How many of those are needed, or ``None`` where no number is enough.
        units: ``sentences`` or ``documents``.
    """

    sentences: int
    telling: int
    needed: int | None
    units: str = "sentences"

    @property
    def enough(self) -> bool:
        """Whether a model that loses nothing can be shown to stay within the margin."""
        return self.needed is not None and self.telling >= self.needed

    @property
    def about(self) -> int | None:
        """Sentences of this kind of data that are needed, as many of them with a mention as here."""
        if self.needed is None or not self.telling:
            return None
        return round_up(self.sentences * self.needed / self.telling)

    def words(self, margin: float) -> str:
        """Say in one line what is needed, where there is not enough."""
        asked = counted(round(margin * 100, 6), "point")
        here = counted(self.sentences, "sentence")
        if self.needed is None:
            return "no number of sentences can show that nothing at all is lost; allow a little"
        about = "" if self.about is None else f", about {self.about:,} sentences of this kind are needed"
        return (
            f"{here} cannot show a loss of at most {asked}, not even of a model that loses nothing: "
            f"{self.telling:,} {self.units} have a mention, {self.needed:,} would have to{about}"
        )


def needed_to_show(margin: float, confidence: float = 0.95) -> int | None:
    """Return how many sentences with a mention show that a model without any loss stays within a margin.

    Args:
        margin: F1 that may be lost, as a fraction.
        confidence: Mass inside the interval, half the error at either end.

    Returns:
        About 370 for a point, or ``None`` for a margin of 0.
    """
    return ceil(log((1 - confidence) / 2) / log1p(-margin)) if margin > 0 else None


def power(
    corpus: Corpus, margin: float, *, types: Sequence[str] | None = None, confidence: float = 0.95
) -> Power:
    """Say what a corpus can show, before anything is measured.

    Args:
        corpus: The gold data.
        margin: F1 that may be lost, as a fraction.
        types: What is scored; ``None`` for all types.
        confidence: Mass inside the interval.
    """
    telling = 0
    documents: dict[int | None, bool] = {}
    for sentence in corpus:
        kinds = {split_tag(tag)[1] for tag in sentence.tags} - {""}
        tells = bool(kinds if types is None else kinds & set(types))
        telling += tells
        documents[sentence.document] = documents.get(sentence.document, False) or tells
    needed = needed_to_show(margin, confidence)
    if corpus.has_documents and len(documents) >= FEWEST:
        return Power(len(corpus), sum(documents.values()), needed, "documents")
    return Power(len(corpus), telling, needed)


def round_up(number: float) -> int:
    """Round up to two digits: nobody needs 373 sentences rather than 380."""
    step = 1
    while number > 100 * step:
        step *= 10
    return ceil(number / step) * step
