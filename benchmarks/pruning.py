"""Pruning a full-size CamemBERT: ours beside ``torch.nn.utils.prune.global_unstructured``, each in a fresh
process.

Random weights (12 layers × 768, 32,005 pieces): they prove speed, memory and exactness, not F1. Loading and
saving are not counted. Extra memory is the peak resident set after pruning less that before.

    python benchmarks/pruning.py [--sparsity 0.15] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from affineur.artifact import describe_machine


def measure(who: str, sparsity: float) -> dict[str, float]:
    """Build the model, prune it one way, and return seconds, extra bytes and zeros."""
    import torch
    from torch import nn
    from torch.nn.utils import prune
    from transformers import AutoModelForTokenClassification, CamembertConfig

    from affineur.artifact import in_scope
    from affineur.steps.pruning.core.zeroing import prune_model

    torch.manual_seed(13)
    model = AutoModelForTokenClassification.from_config(
        CamembertConfig(vocab_size=32005, num_labels=5, max_position_embeddings=514, type_vocab_size=1)
    )
    names = [m.name for m in in_scope([name for name, _ in model.named_parameters()])]
    weights = sum(model.get_parameter(name).numel() for name in names)
    Path("/proc/self/clear_refs").write_text(
        "5"
    )  # resets the high-water mark, so that building the model is not counted
    before, start = _status("VmRSS"), time.perf_counter()
    if who == "affineur":
        prune_model(model, sparsity=sparsity)
    else:
        modules: list[tuple[nn.Module, str]] = [
            (model.get_submodule(name.rpartition(".")[0]), "weight") for name in names
        ]
        prune.global_unstructured(modules, prune.L1Unstructured, amount=round(sparsity * weights))
        for module, name in modules:
            prune.remove(module, name)
    seconds = time.perf_counter() - start
    zeros = sum(int((model.get_parameter(name) == 0).sum()) for name in names)
    return {"seconds": seconds, "extra_bytes": _status("VmHWM") - before, "zeros": zeros, "weights": weights}


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sparsity", type=float, default=0.15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measure(args.only, args.sparsity)))
        return
    found: dict[str, list[dict[str, float]]] = {"affineur": [], "torch": []}
    for _ in range(args.rounds):  # interleaved, so that a drifting machine is fair to both
        for who, results in found.items():
            command = [sys.executable, __file__, "--only", who, "--sparsity", str(args.sparsity)]
            results.append(
                json.loads(
                    subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[
                        -1
                    ]
                )
            )
    print(describe_machine())
    for who, results in found.items():
        seconds = statistics.median(r["seconds"] for r in results)
        extra = statistics.median(r["extra_bytes"] for r in results)
        exact = all(r["zeros"] == round(args.sparsity * r["weights"]) for r in results)
        print(
            f"{who:>9}: {seconds:6.2f} s, {extra / 1e6:7.0f} MB extra, {results[0]['zeros']:,.0f} of"
            f" {results[0]['weights']:,.0f} zeros, {'exact' if exact else 'not exact'}"
        )
    ratios = [a["seconds"] / b["seconds"] for a, b in zip(found["affineur"], found["torch"], strict=True)]
    print(f"    ratio: {statistics.median(ratios):.3f} of torch's time (median of {args.rounds} pairs)")


if __name__ == "__main__":
    main()
