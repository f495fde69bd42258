#!/usr/bin/env python3
"""Guide §9.2: ``prune_student.py --sparsity 0.15`` prunes ./student_11L into ./student_11L_pruned."""

import argparse
import sys
from pathlib import Path

from affineur.api.verbs import take
from affineur.cli.main import guarded
from affineur.pipeline import guide
from affineur.steps.prune import Prune


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model_path", help="model to prune (default: ./student_11L, else the sample)")
    parser.add_argument("--output_dir", type=Path, default=guide.PRUNED)
    parser.add_argument("--sparsity", type=float, default=0.15)
    parser.add_argument("--method", default="magnitude", help="magnitude (global, the guide's) or layerwise")
    args = parser.parse_args()

    def command() -> int:
        step = Prune.given(
            {"sparsity": args.sparsity, "method": args.method}
        )  # refused before anything is made
        made = take(step, args.model_path or guide.student(), args.output_dir)
        info = made.info
        print(
            f"{info.zeros_in_scope:,} of {info.weights_in_scope:,} attention and feed-forward weights are"
            f" zero ({info.sparsity:.2%})"
        )
        print(f"{args.output_dir}; next: train_distillation.py --model_path {args.output_dir} --eval_only")
        return 0

    return guarded(command, parser.prog)


if __name__ == "__main__":
    sys.exit(main())
