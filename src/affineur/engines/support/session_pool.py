"""Sessions of ONNX Runtime over one graph: on all threads for one batch, on one thread each for several.

Threads that share a batch wait for each other at each of its operators. So a text on its own is computed on
all threads of a session, while batches that come together are computed side by side on a session of one
thread, which any number of threads may call at once. Each session holds the weights, so a pool opens the
second one when it is first asked for, and lets go of the first where only one is needed.
"""

from __future__ import annotations

import threading
from pathlib import Path

import onnxruntime as ort

from affineur.engines.core.threads import usable_threads
from affineur.errors import ModelError, one_line
from affineur.runtime.memory import give_back

#: ONNX Runtime's own fusion of an addition and a LayerNormalization is several times slower on a CPU than the
#: two.
SLOW_FUSIONS = ["SkipLayerNormFusion", "BiasGeluFusion"]


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


class SessionPool:
    """A graph on all threads, and the same on one: each is loaded when it is asked for.

    Threads may ask at the same time.

    Args:
        on_all: The graph, loaded on all threads.
        file: Where it is loaded from once more; ``None`` where there shall be no second session.
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
