"""A fresh process that holds one model and times it when asked: one JSON object a line in, one a line out.

::

    {"sentences": [[word, …], …]}                                   → {"threads": n, "load_seconds": s}
    {"run": [index, …], "size": null or n, "by_length": true/false} → {"seconds": [of each call]}
    {"peak": true}                                                  → {"bytes": peak resident memory, 0 if unknown}
    {"size": true}                                                  → {"bytes": of a model built in memory, serialized}

Each answer may be ``{"error": text}`` instead. It is run as a script, not with ``-m``: that would import the whole
package first, which is too late to keep a library's chatter out of the answers, and would count in a peer's memory.
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

_SPACY = "spacy:"


def main() -> None:
    """Load the model named on the command line, then answer until standard input ends."""
    warnings.simplefilter("ignore")
    # Whatever a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.path.append(str(Path(__file__).parents[2]))  # where this package is, if it is not installed
    reference, device = sys.argv[1:3]
    sentences: list[list[str]] = json.loads(sys.stdin.readline())["sentences"]
    held: list[Any] = []
    if not _told(answers, reference, lambda: _ready(reference, device, held)):
        return
    for line in sys.stdin:
        asked = json.loads(line)
        _told(answers, reference, lambda asked=asked: _answer(held[0], sentences, asked))  # type: ignore[misc]


def _told(answers: TextIO, reference: str, answer: Callable[[], dict[str, Any]]) -> bool:
    """Write an answer, or why there is none; say whether there was one."""
    try:
        said = answer()
    except Exception as error:
        from affineur.errors import AffineurError, one_line

        why = str(error) if isinstance(error, AffineurError) else f"{reference} fails in a fresh process ({type(error).__name__}: {one_line(error)})"
        said = {"error": why}
    print(json.dumps(said), file=answers)
    return "error" not in said


def _ready(reference: str, device: str, held: list[Any]) -> dict[str, Any]:
    load = _loader(reference)
    start = time.perf_counter()
    tagger = load(device)
    seconds = time.perf_counter() - start
    held.append(tagger)
    return {"load_seconds": seconds, "threads": _threads(tagger)}


def _loader(reference: str) -> Callable[[str], Any]:
    """Import what a model needs, so that loading it is all that is timed."""
    if not reference.startswith(_SPACY):
        from affineur.pipeline.models import load_any

        return lambda device: load_any(reference, device)
    with contextlib.suppress(ImportError):  # said better when it is loaded
        import spacy  # noqa: F401
    from affineur.runtime.peers import SpacyTagger  # a room without torch, whose 0.2 GB are not the peer's

    return lambda _: SpacyTagger(reference.removeprefix(_SPACY))


def _threads(tagger: Any) -> int:
    own: int | None = getattr(tagger, "threads", None)
    torch: Any = sys.modules.get("torch")
    return own or (int(torch.get_num_threads()) if torch is not None else 1)


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
