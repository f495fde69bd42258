"""Options several commands share, and what they turn into."""

from __future__ import annotations

import argparse
import os
import shlex
import tempfile
from pathlib import Path
from typing import Any

from affineur.entities import Scheme
from affineur.errors import ParameterError
from affineur.transfer import DataOptions


def add_common(parser: argparse.ArgumentParser, device: bool = True) -> None:
    """Add ``--json``, ``--device``, ``--threads``, ``--seed`` and ``--quiet``."""
    group = parser.add_argument_group("common options")
    group.add_argument(
        "--json",
        metavar="FILE",
        type=Path,
        help="write the result as JSON, for machines ('-' for standard output)",
    )
    if device:
        group.add_argument("--device", default="cpu", help="cpu, cuda or auto (default: cpu)")
    group.add_argument("--threads", type=int, help="threads of the engine (default: one a core)")
    group.add_argument("--seed", type=int, default=13, help="seed of everything random (default: 13)")
    group.add_argument("-q", "--quiet", action="store_true", help="no progress")


def add_data(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add ``--data`` and how to read it."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data",
        required=required,
        metavar="DATA",
        help="a CoNLL, WikiNER, JSON lines or Parquet file, a folder with train/dev/test, a data set of the Hub, or 'sample'",
    )
    group.add_argument(
        "--word-column", type=int, default=0, metavar="N", help="column of the word, from 0 (default: 0)"
    )
    group.add_argument(
        "--tag-column", type=int, default=-1, metavar="N", help="column of the tag (default: the last)"
    )
    group.add_argument(
        "--scheme", choices=[str(s) for s in Scheme], help="tagging scheme of the data (default: recognized)"
    )
    group.add_argument("--tag-names", metavar="O,I-PER,…", help="names of integer tags, in order")
    group.add_argument("--label-map", metavar="A=B,…", help="rename types of the data; A=O drops A")


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
    return DataOptions(
        word_column=args.word_column,
        tag_column=args.tag_column,
        scheme=Scheme(args.scheme) if args.scheme else None,
        tag_names=tuple(names) if names else None,
        label_map=_label_map(args.label_map),
    )


def command_line(parser: argparse.ArgumentParser, args: argparse.Namespace, *leave_out: str) -> str:
    """Return the command line that was typed, as far as it decides the figures: what is not the default.

    Args:
        parser: The parser of the command.
        args: What it read, ``model`` and ``data`` among it.
        leave_out: Options that decide no figure, beside ``--json``, ``--threads`` and ``--quiet``.
    """
    words = ["affineur", args.command, args.model, "--data", args.data]
    for name, value in vars(args).items():
        if name not in (
            "command",
            "run",
            "model",
            "data",
            "json",
            "threads",
            "quiet",
            *leave_out,
        ) and value != parser.get_default(name):
            option = f"--{name.replace('_', '-')}"
            words.append(option if value is True else f"{option}={value}")
    return shlex.join(words)


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


def apply_threads(threads: int | None) -> None:
    """Limit the engine's threads; called before torch is imported, so that every library obeys.

    OpenMP threads that wait for each other burn their core for milliseconds by default. Two such processes on
    one machine then slow each other down tenfold; a short spin keeps the speed of one and spares the other.

    Raises:
        ParameterError: If the number is less than 1.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    if threads is None:
        return
    if threads < 1:
        raise ParameterError(f"--threads {threads} is impossible, expected at least 1")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)


def try_outputs(args: argparse.Namespace) -> None:
    """Try every file that a command was asked to write, before its long work; nothing is left behind.

    Raises:
        ParameterError: If one is a folder, or lies where nothing can be written.
    """
    for option in ("json", "markdown", "html", "svg", "junit", "summary"):
        given = getattr(args, option, None)
        if given is None or (option == "json" and str(given) == "-"):
            continue
        path = Path(given).absolute()
        try:
            if path.is_dir():
                raise ParameterError(
                    f"--{option} {given} cannot be written: it is a folder, expected a file, such as {path / option}"
                )
            if option == "summary" and path.exists():  # it is added to; the others are replaced
                path.open("a").close()
            else:
                tempfile.TemporaryFile(dir=next(folder for folder in path.parents if folder.exists())).close()
        except OSError as error:
            raise ParameterError(
                f"--{option} {given} cannot be written ({error.strerror}); name another file"
            ) from None


def settings_of(args: argparse.Namespace, **more: Any) -> Any:
    """Build training settings from the options of :func:`add_training`."""
    from affineur.steps import TrainSettings

    return TrainSettings(
        epochs=args.epochs,
        learning_rate=args.learning_rate,
        batch_size=args.batch_size,
        weight_decay=args.weight_decay,
        warmup=args.warmup,
        seed=args.seed,
        **more,
    )


def add_training(parser: argparse.ArgumentParser, epochs: float, learning_rate: float) -> None:
    """Add epochs, learning rate, batch size, weight decay and warm-up, with a command's own defaults."""
    group = parser.add_argument_group("training")
    group.add_argument(
        "--epochs",
        type=float,
        default=epochs,
        help=f"passes over the data, fractions allowed (default: {epochs:g})",
    )
    group.add_argument(
        "--learning-rate",
        type=float,
        default=learning_rate,
        help=f"peak rate of AdamW (default: {learning_rate:g})",
    )
    group.add_argument("--batch-size", type=int, default=8, help="sentences in a step (default: 8)")
    group.add_argument(
        "--weight-decay", type=float, default=0.01, help="AdamW's weight decay (default: 0.01)"
    )
    group.add_argument(
        "--warmup", type=float, default=0.0, help="share of the steps spent warming up (default: 0)"
    )


def add_soft(parser: argparse.ArgumentParser) -> None:
    """Add what is learned from a teacher."""
    group = parser.add_argument_group("distillation")
    group.add_argument(
        "--soft-weight",
        type=float,
        default=0.5,
        help="weight of the teacher's soft labels, the rest is the data's (default: 0.5)",
    )
    group.add_argument(
        "--temperature", type=float, default=2.0, help="softens both distributions (default: 2)"
    )
    group.add_argument(
        "--hidden-weight",
        type=float,
        default=0.0,
        help="weight of the cosine distance of last hidden states (default: 0)",
    )


def soft_of(args: argparse.Namespace) -> Any:
    """Build the soft targets from the options of :func:`add_soft`."""
    from affineur.steps import SoftTargets

    return SoftTargets(args.soft_weight, args.temperature, args.hidden_weight)
