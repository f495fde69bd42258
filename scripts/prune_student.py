#!/usr/bin/env python3
"""Guide §9.2: ``prune_student.py --sparsity 0.15`` prunes ./student_11L into ./student_11L_pruned."""

import argparse
import sys
from pathlib import Path

from affineur.cli.main import guarded
from affineur.pipeline import guide
from affineur.steps import check_pruning, prune
from affineur.transfer import resolve_model


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model_path", help="model to prune (default: ./student_11L, else the embedded sample)"
    )
    parser.add_argument("--output_dir", type=Path, default=guide.PRUNED)
    parser.add_argument("--sparsity", type=float, default=0.15)
    parser.add_argument("--method", default="magnitude", help="magnitude (global, the guide's) or layerwise")
    args = parser.parse_args()

    def command() -> int:
        check_pruning(args.sparsity, args.method, None)
        info = prune(
            resolve_model(args.model_path) if args.model_path else guide.student(),
            args.output_dir,
            args.sparsity,
            args.method,
        )
        if info:
            print(
                f"{info.zeros:,} of {info.weights:,} attention and feed-forward weights are zero ({info.achieved:.2%})"
            )
        print(f"{args.output_dir}; next: train_distillation.py --model_path {args.output_dir} --eval_only")
        return 0

    return guarded(command, parser.prog)


if __name__ == "__main__":
    sys.exit(main())
