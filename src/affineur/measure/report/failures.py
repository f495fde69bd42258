"""Where a model fails: kinds of errors, counted over a corpus, and found in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from affineur.entities import Mention
from affineur.measure.analysis import Analysis, Confusion, Disagreement, overlap


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One kind of error.

    Args:
        name: ``missed``, ``invented``, ``boundary`` or ``confused``.
        type: The gold type; of an invented mention the predicted one.
        taken_for: The predicted type of a confused mention.
    """

    name: str
    type: str
    taken_for: str | None = None

    def __str__(self) -> str:
        """Say it in words."""
        if self.name == "confused":
            return f"{self.type} taken for {self.taken_for}"
        return {
            "missed": f"{self.type} missed",
            "invented": f"{self.type} invented",
            "boundary": f"{self.type} with a wrong boundary",
        }[self.name]


def errors(confusion: Confusion) -> list[tuple[ErrorKind, int]]:
    """List every kind of error that happened, the most frequent first."""
    found: list[tuple[ErrorKind, int]] = []
    for i, kind in enumerate(confusion.types):
        for name, counts in (
            ("missed", confusion.missed),
            ("invented", confusion.invented),
            ("boundary", confusion.boundary),
        ):
            found.append((ErrorKind(name, kind), int(counts[i])))
        found += [
            (ErrorKind("confused", kind, other), int(confusion.confused[i, j]))
            for j, other in enumerate(confusion.types)
            if i != j
        ]
    return sorted((pair for pair in found if pair[1]), key=lambda pair: -pair[1])


@dataclass(frozen=True, slots=True)
class Share:
    """How often a kind of error happened, measured by the gold mentions of its type.

    Args:
        kind: The kind.
        count: How often.
        gold: Gold mentions of the type; of an invented mention those of the predicted type.
    """

    kind: ErrorKind
    count: int
    gold: int

    @property
    def share(self) -> float:
        """Errors ÷ gold mentions; 0 of a type that has none."""
        return self.count / self.gold if self.gold else 0.0


def by_share(confusion: Confusion) -> list[Share]:
    """List every kind of error that happened, the largest share of the gold mentions of its type first."""
    gold = dict(zip(confusion.types, gold_mentions(confusion), strict=True))
    found = [Share(kind, count, gold[kind.type]) for kind, count in errors(confusion)]
    return sorted(found, key=lambda one: (-one.share, -one.count))


def totals(confusion: Confusion) -> dict[str, int]:
    """Count each kind of error over all types."""
    found = {"missed": 0, "invented": 0, "boundary": 0, "confused": 0}
    for kind, count in errors(confusion):
        found[kind.name] += count
    return found


def gold_mentions(confusion: Confusion) -> list[int]:
    """Count the gold mentions of each type."""
    whole = confusion.confused.sum(axis=1) + confusion.boundary + confusion.missed
    return [int(count) for count in whole]


def find_errors(
    gold: Sequence[Mention], predicted: Sequence[Mention]
) -> Iterator[tuple[ErrorKind, Mention, Mention | None]]:
    """Find the errors of one sentence by the rules of :class:`Confusion`.

    Yields:
        The kind, the mention it happened to, and the predicted mention that stands in its place.
    """
    for mention in gold:
        over = max(
            predicted, key=lambda other: (overlap(mention, other), other.type == mention.type), default=None
        )
        if mention in predicted:
            continue
        if over is None or not overlap(mention, over):
            yield ErrorKind("missed", mention.type), mention, None
        elif over.type == mention.type:
            yield ErrorKind("boundary", mention.type), mention, over
        else:
            yield ErrorKind("confused", mention.type, over.type), mention, over
    for mention in predicted:
        if not any(overlap(mention, other) for other in gold):
            yield ErrorKind("invented", mention.type), mention, mention


def example(analysis: Analysis, kind: ErrorKind) -> tuple[Disagreement, Mention, Mention | None] | None:
    """Find a sentence that shows an error of the model among those that are kept; the shortest reads best."""
    kept = [*analysis.disagreements, *([analysis.missed] if analysis.missed else [])]
    found = (
        (one, mention, instead)
        for one in sorted(kept, key=lambda one: (len(one.words), one.number))
        for what, mention, instead in find_errors(one.gold, one.model)
        if what == kind
    )
    return next(found, None)
