#!/usr/bin/env python3
"""Guide, "Next steps" 4: publish a model, to the Hub or elsewhere, if it reaches its bars."""

import argparse
import sys
from pathlib import Path

import affineur
from affineur.cli.main import guarded
from affineur.pipeline import guide


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "reference", help="where to, such as hub:my-org/student_11L or s3://models/student_11L"
    )
    parser.add_argument(
        "--model_dir", type=Path, default=guide.PRUNED, help=f"the model (default: {guide.PRUNED})"
    )
    parser.add_argument(
        "--bars", type=Path, default=Path("bars/guide.yaml"), help="what it has to reach first"
    )
    parser.add_argument("--data", default="sample", help="what it is measured on (default: sample)")
    parser.add_argument("--private", action="store_true", help="only those with access see it (Hub)")
    parser.add_argument("--tag", help="name of the version (Hub)")
    parser.add_argument("--license", help="license it is given (Hub)")
    args = parser.parse_args()

    def command() -> int:
        gate = affineur.check(args.model_dir, args.data, bars=args.bars)
        if not gate.passed:
            print(gate)
            print("a bar was missed, so nothing was published")
            return 3
        done = affineur.push(
            args.model_dir, args.reference, private=args.private, tag=args.tag, license=args.license
        )
        print(f"{done.where}: {len(done.sent)} files sent, {len(done.kept)} were there already")
        return 0

    return guarded(command, parser.prog)


if __name__ == "__main__":
    sys.exit(main())
