"""From what a user types for a model to something that tags: a folder, a Hub id, ``sample``, ``torch-int8:PATH``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from affineur.artifact import describe, open_folder
from affineur.compress import TorchTagger, load_tagger, serialized_size
from affineur.entities import Corpus
from affineur.measure import Candidate
from affineur.transfer import resolve_model

INT8 = "torch-int8:"
_MEMORY_SENTENCES = 128


def load(reference: str | Path, device: str = "cpu") -> TorchTagger:
    """Load a model, ready to ``predict``, ``predict_batch`` and be scored.

    Args:
        reference: A folder, a Hub id, ``sample`` for the embedded teacher, or ``torch-int8:`` and one of these.
        device: A torch device.

    Raises:
        ModelError: If it is not a usable model.
        TransferError: If it had to come from the Hub and did not.
    """
    text = str(reference)
    int8 = text.startswith(INT8)
    return load_tagger(resolve_model(text.removeprefix(INT8)), device, int8)


def candidate(reference: str | Path, device: str = "cpu", name: str | None = None) -> Candidate:
    """Load a model to compare, with what its folder says of it.

    A model quantized in memory keeps the sparsity of the folder it came from; its size is its serialized bytes.
    """
    text = str(reference)
    tagger = load(text, device)
    info = describe(resolve_model(text.removeprefix(INT8)))
    size = serialized_size(tagger.model) if text.startswith(INT8) else info.folder.size_bytes
    return Candidate(name or _short(text), tagger, info.folder.layers, info.sparsity, size, info.parameters)


def model_digest(reference: str | Path) -> str:
    """Digest of the folder behind a reference, marked where it is quantized in memory."""
    text = str(reference)
    prefix = INT8 if text.startswith(INT8) else ""
    return prefix + open_folder(resolve_model(text.removeprefix(INT8))).digest()


def peak_rss(reference: str | Path, corpus: Corpus, device: str = "cpu") -> int | None:
    """Peak resident memory, in bytes, of a fresh process that loads a model and tags up to 128 sentences with it.

    Returns:
        The bytes, or ``None`` where the system does not tell.
    """
    words = [list(s.words) for s in corpus.head(_MEMORY_SENTENCES)]
    process = subprocess.run(
        [sys.executable, "-m", "affineur.pipeline.fresh", str(reference), device],
        input=json.dumps(words),
        capture_output=True,
        text=True,
        check=False,
    )
    last = process.stdout.strip().splitlines()[-1:] or [""]
    return int(last[0]) if process.returncode == 0 and last[0].isdigit() and int(last[0]) else None


def _short(text: str) -> str:
    """Shorten a path to its last part; keep a Hub id and the prefix."""
    prefix = INT8 if text.startswith(INT8) else ""
    bare = text.removeprefix(INT8)
    return prefix + (Path(bare).resolve().name if Path(bare).is_dir() else bare)
