"""From what a user types for a model to something that tags.

A folder, a Hub id, ``sample`` (the embedded teacher); ``torch-int8:`` and one of these (the guide's §3B, in
memory); ``guide:`` and one of these (the guide's §6: unsorted batches of 32, torch fp32); ``spacy:`` and a
pipeline's name. An exported graph is run by its own engine, without torch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from affineur.artifact import describe, open_folder
from affineur.engines.spacy import SpacyTagger
from affineur.entities import Tagger
from affineur.errors import ModelError, ParameterError
from affineur.measure import Candidate, Facts
from affineur.runtime import EngineTagger, FixedBatches
from affineur.transfer import GUIDE, INT8, SPACY, resolve_model

_GUIDE_BATCH = 32


class Batched(Tagger, Protocol):
    """A tagger with a way of its own to make batches, which can be put aside."""

    def whole(self) -> Tagger:
        """Return the same model as a tagger that takes what it is given as one batch."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What a user typed for a model, taken apart: a prefix that says how to run it, or none, and the rest."""

    prefix: str
    rest: str

    @classmethod
    def parse(cls, text: str | Path) -> Reference:
        """Take apart what a user typed."""
        typed = str(text)
        prefix = next((p for p in (INT8, GUIDE, SPACY) if typed.startswith(p)), "")
        return cls(prefix, typed.removeprefix(prefix))

    @property
    def kind(self) -> str:
        """``transformers``, ``torch-int8``, ``guide`` or ``spacy``."""
        return self.prefix.removesuffix(":") or "transformers"

    @property
    def name(self) -> str:
        """A short name: the last part of a path, a Hub id whole, the prefix before it."""
        return self.prefix + (Path(self.rest).resolve().name if Path(self.rest).is_dir() else self.rest)

    def folder(self) -> Path:
        """Return the folder of the model, fetched from the Hub if need be.

        Raises:
            ModelError: If it is a peer, which has none.
            TransferError: If it had to come from the Hub and did not.
        """
        return resolve_model(self.prefix + self.rest if self.prefix == SPACY else self.rest)


def model_name(reference: str | Path) -> str:
    """Return a short name for a model as the user typed it."""
    return Reference.parse(reference).name


def load(reference: str | Path, device: str = "cpu", *, threads: int | None = None) -> EngineTagger:
    """Load a model of ours, ready to ``predict``, ``predict_batch`` and be scored.

    Args:
        reference: A folder, a Hub id, ``sample`` for the embedded teacher, or ``torch-int8:`` and one of
            these.
        device: A torch device; an exported graph runs on the CPU.
        threads: Threads of the engine; ``None`` for one per usable processor.

    Raises:
        ModelError: If it is not a usable model, or an exported graph that does not prove itself on this CPU.
        ParameterError: If an exported graph is asked to run elsewhere.
        TransferError: If it had to come from the Hub and did not.
    """
    parsed = Reference.parse(reference)
    folder = open_folder(parsed.folder())
    if folder.kind not in ("onnx", "openvino"):
        from affineur.engines.torch import load_tagger

        return load_tagger(folder.path, device, parsed.prefix == INT8, threads)
    if parsed.prefix:
        raise ModelError(
            f"{reference}: {folder.path} is an exported graph ({folder.kind}), which is run as it is; leave {parsed.prefix} out"
        )
    if device not in ("cpu", "auto"):
        raise ParameterError(
            f"--device {device}: {folder.path} is an exported graph ({folder.kind}), which runs on the CPU here"
        )
    from affineur.engines.exported import load_exported

    return load_exported(folder, threads)


def load_any(reference: str | Path, device: str = "cpu", *, threads: int | None = None) -> Batched:
    """Load a model of ours or a peer, to be scored and timed.

    Args:
        reference: What :func:`load` takes, or ``guide:`` and one of these, or ``spacy:`` and a pipeline.
        device: A torch device.
        threads: Threads of the engine; ``None`` for one per usable processor.

    Raises:
        ModelError: If it is not a usable model.
        TransferError: If it had to come from the Hub and did not.
        MissingExtraError: If a peer's library is not installed.
    """
    parsed = Reference.parse(reference)
    if parsed.prefix == SPACY:
        return SpacyTagger(parsed.rest)
    tagger = load(reference, device, threads=threads)
    return FixedBatches(tagger.whole(), _GUIDE_BATCH) if parsed.prefix == GUIDE else tagger


def facts(reference: str | Path, tagger: Tagger | None = None) -> Facts:
    """Say what is known of a model without running it.

    A model quantized in memory keeps the sparsity of the folder it came from; its size is its serialized
    bytes where ``tagger`` is given, and 0 otherwise.
    """
    parsed = Reference.parse(reference)
    if parsed.prefix == SPACY:
        peer = tagger if isinstance(tagger, SpacyTagger) else SpacyTagger(parsed.rest)
        return Facts(parsed.kind, 0, 0.0, peer.size_bytes, peer.parameters, None)
    info = describe(parsed.folder())
    if parsed.prefix == INT8:
        from affineur.engines.torch import TorchTagger, serialized_size

        size = serialized_size(tagger.model) if isinstance(tagger, TorchTagger) else 0
        return Facts(parsed.kind, info.folder.layers, info.sparsity, size, info.parameters, info.nonzero)
    return Facts(
        parsed.kind if parsed.prefix else info.folder.kind,
        info.folder.layers,
        info.sparsity,
        info.folder.size_bytes,
        info.parameters,
        info.nonzero,
        info.parts,
    )


def candidate(reference: str | Path, device: str = "cpu", name: str | None = None) -> Candidate:
    """Load a model to compare, with what its folder says of it."""
    tagger = load_any(reference, device)
    known = facts(reference, tagger)
    return Candidate(
        name or model_name(reference),
        tagger,
        known.layers,
        known.sparsity,
        known.size_bytes,
        known.parameters,
    )


def model_digest(reference: str | Path) -> str:
    """Digest of what decides a model's tags: the folder behind a reference, and how it is run."""
    parsed = Reference.parse(reference)
    if parsed.prefix == SPACY:
        import importlib.metadata

        folder = Path(parsed.rest)
        try:
            versions = [importlib.metadata.version("spacy")]
            if folder.is_dir():
                versions += [
                    hashlib.sha256(p.read_bytes()).hexdigest()
                    for p in sorted(folder.rglob("*"))
                    if p.is_file()
                ]
            else:
                versions.append(importlib.metadata.version(parsed.rest))
        except importlib.metadata.PackageNotFoundError as error:
            raise ModelError(
                f"{parsed.name} cannot be told from another: no package {error.name} is installed; type: pip install {error.name}"
            ) from None
        return f"{parsed.prefix}{parsed.rest} {' '.join(versions)}"
    return parsed.prefix + open_folder(parsed.folder()).digest()
