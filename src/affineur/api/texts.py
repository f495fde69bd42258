"""Models on files of text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from affineur.api.model import Model, load
from affineur.runtime.aggregation import AggregationStrategy
from affineur.runtime.reading import Context
from affineur.runtime.rules.core.rule import RulesAsked, check_rules

if TYPE_CHECKING:
    from affineur.watch import Log


def annotate(
    model: str | os.PathLike[str] | Model,
    source: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    strategy: AggregationStrategy = "word",
    threshold: float = 0.0,
    context: Context | None = None,
    format: str | None = None,
    rules: RulesAsked = None,
    log: Log | None = None,
    device: str = "cpu",
    threads: int | None = None,
) -> int:
    """Write a file with the entities a model finds in another, in one pass and in constant memory.

    Args:
        model: A reference, a path or a model.
        source: A file, here or at a place (``s3://…``, ``sftp://…``, ``https://…``): one text per line
            (``.txt``), one text per line under ``text`` (``.jsonl``), or words in a column (CoNLL). Under
            another suffix it is looked at.
        out: The file to write: JSON lines with entities, or CoNLL with predicted tags.
        strategy: How pieces become entities.
        threshold: Entities with a lower score are left out.
        context: What the model is shown at once: ``sentence`` or ``document``; see :meth:`Model.__call__`.
        format: What the file is, where that is not to be found out: ``text``, ``json`` or ``conll``.
        rules: Rules that find more beside the model, such as ``fr`` or ``fr:email,phone``.
        log: A log (:class:`affineur.watch.Log`) that raw texts are kept in, without the texts.
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
    from affineur.runtime.reading import check_context
    from affineur.transfer.formats.core.raw import kind_of
    from affineur.transfer.sources import text_file

    check_strategy(strategy)
    check_context(context)
    check_rules(rules, strategy)
    with text_file(os.fspath(source)) as texts:
        kind = kind_of(texts, format)
        check_files(
            texts, Path(out), strategy=strategy, threshold=threshold, context=context, rules=rules, kind=kind
        )
        loaded = load(model, device=device, threads=threads)
        with loaded.logging_to(log):
            return write_annotated(
                loaded._engine,
                texts,
                Path(out),
                strategy=strategy,
                threshold=threshold,
                context=context,
                rules=rules,
                kind=kind,
            )
