"""How results show themselves: as a table in a terminal and in a notebook, and as a plain dict."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

# No colors: the ink is the notebook's own, so that a table reads in light and in dark.
_TABLE = "border-collapse: collapse; margin: 0.5em 0;"
_CELL = "padding: 0.2em 0.7em; border-bottom: 1px solid rgba(128, 128, 128, 0.35);"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text: the first column holds names, the others figures, which are aligned on the right.

    Args:
        columns: Heads of the columns.
        rows: The cells, as many in each row as there are columns.
        title: One line above it.
        notes: Lines below it.
        figures: Whether the columns after the first hold figures, and not words.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    notes: Sequence[str] = ()
    figures: bool = True

    def __str__(self) -> str:
        """Write it for a terminal."""
        lines = [list(self.columns), *map(list, self.rows)]
        wide = [max(len(line[place]) for line in lines) for place in range(len(self.columns))]
        aligned = (
            [
                cell.rjust(width) if self.figures and place else cell.ljust(width)
                for place, (cell, width) in enumerate(zip(line, wide, strict=True))
            ]
            for line in lines
        )
        written = ["  ".join(cells).rstrip() for cells in aligned]
        return "\n".join([*([self.title] if self.title else []), *written, *self.notes])

    def html(self) -> str:
        """Write it for a notebook."""
        head = self._cells("th", self.columns)
        body = "".join(f"<tr>{self._cells('td', row)}</tr>" for row in self.rows)
        title = f"<div><strong>{escape(self.title)}</strong></div>" if self.title else ""
        notes = "".join(f"<div><small>{escape(note)}</small></div>" for note in self.notes)
        table = f'<table style="{_TABLE}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        return f"{title}{table}{notes}"

    def _cells(self, tag: str, texts: Sequence[str]) -> str:
        sides = ["left", *["right" if self.figures else "left"] * (len(texts) - 1)]
        return "".join(
            f'<{tag} style="{_CELL} text-align: {side};">{escape(text)}</{tag}>'
            for side, text in zip(sides, texts, strict=True)
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
