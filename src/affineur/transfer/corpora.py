"""From what a user types to labeled text, split by split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from affineur.entities import Corpus
from affineur.errors import DataError, ParameterError, did_you_mean
from affineur.progress import report
from affineur.transfer.formats.core.names import SPLITS
from affineur.transfer.options import DataOptions
from affineur.transfer.places.core.place import shown
from affineur.transfer.sources import WHOLE, Open, find_sources


@dataclass(frozen=True, slots=True)
class Splits:
    """What a corpus is divided into; a split that is not there is ``None``.

    Args:
        train: What is trained on.
        dev: What is decided on.
        test: What is reported.
        name: What to call the whole in messages.
    """

    train: Corpus | None
    dev: Corpus | None
    test: Corpus | None
    name: str = "data"

    def get(self, name: str) -> Corpus:
        """Return a split that has to be there.

        Args:
            name: ``train``, ``dev`` or ``test``.

        Raises:
            DataError: If it is not there.
            ParameterError: If there is no split of that name.
        """
        _check_split(name)
        corpora: dict[str, Corpus | None] = {split: getattr(self, split) for split in SPLITS}
        corpus = corpora[name]
        if corpus is None:
            raise _missing(name, (split for split, found in corpora.items() if found is not None), self.name)
        return corpus


_DEFAULT = DataOptions()


def load_splits(reference: str | Path, options: DataOptions = _DEFAULT) -> Splits:
    """Open everything a reference has; a lone file is train.

    Where there is no dev, a share of train is held out for it, and reported.

    Args:
        reference: A CoNLL, WikiNER, JSON lines or Parquet file; a folder with ``train/dev/test`` of those, or
            of a data set, or made by ``save_to_disk``; or the id of a data set of the Hub, after ``hub:``
            where a folder has its name.
        options: How to read it.

    Raises:
        DataError: If it is not there, cannot be read, breaks its scheme, or lacks a type that the label map
            names.
        TransferError: If the Hub does not give it.
        MissingExtraError: If reading it takes a package that is not installed.
    """
    sources = find_sources(reference, options)
    if WHOLE in sources:
        sources = {"train": sources[WHOLE]}
    return _load(shown(str(reference)), sources, SPLITS, options)


def load_corpus(reference: str | Path, split: str = "test", options: DataOptions = _DEFAULT) -> Corpus:
    """Open one split, reading no other; a file is itself, whatever split is asked for.

    Args:
        reference: As for :func:`load_splits`.
        split: ``train``, ``dev`` or ``test``.
        options: How to read it.

    Raises:
        DataError: As for :func:`load_splits`, and if there is no such split.
        ParameterError: If ``split`` is no split's name.
        TransferError: If the Hub does not give it.
        MissingExtraError: If reading it takes a package that is not installed.
    """
    _check_split(split)
    sources = find_sources(reference, options)
    if WHOLE in sources:
        sources, options = {split: sources[WHOLE]}, replace(options, dev_share=0.0)
    splits = _load(shown(str(reference)), sources, (split,), options)
    corpus: Corpus | None = getattr(splits, split)
    if corpus is None:
        raise _missing(split, sources, shown(str(reference)))
    return corpus


def _load(name: str, sources: dict[str, Open], wanted: Iterable[str], options: DataOptions) -> Splits:
    wanted = set(wanted)
    hold_out = "dev" not in sources and options.dev_share > 0 and bool(wanted & {"train", "dev"})
    if hold_out:
        wanted.add("train")
    opened = {split: source() for split, source in sources.items() if split in wanted}
    for corpus in opened.values():
        for note in corpus.notes:
            report(f"{shown(corpus.name)}: {note}")
    corpora = _renamed(name, opened, sources, options.label_map)
    if hold_out and "train" in corpora and len(corpora["train"]) > 1:
        train = corpora["train"]
        every = min(round(1 / options.dev_share), len(train))
        corpora["train"], corpora["dev"] = train.split(every)
        share = f"one sentence in {every} of train is held out for it ({len(corpora['dev'])} of {len(train)})"
        report(f"{name} has no dev: {share}")
    return Splits(corpora.get("train"), corpora.get("dev"), corpora.get("test"), name)


def _renamed(
    name: str, corpora: dict[str, Corpus], sources: dict[str, Open], label_map: Mapping[str, str] | None
) -> dict[str, Corpus]:
    """Apply to each split the part of the label map it has types for; some split must have each of them."""
    if not label_map:
        return corpora
    known = {kind for corpus in corpora.values() for kind in corpus.types}
    for split, opened in sources.items():
        if split not in corpora and set(label_map) - known:
            known.update(opened().types)
    if unknown := sorted(set(label_map) - known):
        types = ", ".join(sorted(known)) + did_you_mean(unknown[0], known)
        raise DataError(
            f"the label map names {', '.join(unknown)}, but the types here are {types}",
            name,
            parameter="label_map",
        )
    return {split: _with_types(corpus, label_map) for split, corpus in corpora.items()}


def _with_types(corpus: Corpus, label_map: Mapping[str, str]) -> Corpus:
    own = {old: new for old, new in label_map.items() if old in corpus.types}
    return corpus.with_types(own) if own else corpus


def _check_split(name: str) -> None:
    if name not in SPLITS:
        raise ParameterError(
            f"no split '{name}', expected one of {', '.join(SPLITS)}{did_you_mean(name, SPLITS)}", "split"
        )


def _missing(name: str, found: Iterable[str], where: str) -> DataError:
    return DataError(
        f"there is no {name} split (found: {', '.join(found) or 'none'}); add {name}.conll, or name a file",
        where,
    )
