"""What people type for a model, taken apart: how it is run, and where it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from affineur.engines.core.engine import ENGINES, Batched, Engine, engine_of
from affineur.engines.core.threads import check_threads
from affineur.errors import ModelError, ParameterError

if TYPE_CHECKING:
    from affineur.artifact import ModelFolder
    from affineur.runtime import EngineTagger


@dataclass(frozen=True)
class Reference:
    """A model as it was typed: the prefix that names an engine, or none, and the rest.

    Args:
        prefix: Such as ``torch-int8:``, or empty where the kind of the artifact chooses the engine.
        rest: A folder, ``sample``, a Hub id …; to a peer's engine, whatever it makes of it.
    """

    prefix: str
    rest: str

    @classmethod
    def parse(cls, text: str | os.PathLike[str]) -> Reference:
        """Take apart what was typed; a prefix that no engine has, such as ``hub:``, is part of the place.

        Raises:
            AffineurError: If the package that brings the engine cannot be imported.
        """
        typed = os.fspath(text)
        name, colon, rest = typed.partition(":")
        if colon and name in ENGINES and ENGINES.get(name).prefix:
            return cls(name + colon, rest)
        return cls("", typed)

    @classmethod
    def of(cls, folder: ModelFolder) -> Reference:
        """Refer to a folder that is open already, to be run by whatever engine its kind is for."""
        made = cls("", str(folder.path))
        made.__dict__["_opened"] = folder
        return made

    @property
    def kind(self) -> str:
        """The engine that the prefix names; ``transformers`` where it names none."""
        return self.prefix.removesuffix(":") or "transformers"

    @property
    def name(self) -> str:
        """A short name: the last part of a path, a Hub id or an address whole, the prefix before it."""
        if Path(self.rest).is_dir():
            return self.prefix + Path(self.rest).resolve().name
        return self.prefix + self._shown

    @property
    def _shown(self) -> str:
        """What was typed after the prefix, without what is secret in an address."""
        from affineur.transfer.places.core.place import shown

        return shown(self.rest)

    @property
    def engine(self) -> Engine:
        """What runs it: what the prefix names, or what its kind of artifact is for.

        Raises:
            ModelError: If it is not a usable model, or the engine cannot run its kind.
        """
        engine = self.named
        if engine is None:
            return engine_of(self.open().kind)
        if engine.takes and not engine.peer and (folder := self.open()).kind not in engine.takes:
            what = f"an exported graph ({folder.kind})" if folder.is_graph else f"stored as {folder.kind}"
            raise ModelError(
                f"{self.prefix}{self._shown}: {folder.path} is {what}, which is run as it is; "
                f"leave {self.prefix} out"
            )
        return engine

    @property
    def named(self) -> Engine | None:
        """The engine that the prefix names; ``None`` where it names none. Nothing is opened for it."""
        return ENGINES.get(self.kind) if self.prefix else None

    @property
    def peer(self) -> str | None:
        """What it is where it is no model of ours, such as ``a spaCy pipeline``."""
        return self.named.peer if self.named else None

    def folder(self) -> Path:
        """Return the folder of the model, fetched from elsewhere if need be.

        Raises:
            ModelError: If it is a peer, which has none, or not there.
            TransferError: If it had to come from elsewhere and did not.
        """
        from affineur.transfer import resolve_model

        if self.peer:
            raise self.not_a_model()
        behind = Reference.parse(self.rest)
        if self.prefix and behind.prefix:
            raise behind.not_a_model()
        return resolve_model(self.rest)

    def open(self) -> ModelFolder:
        """Open the folder of the model, once.

        Raises:
            ModelError: If it is a peer, or no usable model.
            TransferError: If it had to come from elsewhere and did not.
        """
        return self._opened

    @cached_property
    def _opened(self) -> ModelFolder:
        from affineur.artifact import open_folder

        return open_folder(self.folder())

    def load(self, *, device: str = "cpu", threads: int | None = None) -> Batched:
        """Load it, to be scored and timed.

        Args:
            device: A torch device.
            threads: Threads of the engine; ``None`` for one per usable processor.

        Raises:
            ModelError: If it is not a usable model, or does not prove itself on this CPU.
            ParameterError: If the engine is asked to compute elsewhere than it can, or on no thread.
            TransferError: If it had to come from elsewhere and did not.
            MissingExtraError: If what its engine needs is not installed.
        """
        check_threads(threads)
        engine = self.engine
        if engine.on_cpu and device not in ("cpu", "auto"):
            raise ParameterError(
                f"device={device}: {self.prefix}{self._shown} is a model for {engine.name}, "
                "which runs on the CPU here",
                "device",
            )
        return engine.load(self, device=device, threads=threads)

    def not_a_model(self) -> ModelError:
        """Make the error for what is given where a model of ours is needed, and not a way to run one."""
        what = f"is {self.peer}" if self.peer else "is a way to run a model"
        instead = "nothing else" if self.peer else f"here give {self._shown}"
        return ModelError(
            f"{self.prefix}{self._shown} {what}: it can be measured (evaluate, compare, benchmark, check), "
            f"{instead}"
        )


def model_folder(text: str | os.PathLike[str]) -> Path:
    """Return the folder of a model that is wanted for itself, fetched from elsewhere if need be.

    Args:
        text: What was typed for it.

    Raises:
        ModelError: If it is a way to run a model, a peer, or not there.
        TransferError: If it had to come from elsewhere and did not.
    """
    reference = Reference.parse(text)
    if reference.prefix:
        raise reference.not_a_model()
    return reference.folder()


def load_exported(folder: ModelFolder | Path | str, threads: int | None = None) -> EngineTagger:
    """Load an exported artifact by the engine it was exported for, and prove it on this CPU.

    Args:
        folder: The artifact.
        threads: Threads of the engine; ``None`` for one per usable processor.

    Raises:
        ModelError: If the folder is not a usable exported artifact, or its self-test disagrees.
        MissingExtraError: If the engine's library is not installed.
    """
    from affineur.artifact import ModelFolder, open_folder
    from affineur.runtime import EngineTagger

    found = folder if isinstance(folder, ModelFolder) else open_folder(folder)
    if not found.is_graph:
        raise ModelError(
            f"{found.path} is not exported ({found.kind}); type: affineur export {found.path} -o OUT"
        )
    tagger = Reference.of(found).load(threads=threads)
    assert isinstance(tagger, EngineTagger)
    return tagger
