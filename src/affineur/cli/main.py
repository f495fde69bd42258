"""The ``affineur`` command. Parse, call, print; exit 0 done, 1 a clear error, 2 wrong usage, 3 a bar missed."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from collections.abc import Callable, Sequence

from affineur import __version__
from affineur.cli import (
    check,
    export,
    models,
    options,
    pack,
    probe,
    runs,
    scores,
    search,
    serve,
    show,
    shrink,
    sweep,
    text,
)
from affineur.errors import AffineurError, MissingExtraError
from affineur.progress import listening

_HEAVY = {"torch", "transformers", "accelerate"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Words of the command line, or ``None`` for the process's own.

    Returns:
        The exit status.
    """
    args = build_parser().parse_args(arguments)

    def command() -> int:
        options.apply_threads(args.threads)
        options.try_outputs(args)
        with show.json_on_stdout(args.json):
            return int(args.run(args))

    return guarded(command, f"affineur {args.command}", args.quiet)


def guarded(command: Callable[[], int], name: str, quiet: bool = False) -> int:
    """Run a command with progress, and turn what the user can mend into one line and exit status 1.

    Args:
        command: What to run; returns the exit status.
        name: What to call it in messages.
        quiet: No progress.
    """
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # text that is not valid in the terminal's encoding is shown escaped, never an error
            stream.reconfigure(errors="replace" if stream is sys.stdin else "backslashreplace")
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(listening(None if quiet else stack.enter_context(show.Reporter())))
            return command()
    except AffineurError as error:
        return _fail(str(error))
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
            f"{error.filename or 'a file'} cannot be used ({error.strerror}); mend that and run the same command again"
        )
    except KeyboardInterrupt:
        print("affineur: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="affineur",
        description="Turn a fine-tuned token classifier into the smallest, fastest one that still passes your F1 bar, and prove it.",
    )
    parser.add_argument("--version", action="version", version=f"affineur {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (runs, models, shrink, pack, export, sweep, search, scores, check, serve, probe, text):
        module.add_parsers(commands)
    return parser


def _fail(message: str) -> int:
    show.error(message)
    return 1


if __name__ == "__main__":
    sys.exit(main())
