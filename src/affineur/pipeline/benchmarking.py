"""``benchmark``: models in fresh processes side by side, on sentences of a corpus."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from affineur.entities import Corpus
from affineur.measure import Benchmark, benchmark
from affineur.measure.benchmark import ROUNDS
from affineur.pipeline.models import model_name
from affineur.pipeline.processes import ModelProcess, pin, sample_of
from affineur.progress import report


def benchmark_models(
    references: Sequence[str], corpus: Corpus, rounds: int = ROUNDS, threads: int | None = None, device: str = "cpu", shapes: bool = True
) -> Benchmark:
    """Benchmark models; the first is what the others are compared with. The same model may be named twice.

    Args:
        references: What the user typed for each model.
        corpus: Where the sentences come from; its labels are not read.
        rounds: Timing rounds.
        threads: Threads of each engine, pinned to as many processors; ``None`` for one a usable processor.
        device: A torch device.
        shapes: Whether batches of fixed sizes are timed too.

    Raises:
        ModelError: If a model cannot be used.
        ParameterError: If there is no model or no round, or there are more threads than processors.
    """
    cpus = pin(threads)
    sentences = sample_of(corpus)
    names = [model_name(reference) for reference in references]
    if len(set(names)) < len(names):  # two folders of one name, or one model twice: show them as typed, numbered where that is the same too
        names = [r if references.count(r) == 1 else f"{model_name(r)} #{references[: i + 1].count(r)}" for i, r in enumerate(references)]
    with contextlib.ExitStack() as stack:
        processes = []
        for reference, name in zip(references, names, strict=True):
            report(f"loading {name} in a process of its own")
            processes.append(stack.enter_context(ModelProcess(reference, sentences, device, name)))
        return benchmark(processes, [len(words) for words in sentences], corpus.name, rounds, cpus, shapes)
