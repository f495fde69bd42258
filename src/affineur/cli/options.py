"""Options several commands share, and what they turn into."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import tempfile
from functools import cache
from pathlib import Path

from affineur.cli.numbers import COUNT, Number
from affineur.cli.show import MARK, WRITTEN_BY
from affineur.entities import Scheme
from affineur.errors import ParameterError
from affineur.transfer import DataOptions
from affineur.transfer.formats.core.format import DATA_FORMATS
from affineur.transfer.places.core.place import shown

#: How a file begins that a command has written for an option; the others carry a comment (show.marked).
_OURS = {
    "json": (
        rf'\{{\s*"{WRITTEN_BY}": "affineur |\[\]\s*$'
        r'|\[\n  \{"text": (?s:.*?)"entities": \[(\]|\{[^}]*"score": )'  # as predict writes it
    ),
    "junit": r"(<\?xml[^>]*>\s*)?<testsuites name=\"affineur check\"",
}
_HEAD = 1 << 20  # bytes: a text and its first entity come first in what predict wrote
_COLUMN = Number(int, -1000, 1000)


def add_common(parser: argparse.ArgumentParser, *, device: bool = False, threads: bool = False) -> None:
    """Add ``--json``, ``--quiet``, ``--verbose``, and, where they act, ``--device`` and ``--threads``."""
    group = parser.add_argument_group("common options")
    group.add_argument(
        "--json",
        metavar="FILE",
        type=Path,
        help="write the result as JSON, for machines ('-' for standard output)",
    )
    if device:
        group.add_argument("--device", default="cpu", help="cpu, cuda or auto (default: cpu)")
    if threads:
        group.add_argument(
            "--threads", type=COUNT, metavar="N", help="threads of the engine (default: one per core)"
        )
    told = group.add_mutually_exclusive_group()
    told.add_argument("-q", "--quiet", action="store_true", help="no progress")
    told.add_argument(
        "-v", "--verbose", action="store_true", help="show what libraries say, and where an error comes from"
    )


def add_model(
    parser: argparse.ArgumentParser,
    about: str = "a folder, a Hub id, or 'sample'",
    *,
    required: bool = True,
) -> None:
    """Add ``MODEL``; where it is not required, it is ``None`` unless it is given."""
    parser.add_argument("model", metavar="MODEL", nargs=None if required else "?", help=about)


def add_output(
    parser: argparse.ArgumentParser,
    about: str = "folder to write the model to",
    *,
    metavar: str = "OUT",
    required: bool = True,
) -> None:
    """Add ``-o``."""
    parser.add_argument(
        "-o", "--output", "--out", dest="out", metavar=metavar, type=Path, required=required, help=about
    )


def add_threshold(parser: argparse.ArgumentParser) -> None:
    """Add ``--threshold``."""
    parser.add_argument(
        "--threshold",
        type=Number(float, 0, 1),
        default=0.0,
        metavar="X",
        help="leave out entities with a lower score (default: 0)",
    )


#: What --data takes.
DATA_HELP = (
    "a file of labeled text, a folder with train/dev/test, a data set of the Hub (OWNER/NAME, or"
    " hub:OWNER/NAME:CONFIG@REVISION), or 'sample'"
)


def add_rules(parser: argparse.ArgumentParser) -> None:
    """Add ``--rules``."""
    parser.add_argument(
        "--rules",
        action="append",
        metavar="SET",
        help=(
            "find by rules too what has a form of its own: fr for e-mail, URL, telephone, NIR, IBAN, dates,"
            " postal codes, numbers of patients; fr:email,phone for some of them, fr:-date for all but some"
        ),
    )


def add_data(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add ``--data`` and how to read it."""
    group = parser.add_argument_group("data")
    group.add_argument("--data", required=required, metavar="DATA", help=DATA_HELP)
    add_reading(group)


def add_reading(group: argparse._ArgumentGroup) -> None:
    """Add how data is read."""
    group.add_argument(
        "--format",
        choices=DATA_FORMATS.names(),
        help=f"how the file is written: {_formats()} (default: found by looking into it)",
    )
    group.add_argument(
        "--word-column",
        type=_column,
        metavar="COLUMN",
        help="column of the word, from 0 or by its name (default: the first, or the one so called)",
    )
    group.add_argument(
        "--tag-column",
        type=_column,
        metavar="COLUMN",
        help="column of the tag, likewise (default: the last, or the one so called)",
    )
    group.add_argument(
        "--scheme", choices=[str(s) for s in Scheme], help="tagging scheme of the data (default: recognized)"
    )
    group.add_argument("--tag-names", metavar="O,I-PER,…", help="names of integer tags, in order")
    group.add_argument("--label-map", metavar="A=B,…", help="rename types of the data; A=O drops A")


def _column(text: str) -> int | str:
    """Read a column's number, or take its name."""
    return int(_COLUMN(text)) if re.fullmatch(r"[-+]?\d+", text.strip()) else text


@cache
def _formats() -> str:
    return "; ".join(f"{name}, {each.summary}" for name, each in DATA_FORMATS.all().items())


def add_types(parser: argparse.ArgumentParser) -> None:
    """Add ``--types``."""
    parser.add_argument(
        "--types",
        metavar="PER,LOC,…",
        help="score these types only (default: all the model or the data knows)",
    )


def data_options(args: argparse.Namespace) -> DataOptions:
    """Read the data options.

    Raises:
        ParameterError: If ``--label-map`` is not a list of renamings.
    """
    names = split_list(args.tag_names)
    share = getattr(args, "dev_share", None)
    return DataOptions(
        word_column=args.word_column,
        tag_column=args.tag_column,
        scheme=Scheme(args.scheme) if args.scheme else None,
        tag_names=tuple(names) if names else None,
        label_map=_label_map(args.label_map),
        format=args.format,
        dev_share=DataOptions().dev_share if share is None else share,
    )


def command_line(parser: argparse.ArgumentParser, args: argparse.Namespace, *leave_out: str) -> str:
    """Return the command line that was typed, as far as it decides the figures: what is not the default.

    Args:
        parser: The parser of the command.
        args: What it read, ``model`` and ``data`` among it.
        leave_out: Options that decide no figure, beside ``--json``, ``--threads`` and ``--quiet``.
    """
    words = ["affineur", args.command, shown(args.model), "--data", shown(args.data)]
    told = {"command", "run", "model", "data", "json", "threads", "quiet", "verbose", *leave_out}
    for action in parser._actions:
        value = getattr(args, action.dest, None)
        if action.dest in told or not action.option_strings or value is None or value == action.default:
            continue
        spelled = max(action.option_strings, key=len)
        if isinstance(value, bool):
            words.append(spelled if value else spelled.replace("--", "--no-", 1))
        else:
            words.append(f"{spelled}={value}")
    return shlex.join(map(shown, words))


def split_list(text: str | None) -> list[str] | None:
    """Split ``PER,LOC`` into its parts; ``None`` stays ``None``."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _label_map(text: str | None) -> dict[str, str] | None:
    pairs: dict[str, str] = {}
    for part in split_list(text) or []:
        old, equals, new = part.partition("=")
        if not equals or not old.strip() or not new.strip():
            raise ParameterError(f"--label-map has '{part}', expected OLD=NEW, for example PERSON=PER,DATE=O")
        pairs[old.strip()] = new.strip()
    return pairs or None


def spare_processors() -> None:
    """Have OpenMP's threads spin shortly; called before torch is imported.

    OpenMP threads that wait for each other burn their core for milliseconds by default. Two such processes
    on one machine then slow each other down tenfold; a short spin keeps the speed of one and spares the
    other.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def try_outputs(args: argparse.Namespace) -> None:
    """Try every file that a command was asked to write, before its long work; nothing is left behind.

    Raises:
        ParameterError: If one is a folder, lies where nothing can be written, holds something else than an
            earlier result of its kind, or is the same as another.
    """
    taken: dict[Path, str] = {}
    for option in ("out", "json", "markdown", "html", "svg", "junit", "summary"):
        given = getattr(args, option, None)
        if given is None or (option == "json" and str(given) == "-"):
            continue
        path, flag = Path(given).absolute(), "-o" if option == "out" else f"--{option}"
        try:
            if (other := taken.setdefault(path.resolve(), flag)) != flag:
                raise ParameterError(
                    f"{other} and {flag} name the same file, {given}, and one would be lost; name another"
                )
            _try_output(option, flag, path, given)
        except (OSError, RuntimeError) as error:  # of links that lead to each other, too
            said = getattr(error, "strerror", None) or error
            raise ParameterError(f"{flag} {given} cannot be written ({said}); name another file") from None


def _try_output(option: str, flag: str, path: Path, given: object) -> None:
    if option == "out":
        folder = next(folder for folder in path.parents if folder.exists())
        if folder.is_dir():
            tempfile.TemporaryFile(dir=folder).close()
        return
    if path.is_dir():
        raise ParameterError(
            f"{flag} {given} cannot be written: it is a folder, expected a file, such as {path / option}"
        )
    if option == "summary" and path.exists():  # it is added to; the others are replaced
        path.open("a").close()
        return
    if option != "summary":
        _refuse_to_lose(option, path, given)
    tempfile.TemporaryFile(dir=next(folder for folder in path.parents if folder.exists())).close()


def _refuse_to_lose(option: str, path: Path, given: object) -> None:
    """Refuse to write a result over anything but an earlier result of the same kind, or an empty file."""
    if path.exists() and not path.is_file():
        raise ParameterError(
            f"--{option} {given} is no regular file, and would be replaced by one; name another file"
            + (", or - for standard output" if option == "json" else "")
        )
    if not path.exists() or not path.stat().st_size:
        return
    with path.open("rb") as file:
        head = file.read(_HEAD).decode(errors="replace")
    if not re.match(_OURS.get(option, MARK), head):
        raise ParameterError(
            f"--{option} {given} is there already and holds no such result of Affineur, and would be lost;"
            f" name another file, or remove it first: {shlex.join(['rm', str(given)])}"
        )


def add_signers(parser: argparse.ArgumentParser) -> None:
    """Add the options that say who must have signed an artifact."""
    parser.add_argument(
        "--verify-key",
        dest="key",
        metavar="KEY",
        type=Path,
        help="a PEM file with the public key that must have signed it",
    )
    parser.add_argument(
        "--certificates",
        metavar="FILE",
        nargs="+",
        type=Path,
        default=(),
        help="PEM files with root certificates, one of which must stand behind who signed it",
    )
