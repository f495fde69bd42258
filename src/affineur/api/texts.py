"""Models on files of text."""

from __future__ import annotations

import os
from pathlib import Path

from affineur.api.model import Model, load
from affineur.runtime.aggregation import AggregationStrategy
from affineur.runtime.rules.core.rule import RulesAsked, check_rules


def annotate(
    model: str | os.PathLike[str] | Model,
    source: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    strategy: AggregationStrategy = "word",
    threshold: float = 0.0,
    rules: RulesAsked = None,
    device: str = "cpu",
    threads: int | None = None,
) -> int:
    """Write a file with the entities a model finds in another, in one pass and in constant memory.

    Args:
        model: A reference, a path or a model.
        source: A file, here or at a place (``s3://…``, ``sftp://…``, ``https://…``). ``.txt``: one text per
            line; ``.jsonl``: one text per line under ``text``; else CoNLL, the word in the first column.
        out: The file to write: JSON lines with entities, or CoNLL with predicted tags.
        strategy: How pieces become entities.
        threshold: Entities with a lower score are left out.
        rules: Rules that find more beside the model, such as ``fr`` or ``fr:email,phone``.
        device: A torch device.
        threads: Threads of the engine.

    Returns:
        How many texts or sentences were annotated.

    Raises:
        ParameterError: If a value is impossible, or ``out`` is ``source``.
        DataError: If the file cannot be read.
        ModelError: If the model cannot be used.
        TransferError: If the model or the file cannot be fetched.
    """
    from affineur.runtime.aggregation import check_strategy
    from affineur.runtime.annotation import annotate as write_annotated
    from affineur.runtime.annotation import check_files
    from affineur.transfer.sources import text_file

    check_strategy(strategy)
    check_rules(rules, strategy)
    with text_file(os.fspath(source)) as texts:
        check_files(texts, Path(out), strategy=strategy, threshold=threshold, rules=rules)
        tagger = load(model, device=device, threads=threads)._engine
        return write_annotated(tagger, texts, Path(out), strategy=strategy, threshold=threshold, rules=rules)
