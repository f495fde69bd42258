"""Which column of a file holds the words and which the tags, and which lines are neither."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from affineur.entities.lines import blocks
from affineur.errors import DataError

BLANK = " \t\r\n"
#: Column of a file: its place from 0 (negative counts from the right), its name in a heading, or ``None`` to
#: find it.
Column = int | str | None

_SEEN = 2000  # rows that are looked at
SPACES = re.compile(r"[ \t]+")
_PLAIN = re.compile(r"O|[BIESLUMW]-\S.*")
#: What a heading calls them, in lower case without anything but letters and digits.
_WORD_NAMES = ("word", "words", "token", "tokens", "form", "mot", "text")
_TAG_NAMES = ("nertag", "nertags", "ner", "tag", "tags", "label", "labels", "ne", "entity", "iob", "bio")
_COMMENT = re.compile(
    r"#\s*[\w.:-]+\s*=(?:\s|$)"  # CoNLL-U: # sent_id = 2
    r"|#\s*(?:begin|end) document\b"  # OntoNotes
    r"|#\s*id\s+\S+"  # MultiCoNER: # id 5239d808-f300	domain=fr
    r"|#\s*(?:newdoc|newpar)\b"
    r"|#\t\S+\t\["  # GermEval: the source of a sentence and its date
)
_NEW_DOCUMENT = re.compile(r"#\s*(?:begin document|newdoc)\b")


@dataclass(frozen=True, slots=True)
class Layout:
    """How the rows of a file are built.

    Args:
        columns: How many columns each has.
        word: Column of the word, from 0.
        tag: Column of the tag, from 0.
        tabs: Whether tabs part them, and not spaces.
        heading: Line of the heading, or 0.
        notes: What was found out that a person should know.
    """

    columns: int
    word: int
    tag: int
    tabs: bool
    heading: int = 0
    notes: tuple[str, ...] = ()

    @property
    def has_both(self) -> bool:
        """Say whether there are such columns."""
        return self.columns > 1 and 0 <= self.word < self.columns and 0 <= self.tag < self.columns


def cells_of(line: str) -> list[str]:
    """Cut a row into columns: at tabs, or at spaces where it has no tab."""
    # A tab file may have words with spaces; an empty first column must stay an empty column to be noticed.
    return line.rstrip("\t ").split("\t") if "\t" in line else SPACES.split(line.strip(BLANK))


def is_plain(tag: str) -> bool:
    """Say whether a cell is a tag as tags are usually written."""
    return _PLAIN.fullmatch(tag.strip(BLANK)) is not None


def starts_document(line: str) -> bool:
    """Say whether a line that is no row begins a document."""
    return line.startswith("-DOCSTART-") or _NEW_DOCUMENT.match(line) is not None


def is_comment(line: str, layout: Layout) -> bool:
    """Say whether a line that begins with ``#`` is a comment, and no row of the word ``#``.

    Args:
        line: The line.
        layout: How the rows of the file are built.
    """
    cells = cells_of(line)
    fits = layout.tabs == ("\t" in line) and len(cells) == layout.columns and is_plain(cells[layout.tag])
    if _COMMENT.match(line):
        return not fits or not layout.tabs
    if fits or not line.startswith("# "):
        return False
    if layout.tabs:
        return "\t" not in line and len(line) > 2
    # With fewer cells than a row has, it may be a row that lost some.
    return len(cells) > layout.columns and not is_plain(cells[-1])


def find_layout(path: Path, word_column: Column = None, tag_column: Column = None) -> Layout:
    """Find out how the rows of a file are built.

    Without being told, the word stands in the first column and the tag in the last, except where the first
    column counts words (CoNLL-U, Universal NER, GermEval), where a heading names columns, and where only one
    other column holds tags.

    Args:
        path: The file.
        word_column: Column of the word.
        tag_column: Column of the tag.

    Raises:
        DataError: If there is no row, or no such column.
    """
    sentences = _rows(path)
    rows = [row for sentence in sentences for row in sentence]
    if not rows:
        raise DataError("no sentence found, expected a word and its tag on each line", path)
    (first_line, first), tabs = rows[0], "\t" in rows[0][1]
    names = cells_of(first)
    columns, heading = len(names), 0
    notes: tuple[str, ...] = ()
    if isinstance(word_column, str) or isinstance(tag_column, str) or is_heading(names):
        heading, sentences[0] = first_line, sentences[0][1:]
        notes = (f"line {first_line} names the columns",)
        word_column = column_by_name(names, word_column, "word", path, first_line)
        tag_column = column_by_name(names, tag_column, "tag", path, first_line)
    cut = [[cells_of(line) for _, line in sentence] for sentence in sentences]
    cut = [[cells for cells in sentence if len(cells) == columns] for sentence in cut]
    found = find_columns(cut, word_column, tag_column, columns)
    return replace(found, tabs=tabs, heading=heading, notes=(*notes, *found.notes))


def find_columns(
    sentences: Sequence[Sequence[Sequence[str]]], word: Column, tag: Column, columns: int
) -> Layout:
    """Find the columns of words and tags among those of the first rows.

    Args:
        sentences: Rows, by sentence, each with as many cells.
        word: Column of the word, if it is known.
        tag: Column of the tag, if it is known.
        columns: How many columns there are.
    """
    notes: list[str] = []
    counted = word is None and columns > 2 and _counts(sentences)
    if counted:
        notes.append("the first column counts the words, the second holds them")
    at = _place(word, columns, 1 if counted else 0)
    if tag is None:
        tag, said = _tags_in([cells for each in sentences for cells in each], columns, at, counted)
        notes += said
    return Layout(columns, at, _place(tag, columns, columns - 1), True, 0, tuple(notes))


def _rows(path: Path) -> list[list[tuple[int, str]]]:
    """Return the first rows of a file, with their lines, by sentence; comments if there is nothing else."""
    sentences: list[list[tuple[int, str]]] = [[]]
    comments: list[tuple[int, str]] = []
    for number, line in islice(numbered_rows(path), 4 * _SEEN):
        if not line.strip(BLANK):
            if sentences[-1]:
                sentences.append([])
        elif line.startswith(("# ", "#\t", "#begin", "#end")) or line == "#":
            comments.append((number, line))
        elif not line.startswith("-DOCSTART-"):
            sentences[-1].append((number, line))
    found = [sentence for sentence in sentences if sentence]
    return found or ([comments] if comments else [])


def numbered_rows(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line numbers from 1 and lines, without their ends."""
    for first, lines in blocks(path):
        yield from enumerate(lines, start=first)


def is_heading(names: Sequence[str]) -> bool:
    """Say whether the cells of a row name columns, one of words and one of tags among them."""
    plain = [_letters(name) for name in names]
    return (
        len(set(plain)) == len(plain) > 1
        and sum(name in _WORD_NAMES for name in plain) == 1
        and sum(name in _TAG_NAMES for name in plain) >= 1
    )


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())


def column_by_name(names: Sequence[str], column: Column, what: str, path: Path, line: int = 1) -> int:
    """Return the place of a column that a heading names.

    Args:
        names: The heading.
        column: What the user said of it: its place, its name, or nothing.
        what: ``word`` or ``tag``.
        path: The file.
        line: The line of the heading.

    Raises:
        DataError: If there is no such column.
    """
    if isinstance(column, int):
        return column
    plain = [name.strip().lower() for name in names]
    parameter = f"{what}_column"
    if isinstance(column, str):
        if column.strip().lower() in plain:
            return plain.index(column.strip().lower())
        raise DataError(
            f"no column '{column}', expected one of {', '.join(names)}; {parameter}=N counts them from 0",
            path,
            line,
            parameter=parameter,
        )
    letters = [_letters(name) for name in names]
    known = _WORD_NAMES if what == "word" else _TAG_NAMES
    return next((letters.index(name) for name in known if name in letters), 0 if what == "word" else -1)


def _counts(sentences: Sequence[Sequence[Sequence[str]]]) -> bool:
    """Say whether the first column counts words, in each sentence from the same number."""
    firsts = [[cells[0] for cells in sentence] for sentence in sentences if sentence]
    if not any(len(column) > 1 for column in firsts):
        return False
    for column in firsts:
        if not all(re.fullmatch(r"\d+", cell) for cell in column):
            return False
        numbers = list(map(int, column))
        if numbers[0] not in (0, 1) or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            return False
    return True


def _tags_in(rows: Sequence[Sequence[str]], columns: int, word: int, counted: bool) -> tuple[int, list[str]]:
    """Find the column of tags: the last, if it holds some, else the only one that does."""
    tagged = [
        place
        for place in range(columns)
        if place != word and rows and all(is_plain(cells[place]) for cells in rows)
    ]
    if counted and columns == 4 and tagged == [2, 3]:
        return 2, [
            "two columns of tags, as in GermEval: the outer ones are read; tag_column=3 reads the inner"
        ]
    last = {cells[-1].strip(BLANK) for cells in rows}
    other = len(tagged) == 1 and tagged[0] != columns - 1 and "O" in {cells[tagged[0]] for cells in rows}
    if other and not last & {"O", "o"} and not all(map(str.isdigit, last)):
        return tagged[0], [f"the tags stand in column {tagged[0]}, counted from 0"]
    return columns - 1, []


def _place(column: Column, columns: int, default: int) -> int:
    if not isinstance(column, int):
        return default
    return column if column >= 0 else columns + column
