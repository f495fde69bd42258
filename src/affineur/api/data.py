"""Data as people give it: by reference, as a corpus, or in splits."""

from __future__ import annotations

import os
from pathlib import Path

from affineur.entities import Corpus
from affineur.errors import ParameterError
from affineur.transfer import DataOptions, Splits, load_corpus, load_splits

#: Labeled text: a reference, one corpus, or a corpus in splits.
Data = str | os.PathLike[str] | Corpus | Splits

_DEFAULT = DataOptions()


def corpus_of(data: Data, split: str = "test", options: DataOptions = _DEFAULT) -> Corpus:
    """Return one split of some data; a corpus or a file is itself, whatever split is asked for.

    Args:
        data: The data.
        split: ``train``, ``dev`` or ``test``.
        options: How a reference is read.

    Raises:
        DataError: If it is not there, cannot be read, or has no such split.
        ParameterError: If it is none of these.
    """
    if isinstance(data, Corpus):
        return data
    if isinstance(data, Splits):
        return data.get(split)
    return load_corpus(_reference(data), split, options)


def splits_of(data: Data, options: DataOptions = _DEFAULT) -> Splits:
    """Return some data in splits; a lone corpus or file is train.

    Args:
        data: The data.
        options: How a reference is read.

    Raises:
        DataError: If it is not there or cannot be read.
        ParameterError: If it is none of these.
    """
    if isinstance(data, Splits):
        return data
    if isinstance(data, Corpus):
        return Splits(data, None, None, data.name)
    return load_splits(_reference(data), options)


def _reference(data: object) -> str | Path:
    if isinstance(data, str | os.PathLike):
        return os.fspath(data)
    raise ParameterError(
        f"data is a {type(data).__name__}, expected a reference such as 'sample' or a path, a Corpus, or"
        " Splits",
        "data",
    )
