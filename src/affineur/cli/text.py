"""Commands on raw text: predict, annotate."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import tee
from pathlib import Path
from typing import Any

from affineur import sample
from affineur.cli import options, show, streams, watch_log, words
from affineur.cli.commands import USE, Commands
from affineur.cli.numbers import Number
from affineur.errors import AffineurError, ParameterError, counted
from affineur.progress import report

_STRATEGY_HELP = (
    "how pieces become entities: word (ours), or transformers' none, simple, first, average, max, equal to"
    " its pipeline's (default: word)"
)
_CONTEXT_HELP = (
    "what the model is shown at once: sentence (a sentence or a line, as it was trained) or document (as much"
    " as it can take, for models trained on longer text); by default sentence for --strategy word and"
    " --redact, document for transformers' strategies, which equal its pipeline only then"
)
_ANY = (
    "a folder, a Hub id, 'sample', or torch-int8: and one of these; without one, 'sample-int8' of affineur-fr"
)
#: What the option without a value stands for.
_STYLES = ("type", "pseudonym")


def add_parsers(commands: Commands) -> None:
    """Add the commands of this module."""
    parser = commands.add(
        "predict",
        "the entities of texts, with character offsets, or the texts redacted",
        USE,
        (
            'affineur predict "Marie travaille à l\'hôpital de Paris."',
            'affineur predict student_11L "Marie Duval vit à Paris." --redact=pseudonym',
            "affineur predict --file letter.txt --document --redact --rules fr",
            "affineur predict sample --context document < articles.txt",
        ),
        "The first word is MODEL, unless there is white space in it: then all of them are texts.",
    )
    options.add_model(parser, _ANY, required=False)
    parser.add_argument(
        "texts",
        metavar="TEXT",
        nargs="*",
        help="a text; without any, lines of standard input are read, and answered as they come",
    )
    parser.add_argument(
        "--file",
        metavar="FILE",
        type=Path,
        help="read a file as if it were standard input: a text in each line, or with --document one text",
    )
    parser.add_argument(
        "--document",
        action="store_true",
        help="standard input, or FILE, is one text, not one per line: a name has one pseudonym throughout",
    )
    parser.add_argument(
        "--strategy", "--aggregation-strategy", default="word", metavar="NAME", help=_STRATEGY_HELP
    )
    parser.add_argument("--context", metavar="NAME", help=_CONTEXT_HELP)
    options.add_threshold(parser)
    options.add_rules(parser)
    parser.add_argument(
        "--batch-size",
        type=Number(int, 1, 1_000_000),
        default=32,
        metavar="N",
        help="most texts in a batch (default: 32)",
    )
    parser.add_argument(
        "--redact",
        metavar="STYLE",
        help=(
            "print the texts with each entity replaced: --redact or --redact=type by its type ([PER]), "
            "--redact=pseudonym by a name's own number ([PER_1])"
        ),
    )
    parser.add_argument(
        "--redact-map",
        metavar="FILE",
        help="write what --redact replaced, one JSON line per text, to a new file that only you can read",
    )
    options.add_common(parser, device=True, threads=True)
    parser.set_defaults(run=_predict)

    parser = commands.add(
        "annotate",
        "write a file of texts, or of words, again with the entities a model finds in it",
        USE,
        (
            "affineur annotate texts.txt -o entities.jsonl",
            "affineur annotate student_11L_int8 words.conll -o tagged.conll",
            "affineur annotate notes.md --format text -o entities.jsonl",
        ),
    )
    options.add_model(parser, _ANY, required=False)
    parser.add_argument(
        "source",
        metavar="IN",
        help=(
            "a file, or where one is, such as s3://…; .txt: one text per line; .jsonl: one text per line"
            ' under "text"; .conll and the like: a word per line; any other is looked at'
        ),
    )
    options.add_output(parser, "the file to write: JSON lines with entities, or CoNLL with predicted tags")
    parser.add_argument(
        "--format",
        metavar="NAME",
        help="what the file is: text, json or conll (default: found, as said there)",
    )
    parser.add_argument(
        "--strategy", "--aggregation-strategy", default="word", metavar="NAME", help=_STRATEGY_HELP
    )
    parser.add_argument("--context", metavar="NAME", help=_CONTEXT_HELP)
    options.add_threshold(parser)
    options.add_rules(parser)
    watch_log.add_options(parser)
    options.add_common(parser, device=True, threads=True)
    parser.set_defaults(run=_annotate)


def with_style(arguments: Sequence[str]) -> list[str]:
    """Give ``--redact`` its value, so that it takes a style that follows and never a text.

    Args:
        arguments: Words of the command line.
    """
    typed = list(arguments)
    if typed[:1] != ["predict"]:
        return typed
    joined: list[str] = []
    for word in typed:
        if word in _STYLES and joined[-1] == "--redact":
            joined[-1] = f"--redact={word}"
        else:
            joined.append(word)
    return ["--redact=type" if word == "--redact" else word for word in joined]


def _predict(args: argparse.Namespace) -> int:
    from affineur.api.model import load
    from affineur.runtime.aggregation import check_strategy
    from affineur.runtime.annotation import as_json
    from affineur.runtime.reading import check_context
    from affineur.runtime.rules.core.rule import check_rules
    from affineur.runtime.tagger import check_batch_size

    check_batch_size(args.batch_size)
    check_strategy(args.strategy)
    check_context(args.context)
    check_rules(args.rules, args.strategy)
    args.redact_map = _map_path(args.redact_map)
    if args.redact is not None:
        _check_redaction(args)
    elif args.redact_map is not None:
        raise ParameterError("--redact-map is for what --redact replaces; say --redact=pseudonym too")
    args.model, texts = words.model_and_texts([*filter(None, [args.model]), *args.texts])
    if args.document and texts:
        raise ParameterError(
            f"document reads standard input as one text, but {counted(len(texts), 'TEXT')} came too; type:"
            " --document < FILE",
            "document",
        )
    texts = streams.arguments(texts)
    if args.file is not None and texts:
        raise ParameterError(
            f"--file {args.file} is read for texts, but {counted(len(texts), 'TEXT')} came too"
        )
    for text in texts:
        if _is_file(text):
            report(f"note: '{text}' is the name of a file; to read that file: --file {shlex.quote(text)}")
    with contextlib.ExitStack() as stack, _map_alone(args.redact_map):
        if args.file is not None:
            stack.enter_context(streams.from_file(args.file))
        model = load(args.model, device=args.device, threads=args.threads)
        end = "\n"
        if args.document:
            whole = streams.whole()
            texts, end = [whole.removesuffix("\n")], "\n" if whole.endswith("\n") else ""
        # What is redacted comes back to the byte, the line ends of others too.
        read, kept = tee(iter(texts) if texts else streams.lines("\n" if args.redact else "\r\n"))
        # Who types waits for each answer; a file is faster sorted by length, a thousand lines at a time.
        ahead = {"read_ahead": 1} if not texts and streams.is_typed() else {}
        found = model.stream(
            read,
            strategy=args.strategy,
            threshold=args.threshold,
            context=args.context or ("sentence" if args.redact is not None else None),
            batch_size=args.batch_size,
            rules=args.rules,
            **ahead,
        )
        results = zip(kept, found, strict=True)
        files = [path for path in (args.redact_map, args.json) if path is not None and str(path) != "-"]
        output = streams.Output(files)
        with _json_file(args.json, output) as write, _map_file(args.redact_map) as write_map:
            if args.redact is None:
                shown = _shown(results, output)
            else:
                streams.carry_utf8()
                shown = _redacted(results, args.redact, write_map, output, end)
            for piece in as_json(shown):
                write(piece)
        output.finish()
    return 0


def _is_file(text: str) -> bool:
    """Say whether a text is the name of a file, which nobody means to have tagged."""
    try:
        return len(text) < 1000 and "\n" not in text and Path(text).is_file()
    except (OSError, ValueError):  # no name of a file
        return False


def _check_redaction(args: argparse.Namespace) -> None:
    """Refuse what does not go together, before any model is loaded."""
    from affineur.runtime.redaction import check_style

    check_style(args.redact)
    if args.strategy == "none":
        raise ParameterError(
            "--redact replaces whole entities, --strategy none gives pieces; leave one of them out"
        )
    _check_map_file(args.redact_map, args.json)


def _map_path(given: str | None) -> Path | None:
    if given is None:
        return None
    if given in ("", "-") or given.endswith(("/", os.sep)):
        raise ParameterError(f"--redact-map '{given}' names no file; expected one, such as map.jsonl")
    return Path(given)


def _check_map_file(target: Path | None, json_file: Path | None) -> None:
    if target is None:
        return
    if target.is_dir():
        raise ParameterError(
            f"--redact-map {target} is a folder, expected a file to write, such as {target / 'map.jsonl'}"
        )
    if json_file is not None and target.resolve() == json_file.resolve():
        raise ParameterError(f"--json and --redact-map both name {target}; name another file for one of them")


def _annotate(args: argparse.Namespace) -> int:
    from affineur.api.texts import annotate
    from affineur.transfer.formats.core.raw import kind_of
    from affineur.transfer.places.core.place import shown
    from affineur.transfer.sources import text_file

    if args.model is None:
        words.refuse_model_alone(args.source)
    source = shown(args.source)
    with text_file(args.source) as file, contextlib.ExitStack() as stack:  # a place is asked once
        kind = kind_of(file, args.format)
        if args.log is not None and kind == "conll":
            raise ParameterError(
                f"--log is for raw text, and {source} is read as CoNLL, where words are given"
            )
        log = stack.enter_context(watch_log.opened(args, "annotate"))
        done = annotate(
            args.model or sample.DEFAULT,
            file,
            out=args.out,
            strategy=args.strategy,
            threshold=args.threshold,
            context=args.context,
            format=kind,
            rules=args.rules,
            log=log,
            device=args.device,
            threads=args.threads,
        )
    what = "sentence" if kind == "conll" else "text"
    show.lines([f"{counted(done, what)} annotated in {args.out}"])
    show.to_json({"source": source, "out": str(args.out), "annotated": done}, args.json)
    return 0


def _shown(results: Iterator[tuple[str, Any]], output: streams.Output) -> Iterator[tuple[str, Any]]:
    for text, found in results:
        output.show(partial(show.entities, text, found))
        yield text, found


def _redacted(
    results: Iterator[tuple[str, Any]], style: Any, write_map: Any, output: streams.Output, end: str
) -> Iterator[tuple[str, Any]]:
    from affineur.runtime.annotation import json_line
    from affineur.runtime.redaction import redact
    from affineur.runtime.restoring import map_of

    for text, found in results:
        redacted = redact(text, found, style=style)
        write_map(json_line(map_of(redacted.text, redacted.replacements).as_dict()) + "\n")
        output.show(partial(show.lines, [redacted.text], end=end))
        yield redacted.text, redacted.entities


@contextlib.contextmanager
def _map_alone(target: Path | None) -> Iterator[None]:
    """Keep a second process from writing the same map, before it has given a text away."""
    from affineur.artifact.locking import alone

    if target is None:
        yield
    else:
        with alone(target, "name another file"):
            if os.path.lexists(target):  # the only way back from what was redacted earlier
                raise ParameterError(
                    f"--redact-map {target} is there already and would be lost"
                    " (a run that was ended keeps its map); move it away or name another file"
                )
            yield


@contextlib.contextmanager
def _map_file(target: Path | None) -> Iterator[Any]:
    """Give what takes a line of the map; however the command ends, the lines of what was printed stay."""
    from affineur.artifact import private_log

    if target is None:
        yield lambda _: None
        return
    written = 0
    with private_log(target) as write_line, _ended_by_signals():

        def write(line: str) -> None:
            nonlocal written
            write_line(line)
            written += 1

        try:
            yield write
        except (AffineurError, KeyboardInterrupt) as error:
            if not written:
                raise
            kept = f"{target} has the map of the first {counted(written, 'text')}, all that were printed"
            if isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(kept) from None
            raise AffineurError(f"{error}; {kept}") from error


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let what ends a process end the command as Ctrl-C does, which says what is kept."""
    if threading.current_thread() is not threading.main_thread():  # only that one may handle signals
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [each for each in numbers if signal.getsignal(each) == signal.SIG_DFL]  # nohup ignores one
    for number in numbers:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def _json_file(target: Path | None, output: streams.Output) -> Iterator[Any]:
    """Give what takes a piece of JSON: a file that appears when it is whole, standard output, or nothing."""
    from affineur.artifact import new_file

    if target is None:
        yield lambda _: None
    elif str(target) == "-":
        streams.carry_utf8()
        yield lambda piece: output.show(partial(sys.stdout.write, piece))
    else:
        with new_file(target) as file:
            yield file.write
