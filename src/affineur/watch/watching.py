"""Fit a reference on labeled text, and estimate F1 without labels: what Python and the command line call."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from affineur import sample
from affineur.artifact import SIGNATURE
from affineur.artifact.writing import resolved
from affineur.engines.core.references import Reference as ModelReference
from affineur.entities import Corpus, numbered_lines, read_words, refuse_nul, split_sentences
from affineur.errors import ModelError, ParameterError
from affineur.progress import report
from affineur.runtime import EngineTagger
from affineur.runtime.given import given_texts
from affineur.transfer import DataOptions, Splits, load_corpus
from affineur.transfer.formats.core.marked import json_texts
from affineur.transfer.formats.core.raw import kind_of
from affineur.transfer.sources import text_file
from affineur.watch.estimating import Estimate
from affineur.watch.estimating import estimate as estimate_signals
from affineur.watch.fitting import fit_reference
from affineur.watch.reference import Reference, read_reference, reference_path
from affineur.watch.signals import Reader

_DEFAULT = DataOptions()


def fit(
    model: str | os.PathLike[str],
    data: str | os.PathLike[str] | Corpus | Splits,
    *,
    types: Sequence[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    options: DataOptions = _DEFAULT,
    device: str = "cpu",
    threads: int | None = None,
) -> Reference:
    """Learn from labeled text what a model's confidence is worth, and write that beside the model.

    Args:
        model: A folder, a reference, or a model.
        data: The reference set: text like the one to come, labeled by the same rules, that the model was not
            trained on. Of a reference with several splits it is dev.
        types: Types to watch; ``None`` for all that the data has.
        out: The file to write; ``None`` for ``watch.json`` in the model's folder.
        options: How the data is read.
        device: A torch device.
        threads: Threads of the engine; ``None`` for one per usable processor.

    Raises:
        DataError: If the data cannot be used, or has too few mentions.
        ModelError: If the model cannot be used.
        ParameterError: If a value is impossible, or the model's folder is not ours to write to.
        AffineurError: If the file cannot be written.
    """
    watched = _Watched.of(model)
    path = Path(out) if out is not None else watched.beside()
    if path.is_dir():
        raise ParameterError(f"{path} is a folder, expected a file, such as {reference_path(path)}", "out")
    if isinstance(data, Splits):
        corpus = data.get("dev")
    else:
        corpus = data if isinstance(data, Corpus) else load_corpus(os.fspath(data), "dev", options)
    found = fit_reference(
        watched.load(device, threads), corpus, model=watched.digest(), model_name=watched.name, types=types
    )
    found.write(path)
    report(f"wrote {path}")
    if (path.parent / SIGNATURE).exists():
        report(f"{path.parent / SIGNATURE} does not cover {path.name}; sign the folder again")
    return found


def estimate(
    model: str | os.PathLike[str],
    texts: str | os.PathLike[str] | Iterable[str],
    *,
    types: Sequence[str] | None = None,
    reference: str | os.PathLike[str] | None = None,
    format: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
) -> Estimate:
    """Estimate the F1 of a model on text without labels.

    Args:
        model: A folder, a reference, or a model, with a reference file that :func:`fit` made.
        texts: A file, here or at a place (``s3://…``, ``https://…``): one text per line (``.txt``), one
            text per line under ``text`` (``.jsonl``), or words in a column (CoNLL), whose tags are not
            looked at. Or texts.
        types: Types to estimate; ``None`` for all of the reference set.
        reference: The reference file; ``None`` for ``watch.json`` in the model's folder.
        format: What the file is, where that is not to be found out: ``text``, ``json`` or ``conll``.
        device: A torch device.
        threads: Threads of the engine; ``None`` for one per usable processor.

    Raises:
        DataError: If the file or the reference file cannot be read.
        ModelError: If the model cannot be used, or the reference file was made of another.
        ParameterError: If the reference lacks a type.
    """
    watched = _Watched.of(model)
    known = read_reference(
        reference_path(watched.folder) if reference is None else Path(reference), watched.digest()
    )
    if types is not None and (unknown := [kind for kind in types if kind not in known.types]):
        raise ParameterError(
            f"no type {', '.join(unknown)}; the reference set has {', '.join(known.types)}", "types"
        )
    if isinstance(texts, str | os.PathLike):
        name = os.fspath(texts)
        with text_file(name) as path:
            kind = kind_of(path, format)
            tagger = watched.load(device, threads)
            cut = list(_read(path, kind, tagger))
    else:
        name, tagger = "the texts", watched.load(device, threads)
        cut = [part for each in enumerate(given_texts(texts)) for part in _cut(*each, tagger)]
    sentences = [words for _, words in cut]
    report(f"reading {len(sentences):,} sentences")
    signals, _ = Reader(tagger, known.scheme, known.types).read(sentences)
    documents = len({number for number, _ in cut})
    return estimate_signals(known, signals, sentences, types=types, documents=documents, text=name)


@dataclass(frozen=True)
class _Watched:
    """A model that is watched: how it is run, and where it is."""

    reference: ModelReference
    folder: Path

    @classmethod
    def of(cls, model: str | os.PathLike[str]) -> _Watched:
        reference = ModelReference.parse(model)
        return cls(reference, reference.folder())

    @property
    def name(self) -> str:
        return self.reference.name

    def digest(self) -> str:
        """Return what tells it from any other: its weights, and what runs them where that is asked for."""
        return self.reference.prefix + self.reference.open().digest()

    def load(self, device: str, threads: int | None) -> EngineTagger:
        tagger = self.reference.load(device=device, threads=threads)
        if not isinstance(tagger, EngineTagger):
            raise ModelError(f"{self.name} gives no probabilities of words, and cannot be watched")
        return tagger

    def beside(self) -> Path:
        """Return where its reference file is written.

        Raises:
            ParameterError: If that folder is not ours to write to.
        """
        inside = resolved(self.folder)
        installed = sample.is_packaged(inside) or "site-packages" in inside.parts
        if installed or inside.parent.name == "snapshots":
            raise ParameterError(
                f"{self.name} lies where Affineur or the Hub's cache keeps it, which is not changed; name a"
                " file to write (out), and name it again when you estimate",
                "out",
            )
        return reference_path(self.folder)


def _read(path: Path, kind: str, tagger: EngineTagger) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield the words of each sentence of a file, after the number of its document."""
    number = 0
    if kind == "conll":
        named = False
        for begun, words in read_words(path):
            named = named or bool(begun)
            number += begun if named else 1
            yield number, words
        return
    texts = (text for _, text in json_texts(path)) if kind == "json" else _lines(path)
    for number, text in enumerate(texts):
        yield from _cut(number, text, tagger)


def _cut(number: int, text: str, tagger: EngineTagger) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield the words of each sentence of a text, as the model is shown them."""
    for begin, end in split_sentences(text):
        part = text[begin:end]
        if words := [part[a:b] for a, b in tagger.encoder.split(part)]:
            yield number, words


def _lines(path: Path) -> Iterator[str]:
    for number, line in numbered_lines(path):
        refuse_nul(line, path, number)
        yield line.rstrip("\r\n")
