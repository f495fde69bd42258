"""From what people type for a model to the engine that runs it.

A folder, a Hub id, ``sample``; or the name of an engine, a colon, and one of these or whatever it takes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from affineur.artifact import open_folder
from affineur.engines.core.engine import ENGINES, Batched, Engine
from affineur.engines.core.facts import Facts
from affineur.errors import ModelError
from affineur.transfer import resolve_model


@dataclass(frozen=True)
class Reference:
    """What a user typed for a model, taken apart.

    Args:
        asked: Name of the engine that was asked for, or ``None``.
        rest: What follows it.
    """

    asked: str | None
    rest: str

    @classmethod
    def parse(cls, text: str | os.PathLike[str]) -> Reference:
        """Take apart what a user typed."""
        typed = os.fspath(text)
        before, colon, rest = typed.partition(":")
        known = bool(colon) and before in ENGINES and ENGINES.get(before).prefixed
        return cls(before, rest) if known else cls(None, typed)

    @property
    def prefix(self) -> str:
        """The engine that was asked for and a colon, or nothing."""
        return f"{self.asked}:" if self.asked else ""

    @property
    def name(self) -> str:
        """A short name: the last part of a path, a Hub id whole, the engine before it."""
        return self.prefix + (Path(self.rest).resolve().name if Path(self.rest).is_dir() else self.rest)

    @cached_property
    def engine(self) -> Engine:
        """What runs it: the engine that was asked for, or the one for its kind of artifact.

        Raises:
            ModelError: If it is not a usable model, or nothing runs its kind.
        """
        if self.asked:
            return ENGINES.get(self.asked)
        return engine_for(open_folder(self.folder()).kind)

    @property
    def is_peer(self) -> bool:
        """Whether it is a model of somebody else's, without a folder of ours."""
        return self.asked is not None and self.engine.peer

    def folder(self) -> Path:
        """Return the folder of the model, fetched if need be.

        Raises:
            ModelError: If it is a peer, which has none.
            TransferError: If it had to come from elsewhere and did not.
        """
        if self.is_peer:
            raise ModelError(
                f"{self.prefix}{self.rest} is a peer: it can be measured (evaluate, compare, benchmark, "
                "check), nothing else"
            )
        return resolve_model(self.rest)

    def load(self, *, device: str = "cpu", threads: int | None = None) -> Batched:
        """Load the model; see :meth:`~affineur.engines.core.engine.Engine.load`."""
        return self.engine.load(self.rest, device=device, threads=threads)

    def facts(self, tagger: object = None) -> Facts:
        """Say what is known of it; see :meth:`~affineur.engines.core.engine.Engine.facts`."""
        return self.engine.facts(self.rest, tagger)

    def digest(self) -> str:
        """Digest what decides its tags; see :meth:`~affineur.engines.core.engine.Engine.digest`."""
        return self.engine.digest(self.rest)


def engine_for(kind: str) -> Engine:
    """Return the engine for a kind of artifact.

    Raises:
        ModelError: If there is none.
    """
    for engine in ENGINES.all().values():
        if kind in engine.kinds and not engine.prefixed:
            return engine
    raise ModelError(f"no engine here runs models of the kind {kind}; the engines are {', '.join(ENGINES)}")
