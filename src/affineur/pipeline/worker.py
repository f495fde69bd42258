"""A fresh process that holds one model and times it when asked: one JSON object per line in, one out.

::

    {"model": reference, "device": device, "threads": null or n, "sentences": [[word, …], …]}
        → {"imported": true}
    {"load": true}
        → {"threads": n, "load_seconds": s, "cold": true/false}
    {"run": [index, …], "size": null or n, "by_length": true/false}
        → {"seconds": [of each call]}
    {"peak": true}
        → {"bytes": peak resident memory, 0 if unknown}
    {"size": true}
        → {"bytes": of a model built in memory, serialized}

Each answer may be ``{"error": text}`` instead. It is run as a script, not with ``-m``: that would import the
whole package first, which is too late to keep a library's chatter out of the answers, and would count in a
peer's memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO


def main() -> None:
    """Make ready for the model that the first line names, then answer until standard input ends."""
    warnings.simplefilter("ignore")
    # Whatever a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.path.append(str(Path(__file__).parents[2]))  # where this package is, if it is not installed
    first = json.loads(sys.stdin.readline())
    worker = _Worker(first["model"], first["device"], first["threads"], first["sentences"])
    if not _told(answers, worker, worker.make_ready):
        return
    for line in sys.stdin:
        asked = json.loads(line)
        _told(answers, worker, lambda asked=asked: worker.answer(asked))  # type: ignore[misc]


def _told(answers: TextIO, worker: _Worker, answer: Callable[[], dict[str, Any]]) -> bool:
    """Write an answer, or why there is none; say whether there was one."""
    try:
        said = answer()
    except Exception as error:
        from affineur.errors import AffineurError, one_line

        failed = f"{worker.reference} fails in a fresh process ({type(error).__name__}: {one_line(error)})"
        said = {"error": str(error) if isinstance(error, AffineurError) else failed}
    print(json.dumps(said), file=answers)
    return "error" not in said


class _Worker:
    """One model, from before it is loaded, and the sentences it is timed on."""

    def __init__(self, reference: str, device: str, threads: int | None, sentences: list[list[str]]) -> None:
        self.reference, self._device, self._threads = reference, device, threads
        self._sentences = sentences
        self._tagger: Any = None

    def make_ready(self) -> dict[str, Any]:
        """Import what the model needs, so that loading it is all that is timed."""
        from affineur.engines.core.references import Reference

        self._model = Reference.parse(self.reference)
        with contextlib.suppress(Exception):  # said better when it is loaded
            self._model.engine.preload(self._model)
        return {"imported": True}

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer a question (see the top of this file)."""
        if "load" in asked:
            return self._loaded()
        if "run" in asked:
            return {
                "seconds": _seconds(
                    self._tagger,
                    [self._sentences[i] for i in asked["run"]],
                    asked["size"],
                    asked["by_length"],
                )
            }
        if "size" in asked:
            return {"bytes": self._model.engine.serialized_size(self._tagger)}
        return {"bytes": peak_bytes()}

    def _loaded(self) -> dict[str, Any]:
        cold = _forgotten(self._folder())
        start = time.perf_counter()
        self._tagger = self._model.load(device=self._device, threads=self._threads)
        return {"load_seconds": time.perf_counter() - start, "cold": cold, "threads": _threads(self._tagger)}

    def _folder(self) -> Path | None:
        """Find the files of the model; ``None`` where there are none, as loading it will say."""
        with contextlib.suppress(Exception):
            return self._model.engine.files(self._model)
        return None


def _forgotten(folder: Path | None) -> bool:
    """Have the system drop its copies of a model's files from memory, and say whether it did.

    They are read from the disk then. It may not: some systems cannot, some disks are memory, and what another
    process has mapped stays.
    """
    if folder is None:
        return False
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_size:
            try:
                with path.open("rb") as file:
                    os.fsync(file.fileno())  # what has not been written yet would stay
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                    # The last byte: asking for one makes some systems read on from there.
                    os.preadv(file.fileno(), [bytearray(1)], path.stat().st_size - 1, os.RWF_NOWAIT)
            except BlockingIOError:  # it is not in memory
                continue
            except (AttributeError, OSError):
                pass
            return False
    return True


def _threads(tagger: Any) -> int:
    own: int | None = getattr(tagger, "threads", None)
    torch: Any = sys.modules.get("torch")
    return own or (int(torch.get_num_threads()) if torch is not None else 1)


def _seconds(tagger: Any, sentences: list[list[str]], size: int | None, by_length: bool) -> list[float]:
    """Time one call over all sentences, or one call each where ``size`` is 1."""
    from affineur.runtime import FixedBatches

    if size is None:
        chosen, parts = tagger, [sentences]
    elif size == 1:
        chosen, parts = tagger.whole(), [[words] for words in sentences]
    else:
        chosen, parts = FixedBatches(tagger.whole(), size, by_length), [sentences]
    seconds = []
    for part in parts:
        start = time.perf_counter()
        chosen.tag(part)
        seconds.append(time.perf_counter() - start)
    return seconds


def peak_bytes() -> int:
    """Read the high-water mark of this process, 0 where the system does not tell.

    ``getrusage`` would count what the parent held when it forked.
    """
    try:
        status = Path("/proc/self/status").read_text("utf-8")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return 0


if __name__ == "__main__":
    main()
