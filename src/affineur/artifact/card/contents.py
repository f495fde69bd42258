"""What a card tells beside what the folder itself says: scores, and what other cards said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

#: What a command gives that scores one model alone.
SCORES = "one model's scores by type"


@dataclass(frozen=True, slots=True)
class Measured:
    """What a model scored on a corpus, as its card tells it. Scores are shares in [0, 1].

    Args:
        data: Name of the corpus; of an absolute path the card shows the last part only.
        data_digest: sha256 over its words and tags.
        sentences: How many sentences were scored.
        words: How many words.
        f1: Mention-level F1, micro, exact span and type.
        f1_low: Lower end of its 95 % interval.
        f1_high: Upper end.
        precision: Mention-level precision.
        recall: Mention-level recall.
        accuracy: Words with the right tag ÷ words.
        per_type: By type ``f1``, ``f1_low``, ``f1_high``, ``precision``, ``recall`` and ``support`` (gold
            mentions).
        split: Which part of the data it is, such as ``test``.
        dataset_id: The data set's id on the Hub, where it is known to be one.
        baseline: Name of the model that ``drop`` is counted from.
        drop: F1 lost against it; negative where F1 was won.
        drop_low: Lower end of its paired 95 % interval.
        drop_high: Upper end.
        columns: Heads of a table of several models, as they are to be read.
        cells: Its rows.
        footnotes: Lines below it.
        commands: Command lines that give these figures again, by what each gives (:data:`SCORES`).
        notes: Anything else that ought to be known of them.
    """

    data: str
    data_digest: str
    sentences: int
    words: int
    f1: float
    f1_low: float
    f1_high: float
    precision: float
    recall: float
    accuracy: float
    per_type: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    split: str = "test"
    dataset_id: str | None = None
    baseline: str | None = None
    drop: float | None = None
    drop_low: float | None = None
    drop_high: float | None = None
    columns: Sequence[str] = ()
    cells: Sequence[Sequence[str]] = ()
    footnotes: Sequence[str] = ()
    commands: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @classmethod
    def of(cls, scores: Mapping[str, Any], **more: Any) -> Measured:
        """Build one from the keys of ``evaluate --json``; those a card has no place for are left out.

        Args:
            scores: The scores.
            more: Other arguments of this class.

        Raises:
            TypeError: If a score is missing.
        """
        known = {f.name for f in fields(cls)}
        found = {**scores, **more}
        if not isinstance(listed := found.get("commands", {}), Mapping):  # as manifests held them once
            found["commands"] = {line: line for line in map(str, listed)}
        return cls(**{key: value for key, value in found.items() if key in known})

    def with_table_of(self, before: Measured) -> Measured:
        """Take over what another measurement knew and this one does not look at: its table and its commands.

        What is said of the scores themselves (the drop, the notes) is taken over only where they are of the
        same text.

        Args:
            before: What the card said before.
        """
        kept = {what: line for what, line in before.commands.items() if what != SCORES}
        commands = {**kept, **self.commands}
        found = replace(
            self, columns=before.columns, cells=before.cells, footnotes=before.footnotes, commands=commands
        )
        if before.data_digest != self.data_digest:
            return found
        drop = {key: getattr(before, key) for key in ("baseline", "drop", "drop_low", "drop_high")}
        return replace(found, **drop, notes=list(dict.fromkeys([*before.notes, *self.notes])))


@dataclass(frozen=True, slots=True)
class Carried:
    """What a card takes over from another, or from what it said before.

    Args:
        metadata: Front matter to keep.
        limits: Whether a model this one comes from has a card that names limits.
        ours: Whether it was read from a card that Affineur wrote.
        license: License chosen by who publishes the model, before any that the metadata name.
    """

    metadata: Mapping[str, Any] = field(default_factory=dict)
    limits: bool = False
    ours: bool = False
    license: str | None = None


#: Nothing is taken over.
NOTHING = Carried()
