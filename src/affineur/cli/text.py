"""Commands on raw text: predict, annotate."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from itertools import tee
from pathlib import Path
from typing import Any

from affineur.cli import options, show
from affineur.errors import ParameterError, counted

_STRATEGY_HELP = "how pieces become entities: word (ours), or transformers' none, simple, first, average, max, equal to its pipeline's (default: word)"


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands of this module."""
    parser = commands.add_parser("predict", help="entities of a text, with character offsets")
    parser.add_argument(
        "model", metavar="MODEL", help="a folder, a Hub id, 'sample', or torch-int8: and one of these"
    )
    parser.add_argument(
        "texts",
        metavar="TEXT",
        nargs="*",
        help="one text each; without any, lines of standard input, answered as they come",
    )
    parser.add_argument(
        "--document",
        action="store_true",
        help="standard input is one text, not one a line: a name has one pseudonym throughout",
    )
    parser.add_argument("--aggregation-strategy", default="word", metavar="NAME", help=_STRATEGY_HELP)
    parser.add_argument("--batch-size", type=int, default=32, help="most texts in a batch (default: 32)")
    parser.add_argument(
        "--redact",
        nargs="*",
        metavar="STYLE",
        help="print the texts with each entity replaced, by type ([PER], also without STYLE) or pseudonym ([PER_1]); "
        "MODEL comes before, a TEXT of several words may follow",
    )
    parser.add_argument(
        "--redact-map",
        metavar="FILE",
        type=Path,
        help="write what --redact replaced, a JSON line a text, to a new file that only you can read",
    )
    options.add_common(parser)
    parser.set_defaults(run=_predict)

    parser = commands.add_parser(
        "annotate", help="a file of texts or words with the entities a model finds in it"
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a folder, a Hub id, 'sample', or torch-int8: and one of these"
    )
    parser.add_argument(
        "source",
        metavar="IN",
        type=Path,
        help='.txt: a text a line; .jsonl: a text a line under "text"; else CoNLL, the word in the first column',
    )
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        metavar="OUT",
        type=Path,
        help="the file to write: JSON lines with entities, or CoNLL with predicted tags",
    )
    parser.add_argument("--aggregation-strategy", default="word", metavar="NAME", help=_STRATEGY_HELP)
    options.add_common(parser)
    parser.set_defaults(run=_annotate)


def _predict(args: argparse.Namespace) -> int:
    from affineur.pipeline import load
    from affineur.runtime.aggregation import check_strategy
    from affineur.runtime.annotation import as_json

    if args.batch_size < 1:
        raise ParameterError(f"--batch-size {args.batch_size} is impossible, expected at least 1")
    check_strategy(args.aggregation_strategy)
    style, texts = _redaction(args)
    if args.document and texts:
        raise ParameterError(
            f"--document reads standard input as one text, but {counted(len(texts), 'TEXT')} came too; type: --document < FILE"
        )
    tagger = load(args.model, args.device)
    if args.document:
        texts = [sys.stdin.read().removesuffix("\n")]
    read, kept = tee(iter(texts) if texts else (line.rstrip("\r\n") for line in sys.stdin))
    # Who types waits for an answer to each line; a file is faster sorted by length, a thousand lines at a
    # time.
    ahead = {"read_ahead": 1} if not texts and sys.stdin.isatty() else {}
    results = zip(
        kept,
        tagger.predict_stream(read, strategy=args.aggregation_strategy, batch_size=args.batch_size, **ahead),
        strict=True,
    )
    with _json_file(args.json) as write, _map_file(args.redact_map) as write_map:
        for piece in as_json(_redacted(results, style, write_map) if style else _shown(results)):
            write(piece)
    return 0


def _redaction(args: argparse.Namespace) -> tuple[Any, list[str]]:
    """Return the style of redaction, or ``None``, and the texts.

    Argparse gives ``--redact`` every word that follows it.
    """
    from affineur.runtime.redaction import check_style

    if args.redact is None:
        if args.redact_map is not None:
            raise ParameterError(
                "--redact-map is for what --redact replaces; type: --redact pseudonym --redact-map FILE"
            )
        return None, args.texts
    if args.aggregation_strategy == "none":
        raise ParameterError(
            "--redact replaces whole entities, --aggregation-strategy none gives pieces; leave one of them out"
        )
    style, words = "type", args.redact
    if words and len(words[0].split()) == 1:
        style, *words = words
        try:
            check_style(style)
        except ParameterError as error:
            raise ParameterError(f"{error} (a TEXT of one word goes before --redact)") from None
    _check_map_file(args.redact_map, args.json)
    return style, [*args.texts, *words]


def _check_map_file(target: Path | None, json_file: Path | None) -> None:
    if target is None:
        return
    if target.is_dir():
        raise ParameterError(
            f"--redact-map {target} is a folder, expected a file to write, such as {target / 'map.jsonl'}"
        )
    if target.exists():  # the only way back from a text that was redacted earlier
        raise ParameterError(
            f"--redact-map {target} is there already and would be lost; move it away or name another file"
        )
    if json_file is not None and target.resolve() == json_file.resolve():
        raise ParameterError(f"--json and --redact-map both name {target}; name another file for one of them")


def _annotate(args: argparse.Namespace) -> int:
    from affineur.pipeline import load
    from affineur.runtime.aggregation import check_strategy
    from affineur.runtime.annotation import annotate, check_files, is_text

    check_strategy(args.aggregation_strategy)
    check_files(args.source, args.out, strategy=args.aggregation_strategy)
    done = annotate(load(args.model, args.device), args.source, args.out, strategy=args.aggregation_strategy)
    show.lines([f"{counted(done, 'text' if is_text(args.source) else 'sentence')} annotated in {args.out}"])
    show.to_json({"source": str(args.source), "out": str(args.out), "annotated": done}, args.json)
    return 0


def _shown(results: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    for text, found in results:
        show.entities(text, found)
        yield text, found


def _redacted(results: Iterator[tuple[str, Any]], style: Any, write_map: Any) -> Iterator[tuple[str, Any]]:
    from affineur.runtime.annotation import json_line
    from affineur.runtime.redaction import redact

    for text, found in results:
        redacted = redact(text, found, style=style)
        show.lines([redacted.text])
        write_map(json_line({"map": [replacement._asdict() for replacement in redacted.replacements]}) + "\n")
        yield redacted.text, redacted.entities


@contextlib.contextmanager
def _map_file(target: Path | None) -> Iterator[Any]:
    """Give what takes a line of the map.

    A file that appears when it is whole and only its owner can read, or nothing.
    """
    from affineur.artifact import new_file

    if target is None:
        yield lambda _: None
    else:
        with new_file(target, mode=0o600) as file:
            yield file.write


@contextlib.contextmanager
def _json_file(target: Path | None) -> Iterator[Any]:
    """Give what takes a piece of JSON: a file that appears when it is whole, standard output, or nothing."""
    from affineur.artifact import new_file

    if target is None:
        yield lambda _: None
    elif str(target) == "-":
        yield sys.stdout.write
    else:
        with new_file(target) as file:
            yield file.write
