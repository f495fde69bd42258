"""What people see: tables, progress, entities in color."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from affineur import __version__
from affineur.artifact import to_json as json_text
from affineur.artifact import write_json
from affineur.display import Shown
from affineur.entities import Entity, LabeledPiece

#: First key of the JSON files of --json, and how other files begin: what has it may be replaced.
WRITTEN_BY, MARK = "written_by", "<!-- written by affineur "
_LINE_SECONDS = 10.0
_LONGEST = 4000  # characters of an error
_for_people: ContextVar[TextIO | None] = ContextVar("affineur_people", default=None)


@contextmanager
def json_on_stdout(target: Path | None) -> Iterator[None]:
    """Where ``--json -`` gives standard output to a machine, show people everything on standard error."""
    token = _for_people.set(sys.stderr if str(target) == "-" else None)
    try:
        yield
    finally:
        _for_people.reset(token)


def _people() -> TextIO:
    return _for_people.get() or sys.stdout


_COLORS = {"PER": "bold magenta", "LOC": "bold green", "ORG": "bold cyan", "MISC": "bold yellow"}


def table(columns: Sequence[str], cells: Sequence[Sequence[str]], numbers: bool = True) -> None:
    """Print a table; the first column is left-aligned, the others right-aligned if they are numbers.

    Never cut: a narrow terminal wraps.
    """
    # On a pipe nothing says how wide the reader's screen is; 200 columns keep every row on one line.
    console = Console(file=_people(), width=None if _people().isatty() else 200, highlight=False)
    grid = Table(header_style="bold")
    for place, column in enumerate(columns):
        grid.add_column(column, justify="right" if numbers and place else "left", overflow="fold")
    for row in cells:
        grid.add_row(*(Text(cell) for cell in row))
    console.print(grid)


def result(found: Shown) -> None:
    """Print the tables of a result, and what is said below each."""
    for one in found.tables():
        table(one.columns, one.rows)
        lines(one.notes)


def lines(texts: Sequence[str], end: str = "\n") -> None:
    """Print plain lines."""
    for text in texts:
        print(text, file=_people(), end=end)


def error(message: str) -> None:
    """Print an error as one line, on standard error."""
    line = " ".join(message.split())
    if len(line) > _LONGEST:  # it quotes what it found, and tells the cure last
        line = f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"
    # what a server says of itself must not steer the terminal
    line = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in line)
    print(f"affineur: {line}", file=sys.stderr)


def to_json(value: dict[str, Any], target: Path | None) -> None:
    """Write a result for machines where ``--json`` asked for it; ``-`` is standard output."""
    if target is None:
        return
    if str(target) == "-":
        print(json_text(value))
    else:
        write_json(target, {WRITTEN_BY: f"affineur {__version__}", **value})


def marked(text: str) -> str:
    """Begin a page, a table or a picture with a comment that tells a later command whose it is."""
    return f"{MARK}{__version__} -->\n{text}"


def entities(text: str, found: Sequence[Entity | LabeledPiece]) -> None:
    """Print a text with its entities in color, then one line each with its offsets."""
    console = Console(file=_people(), highlight=False, soft_wrap=True)
    shown, last = Text(), 0
    kinds = [entity.type if isinstance(entity, Entity) else entity.label for entity in found]
    colors = [_COLORS.get(kind.rpartition("-")[2], "bold blue") for kind in kinds]
    for entity, kind, color in zip(found, kinds, colors, strict=True):
        shown.append(text[last : entity.start])
        shown.append(
            text[max(entity.start, last) : entity.end], style=color
        )  # the bytes of one character are pieces in one place
        shown.append(f"[{kind}]", style="dim")
        last = max(last, entity.end)
    shown.append(text[last:])
    console.print(shown)
    for entity, kind, color in zip(found, kinds, colors, strict=True):
        console.print(
            Text.assemble(
                f"  {entity.start:>5}-{entity.end:<5} ",
                (f"{kind:<5}", color),
                f" {entity.score:.3f}  {entity.word!r}",
            )
        )


class Reporter(AbstractContextManager["Reporter"]):
    """Prints progress on standard error: a bar on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bars = (
            Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            if self._console.is_terminal
            else None
        )
        self._task: Any = None
        self._what = ""
        self._last_line = time.monotonic()

    def __enter__(self) -> Reporter:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def __call__(self, what: str, done: int | None, total: int | None) -> None:
        """Take a report (see :data:`affineur.progress.Listener`)."""
        if done is None:
            self._console.print(what, markup=False, soft_wrap=True)
        elif self._bars:
            self._move_bar(what, done, total)
        elif time.monotonic() - self._last_line >= _LINE_SECONDS:
            self._last_line = time.monotonic()
            self._console.print(
                f"  {what}: {done:,}" + (f" of {total:,}" if total else ""), markup=False, soft_wrap=True
            )

    def _move_bar(self, what: str, done: int, total: int | None) -> None:
        assert self._bars is not None
        # The loss changes with every step; the words before the comma say whether this is still the same
        # work.
        same = what.partition(",")[0] == self._what
        if self._task is None or not same:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._task, self._what = self._bars.add_task(what, total=total), what.partition(",")[0]
        self._bars.update(self._task, description=what, completed=done, total=total)
        if done == total:
            self._bars.remove_task(self._task)
            self._task = None
