"""An ONNX graph of a model: traced, tidied, compared with the model, and what makes it an artifact."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from onnx import ModelProto
from torch.export import Dim
from transformers import PreTrainedModel

from affineur.artifact import ModelFolder, describe
from affineur.artifact.exported import ExportInfo, write_export_info
from affineur.artifact.selftest import Agreement, SelfTest, write_self_test
from affineur.engines.support.checkpoints import quiet
from affineur.engines.support.graph_files import graph_bytes
from affineur.engines.support.onnx_tagger import OnnxTagger
from affineur.engines.support.session_pool import open_session
from affineur.engines.support.torch_tagger import load_tagger
from affineur.errors import DataError, MissingExtraError, ModelError, one_line
from affineur.progress import report
from affineur.runtime import EngineTagger, pad, plan_batches
from affineur.runtime.tokenization import write_tokenizer
from affineur.runtime.windows import Window
from affineur.steps.graphs.graph import bytes_by_part, name_matrices, opset, tidy

_SELFTEST_SENTENCES, _SELFTEST_PIECES = 8, 64
_EQUAL = 1e-3  # error of an export in full precision: another order of summing, no more


@dataclass(frozen=True, slots=True)
class Exported:
    """A tidy graph in full precision and how near it comes to its parent.

    Args:
        graph: The graph; of constant matrices those recognized carry the parent's names.
        tagger: It, running.
        selftest: Inputs with the parent's logits.
        parity: Agreement on all calibration text.
        largest: Largest difference of any logit there.
    """

    graph: ModelProto
    tagger: EngineTagger
    selftest: SelfTest
    parity: Agreement
    largest: float


def to_onnx(
    folder: ModelFolder, sentences: Sequence[Sequence[str]], plain: bool = False, threads: int | None = None
) -> Exported:
    """Export a model to an ONNX graph in memory and compare it with the model.

    Args:
        folder: The model.
        sentences: Words of the sentences to compare on.
        plain: Leave the graph as the exporter writes it.
        threads: Threads of the graph's session; ``None`` for one per usable processor.

    Raises:
        DataError: If the tokenizer makes no piece of any word.
        ModelError: If the graph cannot be made, or does not give the model's logits.
    """
    parent = load_tagger(folder)
    windows = list(parent.encoder.windows(sentences))
    if not windows:
        raise DataError("the tokenizer makes no piece of any word of the calibration text")
    theirs = all_logits(parent, windows)  # before the model is traced
    report("exporting to ONNX (half a minute for a full-size model)")
    network = cast(PreTrainedModel, parent.model)
    graph = _trace(network, parent.encoder.pad_id, plain)
    if not plain:
        tidy(graph)
    name_matrices(graph, {n: p.detach().numpy() for n, p in network.named_parameters() if p.ndim == 2})
    tagger = OnnxTagger(open_session(graph_bytes(graph), threads), parent.encoder, parent.labels)
    parity, largest = compare_logits(all_logits(tagger, windows), theirs)
    if parity.error > _EQUAL or parity.same_tags < 1 - _EQUAL:
        raise ModelError(
            f"the ONNX graph of {folder.path} does not give its logits (error {parity.error:.2g}, "
            f"{1 - parity.same_tags:.2%} of tags differ); nothing was written. Try plain, and tell us the "
            "architecture"
        )
    selftest = _selftest(parent, windows, theirs)
    return Exported(
        graph,
        tagger,
        replace(selftest, made=selftest.agreement(tagger.forward(selftest.ids, selftest.mask))),
        parity,
        largest,
    )


def all_logits(tagger: EngineTagger, windows: Sequence[Window], title: str = "") -> list[Any]:
    """Compute the logits of windows in batches of their own, in order: of each ``(pieces, labels)``."""
    found: list[Any] = [None] * len(windows)
    done = 0
    for batch in plan_batches([len(w) for w in windows], tagger.budget):
        output = tagger.window_logits([windows[i] for i in batch])
        for row, index in enumerate(batch):
            found[index] = output[row, : len(windows[index])]
        done += len(batch)
        if title:
            report(title, done, len(windows))
    return found


def compare_logits(ours: Sequence[Any], theirs: Sequence[Any]) -> tuple[Agreement, float]:
    """Compare logits window by window: agreement over all pieces, and the largest difference."""
    first, second = np.concatenate(ours), np.concatenate(theirs)
    return Agreement.between(first, second), float(np.abs(first - second).max())


def parity_of(agreement: Agreement, largest: float) -> dict[str, float]:
    """Return stable keys."""
    return {"same_tags": agreement.same_tags, "error": agreement.error, "max_difference": largest}


def finish(place: Path, source: ModelFolder, selftest: SelfTest, info: ExportInfo) -> None:
    """Put beside a graph what makes it an artifact: configuration, tokenizer, self-test, what it holds."""
    config = {key: value for key, value in source.config.items() if key != "quantization_config"}
    (place / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", "utf-8")
    write_tokenizer(source.path, place, source.config, is_graph=True)
    write_self_test(place, selftest)
    write_export_info(place, info)


def info_of(
    graph: ModelProto,
    source: ModelFolder,
    scheme: str,
    target: str,
    parity: dict[str, float],
    kept: Sequence[str] = (),
) -> ExportInfo:
    """Describe a graph that was made of a model folder."""
    known = describe(source)
    matrices = tuple({**asdict(m.matrix), "weights": m.weights, "zeros": m.zeros} for m in known.matrices)
    return ExportInfo(
        "onnx",
        opset(graph),
        scheme,
        target,
        known.parameters,
        known.nonzero,
        bytes_by_part(graph),
        matrices,
        tuple(kept),
        parity,
    )


def _selftest(parent: EngineTagger, windows: Sequence[Window], logits: Sequence[Any]) -> SelfTest:
    """Take the short windows with most entities: without any, a model that finds nothing would pass."""
    outside = list(parent.labels).index("O")
    found = [int((rows.argmax(axis=1) != outside).sum()) for rows in logits]
    order = sorted(range(len(windows)), key=lambda i: (len(windows[i]) > _SELFTEST_PIECES, -found[i], i))[
        :_SELFTEST_SENTENCES
    ]
    ids, mask = pad([windows[i].ids for i in order], parent.encoder.pad_id)
    theirs = np.zeros((*ids.shape, len(parent.labels)), np.float32)
    for row, index in enumerate(order):
        theirs[row, : len(windows[index])] = logits[index]
    return SelfTest(ids, mask, theirs, Agreement(1.0, 0.0), "fp32", "any", tuple(parent.labels))


def _trace(network: PreTrainedModel, pad_id: int, plain: bool) -> ModelProto:
    """Run transformers' exporter, quietly."""
    try:
        import onnx_ir
        from transformers.exporters.configs import OnnxConfig
        from transformers.exporters.exporter_onnx import OnnxExporter
    except ModuleNotFoundError:
        raise MissingExtraError("an export to ONNX", "compress") from None
    longest = 8
    ids = torch.full((2, longest), pad_id, dtype=torch.long)
    ids[0] = 5 + torch.arange(longest) % max(1, min(100, int(network.config.vocab_size) - 6))
    ids[1, : longest - 2] = ids[0, : longest - 2]
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": (ids != pad_id).long()}
    sizes = {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}
    config = OnnxConfig(
        dynamic=True,
        dynamic_shapes=dict.fromkeys(inputs, sizes),
        ort_fusions=None if plain else "cpu",
        prefer_deferred_runtime_asserts_over_guards=True,
    )
    with quiet(), _silence():
        try:
            program = OnnxExporter().export(network, inputs, config=config).program
        except Exception as error:  # tracing fails in as many ways as there are architectures
            raise ModelError(
                f"this architecture ({network.config.model_type}) cannot be exported to ONNX "
                f"({one_line(error)})"
            ) from None
        for number, name in enumerate(("batch", "sequence")):
            for value in [*program.graph.inputs, *program.graph.outputs]:
                value.shape[number] = name
        return onnx_ir.to_proto(program)  # type: ignore[no-any-return]


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep torch's exporter from telling its story on standard output and in warnings."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
