"""A tagger on ONNX Runtime: any exported artifact, without torch, once its self-test passed on this CPU."""

from __future__ import annotations

import copy
import functools
import mmap
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from affineur.artifact import ModelFolder, open_folder
from affineur.artifact.formats.onnx import FORMAT
from affineur.engines.core.proof import proved
from affineur.engines.support.graph_inputs import INPUTS, fitting
from affineur.engines.support.session_pool import GraphFile, SessionPool, open_session
from affineur.errors import ModelError, one_line
from affineur.runtime.prediction import Logits
from affineur.runtime.tagger import EngineTagger
from affineur.runtime.texts import TextWindow
from affineur.runtime.windows import Encoder, Window

#: Operators that multiply in eight bits: kernels that differ from CPU to CPU.
_INTEGER = (
    "MatMulIntegerToFloat",
    "MatMulInteger",
    "DynamicQuantizeMatMul",
    "QLinearMatMul",
    "QGemm",
    "QAttention",
    "MatMulNBits",
    "ConvInteger",
)
#: A graph of one operator: ``c = MatMulInteger(a, b)``, ``a`` in U8 and ``b`` in S8 (opset 13).
_PRODUCT = bytes.fromhex(
    "080812003a600a180a01610a0162120163220d4d61744d756c496e74656765721201675a140a0161120f0a0d080212090a0208010a"
    "0312016b5a150a016212100a0e0803120a0a0312016b0a0312016e62140a0163120f0a0d080612090a0208010a0312016e42040a00"
    "100d"
)
_TYPES: dict[str, type[np.signedinteger[Any]]] = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
#: Padded tokens in a batch for each thread. With a full-size INT8 model on two cores twice as many were a
#: tenth slower, four times as many a quarter; small models hardly care (``benchmarks/batching.py MODEL``).
BUDGET_PER_THREAD = 128
#: Bytes of a model up to which two batches and more are computed side by side, on a session of one thread.
#: Threads that share a batch wait for each other at each operator: whole batches ran 1.2 to 1.5 times as fast
#: on small models.
_LIGHT = 16_000_000
#: The same where there are at least :data:`_MANY` batches a thread, so that it matters little that one has
#: the last of them to itself: full-size models in eight bits ran 1.05 times as fast, and 1.3 times where
#: others used the processors, too; in full precision that could not be told.
_LIGHT_FOR_MANY = 160_000_000
_MANY = 4


class OnnxTagger(EngineTagger):
    """Tags words with an ONNX graph.

    Args:
        session: The graph, loaded.
        encoder: Cuts words into windows of pieces.
        labels: Labels in the order of the outputs.
        budget: Padded tokens in one batch; ``None`` for :data:`BUDGET_PER_THREAD` for each thread of the
            session.
        file: Where the graph is loaded from once more, for batches side by side on one thread each; ``None``
            where they go one by one.

    Raises:
        ModelError: If the graph wants inputs that are not pieces, or gives other than one number a label.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        encoder: Encoder,
        labels: Sequence[str],
        budget: int | None = None,
        file: GraphFile | None = None,
    ) -> None:
        self._sessions = SessionPool(session, file)  # copies of this tagger have the same
        self.threads = self._sessions.threads
        super().__init__(encoder, labels, budget or BUDGET_PER_THREAD * self.threads)
        #: Batches of one call from which on they go side by side, each on one thread; ``None`` for never.
        self.beside_from: int | None = None
        self._inputs = {i.name: i.type for i in session.get_inputs()}
        if strange := [
            name for name, kind in self._inputs.items() if name not in INPUTS or kind not in _TYPES
        ]:
            raise ModelError(
                f"the ONNX graph wants {', '.join(strange)}, expected integers named {', '.join(INPUTS)}"
            )
        outputs = session.get_outputs()
        if not outputs:
            raise ModelError("the ONNX graph gives nothing; expected logits (sequences, pieces, labels)")
        self._output = next((o.name for o in outputs if o.name == "logits"), outputs[0].name)
        shape = next(o.shape for o in outputs if o.name == self._output)
        if len(shape) != 3 or (isinstance(shape[-1], int) and shape[-1] != len(self.labels)):
            raise ModelError(
                f"the ONNX graph gives {self._output} of shape {shape}, but config.json names "
                f"{len(self.labels)} labels; expected (sequences, pieces, labels)"
            )

    @property
    def session(self) -> ort.InferenceSession:
        """The graph; loaded again if it made room for the other one."""
        return self._sessions.on(self.threads)

    @property
    def lanes(self) -> int:
        """How many threads may call :meth:`lane_logits` at once to gain by it: as many as it has."""
        return self.threads if self._sessions.two else 1

    def lane_logits(self, windows: Sequence[Window | TextWindow], alone: bool = False) -> Logits:
        """Compute the logits of windows as one batch: on one thread beside the other lanes, or on all.

        Threads that share a batch wait for each other at each of its operators; beside a busy event loop that
        costs a third of the throughput (``benchmarks/serving.py``). A batch that is alone comes sooner from
        all of them.
        """
        return (
            self.window_logits(windows)
            if alone or not self._sessions.two
            else self._single.window_logits(windows)
        )

    def forward(self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Logits:
        """Compute logits of shape ``(sequences, longest, labels)``.

        Raises:
            ModelError: If the graph cannot take the pieces, or gives other than one number a label.
        """
        logits = self.run(ids, mask, [self._output])[0].astype(np.float32, copy=False)  # others give float16
        return fitting(logits, ids, self.labels)

    def run(
        self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64], outputs: Sequence[str]
    ) -> list[npt.NDArray[np.float32]]:
        """Compute outputs of the graph by their names.

        Raises:
            ModelError: If the graph cannot take the pieces.
        """
        known = {"input_ids": ids, "attention_mask": mask}
        feed = {
            name: known.get(name, np.zeros_like(ids)).astype(_TYPES[kind], copy=False)
            for name, kind in self._inputs.items()
        }
        session = self.session
        try:
            return list(session.run(list(outputs), feed))
        except Exception as error:  # ONNX Runtime raises a class of its own for each fault
            raise ModelError(
                f"the ONNX graph fails on {len(ids)} × {ids.shape[1]} pieces ({one_line(error)}); "
                "fetch or export it again"
            ) from None

    def batch_logits(self, batches: Sequence[Sequence[Window | TextWindow]]) -> Iterable[Logits]:
        """Compute the logits of several batches, in order; enough of them side by side."""
        least = 2 if self._sessions.made_room else self.beside_from
        if least is None or not self._sessions.two or len(batches) < least:
            return super().batch_logits(batches)
        self._sessions.make_room()
        # by this thread: what loading takes for a while would stay in the heap of another one
        self._sessions.on(1)
        return list(self._pool.map(self._single.window_logits, batches))

    @functools.cached_property
    def _single(self) -> OnnxTagger:
        """The same on a session of one thread."""
        other = copy.copy(self)
        other.threads = 1
        return other

    @functools.cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads)


def load_onnx(path: ModelFolder | Path | str, threads: int | None = None) -> OnnxTagger:
    """Load an exported artifact and prove it on this CPU.

    Args:
        path: The artifact.
        threads: Threads of the session; ``None`` for one per usable processor.

    Raises:
        ModelError: If the folder is not a usable ONNX artifact, a file is not what its manifest says, or the
            self-test disagrees.
    """
    folder = path if isinstance(path, ModelFolder) else open_folder(path)
    graph = FORMAT.graph(folder.path)
    file = GraphFile(graph)

    def load() -> OnnxTagger:
        encoder = Encoder.from_folder(folder.path, folder.config)
        tagger = OnnxTagger(open_session(graph, threads), encoder, folder.labels, file=file)
        if folder.size_bytes <= _LIGHT_FOR_MANY:
            tagger.beside_from = 2 if folder.size_bytes <= _LIGHT else _MANY * tagger.threads
        return tagger

    def hides() -> str | None:
        kernel = None if multiplies_faithfully() else _integer_kernel(graph)
        return f"multiplies in eight bits ({kernel})" if kernel else None

    return proved(folder, load, hides)


@functools.lru_cache(1)
def multiplies_faithfully() -> bool:
    """Whether ONNX Runtime multiplies eight bits on this CPU without overflow: the largest numbers are tried.

    Without VNNI, pairs of products of U8 and S8 are summed in 16 bits, where they do not fit.
    """
    session = ort.InferenceSession(_PRODUCT, providers=["CPUExecutionProvider"])
    left, right = np.full((1, 64), 255, np.uint8), np.full((64, 32), 127, np.int8)
    (found,) = session.run(None, {"a": left, "b": right})
    return bool((found == left.astype(np.int64) @ right.astype(np.int64)).all())


def _integer_kernel(graph: Path) -> str | None:
    """Name an operator that multiplies in eight bits, if a graph's file holds the name of one."""
    with graph.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        return next((kind for kind in _INTEGER if raw.find(kind.encode()) >= 0), None)
