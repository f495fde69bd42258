"""What sparsity costs: F1 of a model pruned at several sparsities, and what half an epoch gives back.

Differences are paired over the same sentences with 95 % bootstrap intervals. The control is the unpruned model given the
same half epoch: a model that is still learning gains from it without having lost anything.

    python benchmarks/curve.py [MODEL] [--data DIR] [--sparsities 0.15,0.2,…] [--recover] [--work DIR]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from affineur.artifact import describe_machine
from affineur.cli.main import guarded
from affineur.compress import prune, recover
from affineur.errors import ParameterError
from affineur.measure import Difference, Evaluation, evaluate
from affineur.pipeline import load
from affineur.transfer import load_splits, resolve_model

_GUIDE = 0.15  # the guide's sparsity, which is recovered and held against the control


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="sample")
    parser.add_argument("--data", default="sample")
    parser.add_argument("--sparsities", default="0.15,0.2,0.25,0.4,0.6")
    parser.add_argument("--recover", action="store_true", help="also fine-tune the model pruned by 15 %% and the unpruned control for half an epoch")
    parser.add_argument("--work", type=Path, help="keep the models here (default: a temporary folder)")
    args = parser.parse_args()

    def command() -> int:
        if args.work:
            curve(args, args.work)
        else:
            with tempfile.TemporaryDirectory() as folder:
                curve(args, Path(folder))
        return 0

    return guarded(command, "curve.py", quiet=True)


def curve(args: argparse.Namespace, work: Path) -> None:
    """Prune, recover, score and print."""
    splits = load_splits(args.data)
    source, test = resolve_model(args.model), splits.get("test")
    sparsities = _sparsities(args.sparsities) | ({_GUIDE} if args.recover else set())
    print(f"{describe_machine()}\n{len(test):,} sentences of {test.name}; F1 of mentions, points against the unpruned model (95 %)\n")
    before = evaluate(load(source), test)
    _print("unpruned", before, None)
    pruned: dict[float, Evaluation] = {}
    for sparsity in sorted(sparsities):
        out = work / f"pruned_{sparsity:g}"
        prune(source, out, sparsity)
        pruned[sparsity] = evaluate(load(out), test)
        _print(f"pruned {sparsity:.0%}", pruned[sparsity], pruned[sparsity].minus(before))
    if args.recover:
        after = evaluate(load(recover(work / f"pruned_{_GUIDE:g}", work / "recovered", splits.get("train"), splits.dev)), test)
        control = evaluate(load(recover(source, work / "control", splits.get("train"), splits.dev)), test)
        _print("pruned 15% + ½ epoch", after, after.minus(before))
        _print("control + ½ epoch", control, control.minus(before))
        _print("  pruned vs control", after, after.minus(control))
        print(f"\nshare of the loss recovered: {recovered_share(before, pruned[_GUIDE], after)}")


def _sparsities(text: str) -> set[float]:
    try:
        return {float(part) for part in text.split(",")}
    except ValueError:
        raise ParameterError(f"--sparsities {text} is not a list of sparsities, expected for example 0.15,0.4") from None


def recovered_share(before: Evaluation, pruned: Evaluation, after: Evaluation) -> str:
    """Say how much of the loss came back, where there is a loss to speak of."""
    loss = pruned.minus(before)
    if loss.high >= 0:
        return f"n/a (the loss, {loss.value * 100:+.2f} points, cannot be told from zero: {loss.low * 100:+.2f} … {loss.high * 100:+.2f})"
    return f"{(after.total.f1 - pruned.total.f1) / (before.total.f1 - pruned.total.f1):.0%}"


def _print(name: str, evaluation: Evaluation, difference: Difference | None) -> None:
    interval = evaluation.interval()
    line = f"{name:<22} F1 {evaluation.total.f1:.4f} ({interval.low:.4f}–{interval.high:.4f}) accuracy {evaluation.accuracy:.4f}"
    if difference:
        line += f"  {difference.value * 100:+.2f} ({difference.low * 100:+.2f} … {difference.high * 100:+.2f}), p = {difference.p_value:.3f}"
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
