"""spacy: the entity recognizer of a spaCy pipeline, a peer to measure against."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import sys
from pathlib import Path

from affineur.engines.core.engine import Batched, Engine
from affineur.engines.core.facts import Facts
from affineur.errors import ModelError


class Spacy(Engine):
    """An installed spaCy pipeline, or the folder of one."""

    name = "spacy"
    summary = "the entity recognizer of a spaCy pipeline, to measure against"
    kinds = ()
    prefixed = True
    peer = True

    def preload(self, rest: str) -> None:
        """Import spaCy, without the torch that a pipeline of spaCy's own networks does not need."""
        from affineur.engines.support.spacy import needs_torch, pipeline_folder

        with contextlib.suppress(OSError, ValueError, ImportError):  # said better when it is loaded
            # As where it is not installed: an import of it fails, and its 0.2 GB are not the peer's.
            if not needs_torch(pipeline_folder(rest)):
                sys.modules["torch"] = None  # type: ignore[assignment]
            import spacy  # noqa: F401

    def load(self, rest: str, *, device: str = "cpu", threads: int | None = None) -> Batched:
        """Load what the recognizer needs of a pipeline."""
        from affineur.engines.support.spacy import SpacyTagger

        return SpacyTagger(rest)

    def folder(self, rest: str) -> Path:
        """Return the folder of a pipeline.

        Raises:
            ModuleNotFoundError: If it is not installed.
        """
        from affineur.engines.support.spacy import pipeline_folder

        return pipeline_folder(rest)

    def facts(self, rest: str, tagger: object = None) -> Facts:
        """Say what is known of a pipeline."""
        from affineur.engines.support.spacy import SpacyTagger

        peer = tagger if isinstance(tagger, SpacyTagger) else SpacyTagger(rest)
        return Facts(self.name, 0, 0.0, peer.size_bytes, peer.parameters, None)

    def digest(self, rest: str) -> str:
        """Digest the versions of spaCy and the pipeline, or its files where it is a folder.

        Raises:
            ModelError: If it is not installed.
        """
        folder = Path(rest)
        try:
            versions = [importlib.metadata.version("spacy")]
            if folder.is_dir():
                files = sorted(path for path in folder.rglob("*") if path.is_file())
                versions += [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
            else:
                versions.append(importlib.metadata.version(rest))
        except importlib.metadata.PackageNotFoundError as error:
            raise ModelError(
                f"{self.prefix}{rest} cannot be told from another: no package {error.name} is installed; "
                f"type: pip install {error.name}"
            ) from None
        return f"{self.prefix}{rest} {' '.join(versions)}"


ENGINE = Spacy()
