"""The command restore: names back into redacted texts."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from affineur.cli import options, show, streams
from affineur.cli.commands import USE, Commands
from affineur.entities import decoded
from affineur.errors import DataError, counted
from affineur.progress import report


def add_parsers(commands: Commands) -> None:
    """Add the command of this module."""
    parser = commands.add(
        "restore",
        "the names back into a text that predict --redact made, by its map",
        USE,
        (
            "affineur predict sample --document --redact=pseudonym --redact-map map.jsonl < in.txt > out.txt",
            "affineur restore out.txt --map map.jsonl > again.txt",
        ),
        "An unchanged text comes back to the byte; in a changed one names follow their placeholders.",
    )
    parser.add_argument(
        "text", metavar="TEXT_FILE", help="the redacted text, UTF-8, changed or not; - for standard input"
    )
    parser.add_argument(
        "--map",
        dest="replacements",
        metavar="FILE",
        type=Path,
        required=True,
        help="the map that --redact-map wrote",
    )
    options.add_common(parser)
    parser.set_defaults(run=_restore)


def _restore(args: argparse.Namespace) -> int:
    from affineur.runtime.restoring import read_maps, restored_all

    maps = read_maps(args.replacements)
    found = restored_all(streams.whole() if args.text == "-" else _read(Path(args.text)), maps)
    if found.unknown:
        report(
            f"warning: {counted(len(found.unknown), 'placeholder')} stayed, not in the map: "
            f"{_some(found.unknown)}"
        )
    if found.unused:
        report(f"note: not in the text: {_some(found.unused)}")
    if found.respelled:
        report(
            f"note: the map spells the name of {_some(found.respelled)} in several ways; in a text that was"
            " changed, which stood where is not known"
        )
    if found.moved:
        report(
            f"note: {counted(len(found.moved), 'line')} changed since, from line {found.moved[0]} on, read"
            " by the one text of the map that can be meant"
        )
    streams.carry_utf8()
    output = streams.Output([])
    output.show(lambda: show.lines([found.text], end=""))
    output.finish()
    show.to_json(asdict(found), args.json)
    return 0


def _some(placeholders: list[str]) -> str:
    return ", ".join(placeholders[:5]) + (", …" if len(placeholders) > 5 else "")


def _read(path: Path) -> str:
    try:
        return decoded(path.read_bytes(), path)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", path) from None
