"""From what a user types for a model to something that tags; see :mod:`affineur.engines.core.references`."""

from __future__ import annotations

import os

from affineur.engines.core.engine import Batched
from affineur.engines.core.facts import Facts
from affineur.engines.core.references import Reference
from affineur.errors import ModelError
from affineur.measure import Candidate
from affineur.runtime import EngineTagger

__all__ = ["Batched", "Reference", "candidate", "facts", "load", "load_any", "model_digest", "model_name"]

_Named = str | os.PathLike[str]


def model_name(reference: _Named) -> str:
    """Return a short name for a model as the user typed it."""
    return Reference.parse(reference).name


def load(reference: _Named, device: str = "cpu", *, threads: int | None = None) -> EngineTagger:
    """Load a model that takes texts, ready to be called and to be scored.

    Args:
        reference: A folder, a Hub id, ``sample``, or one of these after an engine that runs it.
        device: A torch device; an exported graph runs on the CPU.
        threads: Threads of the engine; ``None`` for one per usable processor.

    Raises:
        ModelError: If it is not a usable model, or an exported graph that does not prove itself on this CPU.
        ParameterError: If an exported graph is asked to run elsewhere.
        TransferError: If it had to come from elsewhere and did not.
    """
    tagger = load_any(reference, device, threads=threads)
    if not isinstance(tagger, EngineTagger):
        raise ModelError(
            f"{os.fspath(reference)} can be measured (evaluate, compare, benchmark, check), nothing else"
        )
    return tagger


def load_any(reference: _Named, device: str = "cpu", *, threads: int | None = None) -> Batched:
    """Load a model of ours or a peer, to be scored and timed.

    Args:
        reference: What :func:`load` takes, or an engine and a model of its own, such as ``spacy:NAME``.
        device: A torch device.
        threads: Threads of the engine; ``None`` for one per usable processor.

    Raises:
        ModelError: If it is not a usable model.
        TransferError: If it had to come from elsewhere and did not.
        MissingExtraError: If an engine's library is not installed.
    """
    return Reference.parse(reference).load(device=device, threads=threads)


def facts(reference: _Named, tagger: object = None) -> Facts:
    """Say what is known of a model without running it.

    Args:
        reference: What :func:`load_any` takes.
        tagger: It, loaded; gives the size of a model that is built in memory.
    """
    return Reference.parse(reference).facts(tagger)


def candidate(
    reference: _Named, device: str = "cpu", name: str | None = None, *, threads: int | None = None
) -> Candidate:
    """Load a model to compare, with what its folder says of it."""
    parsed = Reference.parse(reference)
    tagger = parsed.load(device=device, threads=threads)
    known = parsed.facts(tagger)
    return Candidate(
        name or parsed.name,
        tagger,
        known.layers,
        known.sparsity,
        known.size_bytes,
        known.parameters,
    )


def model_digest(reference: _Named) -> str:
    """Digest of what decides a model's tags: the folder behind a reference, and how it is run."""
    return Reference.parse(reference).digest()
