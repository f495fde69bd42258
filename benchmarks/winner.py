"""Does ``affineur benchmark`` name a winner only where there is one?

The same model against itself must get none, run after run; a full-size random CamemBERT of 12 layers must lose to one
of 11. Random weights prove speed, not F1. The sentences are the sample's.

    python benchmarks/winner.py [--runs 20] [--rounds 15] [--work DIR]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch
from transformers import AutoModelForTokenClassification, CamembertConfig

from affineur import sample
from affineur.artifact import TOKENIZER_FILES, describe_machine
from affineur.cli.main import guarded
from affineur.measure import Benchmark, Ratio
from affineur.pipeline import benchmark_models
from affineur.transfer import load_corpus


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="runs of the same model against itself")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--work", type=Path, help="keep the full-size models here (default: a temporary folder)")
    args = parser.parse_args()

    def command() -> int:
        print(describe_machine(), flush=True)
        with tempfile.TemporaryDirectory() as folder:
            seen = layers_apart(args.work or Path(folder), args.rounds)
            return 0 if same_twice(args.runs, args.rounds) and seen else 1

    return guarded(command, "winner.py", quiet=True)


def same_twice(runs: int, rounds: int) -> bool:
    """Benchmark the embedded teacher against itself; say what was declared."""
    corpus = load_corpus("sample")
    said: Counter[str] = Counter()
    for run in range(runs):
        found = benchmark_models(["sample", "sample"], corpus, rounds, shapes=False)
        for what, ratio in ratios(found):
            said[f"{what}: {ratio.winner()}"] += 1
            print(f"  run {run + 1:>2}, {what:<15} {ratio.value:.3f} ({ratio.low:.3f}–{ratio.high:.3f}) {ratio.winner()}", flush=True)
    wrong = sum(count for name, count in said.items() if name.endswith(("faster", "slower")))
    print(f"the same model twice, {runs} runs: {wrong} winners ({', '.join(f'{n} {c}' for n, c in sorted(said.items()))})")
    return wrong == 0


def layers_apart(work: Path, rounds: int) -> bool:
    """Benchmark 12 full-size layers against 11."""
    models = [str(random_camembert(work / f"random_{layers}L", layers)) for layers in (12, 11)]
    found = benchmark_models(models, load_corpus("sample"), rounds, shapes=False)
    for what, ratio in ratios(found):
        print(
            f"full-size random CamemBERT, 11 layers against 12, {what}: {ratio.value:.3f} ({ratio.low:.3f}–{ratio.high:.3f}) {ratio.winner()}",
            flush=True,
        )
    return found.models[1].timings[0].ratio.winner() == "faster"


def ratios(found: Benchmark) -> list[tuple[str, Ratio]]:
    """Return the two ratios that a winner may be declared on."""
    second = found.models[1]
    return [("throughput", second.timings[0].ratio), ("one by one", second.latency)]


def random_camembert(folder: Path, layers: int) -> Path:
    """Write a full-size CamemBERT with random weights and the sample's tokenizer."""
    config = CamembertConfig(
        vocab_size=32005,
        num_hidden_layers=layers,
        max_position_embeddings=514,
        type_vocab_size=1,
        id2label=dict(enumerate(("O", "I-LOC", "I-PER", "I-MISC", "I-ORG"))),
    )
    torch.manual_seed(13)
    AutoModelForTokenClassification.from_config(config).save_pretrained(folder)
    for name in TOKENIZER_FILES:
        if (sample.teacher() / name).is_file():
            shutil.copyfile(sample.teacher() / name, folder / name)
    return folder


if __name__ == "__main__":
    sys.exit(main())
