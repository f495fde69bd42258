"""Measuring models: scores, the table of several, speed and memory, and the checklist before deployment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from affineur.api.data import Data, corpus_of
from affineur.api.model import Model, load, reference_of
from affineur.api.place import settle
from affineur.errors import ParameterError
from affineur.measure import (
    MARGIN,
    TIMED,
    Bars,
    Benchmark,
    Comparison,
    Evaluation,
    Gate,
    parse_bars,
    read_bars,
)
from affineur.measure import compare as compare_candidates
from affineur.measure.benchmark import ROUNDS
from affineur.measure.budget import fraction_of
from affineur.transfer.places.core.place import shown

_Models = Sequence["str | os.PathLike[str] | Model"]


def evaluate(
    model: str | os.PathLike[str] | Model,
    data: Data = "sample",
    *,
    types: Sequence[str] | None = None,
    as_documents: int | None = None,
    device: str = "cpu",
) -> Evaluation:
    """Score a model on labeled data: of a reference with several splits, on test.

    Args:
        model: A reference, a path or a model.
        data: A reference, a corpus, or splits.
        types: Types to score; ``None`` for all that model or data know.
        as_documents: Join so many sentences to a text, and read it as raw text is read.
        device: A torch device.

    Raises:
        DataError: If the data cannot be used, or has types the model does not know.
        ModelError: If the model cannot be used.
        ParameterError: If ``as_documents`` is impossible.
    """
    return load(model, device=device).evaluate(data, types=types, as_documents=as_documents)


def compare(
    models: _Models,
    data: Data = "sample",
    *,
    baseline: str | os.PathLike[str] | Model | None = None,
    types: Sequence[str] | None = None,
    rounds: int = 9,
    timed: int = TIMED,
    margin: float | str = MARGIN,
    memory: bool = True,
    device: str = "cpu",
    threads: int | None = None,
) -> Comparison:
    """Measure several models on the same sentences: F1, size, speed and memory in one table.

    Args:
        models: References, paths or models; the first is the baseline.
        data: A reference (its test split), a corpus, or splits.
        baseline: Another baseline, put first.
        types: Types to score; ``None`` for all that every model knows.
        rounds: Timing rounds, interleaved; 8 are the fewest that give an interval.
        timed: Sentences of a timing round, evenly over the data; fewer where all have fewer.
        margin: F1 one is ready to lose, 0.005 or ``0.5 points``, for the verdicts.
        memory: Whether the peak memory of a fresh process of each model is measured.
        device: A torch device.
        threads: Threads of each engine; ``None`` for one per usable processor.

    Raises:
        ParameterError: If a value is impossible, or the models share no type.
        DataError: If the data cannot be used.
        ModelError: If a model cannot be used.
    """
    from affineur.pipeline import candidate, peak_rss

    for name, value in ("rounds", rounds), ("timed", timed):
        if value < 1:
            raise ParameterError(f"{name}={value} is impossible, expected at least 1", name)
    margin = fraction_of(margin, "margin")
    references = _references(models)
    if baseline is not None:
        first = reference_of(baseline)
        references = [first, *(reference for reference in references if reference != first)]
    corpus = corpus_of(data)
    candidates = [candidate(reference, device, threads=threads) for reference in references]
    names = [each.name for each in candidates]
    if len(set(names)) < len(names):  # two folders of one name: show them as they were typed
        candidates = [
            replace(each, name=shown(name)) for each, name in zip(candidates, references, strict=True)
        ]
    by_name = {each.name: reference for each, reference in zip(candidates, references, strict=True)}

    def peak(name: str) -> int | None:
        return peak_rss(by_name[name], corpus, device, threads)

    return compare_candidates(
        candidates,
        corpus,
        types=types,
        rounds=rounds,
        timed=timed,
        peak_rss=peak if memory else None,
        margin=margin,
    )


def _references(models: _Models) -> list[str]:
    """Take one model or several, and return their references."""
    if isinstance(models, str | os.PathLike | Model):
        models = [models]
    if not isinstance(models, Iterable):
        raise ParameterError(
            f"models is of type {type(models).__name__}, expected a list of models", "models"
        )
    return [reference_of(model) for model in models]


def benchmark(
    models: _Models,
    data: Data = "sample",
    *,
    rounds: int = ROUNDS,
    device: str = "cpu",
    threads: int | None = None,
) -> Benchmark:
    """Measure size, load time, latency, speed and memory of models in fresh processes, taken in turn.

    Args:
        models: References, paths or models; ratios are to the first.
        data: Where the sentences come from; labels are ignored.
        rounds: Timing rounds; 8 are the fewest that can name a winner.
        device: A torch device.
        threads: Threads of each engine, pinned to as many processors; ``None`` for one per usable processor.

    Raises:
        ParameterError: If a value is impossible.
        ModelError: If a model cannot be used.
    """
    from affineur.pipeline import benchmark_models

    references = _references(models)
    settle(device)
    return benchmark_models(references, corpus_of(data), rounds, threads, device)


def check(
    model: str | os.PathLike[str] | Model,
    data: Data = "sample",
    *,
    bars: str | os.PathLike[str] | Mapping[str, Any] | Bars,
    baseline: str | os.PathLike[str] | Model | None = None,
    parent: str | os.PathLike[str] | Model | None = None,
    types: Sequence[str] | None = None,
    device: str = "cpu",
    threads: int | None = None,
) -> Gate:
    """Check a model against bars: measure what they ask for, and nothing else, and judge it.

    Args:
        model: A reference, a path or a model.
        data: A reference (its test split), a corpus, or splits.
        bars: A YAML file, or its content, such as ``{"min_f1": 0.84, "max_drop": 0.01}``.
        baseline: What ``max_drop`` is measured against.
        parent: Whose tags ``min_agreement`` compares with.
        types: Types to score; ``None`` for all.
        device: A torch device.
        threads: Threads of the engine under load; ``None`` for one per usable processor.

    Returns:
        ``.passed``, and the verdict on each bar.

    Raises:
        ParameterError: If a bar needs a baseline or a parent that is not given.
        RecipeError: If a bar is unknown or impossible.
        DataError: If the data cannot be used.
        ModelError: If a model cannot be used.
    """
    from affineur.pipeline.check import check as judge

    if isinstance(bars, Mapping):
        bars = parse_bars(dict(bars), "bars")
    elif not isinstance(bars, Bars):
        bars = read_bars(os.fspath(bars))
    return judge(
        reference_of(model),
        bars,
        corpus_of(data),
        None if baseline is None else reference_of(baseline),
        None if parent is None else reference_of(parent),
        types,
        device,
        threads=threads,
    )
