"""A fresh process that holds one model and times it when asked: one JSON object a line in, one a line out.

::

    {"sentences": [[word, …], …]}                                   → {"threads": n, "load_seconds": s}, or {"error": text}
    {"run": [index, …], "size": null or n, "by_length": true/false} → {"seconds": [of each call]}
    {"peak": true}                                                  → {"bytes": peak resident memory, 0 if unknown}
    {"size": true}                                                  → {"bytes": of a model built in memory, serialized}
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any


def main() -> None:
    """Load the model named on the command line, then answer until standard input ends."""
    warnings.simplefilter("ignore")
    # Whatever a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    reference, device = sys.argv[1:3]
    sentences: list[list[str]] = json.loads(sys.stdin.readline())["sentences"]
    try:
        tagger, ready = _ready(reference, device)
    except Exception as error:
        from affineur.errors import AffineurError

        if not isinstance(error, AffineurError):
            raise
        print(json.dumps({"error": str(error)}), file=answers)
        return
    print(json.dumps(ready), file=answers)
    for line in sys.stdin:
        print(json.dumps(_answer(tagger, sentences, json.loads(line))), file=answers)


def _ready(reference: str, device: str) -> tuple[Any, dict[str, Any]]:
    from affineur.pipeline.models import load_any

    start = time.perf_counter()
    tagger = load_any(reference, device)
    return tagger, {"load_seconds": time.perf_counter() - start, "threads": _threads()}


def _threads() -> int:
    torch: Any = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else int(os.environ.get("OMP_NUM_THREADS", "0")) or len(os.sched_getaffinity(0))


def _answer(tagger: Any, sentences: list[list[str]], asked: dict[str, Any]) -> dict[str, Any]:
    if "run" in asked:
        return {"seconds": _seconds(tagger, [sentences[i] for i in asked["run"]], asked["size"], asked["by_length"])}
    if "size" in asked:
        from affineur.compress import serialized_size

        return {"bytes": serialized_size(tagger.model)}
    return {"bytes": peak_bytes()}


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
    """Read the high-water mark of this process, 0 where the system does not tell; ``getrusage`` would count what the parent held when it forked."""
    try:
        status = Path("/proc/self/status").read_text("utf-8")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return 0


if __name__ == "__main__":
    main()
