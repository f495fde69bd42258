"""Fitting a reference: a model is measured on labeled sentences, as they are and spoiled on purpose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

import numpy as np

from affineur.entities import Corpus, Mention, Scheme, Sentence, project, to_mentions
from affineur.errors import DataError, counted
from affineur.measure.evaluation import common_scheme, scored_types
from affineur.progress import report
from affineur.runtime import EngineTagger
from affineur.watch.calibration import FOLDS, METHODS, Logistic, cross_fitted, log_loss
from affineur.watch.corruptions import FAMILIES, Corruption
from affineur.watch.estimating import Expected, dispersion_of
from affineur.watch.features import Features
from affineur.watch.reference import Reference, Shift
from affineur.watch.signals import FloatArray, IntArray, Reader, Signals, Truth
from affineur.watch.style import Style

#: Mentions that a reference set needs: with fewer, a calibrator is no more than a guess.
FEWEST = 50
#: Sentences of each spoiled copy.
SPOILED = 300
#: How many times as far as the farthest spoiled copy the commonest words of some text may be, and the least.
_FARTHER, _NEAREST = 2.0, 0.015


def fit_reference(
    tagger: EngineTagger,
    corpus: Corpus,
    *,
    model: str,
    model_name: str,
    types: Sequence[str] | None = None,
    families: Mapping[str, Corruption] = FAMILIES,
    seed: int = 0,
) -> Reference:
    """Learn from labeled sentences what a model's confidence is worth.

    Args:
        tagger: The model.
        corpus: The reference set: labeled as what the model is to be judged by, and not trained on.
        model: Digest of the model.
        model_name: What to call it.
        types: Types to watch; ``None`` for all that the data has.
        families: Ways to spoil it.
        seed: Of the damage.

    Raises:
        DataError: If it has too few mentions, or types that the model does not know.
        ParameterError: If ``types`` names a type that neither knows.
    """
    reader = reader_for(tagger, corpus, types)
    sentences = list(corpus)
    report(f"reading {counted(len(sentences), 'sentence')} of {corpus.name}")
    signals, truth = reader.read([s.words for s in sentences], gold_of(sentences, corpus.scheme, reader))
    assert truth is not None
    fitted = calibrate(reader, signals, truth, sentences, model=model, model_name=model_name, corpus=corpus)
    spoiled: dict[str, Shift] = {}
    for number, (name, spoil) in enumerate(families.items(), start=1):
        report(f"reading {corpus.name} spoiled: {name}", number, len(families))
        chosen = corpus.spread(SPOILED)
        worse = spoiled_copy(chosen, spoil, Random(f"{seed} {name}"))
        words = [s.words for s in worse]
        signs, came = reader.read(words, gold_of(worse, corpus.scheme, reader))
        assert came is not None
        without, _ = fitted.style.count([s.words for s in chosen])
        spoiled[name] = shift_of(fitted, signs, came, words, without)
    return with_shifts(fitted, spoiled)


def reader_for(tagger: EngineTagger, corpus: Corpus, types: Sequence[str] | None) -> Reader:
    """Return what reads signals in the scheme and the types of a reference set.

    Raises:
        DataError: If the corpus has no labels, or types that the model does not know.
        ParameterError: If ``types`` names a type that neither knows.
    """
    known = Reader(tagger, Scheme.IO).types
    if not corpus.types:
        raise DataError("no word here has a label, expected labeled text", corpus.name)
    scored = scored_types(known, corpus, types)
    kept = [kind for kind in scored if kind in corpus.types]
    if types is not None and (absent := [kind for kind in scored if kind not in kept]):
        raise DataError(f"no mention here is of type {', '.join(absent)}", corpus.name, parameter="types")
    return Reader(tagger, common_scheme([tagger], corpus), kept)


def gold_of(sentences: Sequence[Sentence], scheme: Scheme, reader: Reader) -> list[list[Mention]]:
    """Return the gold mentions of sentences as a reader compares them."""
    return [
        [
            mention
            for mention in to_mentions(project(sentence.tags, scheme, reader.scheme), reader.scheme)
            if mention.type in reader.types
        ]
        for sentence in sentences
    ]


def spoiled_copy(sentences: Sequence[Sentence], spoil: Corruption, random: Random) -> list[Sentence]:
    """Spoil sentences one by one."""
    worse = (spoil(sentence.words, sentence.tags, random) for sentence in sentences)
    return [
        replace(sentence, words=tuple(words), tags=tuple(tags))
        for sentence, (words, tags) in zip(sentences, worse, strict=True)
    ]


def calibrate(
    reader: Reader,
    signals: Signals,
    truth: Truth,
    sentences: Sequence[Sentence],
    *,
    model: str,
    model_name: str,
    corpus: Corpus,
) -> Reference:
    """Fit the calibrators of a reference, which has no spoiled copies yet.

    Args:
        reader: What read the signals.
        signals: Of the sentences.
        truth: What their labels say.
        sentences: The sentences.
        model: Digest of the model.
        model_name: What to call it.
        corpus: Where they come from.

    Raises:
        DataError: If there are too few mentions.
    """
    kinds = len(reader.types)
    gold = np.bincount(signals.begin_type, truth.begins, kinds) + truth.elsewhere.sum(axis=0)
    if min(gold.sum(), len(truth.right)) < FEWEST:
        raise DataError(
            f"it has {counted(int(gold.sum()), 'mention')} and the model found {len(truth.right)},"
            f" expected at least {FEWEST} of each; label more",
            corpus.name,
        )
    documents = documents_of(sentences)
    folds = np.random.default_rng(0).permutation(int(documents.max()) + 1)[documents] % FOLDS
    rows, types, right = signals.mentions, signals.mention_type, truth.right
    foretold = {
        name: cross_fitted(fit, rows, types, right, kinds, folds[signals.mention_sentence])
        for name, fit in METHODS.items()
    }
    losses = {name: log_loss(each, right) for name, each in foretold.items()}
    method = min(losses, key=losses.__getitem__)
    mentions = METHODS[method](rows, types, right, kinds)
    begins = Logistic.fit("begin", signals.begins, signals.begin_type, truth.begins, kinds)
    begun = cross_fitted(
        lambda *given: Logistic.fit("begin", *given),
        signals.begins,
        signals.begin_type,
        truth.begins,
        kinds,
        folds[signals.begin_sentence],
    )
    counts = np.stack(
        [np.bincount(types, right, kinds), np.bincount(types, minlength=kinds), gold], axis=1
    ).astype(np.float64)
    found, predicted, there = counts.sum(axis=0)
    style = Style.fit([s.words for s in sentences], documents)
    return Reference(
        model=model,
        model_name=model_name,
        data=corpus.digest,
        data_name=corpus.name,
        sentences=len(signals),
        words=int(signals.words.sum()),
        scheme=reader.scheme,
        types=reader.types,
        method=method,
        losses=losses,
        mentions=mentions,
        begins=begins,
        elsewhere=truth.elsewhere.sum(axis=0) / max(1, int(signals.words.sum())),
        covariance=_covariance(
            [
                (mentions.influence(rows, types, right), documents[signals.mention_sentence]),
                (
                    begins.influence(signals.begins, signals.begin_type, truth.begins),
                    documents[signals.begin_sentence],
                ),
            ],
            int(documents.max()) + 1,
        ),
        dispersion=dispersion_of(
            signals,
            foretold[method],
            begun,
            (right, truth.begins),
            documents,
            2 * found / (predicted + there),
        ),
        counts=counts,
        shifts={},
        style=style,
        limit=_NEAREST,
        features=Features.fit(signals, reader.types),
    )


def documents_of(sentences: Sequence[Sentence]) -> IntArray:
    """Number the document of each sentence from 0; where the data has none, each is one."""
    if any(sentence.document is None for sentence in sentences):
        return np.arange(len(sentences))
    _, numbered = np.unique([sentence.document for sentence in sentences], return_inverse=True)
    return numbered.astype(np.int64)


def shift_of(
    reference: Reference,
    signals: Signals,
    truth: Truth,
    words: Sequence[Sequence[str]],
    without: FloatArray | None = None,
) -> Shift:
    """Compare what a reference makes of a spoiled copy with what is true of it.

    Args:
        reference: The reference.
        signals: Of the copy.
        truth: What its labels say.
        words: Its words.
        without: How often the commonest words come in what it is a copy of.
    """
    kinds = len(reference.types)
    real = np.stack(
        [
            np.bincount(signals.mention_type, truth.right, kinds),
            np.bincount(signals.mention_type, minlength=kinds),
            np.bincount(signals.begin_type, truth.begins, kinds) + truth.elsewhere.sum(axis=0),
        ],
        axis=1,
    )
    counts, _ = reference.style.count(words)
    distance, _ = reference.style.distance(counts, without)
    return Shift(real, Expected.of(reference, signals).counts(signals, kinds), distance)


def with_shifts(reference: Reference, shifts: Mapping[str, Shift]) -> Reference:
    """Return a reference that knows how its spoiled copies came out."""
    farthest = max((shift.distance for shift in shifts.values()), default=0.0)
    return replace(reference, shifts=shifts, limit=max(_NEAREST, _FARTHER * farthest))


def _covariance(parts: Sequence[tuple[FloatArray, IntArray]], documents: int) -> FloatArray:
    """Return the covariance of parameters from the influence of rows on them, added up by document."""
    summed = []
    for influence, owner in parts:
        each = np.zeros((documents, influence.shape[1]))
        np.add.at(each, owner, influence)
        summed.append(each)
    whole = np.concatenate(summed, axis=1)
    found: FloatArray = whole.T @ whole * (documents / max(1, documents - 1))
    return found
