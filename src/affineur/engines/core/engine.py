"""What an engine is: it runs models of some kinds, or any model in a way of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from affineur.artifact import ModelFolder, describe, open_folder
from affineur.engines.core.facts import Facts
from affineur.entities import Tagger
from affineur.errors import ModelError, ParameterError
from affineur.registry import Registry
from affineur.transfer import resolve_model

if TYPE_CHECKING:
    from onnx import ModelProto


class Batched(Tagger, Protocol):
    """A tagger with a way of its own to make batches, which can be put aside."""

    def whole(self) -> Tagger:
        """Return the same model as a tagger that takes what it is given as one batch."""


class Engine(ABC):
    """Runs models. One instance of a subclass is an engine; its module calls it ``ENGINE``.

    An engine with ``prefixed`` is asked for by its name before a reference, as in ``torch-int8:student``; one
    without is taken for the kinds of artifacts it names. Modules of engines import their libraries inside
    methods, so that looking at an engine costs nothing.

    Attributes:
        name: What people type.
        summary: What it does, in one line.
        kinds: Kinds of artifacts it runs.
        prefixed: Whether it is asked for by name.
        peer: Whether what it runs are models of somebody else's, which have no folder of ours.
        in_memory: Whether it changes a model while loading it, so that its size is not that of the folder.
        exports: Whether models are exported for it (:meth:`write`).
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]] = ("transformers", "packed")
    prefixed: ClassVar[bool] = False
    peer: ClassVar[bool] = False
    in_memory: ClassVar[bool] = False
    exports: ClassVar[bool] = False

    @property
    def prefix(self) -> str:
        """What is typed before a reference to ask for it; empty where it is not asked for."""
        return f"{self.name}:" if self.prefixed else ""

    def preload(self, rest: str) -> None:  # noqa: B027
        """Import what loading a model takes, so that loading it is all that is timed.

        Args:
            rest: The reference without the prefix.
        """

    @abstractmethod
    def load(self, rest: str, *, device: str = "cpu", threads: int | None = None) -> Batched:
        """Load a model.

        Args:
            rest: The reference without the prefix.
            device: A torch device.
            threads: Threads of the engine; ``None`` for one per usable processor.

        Raises:
            ModelError: If it is not a usable model of a kind that the engine runs.
            ParameterError: If the device is not there.
            MissingExtraError: If the engine's library is not installed.
        """

    def folder(self, rest: str) -> Path:
        """Return the folder of a model, fetched if need be.

        Raises:
            ModelError: If it has none.
            TransferError: If it had to come from elsewhere and did not.
        """
        return resolve_model(rest)

    def open(self, rest: str) -> ModelFolder:
        """Open a model of a kind that the engine runs.

        Raises:
            ModelError: If it is of another.
        """
        folder = open_folder(self.folder(rest))
        if folder.kind not in self.kinds:
            raise ModelError(
                f"{self.prefix}{rest}: {folder.path} is of the kind {folder.kind}, which is run as it is; "
                f"leave {self.prefix or self.name} out"
            )
        return folder

    def facts(self, rest: str, tagger: object = None) -> Facts:
        """Say what is known of a model without running it.

        Args:
            rest: The reference without the prefix.
            tagger: It, loaded; gives the size of a model that is built in memory, which is 0 otherwise.
        """
        info = describe(self.folder(rest))
        size = info.folder.size_bytes
        if self.in_memory:
            size = self.serialized_size(tagger) if tagger is not None else 0
        return Facts(
            self.name if self.prefixed else info.folder.kind,
            info.folder.layers,
            info.sparsity,
            size,
            info.parameters,
            info.nonzero,
            {} if self.in_memory else info.parts,
        )

    def serialized_size(self, tagger: Any) -> int:
        """Return the bytes of a model that was built in memory."""
        raise NotImplementedError(f"{self.name} builds no models in memory")

    def digest(self, rest: str) -> str:
        """Digest what decides a model's tags: its folder, and how it is run."""
        return self.prefix + open_folder(self.folder(rest)).digest()

    def write(self, graph: ModelProto, place: Path) -> None:
        """Write an ONNX graph, in full precision, in the engine's own form.

        Args:
            graph: The graph.
            place: A folder that is being built.

        Raises:
            MissingExtraError: If the engine's library is not installed.
        """
        raise NotImplementedError(f"models are not exported for {self.name}")


def on_cpu(device: str, folder: ModelFolder) -> None:
    """Refuse any device but the CPU.

    Raises:
        ParameterError: If another is asked for.
    """
    if device not in ("cpu", "auto"):
        raise ParameterError(
            f"device={device}: {folder.path} is an exported graph ({folder.kind}), which runs on the CPU "
            "here",
            "device",
        )


def _check(given: object) -> None:
    if not isinstance(given, Engine):
        raise TypeError("it gives something that is no Engine")


#: Every engine there is.
ENGINES: Registry[Engine] = Registry("affineur.engines", "affineur.engines", "ENGINE", "engine", _check)
