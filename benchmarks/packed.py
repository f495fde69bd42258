"""Packed against dense: size, time and memory to load, on a full-size CamemBERT (12 layers × 768, 32,005
pieces).

Random weights, pruned by global magnitude: they prove size, speed and exactness, not F1. Each load is a fresh
process with a warm file cache, dense and packed alternated, reported as medians and as the median of the
ratios of pairs.

- *start* is the whole process: interpreter, imports, ``from_pretrained``, one sentence.
- *load* is ``from_pretrained`` and one sentence alone. A dense file is not read by ``from_pretrained`` but
  mapped, and its weights are first touched by the sentence; a packed one is unpacked.
- *anonymous memory* is the peak of ``RssAnon`` in ``/proc/self/status``, sampled every millisecond during
  *load*, less that before it; mapped files are not in it, which is all a dense model loads into. *Resident*
  is ``VmHWM`` at the
  end: both.

    python benchmarks/packed.py [--rounds 7] [--work DIR]
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import affineur


def load(folder: str) -> dict[str, Any]:
    """Load a model in this process and let it read one sentence."""
    import torch
    from transformers import AutoModelForTokenClassification

    # Its import is no part of loading.
    importlib.import_module("transformers.models.camembert.modeling_camembert")

    peak, done = [_status("RssAnon")] * 2, threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            peak[1] = max(peak[1], _status("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    model = AutoModelForTokenClassification.from_pretrained(folder)
    loaded = time.perf_counter()
    peak[1] = max(peak[1], _status("RssAnon"))
    with torch.no_grad():
        logits = model(input_ids=torch.arange(5, 37)[None]).logits
    end = time.perf_counter()
    done.set()
    watcher.join()
    return {
        "from_pretrained": loaded - start,
        "load": end - start,
        "anonymous": max(peak[1], _status("RssAnon")) - peak[0],
        "resident": _status("VmHWM"),
        "digest": hashlib.sha256(logits.numpy().tobytes()).hexdigest(),
    }


def _status(field: str) -> int:
    return next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith(field)
    )


def fresh(folder: Path) -> dict[str, Any]:
    """Load a model in a process of its own, and time that process."""
    command = [sys.executable, __file__, "--only", str(folder)]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1]) | {"start": time.perf_counter() - start}


def report(sparsity: float, dense: Path, packed: Path, rounds: int) -> bool:
    """Print the ratios of one sparsity; return whether those of the design are kept."""
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (dense, packed)]
    pairs = [(fresh(dense), fresh(packed)) for _ in range(rounds + 1)][1:]  # the first fills the file cache
    ratio = sizes[1] / sizes[0]
    same = all(a["digest"] == b["digest"] for a, b in pairs)
    print(
        f"\n{sparsity:.0%} of scope pruned: packed {sizes[1] / 1e6:.1f} MB, dense {sizes[0] / 1e6:.1f} MB,"
        f" ratio {ratio:.4f}; logits ",
        end="",
    )
    print("bit-identical" if same else "DIFFER")
    for what in ("start", "load", "from_pretrained"):
        a, b = (statistics.median(pair[i][what] for pair in pairs) for i in (0, 1))
        print(
            f"  {what:<16} dense {a:6.3f} s, packed {b:6.3f} s, ratio"
            f" {statistics.median(y[what] / x[what] for x, y in pairs):.2f}"
        )
    for what in ("anonymous", "resident"):
        a, b = (statistics.median(pair[i][what] for pair in pairs) for i in (0, 1))
        print(
            f"  {what:<16} dense {a / 1e6:6.0f} MB, packed {b / 1e6:6.0f} MB ({a / sizes[0]:.2f} and"
            f" {b / sizes[0]:.2f} of the dense file)"
        )
    return same and ratio <= {0.15: 0.915, 0.5: 0.65}[sparsity]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--work", type=Path, help="keep the models here (default: a temporary folder)")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(load(args.only)))
        return 0
    import winner  # not above: what loads a model is timed with its imports
    from affineur.artifact import describe_machine

    print(describe_machine(), flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        source = winner.random_camembert(work / "random_12L", 12)
        kept = []
        for sparsity in (0.15, 0.5):
            pruned, packed, again = (work / f"{name}_{sparsity}" for name in ("pruned", "packed", "unpacked"))
            affineur.prune(source, sparsity=sparsity, out=pruned)
            affineur.pack(pruned, out=packed)
            affineur.unpack(packed, out=again)
            assert (again / "model.safetensors").read_bytes() == (pruned / "model.safetensors").read_bytes()
            kept.append(report(sparsity, pruned, packed, args.rounds))
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
