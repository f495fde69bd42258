"""Does ``affineur benchmark`` name a winner only where there is one?

The same model against itself must get none, run after run; a full-size random CamemBERT of 12 layers must
lose to one of 11. Random weights prove speed, not F1. The sentences are the sample's.

Each finished run is kept in ``--work``, so that the same command goes on where it stopped.

    python benchmarks/winner.py [--runs 20] [--rounds 15] [--work DIR]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch
from transformers import AutoModelForTokenClassification, CamembertConfig

from affineur import __version__, sample
from affineur.artifact import TOKENIZER_FILES, describe_machine, write_json
from affineur.cli.main import guarded
from affineur.errors import ParameterError
from affineur.measure import Benchmark, Ratio
from affineur.pipeline import benchmark_models
from affineur.transfer import load_corpus


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=20, help="runs of the same model against itself")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--work",
        type=Path,
        help="keep the full-size models and finished runs here (default: a temporary folder)",
    )
    args = parser.parse_args()

    if args.rounds < 8:
        parser.error("fewer than 8 rounds have no 99 % interval, so nothing could be named a winner")

    def command() -> int:
        print(describe_machine(), flush=True)
        with tempfile.TemporaryDirectory() as folder:
            work = args.work or Path(folder)
            seen = layers_apart(work, args.rounds)
            return 0 if same_twice(work, args.runs, args.rounds) and seen else 1

    return guarded(command, "winner.py", quiet=True)


def same_twice(work: Path, runs: int, rounds: int) -> bool:
    """Benchmark `sample` against itself; say what was declared."""
    said: Counter[str] = Counter()
    for run in range(runs):
        for what, winner in once(
            work / f"same_{rounds}_{run + 1}.json", f"run {run + 1}", ["sample", "sample"], rounds
        ):
            said[f"{what}: {winner}"] += 1
    wrong = sum(count for name, count in said.items() if name.endswith(("faster", "slower")))
    print(
        f"the same model twice, {runs} runs: {wrong} winners"
        f" ({', '.join(f'{n} {c}' for n, c in sorted(said.items()))})"
    )
    return wrong == 0


def layers_apart(work: Path, rounds: int) -> bool:
    """Benchmark 12 full-size layers against 11: a winner must be named, and never the wrong one."""
    models = [str(random_camembert(work / f"random_{layers}L", layers)) for layers in (12, 11)]
    winners = {
        winner
        for _, winner in once(
            work / f"apart_{rounds}.json", "full-size random CamemBERT, 11 layers against 12", models, rounds
        )
    }
    return "faster" in winners and "slower" not in winners


def once(kept: Path, name: str, models: list[str], rounds: int) -> list[tuple[str, str]]:
    """Run a benchmark of two models, or read what an earlier run kept; print it and return the winner of each
    measure.
    """
    if not kept.is_file():
        found = benchmark_models(models, load_corpus("sample"), rounds, shapes=False)
        seen = [[what, ratio.value, ratio.low, ratio.high, ratio.winner()] for what, ratio in ratios(found)]
        write_json(kept, {"version": __version__, "machine": describe_machine(), "ratios": seen})
    told = json.loads(kept.read_text("utf-8"))
    if (told["version"], told["machine"]) != (__version__, describe_machine()):
        raise ParameterError(
            f"{kept} is of version {told['version']} on {told['machine']}; name another --work"
        )
    rows = told["ratios"]
    for what, value, low, high, winner in rows:
        print(f"  {name}, {what:<15} {value:.3f} ({low:.3f}–{high:.3f}) {winner}", flush=True)
    return [(what, winner) for what, *_, winner in rows]


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
        if (sample.model(sample.TEACHER) / name).is_file():
            shutil.copyfile(sample.model(sample.TEACHER) / name, folder / name)
    return folder


if __name__ == "__main__":
    sys.exit(main())
