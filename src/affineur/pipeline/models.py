"""From what a user types for a model to something that tags, by whatever engine runs it."""

from __future__ import annotations

import os
from pathlib import Path

from affineur.artifact import open_folder
from affineur.artifact.folder import folder_state
from affineur.engines.core.engine import Batched
from affineur.engines.core.facts import Facts
from affineur.engines.core.references import Reference
from affineur.errors import ModelError
from affineur.measure import Candidate
from affineur.runtime import EngineTagger

__all__ = [
    "Reference",
    "candidate",
    "facts",
    "load",
    "load_any",
    "load_to_serve",
    "model_digest",
    "model_name",
]


def model_name(reference: str | os.PathLike[str]) -> str:
    """Return a short name for a model as the user typed it."""
    return Reference.parse(reference).name


def load(
    reference: str | os.PathLike[str], device: str = "cpu", *, threads: int | None = None
) -> EngineTagger:
    """Load a model of ours, ready to ``predict``, ``predict_batch`` and be scored.

    Args:
        reference: A folder, a Hub id, ``sample`` or ``sample-int8``, or one of these after the prefix of an
            engine.
        device: A torch device; an exported graph runs on the CPU.
        threads: Threads of the engine; ``None`` for one per usable processor.

    Raises:
        ModelError: If it is not a usable model, does not prove itself on this CPU, or can only be measured.
        ParameterError: If an exported graph is asked to run elsewhere.
        TransferError: If it had to come from the Hub and did not.
    """
    return _load(Reference.parse(reference), device, threads)


def load_to_serve(reference: str, *, threads: int | None = None) -> tuple[EngineTagger, Path]:
    """Load a model to serve, and say where its folder is: the very one that was loaded.

    A symbolic link is followed once, before anything is read: it may be switched meanwhile.

    Args:
        reference: What :func:`load` takes.
        threads: Threads of the engine; ``None`` for one per usable processor.

    Raises:
        ModelError: As :func:`load`, and if the folder changes while it is loaded.
        TransferError: As :func:`load`.
    """
    typed = Reference.parse(reference)
    path = typed.folder().resolve()
    before = folder_state(path)
    tagger = _load(Reference(typed.prefix, str(path)), "cpu", threads)
    open_folder(path).digest()  # what is told of it later is what was read now
    if folder_state(path) != before:
        raise ModelError(f"{path} has changed while it was loaded; load it again")
    return tagger, path


def _load(parsed: Reference, device: str, threads: int | None) -> EngineTagger:
    if parsed.peer:
        raise parsed.not_a_model()
    tagger = parsed.load(device=device, threads=threads)
    if not isinstance(tagger, EngineTagger):
        raise parsed.not_a_model()
    return tagger


def load_any(
    reference: str | os.PathLike[str], device: str = "cpu", *, threads: int | None = None
) -> Batched:
    """Load a model of ours or a peer, to be scored and timed.

    Args:
        reference: What :func:`load` takes, or what else an engine's prefix allows, such as ``spacy:`` and a
            pipeline.
        device: A torch device.
        threads: Threads of the engine; ``None`` for one per usable processor.

    Raises:
        ModelError: If it is not a usable model.
        TransferError: If it had to come from the Hub and did not.
        MissingExtraError: If a peer's library is not installed.
    """
    return Reference.parse(reference).load(device=device, threads=threads)


def facts(reference: str | os.PathLike[str]) -> Facts:
    """Say what is known of a model without running it.

    A model quantized in memory keeps the sparsity of the folder it came from; its size is 0.
    """
    parsed = Reference.parse(reference)
    return parsed.engine.facts(parsed)


def candidate(
    reference: str | os.PathLike[str],
    device: str = "cpu",
    name: str | None = None,
    *,
    threads: int | None = None,
) -> Candidate:
    """Load a model to compare, with what its folder says of it."""
    parsed = Reference.parse(reference)
    tagger = parsed.load(device=device, threads=threads)
    known = parsed.engine.facts(parsed, tagger)
    return Candidate(
        name or parsed.name,
        tagger,
        known.layers,
        known.sparsity,
        known.size_bytes,
        known.parameters,
    )


def model_digest(reference: str | os.PathLike[str]) -> str:
    """Digest of what decides a model's tags: the folder behind a reference, and how it is run."""
    parsed = Reference.parse(reference)
    return parsed.engine.digest(parsed)
