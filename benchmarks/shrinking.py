"""What narrower feed-forward layers and fewer layers cost: F1 just after ``shrink``, and after learning from
the unshrunk model.

Widths are shrunk with and without least squares. Differences are paired over the same sentences with 95 %
bootstrap intervals. The control is the unshrunk model given the same epochs with the same teacher, itself: a
model that is still learning gains from them without having lost anything.

    python benchmarks/shrinking.py [MODEL] [--data DIR] [--widths 0.5,0.25] [--layers 6,4] [--epochs 2]
    [--work DIR]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import affineur
from affineur.artifact import describe_machine, open_folder
from affineur.errors import ParameterError
from affineur.measure import Evaluation, evaluate, megabytes
from affineur.pipeline import load
from affineur.transfer import load_splits, resolve_model
from curve import numbers, run, show


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="sample")
    parser.add_argument("--data", default="sample")
    parser.add_argument(
        "--widths", default="0.5,0.25", help="shares of the feed-forward neurons, or numbers of them"
    )
    parser.add_argument("--layers", default="", help="numbers of encoder layers")
    parser.add_argument("--epochs", type=float, default=2.0, help="of recovery and control")
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--work", type=Path, help="keep the models here (default: a temporary folder)")
    return run(shrinking, parser.parse_args(), "shrinking.py")


def shrinking(args: argparse.Namespace, work: Path) -> None:
    """Shrink, recover, score and print."""
    splits = load_splits(args.data)
    source, train, test = resolve_model(args.model), splits.get("train"), splits.get("test")
    widths, layers = (
        numbers("--widths", args.widths, "0.5,0.25"),
        numbers("--layers", args.layers, "6,4", int),
    )
    if not widths and not layers:
        raise ParameterError("nothing to shrink; give --widths, --layers or both")
    how = {"epochs": args.epochs, "learning_rate": args.learning_rate, "teacher": source}

    def recovered(folder: Path, out: Path) -> Evaluation:
        return affineur.recover(folder, data=train, out=out, **how).evaluate(test)

    def shrunken(name: str, **to: Any) -> Path:
        return affineur.shrink(source, calibration=train, out=work / name, **to).path

    print(
        f"{describe_machine()}\n{len(test):,} sentences of {test.name}; F1 of mentions, points against the"
        " model named or the unshrunk one (95 %)"
    )
    print(
        f"recovery and control: {args.epochs:g} epochs of {len(train):,} sentences at {args.learning_rate:g},"
        " taught by the unshrunk model\n"
    )

    before = evaluate(load(source), test)
    show("unshrunk", before, more=_size(source))
    control = recovered(source, work / "control")
    show("control", control, before)
    shrunk: list[tuple[str, Path]] = []
    for width in widths:
        plain = shrunken(f"width_{width:g}_plain", ffn_width=width, reconstruct=False)
        show(f"width {width:g}, as left", evaluate(load(plain), test), before)
        shrunk.append((f"width {width:g}", shrunken(f"width_{width:g}", ffn_width=width)))
    shrunk += [(f"{count} layers", shrunken(f"layers_{count}", layers=count)) for count in layers]
    for name, folder in shrunk:
        show(name, evaluate(load(folder), test), before, _size(folder))
        after = recovered(folder, work / f"{folder.name}_recovered")
        show("  recovered", after, before)
        show("  against control", after, control)


def _size(folder: Path) -> str:
    return f"  {megabytes(open_folder(folder).size_bytes)} of weights"


if __name__ == "__main__":
    sys.exit(main())
