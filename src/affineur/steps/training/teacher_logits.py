"""What a teacher makes of each word, computed once and kept on disk by teacher and data digest.

Its logits are tiny for a handful of labels (five labels: 20 bytes a word); its last hidden states take two
bytes a number (384 wide: 768 bytes a word). Every epoch, student and sweep point reuses them, and a mention
that is put elsewhere takes them along. An interrupted computation goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch

from affineur.artifact import in_turn
from affineur.engines.support.torch_tagger import TorchTagger
from affineur.entities import Corpus, chunks, with_prefix
from affineur.errors import ModelError
from affineur.progress import report
from affineur.runtime import Logits

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_CHUNK = 512


def teacher_logits(
    teacher: TorchTagger,
    teacher_digest: str,
    corpus: Corpus,
    labels: tuple[str, ...],
    cache: Path,
    precision: str = "fp32",
) -> npt.NDArray[np.float32]:
    """Return the teacher's logits for every word of a corpus.

    Args:
        teacher: The teacher.
        teacher_digest: Digest of its folder.
        corpus: The sentences.
        labels: Labels of the student; the columns are put in their order.
        cache: Folder to keep them in.
        precision: ``bf16`` multiplies matrices under autocast, as training does then.

    Returns:
        Memory-mapped array of shape ``(words, labels)``; a word the teacher never saw is all NaN.

    Raises:
        ModelError: If the teacher does not have the student's labels.
    """
    order = _columns(teacher.labels, labels)
    width = len(teacher.labels)
    logits = _kept(teacher, f"1 {teacher_digest}", corpus, cache, precision, width, np.dtype(np.float32))
    return logits if order == list(range(width)) else logits[:, order]


def teacher_hidden(
    teacher: TorchTagger, teacher_digest: str, corpus: Corpus, cache: Path, precision: str = "fp32"
) -> npt.NDArray[np.float16]:
    """Return the teacher's last hidden state at the first piece of every word of a corpus.

    Args:
        teacher: The teacher.
        teacher_digest: Digest of its folder.
        corpus: The sentences.
        cache: Folder to keep them in.
        precision: As in :func:`teacher_logits`.

    Returns:
        Memory-mapped array of shape ``(words, hidden size)``; a word the teacher never saw is all NaN.
    """
    seen = _HiddenStates(teacher)
    width = len(seen.labels)
    return _kept(seen, f"hidden {teacher_digest}", corpus, cache, precision, width, np.dtype(np.float16))


class _HiddenStates(TorchTagger):
    """Gives, where a tagger gives logits, the numbers of the last hidden state."""

    def __init__(self, teacher: TorchTagger) -> None:
        width = int(cast("PreTrainedModel", teacher.model).config.hidden_size)
        super().__init__(teacher.model, teacher.encoder, [str(i) for i in range(width)], teacher.budget)

    def forward(self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Logits:
        """Compute hidden states of shape ``(sequences, longest, hidden size)``."""
        return self._numbers(self._output(ids, mask, output_hidden_states=True).hidden_states[-1])


def _kept(
    tagger: TorchTagger,
    known: str,
    corpus: Corpus,
    cache: Path,
    precision: str,
    width: int,
    kind: np.dtype[Any],
) -> npt.NDArray[Any]:
    """Open what a tagger makes of each word of a corpus, computed first where it is not kept yet."""
    folder = cache / "logits"
    folder.mkdir(parents=True, exist_ok=True)
    known = f"{known} {corpus.digest}" + (f" {precision}" if precision != "fp32" else "")
    name = hashlib.sha256(known.encode()).hexdigest() + f".f{kind.itemsize}"
    path, size = folder / name, corpus.words * width * kind.itemsize
    if not path.exists() or path.stat().st_size != size:
        device = next(tagger.model.parameters()).device.type
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            _compute(tagger, corpus, path, width, kind)
    return np.memmap(path, dtype=kind, mode="r", shape=(corpus.words, width))


def _columns(teacher: tuple[str, ...], student: tuple[str, ...]) -> list[int]:
    have = [with_prefix(label) for label in teacher]
    wanted = [with_prefix(label) for label in student]
    if sorted(have) != sorted(wanted):
        raise ModelError(
            f"the teacher's labels are {', '.join(teacher)}, the student's {', '.join(student)}; "
            "soft labels need the same set"
        )
    if have == wanted:
        return list(range(len(have)))
    return [have.index(label) for label in wanted]


def _compute(teacher: TorchTagger, corpus: Corpus, path: Path, width: int, kind: np.dtype[Any]) -> None:
    part, row = path.with_suffix(".part"), width * kind.itemsize
    what = (
        "teacher logits" if kind.itemsize == 4 else f"teacher's hidden states ({corpus.words * row:,} bytes)"
    )
    with in_turn(path), part.open("ab") as file:  # the second of two runs that want the same finds it done
        if path.exists() and path.stat().st_size == corpus.words * row:
            part.unlink(missing_ok=True)
            return
        rows_there = part.stat().st_size // row
        rows = done = 0
        for chunk in chunks(iter(corpus), _CHUNK):
            # Only whole chunks are kept: batches, and so the last bits, are those of an undisturbed run.
            words = sum(len(s.words) for s in chunk)
            if rows + words > rows_there:
                file.truncate(rows * row)
                for logits in teacher.logits([s.words for s in chunk]):
                    file.write(logits.astype(kind).tobytes())
                file.flush()
                rows_there = rows + words
            rows += words
            done += len(chunk)
            report(what, done, len(corpus))
        os.fsync(file.fileno())
        part.replace(path)
