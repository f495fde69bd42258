#!/usr/bin/env python3
"""Guide, "Next steps" 4: publish a model, on the Hub or elsewhere, if it reaches every bar."""

import argparse
import sys
from pathlib import Path

import affineur
from affineur.cli.main import guarded
from affineur.pipeline import guide
from affineur.transfer.places.core.place import Access, Publication
from affineur.transfer.push import place_to_push

EXAMPLES = """
examples:
  upload_student.py hub:OWNER/student_11L --private --license mit --tag v1
  upload_student.py runpod:VOLUME/student_11L --region EU-RO-1
  upload_student.py s3://BUCKET/student_11L --model_dir student_11L_pruned_finetuned --data my_corpus

Only what changed is sent, and readers see the old version or the new one. Exit status 3: a bar was missed,
and nothing was sent.
"""
BARS = Path(__file__).resolve().parents[1] / "bars" / "guide.yaml"
ACCESS = ("endpoint", "region", "profile")
SAID = ("private", "tag", "license")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("reference", help="where to, as in the examples")
    parser.add_argument(
        "--model_dir", type=Path, default=guide.PRUNED, help=f"the model (default: {guide.PRUNED})"
    )
    parser.add_argument("--bars", type=Path, default=BARS, help="what it has to reach (default: the guide's)")
    parser.add_argument("--data", default="sample", help="what it is measured on (default: sample)")
    parser.add_argument("--private", action="store_true", help="only those with access see it (Hub)")
    parser.add_argument("--tag", help="name of the version (Hub)")
    parser.add_argument("--license", help="license it is given (Hub)")
    parser.add_argument("--endpoint", metavar="URL", help="address of the service (S3, RunPod)")
    parser.add_argument("--region", metavar="NAME", help="region (S3), or data center (RunPod)")
    parser.add_argument("--profile", metavar="NAME", help="section of ~/.aws/config and credentials")
    args = parser.parse_args()
    access = {name: getattr(args, name) for name in ACCESS}
    said = {name: getattr(args, name) for name in SAID}

    def command() -> int:
        place_to_push(args.reference, Access(**access), Publication(**said))  # before minutes of measuring
        gate = affineur.check(args.model_dir, args.data, bars=args.bars)
        print(gate)
        if not gate.passed:
            print("a bar was missed, so nothing was published")
            return 3
        done = affineur.push(args.model_dir, args.reference, **access, **said)
        print(f"{done.where}: {len(done.sent)} files sent, {len(done.kept)} were there already")
        return 0

    return guarded(command, parser.prog, given={name: f"--{name}" for name in (*ACCESS, *SAID)})


if __name__ == "__main__":
    sys.exit(main())
