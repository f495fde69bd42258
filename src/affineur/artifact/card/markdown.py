"""Markdown that odd names cannot break."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")


def folded(text: str) -> str:
    """Fold a text into one line without control characters or lone surrogates."""
    return " ".join(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text)).split())


def literal(text: str) -> str:
    """Escape what Markdown would read as more than text; an underscore inside a word is none of that."""
    return re.sub(r"[\\`*{}\[\]<>#|~&$]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", folded(text))


def code_span(text: str) -> str:
    """Write a code span that may hold backticks (CommonMark 6.1)."""
    inside = folded(text) or "?"
    ticks = "`" * (1 + max(map(len, re.findall("`+", inside)), default=0))
    space = " " if inside.startswith("`") or inside.endswith("`") else ""
    return f"{ticks}{space}{inside}{space}{ticks}"


def fenced(code: str, language: str) -> str:
    """Write a block of code that may hold backticks."""
    ticks = "`" * max(3, 1 + max(map(len, re.findall("`+", code)), default=0))
    return f"{ticks}{language}\n{code}\n{ticks}"


def bullets(lines: Iterable[str]) -> str:
    """Write a list."""
    return "\n".join(f"- {line}" for line in lines)


def table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Write a table; the first column is left-aligned, the others right-aligned."""
    rows = [["---", *["---:"] * (len(columns) - 1)], *([*map(literal, row[: len(columns)])] for row in cells)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [[*map(literal, columns)], *rows])


def short_name(name: str) -> str:
    """Shorten an absolute path to its last part: a card is for others, who do not have it."""
    return re.split(r"[\\/]", name.rstrip("\\/"))[-1] if re.match(r"[\\/~]|[A-Za-z]:[\\/]", name) else name


def ends(low: float, high: float) -> str:
    """Write an interval of shares as percents."""
    return f"{low * 100:.1f}–{high * 100:.1f}"
