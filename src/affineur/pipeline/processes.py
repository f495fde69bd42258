"""Models in processes of their own, for figures no other model's memory or threads can blur."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from affineur.engines.core.facts import Facts
from affineur.engines.core.threads import check_threads
from affineur.entities import Corpus
from affineur.errors import ModelError, ParameterError
from affineur.measure import Birth, percentiles
from affineur.measure.benchmark import CALLS, OWN, SINGLE, block
from affineur.measure.benchmark_result import Batching
from affineur.pipeline.models import Reference, facts, model_name
from affineur.progress import report

_MEMORY_SENTENCES = 128
#: Sentences a model in a process is given, evenly over the corpus.
SENTENCES = 512
_WARM_UP = 16  # sentences a process is given before it is timed, once its memory is known
_BLOCK = 256  # single sentences in one pass under load
_LOAD_SECONDS = 15.0  # no further pass under load is begun after so long

_WORKER = Path(__file__).with_name("worker.py")


class ModelProcess:
    """A fresh process with one model (see ``worker``); a context manager that ends it.

    Args:
        reference: What the user typed for the model.
        sentences: Words of the sentences to time.
        device: A torch device.
        name: What to call it; by default its short name.
        threads: Threads of its engine; ``None`` for one per usable processor.

    Raises:
        ModelError: If the model cannot be used, or the process died.
    """

    def __init__(
        self,
        reference: str,
        sentences: Sequence[Sequence[str]],
        device: str = "cpu",
        name: str | None = None,
        threads: int | None = None,
    ) -> None:
        self._reference, self._device, self._threads = reference, device, threads
        self._sentences = [list(words) for words in sentences]
        self.name = name or model_name(reference)
        self._births: list[Birth] = []
        self._process = self._spawn()
        try:
            self._tell(self._first)
            self.ready()
            self.load()
        except BaseException:
            self.close()
            raise

    @property
    def birth(self) -> Birth:
        """How the model came up the first time, when nothing else did.

        ``load_seconds`` is the median of all times.
        """
        loads = statistics.median(birth.load_seconds for birth in self._births)
        return replace(self._births[0], load_seconds=loads, cold=all(birth.cold for birth in self._births))

    def begin(self) -> None:
        """Start a fresh process, which imports what the model needs, and do not wait for it.

        Several may do so side by side.
        """
        self.close()
        self._process = self._spawn()
        self._tell(self._first)

    @property
    def _first(self) -> dict[str, Any]:
        """What a fresh process is told first."""
        return {
            "model": self._reference,
            "device": self._device,
            "threads": self._threads,
            "sentences": self._sentences,
        }

    def _spawn(self) -> subprocess.Popen[str]:
        self._started = time.perf_counter()
        return subprocess.Popen(
            [sys.executable, "-P", str(_WORKER)],  # -P: this folder's modules are no top-level ones
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )

    def ready(self) -> None:
        """Wait until everything is imported."""
        self._answer()

    def load(self) -> None:
        """Load the model, timed, its files read from the disk where the system lets us; then warm it up.

        Nothing else should be at work.
        """
        born = self._ask({"load": True})
        seconds = time.perf_counter() - self._started
        self.run(range(min(len(self._sentences), _WARM_UP if self._births else _MEMORY_SENTENCES)), OWN)
        peak = self._births[0].peak_rss_bytes if self._births else self.peak_rss()
        self._births.append(
            Birth(seconds, float(born["load_seconds"]), peak, int(born["threads"]), bool(born["cold"]))
        )

    @property
    def facts(self) -> Facts:
        """What is known of the model; its serialized size where it was built in memory."""
        known = facts(self._reference)
        return (
            known if known.size_bytes else replace(known, size_bytes=int(self._ask({"size": True})["bytes"]))
        )

    def run(self, sentences: Sequence[int], batching: Batching) -> list[float]:
        """Tag sentences, given by their indices; return the seconds of each call."""
        asked = {"run": list(sentences), "size": batching.size, "by_length": batching.by_length}
        return [float(second) for second in self._ask(asked)["seconds"]]

    def peak_rss(self) -> int | None:
        """Peak resident memory of the process so far, in bytes; ``None`` where the system does not tell."""
        return int(self._ask({"peak": True})["bytes"]) or None

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        self._tell(question)
        return self._answer()

    def _tell(self, question: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a process that is gone is noticed by its silence
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith("\n"):  # nothing, or the half of an answer
            code = self._process.wait()
            killed = f"killed by signal {-code}, perhaps out of memory"
            why = killed if code < 0 else f"it ended with status {code}"
            alone = f"predict {self._reference} 'Marie vit à Paris.'"
            if Reference.parse(self._reference).peer:
                alone = f"evaluate {self._reference} --data sample"
            raise ModelError(f"the process that measures {self.name} died ({why}); try: affineur {alone}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ModelError(answer["error"])
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # an unsent question to a process that is gone
                    pipe.close()

    def __enter__(self) -> ModelProcess:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self.close()


@dataclass(frozen=True, slots=True)
class Load:
    """A model under load: pass after pass over sentences in a fresh process, without a pause.

    Args:
        calls: Sentences timed one by one; the percentiles are over these.
        p50_ms: Median latency of one sentence.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        sentences_per_second: In the model's own batches, median over the passes.
        peak_rss_bytes: Peak resident memory after all of it, or ``None`` where the system does not tell.
    """

    calls: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    sentences_per_second: float
    peak_rss_bytes: int | None


def under_load(reference: str, corpus: Corpus, device: str = "cpu", threads: int | None = None) -> Load:
    """Measure latency, throughput and memory of one model in a fresh process.

    It is fed up to 512 sentences of a corpus. A pass is 256 of them one by one, spread over the corpus and a
    sentence further each time, and then all of them in the model's own batches. There are as many passes as
    give 1,000 single calls, but none is begun after 15 seconds: a slow model's percentiles rest on fewer, and
    ``calls`` says on how many.

    Args:
        reference: The model.
        corpus: Where the sentences come from; its labels are not read.
        device: A torch device.
        threads: Threads of its engine; ``None`` for one per usable processor.

    Raises:
        ModelError: If the model cannot be used.
    """
    sentences = [s.words for s in corpus.spread(SENTENCES)]
    report(f"under load: {model_name(reference)}")
    singles: list[float] = []
    speeds: list[float] = []
    with ModelProcess(reference, sentences, device, threads=threads) as process:
        process.run(range(min(len(sentences), _WARM_UP)), SINGLE)
        start = time.perf_counter()
        while not speeds or (len(singles) < CALLS and time.perf_counter() - start < _LOAD_SECONDS):
            singles += process.run(block(len(sentences), _BLOCK, len(speeds)), SINGLE)
            speeds.append(len(sentences) / sum(process.run(range(len(sentences)), OWN)))
        return Load(len(singles), *percentiles(singles), statistics.median(speeds), process.peak_rss())


def peak_rss(reference: str, corpus: Corpus, device: str = "cpu", threads: int | None = None) -> int | None:
    """Peak resident memory of a fresh process that loads a model and tags up to 128 sentences with it.

    Returns:
        The bytes, or ``None`` where the system does not tell or the process fails.
    """
    try:
        sentences = [s.words for s in corpus.head(_MEMORY_SENTENCES)]
        with ModelProcess(reference, sentences, device, threads=threads) as process:
            return process.birth.peak_rss_bytes
    except ModelError:
        return None


@contextlib.contextmanager
def pinned(threads: int | None) -> Iterator[tuple[int, ...]]:
    """Keep processes started inside to the :func:`processors` chosen; give which, none where it cannot be."""
    chosen = processors(threads)
    if not chosen:
        yield ()
        return
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, chosen)
    try:
        yield chosen
    finally:
        os.sched_setaffinity(0, usable)


def processors(threads: int | None) -> tuple[int, ...]:
    """Choose as many usable processors as threads, all for ``None``; none where that cannot be kept.

    Raises:
        ParameterError: If there is no thread, or more of them than usable processors: they would wait for
            each other.
    """
    check_threads(threads)
    if not hasattr(os, "sched_getaffinity"):
        return ()
    usable = sorted(os.sched_getaffinity(0))
    if threads is not None and threads > len(usable):
        raise ParameterError(
            f"threads={threads}, but this machine lets us use {len(usable)} processors; "
            "figures would mean nothing",
            "threads",
        )
    return tuple(usable[:threads])
