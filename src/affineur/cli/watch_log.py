"""The production log: the options of what writes one, and the commands watch log, watch forget."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from affineur.cli import options, show
from affineur.cli.commands import SERVE, Commands
from affineur.cli.numbers import Number
from affineur.errors import ParameterError, counted
from affineur.progress import report

if TYPE_CHECKING:
    from affineur.watch import Log

_DAYS = Number(int, 1, 36_500)
_LOG = "a file such as watch.db (SQLite), or postgresql://USER@HOST/DATABASE"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that writes a log."""
    group = parser.add_argument_group("log")
    group.add_argument(
        "--log", metavar="LOG", help=f"log what is found, without the texts: {_LOG}; needs the extra watch"
    )
    group.add_argument(
        "--log-key",
        type=Path,
        metavar="FILE",
        help="file of the keys of the hashes that stand for texts (default: LOG.key beside a file)",
    )
    group.add_argument(
        "--log-days", type=_DAYS, default=90, metavar="N", help="delete what is older (default: 90)"
    )
    group.add_argument(
        "--log-key-days",
        type=_DAYS,
        default=90,
        metavar="N",
        help="age at which a key is changed (default: 90)",
    )
    group.add_argument(
        "--log-text",
        type=Number(float, 0, 1),
        default=0.0,
        metavar="SHARE",
        help="keep this share of the texts in clear, such as 0.01 (default: 0, none)",
    )


@contextlib.contextmanager
def opened(
    args: argparse.Namespace, source: str, tell: Callable[[str], None] = report
) -> Iterator[Log | None]:
    """Open the log that the options name, and say so; close it at the end.

    Args:
        args: With the options.
        source: Who writes.
        tell: Is told what goes wrong later.

    Raises:
        ParameterError: If it cannot be opened.
        MissingExtraError: If the extra is not installed.
    """
    if args.log is None:
        if args.log_key is not None or args.log_text:
            option = "--log-text" if args.log_text else "--log-key"
            raise ParameterError(f"{option} is for a log, and there is none; type --log watch.db too")
        yield None
        return
    from affineur.watch import Log

    with Log(
        args.log,
        key=args.log_key,
        days=args.log_days,
        key_days=args.log_key_days,
        text_share=args.log_text,
        source=source,
        tell=tell,
    ) as log:
        report(
            f"log {log.shown}, for {counted(log.days, 'day')}; the key of its hashes is in {log.keys.path}"
        )
        if log.text_share:
            show.error(
                f"WARNING: --log-text {log.text_share:g}: {100 * log.text_share:g} % of the texts are kept"
                f" IN CLEAR in {log.shown}"
            )
        yield log


def add_parsers(commands: Commands) -> None:
    """Add the commands of this module."""
    parser = commands.add("watch log", "what is in a production log", SERVE, ("affineur watch log watch.db",))
    parser.add_argument("log", metavar="LOG", help=_LOG)
    options.add_common(parser)
    parser.set_defaults(run=_log)

    parser = commands.add(
        "watch forget",
        "delete from a production log what is known of a text, or of all older ones",
        SERVE,
        (
            "affineur watch forget --log watch.db --text letter.txt",
            "affineur watch forget --log watch.db --before 2026-06-01",
        ),
        "Mentions, labels and a text kept in clear go with it, and stay nowhere in a SQLite file.",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("hash", metavar="HASH", nargs="?", help="what stands for the text in the log")
    which.add_argument(
        "--text", type=Path, metavar="FILE", help="or a file whose content is the text, found by its hash"
    )
    which.add_argument("--before", metavar="DATE", help="or a date: all that is older goes (UTC)")
    parser.add_argument("--log", required=True, metavar="LOG", help=_LOG)
    parser.add_argument(
        "--log-key", type=Path, metavar="FILE", help="its file of keys, for --text (default: LOG.key)"
    )
    options.add_common(parser)
    parser.set_defaults(run=_forget)


def _log(args: argparse.Namespace) -> int:
    from affineur.watch.log.database import Database
    from affineur.watch.log.forgetting import summary

    database = Database(args.log, writing=False)
    with database.errors():
        found = summary(database)
    database.close()
    rows = [
        (
            counted(found.texts, "text"),
            "" if found.first is None or found.last is None else f"{_day(found.first)} to {_day(found.last)}",
        ),
        (counted(found.mentions, "mention"), ""),
        (counted(found.labels, "label"), ""),
        (counted(found.samples, "text") + " in clear", ""),
        *((counted(texts, "text") + " dropped", reason) for reason, texts in found.dropped.items()),
        *((f"model {digest[:12]}", ", ".join(types)) for digest, types in found.models.items()),
        (f"schema {found.schema}", ""),
    ]
    show.lines([f"{what}: {more}" if more else what for what, more in rows])
    show.to_json(asdict(found), args.json)
    return 0


def _forget(args: argparse.Namespace) -> int:
    from affineur.watch.log.database import Database
    from affineur.watch.log.forgetting import forget
    from affineur.watch.log.keys import read_log_keys
    from affineur.watch.log.labels import hashes
    from affineur.watch.log.log import key_file

    before = None if args.before is None else _seconds(args.before)
    text = None if args.text is None else _content(args.text)
    database = Database(args.log, writing=False)
    wanted: list[str] | None = None
    if args.hash is not None:
        wanted = hashes([], None, args.hash)
    elif text is not None:
        path = key_file(database, args.log_key)
        if not (keys := read_log_keys(path)):
            raise ParameterError(
                f"{path} has no key, so no text can be found by its hash; name the log's own"
            )
        # Editors end a file with a line feed that was not in what was sent.
        wanted = [each for one in {text, text.removesuffix("\n")} for each in hashes(keys, one, None)]
    with database.errors():
        done = forget(database, hashes=wanted, before=before)
    database.close()
    show.lines([f"{counted(done, 'text')} forgotten"])
    show.to_json({"log": database.shown, "forgotten": done}, args.json)
    return 0


def _content(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise ParameterError(f"--text {path} is not UTF-8, expected the text as it was sent") from None
    except OSError as error:
        raise ParameterError(f"--text {path} cannot be read ({error.strerror})") from None


def _seconds(date: str) -> float:
    try:
        found = datetime.fromisoformat(date)
    except ValueError:
        raise ParameterError(f"--before {date} is no date, expected one such as 2026-06-01") from None
    seconds = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    if seconds > time.time():
        raise ParameterError(f"--before {date} is yet to come; all would be deleted, expected a past date")
    return seconds


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
