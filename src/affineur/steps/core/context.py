"""Where and on what a step works: one object handed through, instead of globals and long signatures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from affineur.artifact import ModelFolder
from affineur.entities import Corpus
from affineur.errors import ParameterError
from affineur.progress import report
from affineur.transfer import DataOptions, Splits, cache_folder, load_corpus

#: How calibration text is read: its labels are not looked at, so it need have none, and no dev part is held
#: out of it.
CALIBRATION = DataOptions(dev_share=0.0, unlabeled=True)
#: Sentences of it that are read: Wanda's paper uses 128 sequences and finds that more hardly matter.
CALIBRATION_SENTENCES = 256


@dataclass(frozen=True, slots=True)
class Context:
    """What a step is given beside its own parameters.

    Args:
        device: A torch device.
        threads: Threads of every engine; ``None`` for one per usable processor.
        cache: Where teacher logits and scores are kept.
        recipe: Digest of the recipe being run, for manifests.
        data: Labeled data.
        calibration: Text without labels that a step looks at.
        teacher: A teacher to learn from, where there is one beside the model.
        texts: Texts to count pieces in; those of ``data`` where there are none.
        unseen: Texts that are only looked at afterwards.
        dev_f1: Scores a model on the data's dev part, at most once each.
        notes: What was decided on the way and belongs in a report.
    """

    device: str = "cpu"
    threads: int | None = None
    cache: Path = field(default_factory=cache_folder)
    recipe: str | None = None
    data: Splits | None = None
    calibration: Corpus | None = None
    teacher: ModelFolder | None = None
    texts: tuple[Corpus, ...] = ()
    unseen: tuple[Corpus, ...] = ()
    dev_f1: Callable[[ModelFolder], float] | None = None
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Report what was decided, and keep it for the report of a run."""
        self.notes.append(text)
        report(text)

    @property
    def splits(self) -> Splits:
        """Labeled data that has to be there.

        Raises:
            ParameterError: If there is none.
        """
        if self.data is None:
            raise ParameterError("no labeled data was given; name a file or folder as data", "data")
        return self.data

    @property
    def text(self) -> Corpus:
        """Calibration text: the one given, else train of the data, else the embedded sample's."""
        if self.calibration is not None:
            return self.calibration
        if self.data is not None and self.data.train is not None:
            return self.data.train
        return load_corpus("sample", "train", CALIBRATION)
