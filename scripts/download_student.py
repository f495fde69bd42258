#!/usr/bin/env python3
"""Guide §9.1: fetch a model into ./student_11L, from RunPod or from anywhere else, and check every byte."""

import argparse
import sys
from pathlib import Path

from affineur.cli.main import guarded
from affineur.pipeline import guide
from affineur.transfer import download
from affineur.transfer.places.core.place import Access

EXAMPLES = """
examples:
  download_student.py runpod:VOLUME/student_11L --region EU-RO-1
  download_student.py sftp://root@HOST:PORT/workspace/student_11L
  download_student.py s3://BUCKET/student_11L --profile mine
  download_student.py https://HOST/student_11L --sha256 DIGEST
  download_student.py hub:OWNER/student_11L
  download_student.py /mnt/models/student_11L

The same command again goes on where it stopped. Credentials come from where the place's own tools take them:
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or ~/.aws (for runpod: an S3 API key of RunPod), the SSH agent,
~/.ssh and ~/.ssh/config, ~/.netrc, hf auth login.
"""
ACCESS = ("endpoint", "region", "profile")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "source",
        nargs="?",
        help="where it is, as in the examples (default: the student of the sample)",
    )
    parser.add_argument(
        "--output_dir", type=Path, default=guide.STUDENT, help=f"where to (default: {guide.STUDENT})"
    )
    parser.add_argument("--sha256", help="expected sha256 of model.safetensors")
    parser.add_argument("--endpoint", metavar="URL", help="address of the service (S3, RunPod)")
    parser.add_argument("--region", metavar="NAME", help="region (S3), or data center (RunPod)")
    parser.add_argument("--profile", metavar="NAME", help="section of ~/.aws/config and credentials")
    args = parser.parse_args()
    access = Access(**{name: getattr(args, name) for name in ACCESS})
    if args.source is None and (args.sha256 or args.output_dir != guide.STUDENT or access != Access()):
        parser.error("options need a SOURCE")

    def command() -> int:
        if args.source is None:
            made = guide.student()
        else:
            made = download(args.source, args.output_dir, args.sha256, access=access)
        print(f"{made}; next: prune_student.py --sparsity 0.15")
        return 0

    return guarded(command, parser.prog, given={name: f"--{name}" for name in ("sha256", *ACCESS)})


if __name__ == "__main__":
    sys.exit(main())
