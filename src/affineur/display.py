"""How results show themselves: as a table in a terminal and in a notebook, and as a plain dict."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

# No colors: the ink is the notebook's own, so that a table reads in light and in dark.
_TABLE = "border-collapse: collapse; margin: 0.5em 0;"
_CELL = "padding: 0.2em 0.7em; border-bottom: 1px solid rgba(128, 128, 128, 0.35);"
_LEFT, _RIGHT = "text-align: left;", "text-align: right; white-space: nowrap;"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text: the first column holds names, the others figures, which are aligned on the right.

    Args:
        columns: Heads of the columns.
        rows: The cells, as many in each row as there are columns.
        title: One line above it.
        notes: Lines below it.
        words: Columns after the first that hold words, and not figures.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    notes: Sequence[str] = ()
    words: Collection[str] = ()

    def __str__(self) -> str:
        """Write it for a terminal."""
        lines = [self.columns, *self.rows]
        wide = [max(len(line[place]) for line in lines) for place in range(len(self.columns))]
        written = []
        for line in lines:
            cells = zip(line, wide, self._left(), strict=True)
            aligned = (cell.ljust(width) if left else cell.rjust(width) for cell, width, left in cells)
            written.append("  ".join(aligned).rstrip())
        return "\n".join([*([self.title] if self.title else []), *written, *self.notes])

    def html(self) -> str:
        """Write it for a notebook."""
        body = "".join(f"<tr>{self._cells('td', row)}</tr>" for row in self.rows)
        title = f"<div><strong>{escape(self.title)}</strong></div>" if self.title else ""
        notes = "".join(f"<div><small>{escape(note)}</small></div>" for note in self.notes)
        head = f"<thead><tr>{self._cells('th', self.columns)}</tr></thead>"
        return f'{title}<table style="{_TABLE}">{head}<tbody>{body}</tbody></table>{notes}'

    def _left(self) -> list[bool]:
        """Say of each column whether it is aligned on the left."""
        return [place == 0 or column in self.words for place, column in enumerate(self.columns)]

    def _cells(self, tag: str, texts: Sequence[str]) -> str:
        styles = [_LEFT if left else _RIGHT for left in self._left()]
        return "".join(
            f'<{tag} style="{_CELL} {style}">{escape(text)}</{tag}>'
            for style, text in zip(styles, texts, strict=True)
        )


class Shown(ABC):
    """A result that people look at: ``print`` and a notebook show its tables, ``dict`` its figures."""

    __slots__ = ()

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """Return stable keys, as the command line's ``--json`` writes them."""

    @abstractmethod
    def tables(self) -> list[Table]:
        """Return what is shown."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """The outcome in one line."""

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Yield keys and values, so that ``dict(result)`` is what :meth:`as_dict` returns."""
        return iter(self.as_dict().items())

    def __str__(self) -> str:
        """Write the tables for a terminal."""
        return "\n\n".join(map(str, self.tables()))

    def __repr__(self) -> str:
        """Say what it is, in one line."""
        return f"<{type(self).__name__}: {self.summary}>"

    def _repr_html_(self) -> str:
        """Write the tables for a notebook."""
        return "".join(table.html() for table in self.tables())


def megabytes(size: int | None) -> str:
    """Write bytes as megabytes (10⁶ bytes), with a decimal below 100."""
    return "–" if size is None else f"{millions(size)} MB"


def millions(number: int) -> str:
    """Write a number in millions, with a decimal below 100."""
    return f"{number / 1e6:.1f}" if number < 1e8 else f"{number / 1e6:.0f}"
