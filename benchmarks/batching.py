"""Sentences per second of one model at several token budgets and batchings, interleaved in one run.

python benchmarks/batching.py [MODEL] [--data DATA]
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Sequence

from affineur.artifact import describe_machine
from affineur.cli.main import guarded
from affineur.measure import throughput
from affineur.pipeline import load
from affineur.runtime import EngineTagger
from affineur.transfer import load_corpus


class Unsorted:
    """The guide's recipe: batches of 32 in the order they come, padded to the longest."""

    def __init__(self, tagger: EngineTagger) -> None:
        self._tagger = tagger
        self.labels = tagger.labels

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        return [
            tags for i in range(0, len(sentences), 32) for tags in self._tagger.tag(sentences[i : i + 32])
        ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="sample")
    parser.add_argument("--data", default="sample")
    args = parser.parse_args()

    def command() -> int:
        base = load(args.model)
        sentences = [s.words for s in load_corpus(args.data).head(512)]
        one_batch = copy.copy(base)
        one_batch.budget = 1 << 30
        taggers: dict[str, object] = {"unsorted, batches of 32": Unsorted(one_batch)}
        for budget in (128, 256, 512, 1024, 2048, 4096):
            taggers[f"sorted, {budget} padded tokens"] = copy.copy(base)
            taggers[f"sorted, {budget} padded tokens"].budget = budget
        print(describe_machine())
        speeds = throughput(list(taggers.values()), sentences)
        for name, speed in zip(taggers, speeds, strict=True):
            print(f"{name:<28} {speed.median:7.0f} sentences/s  {speed.speedup(speeds[0]):.2f}×")
        return 0

    return guarded(command, "batching.py", quiet=True)


if __name__ == "__main__":
    sys.exit(main())
