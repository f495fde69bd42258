"""``benchmark``: models in fresh processes side by side, on sentences of a corpus."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial

from affineur.artifact import describe_machine, environment
from affineur.entities import Corpus
from affineur.errors import ParameterError
from affineur.measure import Benchmark, benchmark
from affineur.measure.benchmark import OWN, ROUNDS, SINGLE
from affineur.pipeline.models import model_name
from affineur.pipeline.processes import SENTENCES, ModelProcess, pinned
from affineur.progress import report


def benchmark_models(
    references: Sequence[str],
    corpus: Corpus,
    rounds: int = ROUNDS,
    threads: int | None = None,
    device: str = "cpu",
    shapes: bool = True,
) -> Benchmark:
    """Benchmark models; the first is what the others are compared with. The same model may be named twice.

    Args:
        references: What the user typed for each model.
        corpus: Where the sentences come from; its labels are not read.
        rounds: Timing rounds.
        threads: Threads of each engine, pinned to as many processors; ``None`` for one per usable processor.
        device: A torch device.
        shapes: Whether batches of fixed sizes are timed too.

    Raises:
        ModelError: If a model cannot be used.
        ParameterError: If there is no model or no round, or there are more threads than processors.
    """
    if not references:
        raise ParameterError("a benchmark needs at least one model, and there is none")
    if rounds < 1:
        raise ParameterError(f"rounds={rounds} is impossible, expected at least 1", "rounds")
    # Before we are kept to some of its processors.
    machine = environment() | {"description": describe_machine()}
    with contextlib.ExitStack() as stack:
        cpus = stack.enter_context(pinned(threads))
        sentences = [s.words for s in corpus.spread(SENTENCES)]
        processes: list[ModelProcess] = []
        for reference, name in zip(references, _names(references), strict=True):
            report(f"loading {name} in a process of its own")
            processes.append(stack.enter_context(ModelProcess(reference, sentences, device, name, threads)))
        return benchmark(
            processes,
            [len(words) for words in sentences],
            data=corpus.name,
            machine=machine,
            rounds=rounds,
            cpus=cpus,
            shapes=shapes,
            renew=partial(_renew, processes),
        )


def _renew(processes: Sequence[ModelProcess], sentences: Sequence[int]) -> None:
    """Start all afresh: libraries are imported side by side, models are loaded one after another, timed."""
    for step in (ModelProcess.begin, ModelProcess.ready, ModelProcess.load):
        for process in processes:
            step(process)
    # An engine may do something else with many than with one, and prepare for it when it is first asked.
    for process in processes:
        process.run(sentences, OWN)
        process.run(sentences[:1], SINGLE)


def _names(references: Sequence[str]) -> list[str]:
    """Name each model once: two folders of one name as they were typed, one named twice with a number."""
    shown = {reference: model_name(reference) for reference in references}
    shown = {r: r if list(shown.values()).count(name) > 1 else name for r, name in shown.items()}
    return [
        shown[r] if references.count(r) == 1 else f"{shown[r]} #{references[: i + 1].count(r)}"
        for i, r in enumerate(references)
    ]
