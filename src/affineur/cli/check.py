"""The command that decides: check."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from affineur.cli import options, show
from affineur.cli.commands import MEASURE, Commands
from affineur.errors import AffineurError

if TYPE_CHECKING:
    from affineur.measure import Gate

_MISSED = 3


def add_parsers(commands: Commands) -> None:
    """Add the command of this module."""
    parser = commands.add(
        "check",
        "the deployment checklist: exit status 3 where a bar is missed or cannot be proved",
        MEASURE,
        ("affineur check student_11L_int8 --bars bars/guide.yaml --data my_corpus",),
    )
    options.add_model(parser, "a folder, a Hub id, 'sample', or torch-int8: and one of these")
    parser.add_argument(
        "--bars",
        metavar="BARS.yaml",
        type=Path,
        required=True,
        help=(
            "what has to be reached, one 'bar: limit' per line; bars/guide.yaml holds the guide's own and an"
            " example of each"
        ),
    )
    parser.add_argument("--baseline", metavar="MODEL", help="what max_drop is measured against")
    parser.add_argument(
        "--parent",
        metavar="MODEL",
        help="whose tags min_agreement compares with (default: what torch-int8: names, or the baseline)",
    )
    options.add_types(parser)
    parser.add_argument(
        "--junit", metavar="FILE", type=Path, help="write JUnit XML, one test case per bar, for CI"
    )
    parser.add_argument(
        "--summary",
        metavar="FILE",
        type=Path,
        help="append a Markdown table, such as to $GITHUB_STEP_SUMMARY",
    )
    options.add_data(parser)
    options.add_common(parser, device=True, threads=True)
    parser.set_defaults(run=_check)


def _check(args: argparse.Namespace) -> int:
    from affineur.api.measuring import check
    from affineur.measure import gate_lines, read_bars
    from affineur.transfer import load_corpus

    bars = read_bars(args.bars)
    gate = check(
        args.model,
        load_corpus(args.data, "test", options.data_options(args)),
        bars=bars,
        baseline=args.baseline,
        parent=args.parent,
        types=options.split_list(args.types),
        device=args.device,
        threads=args.threads,
    )
    show.lines(gate_lines(gate))
    try:
        _write(args, gate)
    except AffineurError as error:
        if gate.passed:
            raise
        show.error(str(error))  # a bar that is missed is not hidden behind a disk that is full
    return 0 if gate.passed else _MISSED


def _write(args: argparse.Namespace, gate: Gate) -> None:
    """Write every file that was asked for, the others too where one fails."""
    from affineur.artifact import write_text
    from affineur.measure import junit_xml, summary_markdown

    with contextlib.ExitStack() as stack:
        stack.callback(show.to_json, gate.as_dict(), args.json)
        if args.junit:
            stack.callback(write_text, args.junit, junit_xml(gate))
        if args.summary:
            stack.callback(_append, args.summary, summary_markdown(gate))


def _append(path: Path, text: str) -> None:
    """Add to a file that other steps write too; one write, so that theirs and ours stay whole."""
    from affineur.artifact import disk_errors

    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(("\n" if file.tell() else "") + text)
