#!/usr/bin/env python3
"""Guide §7: evaluate a model (``--eval_only``), or fine-tune it, zeros kept (``--num_epochs 0.5``)."""

import argparse
import sys
from pathlib import Path

from affineur.cli.main import guarded
from affineur.cli.main import main as affineur
from affineur.pipeline import guide
from affineur.transfer import resolve_model


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model_path", help="the model (default: ./student_11L_pruned, else made from the sample)"
    )
    parser.add_argument("--eval_only", action="store_true", help="score on the test split and stop")
    parser.add_argument("--num_epochs", type=float, default=0.5)
    parser.add_argument("--learning_rate", type=float, default=1e-5)
    parser.add_argument("--teacher_path", help="learn this model's soft labels too")
    parser.add_argument(
        "--data",
        default="sample",
        help="a folder with train/dev/test.conll, or a data set of the Hub (default: the sample)",
    )
    parser.add_argument(
        "--output_dir", help="where the fine-tuned model goes (default: MODEL_PATH_finetuned)"
    )
    args = parser.parse_args()

    def command() -> int:
        model = resolve_model(args.model_path) if args.model_path else guide.pruned()
        if args.eval_only:
            return affineur(["evaluate", str(model), "--data", args.data])
        out = (
            Path(args.output_dir) if args.output_dir else model.with_name(f"{model.resolve().name}_finetuned")
        )
        words = ["recover", str(model), "--data", args.data, "-o", str(out), "--epochs", str(args.num_epochs)]
        words += ["--learning-rate", str(args.learning_rate)] + (
            ["--teacher", args.teacher_path] if args.teacher_path else []
        )
        return affineur(words) or affineur(["evaluate", str(out), "--data", args.data])

    return guarded(command, parser.prog)


if __name__ == "__main__":
    sys.exit(main())
