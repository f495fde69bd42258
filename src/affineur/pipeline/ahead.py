"""How long a run takes, said before it begins: the speed of the teacher here, times the work there is.

A training step costs about three passes of the model, a teacher beside it one more; a model in a fresh
process is loaded and tags up to 128 sentences. It is an estimate: smaller models are faster.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from affineur.entities import Corpus, Tagger
from affineur.pipeline.entries import Planned
from affineur.pipeline.recipe import Recipe
from affineur.transfer import Splits

_TIMED = 64  # sentences
_PASSES, _TEACHER = 3, 1
_BENCHMARK_SENTENCES, _BENCHMARK_LOADS = 1500, 1.5


def seconds_per_sentence(tagger: Tagger, corpus: Corpus) -> float:
    """Time a model on a few sentences spread over a corpus."""
    words = [sentence.words for sentence in corpus.spread(_TIMED)]
    tagger.tag(words[:2])  # what is prepared when a model is first asked
    begun = time.perf_counter()
    tagger.tag(words)
    return (time.perf_counter() - begun) / len(words)


def ahead(
    recipe: Recipe, steps: Sequence[Planned], splits: Splits, each: float, load: float
) -> dict[str, float]:
    """Estimate the seconds of each part of a run that nothing is done of.

    Args:
        recipe: The recipe.
        steps: Its steps.
        splits: The data.
        each: Seconds of a sentence (:func:`seconds_per_sentence`).
        load: Seconds to load a model.
    """
    test, train, dev = len(splits.get("test")), splits.train, splits.dev
    seen, trained = test, 0.0
    timed = min(test, recipe.compare.timed)
    for step in steps:
        epochs = getattr(step.step, "epochs", None)
        if epochs and train is not None:
            passes = _PASSES + _TEACHER * (step.step.name != "train")
            trained += epochs * (len(train) * passes + (len(dev) if dev else 0)) * each
    rows = len(recipe.compare.rows or steps) + (not recipe.compare.rows)
    found = {"training": trained}
    if (plan := recipe.plan) and dev is not None:
        found["sweep"] = len(plan.points or ()) * len(plan.methods) * (len(dev) * each + load)
    memory = rows * (load + timed * each) if recipe.compare.memory else 0.0
    found["comparison"] = rows * (seen + recipe.compare.rounds * timed) * each + memory
    if recipe.benchmark:
        models = len(recipe.benchmark.rows or ()) or min(3, rows)
        once = _BENCHMARK_LOADS * load + _BENCHMARK_SENTENCES * each
        found["benchmark"] = models * recipe.benchmark.rounds * once
    return {part: seconds for part, seconds in found.items() if seconds}


def in_words(parts: dict[str, float]) -> str:
    """Say it in one line, in minutes of two digits at most."""
    told = ", ".join(f"{part} {_minutes(seconds)}" for part, seconds in parts.items())
    return f"about {_minutes(sum(parts.values()))} ahead, what is done already aside: {told}"


def _minutes(seconds: float) -> str:
    if seconds < 60:
        return f"{max(1, math.ceil(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
