"""spaCy: peers to measure against, by name or folder of a pipeline; torch is not imported for it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import sys
from pathlib import Path

from affineur.artifact import file_digest
from affineur.engines.core.engine import Batched, Engine
from affineur.engines.core.facts import Facts
from affineur.engines.core.references import Reference
from affineur.engines.support.spacy_tagger import SpacyTagger, needs_torch, pipeline_folder
from affineur.entities import Tagger
from affineur.errors import ModelError


class Spacy(Engine):
    """Entity recognizers of spaCy pipelines."""

    name = "spacy"
    summary = "a spaCy pipeline, to measure against"
    prefix = "spacy:"
    peer = "a spaCy pipeline"

    def files(self, reference: Reference) -> Path:
        """Return the folder of the pipeline."""
        return pipeline_folder(reference.rest)

    def preload(self, reference: Reference) -> None:
        """Import spaCy, and see to it that it leaves torch alone where the pipeline does not need it."""
        with contextlib.suppress(OSError, ValueError, ImportError):  # said better when it is loaded
            if not needs_torch(self.files(reference)):
                # an import of it fails then, as where it is not installed
                sys.modules["torch"] = None  # type: ignore[assignment]
            import spacy  # noqa: F401

    def load(self, reference: Reference, *, device: str = "cpu", threads: int | None = None) -> Batched:
        """Load a pipeline; its own kernels know one thread, only torch's take more."""
        tagger = SpacyTagger(reference.rest)
        torch = sys.modules.get("torch")
        if torch is not None and threads is not None and tagger.threads is None:
            torch.set_num_threads(threads)
        return tagger

    def facts(self, reference: Reference, tagger: Tagger | None = None) -> Facts:
        """Say what its folder and its networks tell."""
        peer = tagger if isinstance(tagger, SpacyTagger) else SpacyTagger(reference.rest)
        return Facts(self.name, 0, 0.0, peer.size_bytes, peer.parameters, None)

    def digest(self, reference: Reference) -> str:
        """Return versions, and the digests of the files of a folder.

        Raises:
            ModelError: If it is the name of a package that is not installed.
        """
        folder = Path(reference.rest)
        try:
            versions = [importlib.metadata.version("spacy")]
            if not folder.is_dir():
                versions.append(importlib.metadata.version(reference.rest))
        except importlib.metadata.PackageNotFoundError as error:
            raise ModelError(
                f"{reference.name} cannot be told from another: no package {error.name} is installed; "
                f"type: pip install {error.name}"
            ) from None
        if folder.is_dir():
            files = (path for path in sorted(folder.rglob("*")) if path.is_file())
            versions += [file_digest(path) for path in files]
        return f"{reference.prefix}{reference.rest} {' '.join(versions)}"


ENGINE = Spacy()
