"""``quantize``: an ONNX graph in eight bits for a named CPU.

Near to its parent as asked, with a probe that proves it wherever it is loaded.

Activations get constant scales, measured on the calibration text, and a scale for each token where those lose
much: a few large ones stretch a constant scale for all (Bondarenko et al. 2021, arXiv 2109.12948). Matrices
that cost most agreement are found by leaving one out at a time, and stay in full precision until the bar is
met (a few of them cause most of the loss: huggingface/optimum#151).
"""

from __future__ import annotations

import platform
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from affineur.artifact import ModelFolder, environment, open_folder, verify
from affineur.artifact.exported import ExportInfo, read_export_info
from affineur.artifact.formats.onnx import FORMAT
from affineur.artifact.selftest import FURTHEST, VNNI, Agreement, SelfTest, read_self_test
from affineur.engines.support.graph_files import graph_bytes, save_graph
from affineur.engines.support.onnx_tagger import OnnxTagger, load_onnx
from affineur.engines.support.session_pool import open_session
from affineur.entities import Corpus
from affineur.errors import DataError, ModelError, ParameterError, did_you_mean
from affineur.progress import report
from affineur.runtime import EngineTagger, Logits
from affineur.runtime.batches import plan_batches
from affineur.runtime.tagger import pad
from affineur.runtime.windows import Window
from affineur.steps.core.work import Stage
from affineur.steps.export import (
    CALIBRATION_SENTENCES,
    all_logits,
    finish,
    info_of,
    to_onnx,
)
from affineur.steps.graphs.eight_bits import ACTIVATIONS, SCHEMES, Ranges, quantized, watched
from affineur.steps.graphs.graph import bytes_by_part, linears, tables
from affineur.transfer import load_corpus

#: The scheme that is right on each CPU. Signed weights need VNNI on x86: without it two products are added in
#: 16 bits and overflow.
TARGETS = {"vnni": "u8s8", "avx512": "u8s8-reduced", "avx2": "u8s8-reduced", "arm": "u8s8"}
_RANKING_WINDOWS = 64  # of the calibration text: a ranking needs less of it than a verdict
#: Share of the squared error that scales of their own for the tokens must take away from a kind of matrix to
#: be worth their time.
_WORTH = 0.1


@dataclass(frozen=True, slots=True)
class Quantized:
    """What quantizing did.

    Args:
        scheme: How the matrices are stored.
        activations: How the activations are scaled.
        by_token: Matrices whose activations are scaled by token though the others' are ``static``.
        target: The CPU it is for.
        agreement: With the parent, over the words of the calibration text.
        words: Words of that text.
        kept: Matrices left in full precision.
        size_bytes: Of the graph.
        parent_bytes: Of the parent's graph in full precision.
    """

    scheme: str
    activations: str
    by_token: tuple[str, ...]
    target: str
    agreement: Agreement
    words: int
    kept: tuple[str, ...]
    size_bytes: int
    parent_bytes: int


def quantize(
    model: Path | str,
    out: Path | str,
    target: str = "auto",
    scheme: str | None = None,
    min_agreement: float = 0.995,
    text: Corpus | None = None,
    activations: str = "auto",
) -> Quantized | None:
    """Quantize a model folder, or an ONNX artifact in full precision, to eight bits.

    Embedding tables row by row, matrices output by output.

    Args:
        model: Folder of the model.
        out: Folder to write to.
        target: ``auto`` for the CPU at hand, ``vnni``, ``avx512``, ``avx2`` or ``arm``.
        scheme: One of :data:`~affineur.steps.graphs.eight_bits.SCHEMES`, or ``None`` for the target's own.
        min_agreement: Least share of the words of the calibration text whose tag is the parent's, in [0, 1];
            0 asks for nothing.
        text: Calibration text; the words of its first 256 sentences are read, its labels never.
        activations: One of :data:`~affineur.steps.graphs.eight_bits.ACTIVATIONS`, or ``auto``: ``static``, but
            ``token`` for the kinds of matrices (of all layers) where that takes away a tenth of the squared
            error, and for all where the bar is missed otherwise.

    Returns:
        What it did, or ``None`` where ``out`` already held this result.

    Raises:
        ParameterError: If a value is unknown or out of range, or there is no text.
        DataError: If the tokenizer makes no piece of the text.
        ModelError: If the model cannot be used, or this CPU cannot prove the scheme.
    """
    target = this_cpu() if target == "auto" else target
    scheme = _checked(target, scheme, min_agreement, activations)
    if scheme == "u8s8" and this_cpu() in ("avx2", "avx512"):
        raise ModelError(
            "u8s8 needs VNNI, which this CPU lacks, so it could not be proved here; say --for avx2, or quantize on a CPU that has it"
        )
    if text is None:
        raise ParameterError(
            "quantizing needs text to prove itself on: affineur quantize [--calibration DATA], or text=CORPUS in Python"
        )
    text = text.head(CALIBRATION_SENTENCES)
    folder = open_folder(model)
    parameters = {"for": target, "scheme": scheme, "activations": activations, "min_agreement": min_agreement}
    stage = Stage("quantize", Path(out), folder, parameters, {"calibration": text})
    if stage.finished():
        return None
    sentences = [s.words for s in text]
    graph, parent, probe = _parent(folder, sentences)
    windows = list(parent.encoder.windows(sentences))
    if not windows:
        raise DataError("the tokenizer makes no piece of any word of the calibration text")
    ranges = (
        {}
        if activations in ("token", "batch")
        else activation_ranges(graph, parent, list(parent.encoder.windows(_measured(sentences))))
    )
    trial = _Trial(graph, parent, windows, scheme, "static" if activations == "auto" else activations, ranges)
    if activations == "auto":
        trial.by_token = trial.worth_a_token()
        if not trial.meets([], min_agreement):
            trial.activations, trial.by_token = "token", ()
    kept = trial.fewest_kept(min_agreement)
    made = trial.made(kept)
    tagger, agreement = trial.judge(kept)
    if agreement.same_tags < min_agreement or agreement.error > FURTHEST:
        raise ModelError(
            f"{scheme} keeps only {agreement.same_tags:.2%} of the parent's tags on this CPU whatever stays in full precision "
            f"(logits off by {agreement.error:.2f}), expected {min_agreement:.2%}; nothing was written. "
            "Quantize on a CPU of the kind it is for, or say --for avx2, or --min-agreement"
        )
    probe = replace(
        probe, made=probe.agreement(tagger.forward(probe.ids, probe.mask)), scheme=scheme, target=target
    )
    found = Quantized(
        scheme,
        trial.activations,
        trial.by_token,
        target,
        agreement,
        trial.words,
        tuple(kept),
        len(graph_bytes(made)),
        len(graph_bytes(graph)),
    )

    def fill(place: Path) -> None:
        save_graph(made, FORMAT.graph(place))
        finish(place, folder, probe, _info(made, folder, found))

    stage.write_files(
        fill,
        "onnx",
        {
            "agreement": agreement.same_tags,
            "error": agreement.error,
            "words": trial.words,
            "kept": list(kept),
            "activations": trial.activations,
            "by_token": list(trial.by_token),
        },
    )
    return found


def this_cpu() -> str:
    """Name the kind of CPU at hand, as ``--for`` does."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        return "arm"
    flags = set(environment()["cpu_flags"])
    return "vnni" if flags & VNNI else "avx512" if "avx512f" in flags else "avx2"


def activation_ranges(graph: ModelProto, parent: EngineTagger, windows: Sequence[Window]) -> Ranges:
    """Measure the least and the largest value, at pieces and not at padding.

    Of each activation that meets a matrix.

    Zero is always inside, so that it is exact.
    """
    model, names, outputs = watched(graph)
    tagger = OnnxTagger(open_session(model), parent.encoder, parent.labels)
    found = dict.fromkeys(names, (0.0, 0.0))
    done = 0
    for batch in plan_batches([len(w) for w in windows], tagger.budget):
        ids, mask = pad([windows[i].ids for i in batch], parent.encoder.pad_id)
        ends = [
            end[mask.astype(bool)] if end.shape == mask.shape else end
            for end in tagger.run(ids, mask, outputs)
        ]
        for name, lows, highs in zip(names, ends[::2], ends[1::2], strict=True):
            found[name] = min(found[name][0], float(lows.min())), max(found[name][1], float(highs.max()))
        done += len(batch)
        report("measuring activations", done, len(windows))
    return found


class _Trial:
    """Quantized graphs compared with their parent on the same windows."""

    def __init__(
        self,
        graph: ModelProto,
        parent: EngineTagger,
        windows: Sequence[Window],
        scheme: str,
        activations: str,
        ranges: Ranges,
    ) -> None:
        self.graph, self.parent, self.windows, self.scheme, self.activations, self.ranges = (
            graph,
            parent,
            windows,
            scheme,
            activations,
            ranges,
        )
        self.by_token: tuple[str, ...] = ()
        self.logits = all_logits(parent, windows, "calibrating")
        self._last: tuple[Any, tuple[OnnxTagger, Agreement]] | None = None

    @property
    def words(self) -> int:
        """Words compared."""
        return sum(len(w.positions) for w in self.windows)

    def made(self, kept: Collection[str]) -> ModelProto:
        """Make the graph with some matrices left in full precision."""
        return quantized(self.graph, self.scheme, kept, self.activations, self.ranges, self.by_token)

    def judge(self, kept: Collection[str], windows: int | None = None) -> tuple[OnnxTagger, Agreement]:
        """Run the graph with some matrices left in full precision; compare the words' logits."""
        key = (self.activations, self.by_token, tuple(kept), windows)
        if self._last is None or self._last[0] != key:  # the last to meet the bar is the one that is written
            tagger = OnnxTagger(
                open_session(graph_bytes(self.made(kept))), self.parent.encoder, self.parent.labels
            )
            chosen = self.windows[:windows]
            ours = all_logits(tagger, chosen)
            self._last = (
                key,
                (
                    tagger,
                    Agreement.between(_at_words(chosen, ours), _at_words(chosen, self.logits[:windows])),
                ),
            )
        return self._last[1]

    def worth_a_token(self) -> tuple[str, ...]:
        """Name the matrices of those kinds whose constant scale loses much against a scale a token."""
        kinds: dict[str, list[str]] = {}
        for matrix in linears(self.graph):
            if matrix.quantizable:
                kinds.setdefault(re.sub(r"\d+", "", matrix.name), []).append(matrix.name)
        whole = self.judge([])[1].error ** 2
        worth: list[str] = []
        for number, names in enumerate(kinds.values()):
            report("trying a scale a token, one kind of matrix at a time", number + 1, len(kinds))
            self.by_token = tuple(names)
            if whole - self.judge([])[1].error ** 2 > _WORTH * whole:
                worth += names
        return tuple(worth)

    def fewest_kept(self, min_agreement: float) -> list[str]:
        """Find how few matrices must stay in full precision for the bar.

        Those first whose absence helps most.
        """
        if min_agreement == 0 or self.meets([], min_agreement):
            return []
        ranking = self._ranking()
        # Double until the bar is met, then halve the step: an agreement is nearly monotonous in what is kept.
        low, high = 0, 1
        while high < len(ranking) and not self.meets(ranking[:high], min_agreement):
            low, high = high, min(2 * high, len(ranking))
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.meets(ranking[:middle], min_agreement) else (middle, high)
        return ranking[:high]

    def meets(self, kept: list[str], min_agreement: float) -> bool:
        """Say whether the bar is met with some matrices left in full precision."""
        _, found = self.judge(kept)
        how = f"{self.scheme}, {self.activations} scales ({len(self.by_token)} by token), {len(kept)} matrices in full precision"
        report(f"{how}: {found.same_tags:.2%} of the tags are the parent's")
        return found.same_tags >= min_agreement

    def _ranking(self) -> list[str]:
        names = [m.name for m in linears(self.graph) if m.quantizable] + tables(self.graph)
        errors: dict[str, float] = {}
        for number, name in enumerate(names):
            report("leaving matrices out, one at a time", number + 1, len(names))
            errors[name] = self.judge([name], _RANKING_WINDOWS)[1].error
        return sorted(names, key=errors.__getitem__)


def _at_words(windows: Sequence[Window], logits: Sequence[Logits]) -> Logits:
    """Return the logits of the first piece of each word, shape ``(words, labels)``."""
    return np.concatenate(
        [rows[list(window.positions)] for window, rows in zip(windows, logits, strict=True)]
    )


def _measured(sentences: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return what activations are measured on.

    The calibration text and, in case that is thin, the sample's, as sentences and as one document.

    A document fills windows to the end: positions that no sentence reaches have ranges, too.
    """
    ordinary = load_corpus("sample", "train").head(CALIBRATION_SENTENCES)
    every = list(dict.fromkeys([tuple(words) for words in sentences] + [s.words for s in ordinary]))
    return [*every, tuple(word for words in every for word in words)]


def _checked(target: str, scheme: str | None, min_agreement: float, activations: str) -> str:
    if target not in TARGETS:
        raise ParameterError(
            f"no target '{target}', expected auto, {', '.join(TARGETS)}{did_you_mean(target, TARGETS)}"
        )
    scheme = scheme or TARGETS[target]
    if scheme not in SCHEMES:
        raise ParameterError(
            f"no scheme '{scheme}', expected one of {', '.join(SCHEMES)}{did_you_mean(scheme, SCHEMES)}"
        )
    if activations not in (known := ("auto", *ACTIVATIONS)):
        raise ParameterError(
            f"no activations '{activations}', expected one of {', '.join(known)}{did_you_mean(activations, known)}"
        )
    if not 0 <= min_agreement <= 1:
        raise ParameterError(
            f"--min-agreement {min_agreement:g} is impossible, expected a share from 0 to 1, such as 0.995"
        )
    return scheme


def _parent(
    folder: ModelFolder, sentences: Sequence[Sequence[str]]
) -> tuple[ModelProto, EngineTagger, SelfTest]:
    """Get the graph in full precision: exported here, or read from an ONNX artifact that was."""
    if folder.kind == "openvino":
        raise ModelError(f"{folder.path} is an OpenVINO graph; give the model it was made from")
    if folder.kind != "onnx":
        made = to_onnx(folder, sentences)
        return made.graph, made.tagger, made.probe
    verify(folder.path)
    info, probe = read_export_info(folder.path), read_self_test(folder.path)
    if info is None or probe is None:
        raise ModelError(
            f"{folder.path} was not exported by Affineur, so nothing is known of its matrices; give the model it was made from"
        )
    if info.scheme != "fp32":
        raise ModelError(
            f"{folder.path} is quantized already ({info.scheme}); give the model it was made from"
        )
    return onnx.load(FORMAT.graph(folder.path)), load_onnx(folder), probe


def _info(graph: ModelProto, folder: ModelFolder, found: Quantized) -> ExportInfo:
    parity = {"same_tags": found.agreement.same_tags, "error": found.agreement.error, "words": found.words}
    if folder.kind == "onnx":
        known = read_export_info(folder.path)
        assert known is not None
        return replace(
            known,
            scheme=found.scheme,
            activations=found.activations,
            by_token=found.by_token,
            target=found.target,
            parts=bytes_by_part(graph),
            kept=found.kept,
            parity=parity,
        )
    return replace(
        info_of(graph, folder, found.scheme, found.target, parity, found.kept),
        activations=found.activations,
        by_token=found.by_token,
    )
