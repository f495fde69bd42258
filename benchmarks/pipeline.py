"""Our runtime against ``transformers.pipeline`` on the CPU: same model, same texts, same entities, and how
many sentences a second.

The model is `sample`, the texts are the sample's test sentences as raw text, the aggregation is
``simple``. transformers runs as its documentation shows (one text after another) and in batches of 32; ours
runs the same weights on torch, on ONNX Runtime in full precision, and in eight bits. Rounds are interleaved;
ratios are medians over rounds.

    python benchmarks/pipeline.py [--rounds 9] [--sentences 256]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers

import affineur
from affineur import sample
from affineur.artifact import describe_machine
from affineur.cli.main import guarded
from affineur.pipeline import load
from affineur.transfer import load_corpus

_THEIRS, _BATCHED = "transformers.pipeline", "transformers.pipeline, batches of 32"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sentences", type=int, default=256)
    args = parser.parse_args()

    def command() -> int:
        print(describe_machine(), flush=True)
        texts = [" ".join(s.words) for s in load_corpus("sample").spread(args.sentences)]
        with tempfile.TemporaryDirectory() as temporary:
            return report(ways(Path(temporary)), texts, args.rounds)

    return guarded(command, "pipeline.py")


def ways(work: Path) -> dict[str, Callable[[list[str]], list[list[tuple[Any, ...]]]]]:
    """Return every way to find the entities of texts: label, start and end of each."""
    text = load_corpus("sample", "train")
    onnx = affineur.export("sample", out=work / "onnx", calibration=text).path
    affineur.quantize(onnx, out=work / "int8", calibration=text)
    transformers.logging.set_verbosity_error()
    theirs = transformers.pipeline(
        "token-classification",
        str(sample.model(sample.TEACHER)),
        aggregation_strategy="simple",
        device="cpu",
        dtype="float32",
    )

    def pipeline(batch: int) -> Callable[[list[str]], list[list[tuple[Any, ...]]]]:
        return lambda texts: [
            [(e["entity_group"], e["start"], e["end"]) for e in found]
            for found in theirs(texts, batch_size=batch)
        ]

    def ours(reference: str | Path) -> Callable[[list[str]], list[list[tuple[Any, ...]]]]:
        tagger = load(reference)
        return lambda texts: [
            [(e.type, e.start, e.end) for e in found]
            for found in tagger.predict_batch(texts, None, strategy="simple")
        ]

    return {
        _THEIRS: pipeline(1),
        _BATCHED: pipeline(32),
        "Affineur, torch": ours("sample"),
        "Affineur, ONNX fp32": ours(onnx),
        "Affineur, ONNX INT8": ours(work / "int8"),
    }


def report(
    found_by: dict[str, Callable[[list[str]], list[list[tuple[Any, ...]]]]], texts: list[str], rounds: int
) -> int:
    entities = {name: find(texts) for name, find in found_by.items()}  # warms up, too
    seconds: dict[str, list[float]] = {name: [] for name in found_by}
    for number in range(rounds):
        for name in list(found_by)[:: 1 if number % 2 else -1]:
            start = time.perf_counter()
            found_by[name](texts)
            seconds[name].append(time.perf_counter() - start)
    print(f"{len(texts)} sentences, {sum(map(len, entities[_THEIRS]))} entities, {rounds} rounds")
    for name in found_by:
        ratio = statistics.median(a / b for a, b in zip(seconds[_THEIRS], seconds[name], strict=True))
        same = sum(a == b for a, b in zip(entities[_THEIRS], entities[name], strict=True))
        print(
            f"  {name:<38} {len(texts) / statistics.median(seconds[name]):6.0f} sentences/s, {ratio:5.2f} ×,"
            f" same entities in {same} of {len(texts)}"
        )
    exact = all(entities[name] == entities[_THEIRS] for name in ("Affineur, torch", "Affineur, ONNX fp32"))
    return 0 if exact else 1


if __name__ == "__main__":
    sys.exit(main())
