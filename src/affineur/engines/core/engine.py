"""An engine: what computes a model. Which artifacts it runs, how it loads them, what it can export.

Another package adds one by an entry point of the group ``affineur.engines`` that names an instance of
:class:`Engine`; ours are the files of :mod:`affineur.engines`. An engine's module is imported to learn what
the engine is called for, so it imports the library that computes only where it is needed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from affineur.engines.core.facts import Facts
from affineur.entities import Tagger
from affineur.errors import ModelError
from affineur.registry import Registry

if TYPE_CHECKING:
    from affineur.artifact import ModelFolder
    from affineur.artifact.exported import ExportInfo
    from affineur.engines.core.references import Reference


class Batched(Tagger, Protocol):
    """A tagger with a way of its own to make batches, which can be put aside."""

    def whole(self) -> Tagger:
        """Return the same model as a tagger that takes what it is given as one batch."""


class Engine(ABC):
    """What computes a model: by the kind of its artifact, or because a prefix asks for it."""

    #: Its name in the registry: that of its file or entry point.
    name: ClassVar[str]
    #: What it is, in one line for people.
    summary: ClassVar[str]
    #: What is typed before a model to have this engine run it, such as ``torch-int8:``: its name and a colon.
    #: ``None`` for an engine that is chosen by the kind of the artifact alone.
    prefix: ClassVar[str | None] = None
    #: Kinds of artifacts that it runs unless a prefix says otherwise.
    kinds: ClassVar[tuple[str, ...]] = ()
    #: Kinds that it can run where its prefix asks for it; none for whatever there is.
    takes: ClassVar[tuple[str, ...]] = ()
    #: What follows the prefix where that is no model of ours, such as ``a spaCy pipeline``: it is measured.
    peer: ClassVar[str | None] = None
    #: Whether it always computes on the CPU: another device is refused, and not ignored.
    on_cpu: ClassVar[bool] = False
    #: Whether its tags may differ from those of the model that follows the prefix.
    approximate: ClassVar[bool] = False
    #: Whether models can be exported for it; the artifacts are then of the first of its kinds.
    exports: ClassVar[bool] = False

    def files(self, reference: Reference) -> Path:
        """Return the folder with the files that loading reads.

        Raises:
            AffineurError: If there is none.
        """
        return reference.folder()

    def preload(self, reference: Reference) -> None:  # noqa: B027  # most have something to import, not all
        """Import what loading needs, so that loading alone is timed; called in the model's own process."""

    @abstractmethod
    def load(self, reference: Reference, *, device: str = "cpu", threads: int | None = None) -> Batched:
        """Load a model.

        Args:
            reference: The model, of a kind that is run here.
            device: A torch device.
            threads: Threads of the engine; ``None`` for one per usable processor.

        Returns:
            An :class:`~affineur.runtime.EngineTagger` where the model can be given texts, and not only be
            measured.

        Raises:
            ModelError: If it cannot be used.
            MissingExtraError: If the library that computes is not installed.
        """

    def serialized_size(self, tagger: Tagger) -> int:
        """Return the bytes of a loaded model, serialized, where it is built in memory; 0 elsewhere."""
        return 0

    def facts(self, reference: Reference, tagger: Tagger | None = None) -> Facts:
        """Say what is known of a model without running it.

        Args:
            reference: The model.
            tagger: The same, where it is loaded already.

        Raises:
            ModelError: If it is not a usable model.
        """
        from affineur.artifact import describe

        info = describe(reference.open())
        return Facts(
            reference.kind if reference.prefix else info.folder.kind,
            info.folder.layers,
            info.sparsity,
            info.folder.size_bytes,
            info.parameters,
            info.nonzero,
            info.parts,
        )

    def digest(self, reference: Reference) -> str:
        """Return a digest of what decides a model's tags: its files, and how they are run.

        Raises:
            ModelError: If it is not a usable model.
        """
        return reference.prefix + reference.open().digest()

    def export(self, graph: Any, source: ModelFolder, place: Path, info: ExportInfo) -> ExportInfo:
        """Write a model as this engine reads it.

        Configuration, tokenizer and self-test are put beside it afterwards, and then it is loaded and proved.

        Args:
            graph: The model as an ONNX graph (``onnx.ModelProto``) in full precision, proved equal to it.
            source: The model's folder.
            place: The folder to write to, which is being built.
            info: What is known of the graph.

        Returns:
            What is known of what was written.

        Raises:
            MissingExtraError: If the library that writes it is not installed.
        """
        raise ModelError(f"nothing can be exported for the engine {self.name}")


def _check(given: object) -> None:
    if not isinstance(given, Engine):
        raise TypeError("it gives something that is no Engine")
    if given.prefix not in (None, f"{given.name}:"):
        raise TypeError(f"its prefix is '{given.prefix}', expected its name and a colon, '{given.name}:'")


#: Every engine there is.
ENGINES: Registry[Engine] = Registry("affineur.engines", "affineur.engines", "ENGINE", "engine", _check)


def engine_of(kind: str) -> Engine:
    """Return the engine that runs a kind of artifact.

    Raises:
        ModelError: If there is none.
    """
    found = next((each for each in ENGINES.all().values() if kind in each.kinds), None)
    if found is None:
        raise ModelError(f"no engine here runs models of the kind {kind}; install the package that brings it")
    return found


def exporting() -> tuple[str, ...]:
    """Return the names of the engines that models can be exported for."""
    return tuple(name for name, each in ENGINES.all().items() if each.exports)
