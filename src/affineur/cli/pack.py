"""Commands that change how a model is stored, and nothing else: pack, unpack."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from affineur.artifact import open_folder
from affineur.cli import options, show
from affineur.measure import megabytes
from affineur.transfer import resolve_model


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands of this module."""
    for name, said, run in (
        ("pack", "store a pruned model without its zeros, lossless; loads after import affineur", _pack),
        ("unpack", "make a packed model dense again, byte for byte", _unpack),
    ):
        parser = commands.add_parser(name, help=said)
        parser.add_argument("model", metavar="MODEL")
        parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True)
        options.add_common(parser, device=False)
        parser.set_defaults(run=run)


def _pack(args: argparse.Namespace) -> int:
    from affineur.steps.pack import pack

    return _said(args, "packed", pack)


def _unpack(args: argparse.Namespace) -> int:
    from affineur.steps.pack import unpack

    return _said(args, "unpacked", unpack)


def _said(args: argparse.Namespace, done: str, make: Callable[[Path, Path], Path]) -> int:
    before = resolve_model(args.model)
    make(before, args.output)
    size, was = open_folder(args.output).size_bytes, open_folder(before).size_bytes
    packed = sum(tensor.packed is not None for tensor in open_folder(args.output).tensors())
    show.lines(
        [f"{done}: {megabytes(was)} → {megabytes(size)} ({size / was:.3f} of it); written to {args.output}"]
    )
    if done == "packed" and not packed:
        show.lines(
            [
                f"no matrix has zeros enough for a bitmask to pay, so nothing was saved; prune first: affineur prune {args.model} -o OUT"
            ]
        )
    show.to_json(
        {
            "model": str(args.output),
            "size_bytes": size,
            "size_bytes_before": was,
            "ratio": size / was,
            "packed_tensors": packed,
        },
        args.json,
    )
    return 0
