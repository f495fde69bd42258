"""A tagger on ONNX Runtime: any exported artifact, without torch.

Only after its probe passed on this CPU.
"""

from __future__ import annotations

import copy
import functools
import mmap
import os
import platform
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from affineur.artifact import ModelFolder, environment, open_folder, verify
from affineur.artifact.selftest import VNNI, Agreement, Probe, read_probe
from affineur.artifact.tensors import ONNX
from affineur.errors import ModelError, one_line
from affineur.runtime.memory import give_back
from affineur.runtime.prediction import Logits
from affineur.runtime.tagger import EngineTagger
from affineur.runtime.texts import TextWindow
from affineur.runtime.windows import Encoder, Window

#: ONNX Runtime's own fusion of an addition and a LayerNormalization is several times slower on a CPU than the
#: two.
SLOW_FUSIONS = ["SkipLayerNormFusion", "BiasGeluFusion"]
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
_TYPES: dict[str, type[np.signedinteger[Any]]] = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
#: Inputs that are known; a piece's segment is always the first.
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


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


class GraphFile:
    """The file of a graph, to be loaded once more as long as it is the one that was proved.

    Args:
        path: Where it is now, before anything of it is read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._proved = self._state()

    def is_same(self) -> bool:
        """Whether nobody has replaced, changed or removed it."""
        return self._state() == self._proved

    def open(self, threads: int) -> ort.InferenceSession:
        """Load it.

        Raises:
            ModelError: If it is not the same any more, or cannot be loaded.
        """
        if not self.is_same():
            raise ModelError(self._changed)
        session = open_session(self._path, threads)
        if not self.is_same():  # meanwhile
            raise ModelError(self._changed)
        return session

    @property
    def _changed(self) -> str:
        return (
            f"{self._path} is not the file any more that was loaded and proved before; load the model again"
        )

    def _state(self) -> tuple[int, ...] | None:
        try:
            seen = self._path.stat()
        except OSError:
            return None
        return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns


class _Sessions:
    """A graph on all threads, and the same on one: each is loaded when it is asked for.

    Threads may ask at the same time.
    """

    def __init__(self, on_all: ort.InferenceSession, file: GraphFile | None) -> None:
        self.threads = int(on_all.get_session_options().intra_op_num_threads)
        self._held = {self.threads: on_all}
        self._file = file if self.threads > 1 else None
        self._lock = threading.Lock()

    @property
    def two(self) -> bool:
        """Whether there is another one, loaded or to load."""
        return self._file is not None and (1 in self._held or self._file.is_same())

    @property
    def made_room(self) -> bool:
        """Whether the one on all threads would have to be loaded again."""
        return self.threads not in self._held

    def on(self, threads: int) -> ort.InferenceSession:
        """Return the graph on so many threads."""
        with self._lock:
            if threads not in self._held:
                assert self._file is not None
                self._held[threads] = self._file.open(threads)
            return self._held[threads]

    def make_room(self) -> None:
        """Let go of the one on all threads, unless both were asked for before.

        A process mostly works on many texts or on one at a time, and should not hold the weights of both.
        """
        with self._lock:
            if len(self._held) == 1 and 1 not in self._held:
                self._held.clear()
                give_back()


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
        self._sessions = _Sessions(session, file)  # copies of this tagger have the same
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
        self._output = next((o.name for o in outputs if o.name == "logits"), outputs[0].name)
        shape = next(o.shape for o in outputs if o.name == self._output)
        if len(shape) != 3 or (isinstance(shape[-1], int) and shape[-1] != len(self.labels)):
            raise ModelError(
                f"the ONNX graph gives {self._output} of shape {shape}, but config.json names {len(self.labels)} labels; "
                "expected (sequences, pieces, labels)"
            )

    @property
    def session(self) -> ort.InferenceSession:
        """The graph; loaded again if it made room for the other one."""
        return self._sessions.on(self.threads)

    @property
    def lanes(self) -> int:
        """How many threads may call :meth:`lane_logits` at the same time to gain by it.

        As many as the session has.
        """
        return self.threads if self._sessions.two else 1

    def lane_logits(self, windows: Sequence[Window | TextWindow], alone: bool = False) -> Logits:
        """Compute the logits of windows as one batch, on one thread beside the other lanes.

        Or on all of them.

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
        return fitting(self.run(ids, mask, [self._output])[0], ids, self.labels)

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
                f"the ONNX graph fails on {len(ids)} × {ids.shape[1]} pieces ({one_line(error)}); fetch or export it again"
            ) from None

    def batch_logits(self, batches: Sequence[Sequence[Window | TextWindow]]) -> Iterable[Logits]:
        """Compute the logits of several batches, in order.

        Enough of them side by side, each on one thread, unless the model is heavy.
        """
        least = 2 if self._sessions.made_room else self.beside_from
        if least is None or not self._sessions.two or len(batches) < least:
            return super().batch_logits(batches)
        self._sessions.make_room()
        self._sessions.on(
            1
        )  # by this thread: what loading takes for a while would stay in the heap of another one
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


def fitting(logits: Logits, ids: npt.NDArray[np.int64], labels: Sequence[str]) -> Logits:
    """Return logits as they are, after checking their shape: a graph need not say it before it is run.

    Raises:
        ModelError: If it is not ``(sequences, longest, labels)``.
    """
    if logits.shape != (expected := (*ids.shape, len(labels))):
        raise ModelError(
            f"the graph gives logits of shape {logits.shape}, expected {expected}: {len(labels)} labels are named in config.json"
        )
    return logits


def open_session(graph: Path | bytes, threads: int | None = None) -> ort.InferenceSession:
    """Load a graph on the CPU.

    Args:
        graph: The file, or its bytes.
        threads: Threads of the session; by default what ``OMP_NUM_THREADS`` says, or one a usable processor.

    Raises:
        ModelError: If ONNX Runtime cannot load it.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or usable_threads()
    options.log_severity_level = 3
    # Threads that wait for the next call would take the processor from whoever runs beside us.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return ort.InferenceSession(
            graph if isinstance(graph, bytes) else str(graph),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=SLOW_FUSIONS,
        )
    except Exception as error:  # ONNX Runtime raises a class of its own for each fault
        name = "the graph" if isinstance(graph, bytes) else str(graph)
        raise ModelError(
            f"{name} cannot be loaded by ONNX Runtime ({one_line(error)}); fetch or export it again"
        ) from None


def usable_threads() -> int:
    """Return how many threads an engine should take.

    What ``OMP_NUM_THREADS`` says, or one a usable processor.
    """
    told = os.environ.get("OMP_NUM_THREADS", "")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(told) if told.isdigit() and int(told) else usable


def load_onnx(path: ModelFolder | Path | str, threads: int | None = None) -> OnnxTagger:
    """Load an exported artifact and prove it on this CPU.

    Raises:
        ModelError: If the folder is not a usable ONNX artifact, a file is not what its manifest says, or the
            probe disagrees.
    """
    folder = path if isinstance(path, ModelFolder) else open_folder(path)
    graph = folder.path / ONNX
    file = GraphFile(graph)
    manifest = verify(folder.path)
    probe = read_probe(folder.path)
    if probe is None and manifest is not None:
        raise ModelError(
            f"{folder.path} has no probe, so nothing proves it on this CPU; export or quantize it again"
        )
    if probe is None and (kind := _integer_kernel(graph)):
        raise ModelError(
            f"{graph} multiplies in eight bits ({kind}) and has no probe, so nothing proves it on this CPU; "
            "make one that has: affineur quantize PARENT -o OUT"
        )
    encoder = Encoder.from_folder(folder.path, folder.config)
    tagger = OnnxTagger(open_session(graph, threads), encoder, folder.labels, file=file)
    if folder.size_bytes <= _LIGHT_FOR_MANY:
        tagger.beside_from = 2 if folder.size_bytes <= _LIGHT else _MANY * tagger.threads
    if probe is not None:
        prove(tagger, probe, folder.path)
    return tagger


def _integer_kernel(graph: Path) -> str | None:
    """Name an operator that multiplies in eight bits, if a graph's file holds the name of one."""
    with graph.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        return next((kind for kind in _INTEGER if raw.find(kind.encode()) >= 0), None)


def prove(tagger: EngineTagger, probe: Probe, path: Path) -> Agreement:
    """Run a probe on the CPU at hand.

    Returns:
        How near the model came to its parent.

    Raises:
        ModelError: If it is further away than where it was made.
    """
    if probe.labels and probe.labels != tuple(tagger.labels):
        raise ModelError(
            f"{path}: config.json names the labels {', '.join(tagger.labels)}, the probe {', '.join(probe.labels)}; export it again"
        )
    if probe.logits.shape[2] != len(tagger.labels):
        raise ModelError(
            f"{path}: the probe has {probe.logits.shape[2]} labels, config.json {len(tagger.labels)}; export it again"
        )
    found = probe.agreement(tagger.forward(probe.ids, probe.mask))
    if not probe.passes(found):
        here = environment()
        flags = " ".join(here["cpu_flags"]) or "none we know"
        raise ModelError(
            f"{path} ({probe.scheme}, made for {probe.target}) gives other results on this CPU ({here['cpu']}; {flags}): on its probe "
            f"{1 - found.same_tags:.1%} of the tags differ from its parent's (where it was made: {1 - probe.made.same_tags:.1%}), "
            f"logits are off by {found.error:.2f} (there: {probe.made.error:.2f}). {_cause(probe.scheme, here['cpu_flags'])}; it is refused. "
            "Make one for this CPU: affineur quantize PARENT --for avx2 -o OUT"
        )
    return found


def _cause(scheme: str, flags: Sequence[str]) -> str:
    """Say what may be the matter."""
    if scheme != "u8s8" or platform.machine().lower() not in ("x86_64", "amd64"):
        return "A file may be damaged"
    overflow = "without which sums of U8S8 overflow and entities are lost"
    if VNNI.isdisjoint(flags):
        return f"This CPU lacks VNNI, {overflow}"
    return f"This CPU says it has VNNI, {overflow}: it is emulated, or a file is damaged"
