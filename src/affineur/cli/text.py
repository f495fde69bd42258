"""Commands on raw text: predict."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from affineur.cli import options, show
from affineur.errors import ParameterError


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands of this module."""
    parser = commands.add_parser("predict", help="entities of a text, with character offsets")
    parser.add_argument("model", metavar="MODEL", help="a folder, a Hub id, 'sample', or torch-int8: and one of these")
    parser.add_argument("texts", metavar="TEXT", nargs="*", help="one text each; without any, lines of standard input")
    parser.add_argument("--batch-size", type=int, default=32)
    options.add_common(parser)
    parser.set_defaults(run=_predict)


def _predict(args: argparse.Namespace) -> int:
    from affineur.pipeline import load

    if args.batch_size < 1:
        raise ParameterError(f"--batch-size {args.batch_size} is impossible, expected at least 1")
    texts = args.texts or [line.rstrip("\r\n") for line in sys.stdin]
    tagger = load(args.model, args.device)
    results = tagger.predict_batch(texts, args.batch_size)
    for text, found in zip(texts, results, strict=True):
        show.entities(text, found)
    show.to_json([{"text": text, "entities": [asdict(entity) for entity in found]} for text, found in zip(texts, results, strict=True)], args.json)
    return 0
