#!/usr/bin/env python3
"""Guide §9.1: fetch a model into ./student_11L from a folder, an HTTP URL of a folder, or the Hub, and check
it.
"""

import argparse
import sys
from pathlib import Path

from affineur.cli.main import guarded
from affineur.pipeline import guide
from affineur.transfer import download


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "source", nargs="?", help="folder, URL or Hub id (default: the student of the embedded sample)"
    )
    parser.add_argument("--output_dir", type=Path, default=guide.STUDENT)
    parser.add_argument("--sha256", help="expected sha256 of model.safetensors")
    args = parser.parse_args()
    if args.source is None and (args.sha256 or args.output_dir != guide.STUDENT):
        parser.error("--sha256 and --output_dir need a SOURCE")

    def command() -> int:
        print(
            f"{download(args.source, args.output_dir, args.sha256) if args.source else guide.student()};"
            " next: prune_student.py --sparsity 0.15"
        )
        return 0

    return guarded(command, parser.prog)


if __name__ == "__main__":
    sys.exit(main())
