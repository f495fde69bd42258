"""What sparsity costs: F1 of a model pruned at several sparsities, and what half an epoch gives back.

Differences are paired over the same sentences with 95 % bootstrap intervals. The control is the unpruned
model given the same half epoch: a model that is still learning gains from it without having lost anything.

    python benchmarks/curve.py [MODEL] [--data DIR] [--sparsities 0.15,0.2,…] [--recover] [--work DIR]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import affineur
from affineur.artifact import describe_machine
from affineur.cli.main import guarded
from affineur.errors import ParameterError
from affineur.measure import Evaluation, evaluate
from affineur.pipeline import load
from affineur.transfer import load_splits, resolve_model

_GUIDE = 0.15  # the guide's sparsity, which is recovered and held against the control


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="sample")
    parser.add_argument("--data", default="sample")
    parser.add_argument("--sparsities", default="0.15,0.2,0.25,0.4,0.6")
    parser.add_argument(
        "--recover",
        action="store_true",
        help="also fine-tune the model pruned by 15 %% and the unpruned control for half an epoch",
    )
    parser.add_argument("--work", type=Path, help="keep the models here (default: a temporary folder)")
    args = parser.parse_args()

    return run(curve, args, "curve.py")


def run(measure: Callable[[argparse.Namespace, Path], None], args: argparse.Namespace, name: str) -> int:
    """Run a benchmark whose models are kept in ``--work``, or in a folder that goes with it."""

    def command() -> int:
        with tempfile.TemporaryDirectory() as folder:
            measure(args, args.work or Path(folder))
        return 0

    return guarded(command, name, quiet=True)


def curve(args: argparse.Namespace, work: Path) -> None:
    """Prune, recover, score and print."""
    splits = load_splits(args.data)
    source, test = resolve_model(args.model), splits.get("test")
    sparsities = set(numbers("--sparsities", args.sparsities, "0.15,0.4")) | (
        {_GUIDE} if args.recover else set()
    )
    print(
        f"{describe_machine()}\n{len(test):,} sentences of {test.name}; F1 of mentions, points against the"
        " unpruned model (95 %)\n"
    )
    before = evaluate(load(source), test)
    show("unpruned", before)
    pruned: dict[float, Evaluation] = {}
    for sparsity in sorted(sparsities):
        out = work / f"pruned_{sparsity:g}"
        affineur.prune(source, sparsity=sparsity, out=out)
        pruned[sparsity] = evaluate(load(out), test)
        show(f"pruned {sparsity:.0%}", pruned[sparsity], before)
    if args.recover:
        recovered = affineur.recover(work / f"pruned_{_GUIDE:g}", data=splits, out=work / "recovered")
        after = recovered.evaluate(test)
        control = affineur.recover(source, data=splits, out=work / "control").evaluate(test)
        show("pruned 15% + ½ epoch", after, before)
        show("control + ½ epoch", control, before)
        show("  pruned vs control", after, control)
        print(f"\nshare of the loss recovered: {recovered_share(before, pruned[_GUIDE], after)}")


def numbers(option: str, text: str, example: str, kind: type[float] | type[int] = float) -> list[Any]:
    """Read a list of numbers; nothing is an empty one.

    Raises:
        ParameterError: If it is none.
    """
    try:
        return [kind(part) for part in text.split(",")] if text else []
    except ValueError:
        raise ParameterError(
            f"{option} {text} is not a list of {'whole ' if kind is int else ''}numbers, expected for example"
            f" {example}"
        ) from None


def recovered_share(before: Evaluation, pruned: Evaluation, after: Evaluation) -> str:
    """Say how much of the loss came back, where there is a loss to speak of."""
    loss = pruned.minus(before)
    if loss.high >= 0:
        return (
            f"n/a (the loss, {loss.value * 100:+.2f} points, cannot be told from zero: {loss.low * 100:+.2f}"
            f" … {loss.high * 100:+.2f})"
        )
    return f"{(after.total.f1 - pruned.total.f1) / (before.total.f1 - pruned.total.f1):.0%}"


def show(name: str, evaluation: Evaluation, baseline: Evaluation | None = None, more: str = "") -> None:
    """Print what a model scored, and its paired difference to another."""
    interval = evaluation.interval()
    line = (
        f"{name:<22} F1 {evaluation.total.f1:.4f} ({interval.low:.4f}–{interval.high:.4f}) accuracy"
        f" {evaluation.accuracy:.4f}"
    )
    if baseline:
        difference = evaluation.minus(baseline)
        line += (
            f"  {difference.value * 100:+.2f} ({difference.low * 100:+.2f} … {difference.high * 100:+.2f}), p"
            f" = {difference.p_value:.3f}"
        )
    print(line + more, flush=True)


if __name__ == "__main__":
    sys.exit(main())
