"""The command that says whether an artifact is what was written and signed: verify."""

from __future__ import annotations

import argparse
from pathlib import Path

from affineur.cli import options, show
from affineur.cli.commands import MOVE, Commands


def add_parsers(commands: Commands) -> None:
    """Add the command of this module."""
    parser = commands.add(
        "verify",
        "is an artifact what was written: every digest, and its signature",
        MOVE,
        (
            "affineur verify student_11L_int8",
            "affineur verify student_11L_int8 --verify-key team.pub --json verified.json",
            "affineur verify student_11L_int8 --certificates company-root.pem",
        ),
        about=(
            "Compares every file with affineur.json, and names each that is missing, differs or is unlisted;"
            " the model card may differ. Exit status 1 where one does, or where the signature does not hold."
        ),
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="the folder of an artifact")
    options.add_signers(parser)
    options.add_common(parser)
    parser.set_defaults(run=_verify)


def _verify(args: argparse.Namespace) -> int:
    from affineur.api.trust import verify

    found = verify(args.folder, key=args.key, certificates=args.certificates)
    show.table(("File", "State"), found.rows(), numbers=False)
    show.to_json(found.as_dict(), args.json)
    if not found.passed:
        show.error(found.summary)
        return 1
    show.lines([found.summary.replace("give key or certificates", "give --verify-key or --certificates")])
    return 0
