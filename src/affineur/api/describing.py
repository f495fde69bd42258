"""What labeled text is taken for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from affineur.api.data import Data, corpus_of, splits_of
from affineur.entities import Corpus
from affineur.measure.labeled import LabeledTexts
from affineur.transfer import DataOptions, Splits


def describe_data(
    data: Data, other: Data | None = None, *, options: DataOptions | None = None
) -> LabeledTexts:
    """Say what labeled text is taken for, what it holds, and what looks wrong in it.

    Args:
        data: A reference, a corpus, or splits; of a folder every split is described.
        other: Other data, whose way to label is compared with it; of several splits, train of each.
        options: How references are read.

    Raises:
        DataError: If it cannot be read.
        ParameterError: If it is neither a reference, a corpus nor splits.
    """
    options = options or DataOptions()
    parts = _parts(data, options)
    if other is None:
        return LabeledTexts.of(parts)
    others = _parts(other, options)
    first, last = next(iter(parts.values())), next(iter(others.values()))
    return LabeledTexts.of({first.name: first, last.name: last}, compare=True)


def _parts(data: Data, options: DataOptions) -> dict[str, Corpus]:
    if isinstance(data, Corpus):
        return {data.name: data}
    if not isinstance(data, Splits) and Path(data).is_file():
        corpus = corpus_of(data, "test", options)
        return {corpus.name: corpus}
    splits = splits_of(data, replace(options, dev_share=0.0))
    found = {"train": splits.train, "dev": splits.dev, "test": splits.test}
    return {name: corpus for name, corpus in found.items() if corpus is not None}
