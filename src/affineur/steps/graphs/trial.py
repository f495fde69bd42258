"""Quantized graphs on trial: compared with their parent until the fewest matrices stay in full precision.

Activations get constant scales, measured on the calibration text, and a scale for each token where those
lose much: a few large ones stretch a constant scale for all (Bondarenko et al. 2021, arXiv 2109.12948).
Matrices that cost most agreement are found by leaving one out at a time, and stay in full precision until the
bar is met (a few of them cause most of the loss: huggingface/optimum#151).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from affineur.artifact import ModelFolder, verify
from affineur.artifact.exported import ExportInfo, read_export_info
from affineur.artifact.formats.onnx import FORMAT
from affineur.artifact.selftest import Agreement, SelfTest, read_self_test
from affineur.engines.support.graph_files import graph_bytes
from affineur.engines.support.onnx_tagger import OnnxTagger, load_onnx
from affineur.engines.support.session_pool import open_session
from affineur.errors import ModelError
from affineur.progress import report
from affineur.runtime import EngineTagger, Logits
from affineur.runtime.batches import plan_batches
from affineur.runtime.tagger import pad
from affineur.runtime.windows import Window
from affineur.steps.core.context import CALIBRATION_SENTENCES
from affineur.steps.graphs.eight_bits import Ranges, quantized, watched
from affineur.steps.graphs.exporting import all_logits, info_of, to_onnx
from affineur.steps.graphs.graph import bytes_by_part, linears, tables
from affineur.transfer import load_corpus

_RANKING_WINDOWS = 64  # of the calibration text: a ranking needs less of it than a verdict
#: Share of the squared error that scales of their own for the tokens must take away from a kind of matrix to
#: be worth their time.
_WORTH = 0.1


def activation_ranges(
    graph: ModelProto, parent: EngineTagger, windows: Sequence[Window], threads: int | None = None
) -> Ranges:
    """Measure the least and the largest value of each activation that meets a matrix, padding left out.

    Zero is always inside, so that it is exact.
    """
    model, names, outputs = watched(graph)
    tagger = OnnxTagger(open_session(model, threads), parent.encoder, parent.labels)
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


class Trial:
    """Quantized graphs compared with their parent on the same windows."""

    def __init__(
        self,
        graph: ModelProto,
        parent: EngineTagger,
        windows: Sequence[Window],
        scheme: str,
        activations: str,
        ranges: Ranges,
        threads: int | None = None,
    ) -> None:
        self.graph, self.parent, self.windows = graph, parent, windows
        self.scheme, self.activations, self.ranges, self.threads = scheme, activations, ranges, threads
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
            session = open_session(graph_bytes(self.made(kept)), self.threads)
            tagger = OnnxTagger(session, self.parent.encoder, self.parent.labels)
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
        """Name the matrices of those kinds whose constant scale loses much against one scale per token."""
        kinds: dict[str, list[str]] = {}
        for matrix in linears(self.graph):
            if matrix.quantizable:
                kinds.setdefault(re.sub(r"\d+", "", matrix.name), []).append(matrix.name)
        whole = self.judge([])[1].error ** 2
        worth: list[str] = []
        for number, names in enumerate(kinds.values()):
            report("trying one scale per token, one kind of matrix at a time", number + 1, len(kinds))
            self.by_token = tuple(names)
            if whole - self.judge([])[1].error ** 2 > _WORTH * whole:
                worth += names
        return tuple(worth)

    def fewest_kept(self, min_agreement: float) -> list[str]:
        """Find how few matrices must stay in full precision for the bar, those first that cost most."""
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
        how = f"{self.scheme}, {self.activations} scales ({len(self.by_token)} by token)"
        kept_whole = f"{len(kept)} matrices in full precision"
        report(f"{how}, {kept_whole}: {found.same_tags:.2%} of the tags are the parent's")
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


def measured_on(sentences: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return what activations are measured on: the calibration text, the sample's, and all as one document.

    The sample's is for a thin calibration text; a document fills windows to the end, so that positions no
    sentence reaches have ranges, too.
    """
    ordinary = load_corpus("sample", "train").head(CALIBRATION_SENTENCES)
    every = list(dict.fromkeys([tuple(words) for words in sentences] + [s.words for s in ordinary]))
    return [*every, tuple(word for words in every for word in words)]


def parent_graph(
    folder: ModelFolder, sentences: Sequence[Sequence[str]], threads: int | None = None
) -> tuple[ModelProto, EngineTagger, SelfTest]:
    """Get the graph in full precision: exported here, or read from an ONNX artifact that was."""
    if not folder.is_graph:
        made = to_onnx(folder, sentences, threads=threads)
        return made.graph, made.tagger, made.selftest
    verify(folder.path)
    info, selftest = read_export_info(folder.path), read_self_test(folder.path)
    if info is None or selftest is None:
        raise ModelError(
            f"{folder.path} was not exported by Affineur, so nothing is known of its matrices; give the "
            "model it was made from"
        )
    if info.scheme != "fp32":
        raise ModelError(
            f"{folder.path} is quantized already ({info.scheme}); give the model it was made from"
        )
    return onnx.load(FORMAT.graph(folder.path)), load_onnx(folder, threads), selftest


def quantized_info(
    graph: ModelProto, folder: ModelFolder, trial: Trial, kept: Sequence[str], target: str
) -> ExportInfo:
    """Describe a graph in eight bits.

    Args:
        graph: The graph.
        folder: The model it was made of: a model folder, or a graph in full precision.
        trial: How it was made.
        kept: Matrices left in full precision.
        target: The CPU it is for.
    """
    _, agreement = trial.judge(kept)
    parity = {"same_tags": agreement.same_tags, "error": agreement.error, "words": trial.words}
    how: dict[str, Any] = {"activations": trial.activations, "by_token": trial.by_token}
    if not folder.is_graph:  # dense, whatever graph may lie beside it
        return replace(info_of(graph, folder, trial.scheme, target, parity, kept), **how)
    known = read_export_info(folder.path)
    assert known is not None  # as parent_graph found
    parts = bytes_by_part(graph)
    return replace(
        known, scheme=trial.scheme, target=target, parts=parts, kept=tuple(kept), parity=parity, **how
    )
