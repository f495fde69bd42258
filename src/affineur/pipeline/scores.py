"""Scores kept between runs: integer counts per sentence, by digest of model and data."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from affineur.artifact import disk_errors
from affineur.entities import Corpus, Scheme, Tagger
from affineur.measure import Evaluation, evaluate


class ScoreBook:
    """A folder of evaluations.

    Args:
        folder: Where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def evaluate(
        self,
        digest: str,
        tagger: Callable[[], Tagger],
        corpus: Corpus,
        types: Sequence[str] | None = None,
        scheme: Scheme | None = None,
    ) -> Evaluation:
        """Return the evaluation of a model on a corpus, computing it at most once.

        Args:
            digest: Digest of the model.
            tagger: Loads it, when it is needed.
            corpus: The corpus.
            types: The types scored, or ``None`` for all.
            scheme: A coarser scheme to score in (see :func:`~affineur.measure.evaluate`).

        Raises:
            AffineurError: If the scores cannot be kept; the line names the folder of scores, not what they
                are for.
        """
        decides = [
            "3",
            digest,
            corpus.digest,
            corpus.has_documents,
            None if types is None else sorted(types),
            scheme and str(scheme),
        ]
        key = hashlib.sha256(json.dumps(decides).encode()).hexdigest()
        path = self._folder / f"{key}.npz"
        with contextlib.suppress(
            OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile
        ):  # absent or damaged: scored again
            return _read(path, corpus)
        evaluation = evaluate(tagger(), corpus, types=types, scheme=scheme)
        with disk_errors(self._folder):
            self._keep(path, evaluation)
        return evaluation

    def _keep(self, path: Path, evaluation: Evaluation) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                np.savez_compressed(
                    file,
                    counts=evaluation.counts,
                    documents=np.array([]) if evaluation.documents is None else evaluation.documents,
                    totals=np.array(
                        [
                            evaluation.words,
                            evaluation.words_right,
                            evaluation.words_right_repaired,
                            evaluation.merged,
                            evaluation.repaired,
                        ]
                    ),
                    outcomes=evaluation.outcomes,
                    names=np.array(
                        [*map(str, (evaluation.scheme, *evaluation.tag_schemes)), *evaluation.types]
                    ),
                )
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _read(path: Path, corpus: Corpus) -> Evaluation:
    with np.load(path, allow_pickle=False) as kept:
        words, right, right_repaired, merged, repaired = (int(n) for n in kept["totals"])
        scheme, of_model, of_data, *types = (str(n) for n in kept["names"])
        documents = kept["documents"]
        return Evaluation(
            tuple(types),
            kept["counts"],
            documents if documents.size else None,
            words,
            right,
            Scheme(scheme),
            merged,
            repaired,
            corpus.name,
            corpus.digest,
            right_repaired,
            kept["outcomes"],
            (Scheme(of_model), Scheme(of_data)),
        )
