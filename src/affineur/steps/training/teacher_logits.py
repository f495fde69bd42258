"""A teacher's word logits, computed once and kept on disk by teacher and data digest.

For a handful of labels they are tiny (five labels: 20 bytes a word), so every epoch, student and sweep point
reuses them. An interrupted computation goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from affineur.artifact import in_turn
from affineur.engines.support.torch_tagger import TorchTagger
from affineur.entities import Corpus, chunks, with_prefix
from affineur.errors import ModelError
from affineur.progress import report

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
    folder = cache / "logits"
    folder.mkdir(parents=True, exist_ok=True)
    known = f"1 {teacher_digest} {corpus.digest}" + (f" {precision}" if precision != "fp32" else "")
    path = folder / (hashlib.sha256(known.encode()).hexdigest() + ".f4")
    width = len(teacher.labels)
    if not path.exists() or path.stat().st_size != corpus.words * width * 4:
        device = next(teacher.model.parameters()).device.type
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            _compute(teacher, corpus, path, width)
    logits = np.memmap(path, dtype=np.float32, mode="r", shape=(corpus.words, width))
    return logits if order == list(range(width)) else logits[:, order]


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


def _compute(teacher: TorchTagger, corpus: Corpus, path: Path, width: int) -> None:
    part = path.with_suffix(".part")
    with in_turn(path), part.open("ab") as file:  # the second of two runs that want the same finds it done
        if path.exists() and path.stat().st_size == corpus.words * width * 4:
            part.unlink(missing_ok=True)
            return
        rows_there = part.stat().st_size // (4 * width)
        rows = done = 0
        for chunk in chunks(iter(corpus), _CHUNK):
            # Only whole chunks are kept: batches, and so the last bits, are those of an undisturbed run.
            words = sum(len(s.words) for s in chunk)
            if rows + words > rows_there:
                file.truncate(rows * 4 * width)
                for logits in teacher.logits([s.words for s in chunk]):
                    file.write(logits.tobytes())
                file.flush()
                rows_there = rows + words
            rows += words
            done += len(chunk)
            report("teacher logits", done, len(corpus))
        os.fsync(file.fileno())
        part.replace(path)
