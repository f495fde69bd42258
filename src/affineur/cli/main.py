# PYTHON_ARGCOMPLETE_OK
"""The ``affineur`` command. Parse, call, print; exit 0 done, 1 an error, 2 wrong usage, 3 a bar missed."""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from affineur import __version__
from affineur.cli import (
    check,
    info,
    move,
    options,
    probe,
    restore,
    runs,
    scores,
    search,
    serve,
    show,
    steps,
    sweep,
    text,
    verify,
    watch_estimate,
    watch_log,
    words,
)
from affineur.cli.commands import Commands
from affineur.cli.numbers import check_numbers
from affineur.engines.core.threads import check_threads
from affineur.errors import AffineurError, MissingExtraError
from affineur.progress import listening

_HEAVY = {"torch", "transformers", "accelerate"}
#: What keeps finished parts, so that the same command goes on.
_RESUMED = {
    f"affineur {each}"
    for each in ("demo", "run", "sweep", "search", "train", "distill", "recover", "pull", "push")
}
#: Set by a shell that asks what may come next.
_COMPLETING = "_ARGCOMPLETE"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Words of the command line, or ``None`` for the process's own.

    Returns:
        The exit status.
    """
    options.spare_processors()
    with listening(None if _COMPLETING in os.environ else _warn):
        parser, commands = _built()
    _complete(parser)
    args, more = parser.parse_known_args(text.with_style(sys.argv[1:] if arguments is None else arguments))
    if not words.take_more(args, more):
        parser.error(f"unrecognized arguments: {' '.join(more)}")

    def command() -> int:
        check_numbers(commands.actions(args.command), args)
        check_threads(getattr(args, "threads", None))
        options.try_outputs(args)
        with show.json_on_stdout(args.json):
            return int(args.run(args))

    name = f"affineur {args.command}"
    return guarded(
        command, name, quiet=args.quiet, verbose=args.verbose, given=commands.spellings(args.command)
    )


def guarded(
    command: Callable[[], int],
    name: str,
    *,
    quiet: bool = False,
    verbose: bool = False,
    given: Mapping[str, str] | None = None,
) -> int:
    """Run a command with progress, and turn what the user can mend into one line and exit status 1.

    Args:
        command: What to run; returns the exit status.
        name: What to call it in messages.
        quiet: No progress.
        verbose: What libraries say is shown, and where an error comes from.
        given: How parameters are spelled as options here, by their names in the library.
    """
    for stream in (sys.stdout, sys.stderr):
        # Text that is not valid in the terminal's encoding is shown escaped, never an error.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "info")
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(listening(None if quiet else stack.enter_context(show.Reporter())))
            return command()
    except AffineurError as error:
        if verbose:
            traceback.print_exc()
        return _fail(spelled(error, given))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _HEAVY:
            raise
        return _fail(str(MissingExtraError(name, "compress")))
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone, so nobody is left to tell
        return 0
    except OSError as error:
        if error.errno is None:
            raise
        return _fail(
            f"{error.filename or 'a file'} cannot be used ({error.strerror}); mend that and run the same"
            " command again"
        )
    except KeyboardInterrupt as interrupt:
        goes_on = "; the same command goes on where it stopped" if name in _RESUMED else ""
        goes_on = f"; {interrupt}" if interrupt.args else goes_on
        print(f"affineur: interrupted{goes_on}", file=sys.stderr)
        return 130


def spelled(error: AffineurError, given: Mapping[str, str] | None) -> str:
    """Write an error with options where the library names parameters: ``max_drop`` is ``--max-drop``.

    Args:
        error: The error.
        given: How parameters are spelled, by their names in the library.
    """
    message = str(error)
    for name, flag in (given or {}).items():
        only = name in (error.parameter or "").split()
        if not only and "_" not in name:
            continue  # a word that may stand for something else
        # Nor is the last word of "pruning method" or "aggregation strategy" the parameter itself.
        pattern = rf"(?<![\w/.-])(?<!ing )(?<!ion ){re.escape(name)}(?![\w/])(?!\.\w)(=False|=)?"
        message = re.sub(pattern, partial(_flag, flag), message, count=0 if "_" in name else 1)
    return message


def _flag(flag: str, found: re.Match[str]) -> str:
    if found[1] == "=False":
        return flag.replace("--", "--no-", 1)
    return flag + (" " if found[1] else "")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    return _built()[0]


def _built() -> tuple[argparse.ArgumentParser, Commands]:
    parser = argparse.ArgumentParser(
        prog="affineur",
        usage="affineur COMMAND …",
        description=(
            "Turn a fine-tuned token classifier into the smallest, fastest one that still passes your F1 bar,"
            " and prove it."
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"affineur {__version__}")
    commands = Commands(parser)
    for module in (
        runs,
        steps,
        search,
        sweep,
        scores,
        check,
        info,
        text,
        restore,
        serve,
        probe,
        watch_estimate,
        watch_log,
        move,
        verify,
    ):
        module.add_parsers(commands)
    steps.add_plugins(commands)
    parser.epilog = commands.overview()
    return parser, commands


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks for completions; installed with the extra ``shell``."""
    if _COMPLETING in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)


def _warn(what: str, _done: int | None, _total: int | None) -> None:
    """Say what is wrong with a package that adds commands; the others work."""
    show.error(what)


def _fail(message: str) -> int:
    show.error(message)
    return 1


if __name__ == "__main__":
    sys.exit(main())
