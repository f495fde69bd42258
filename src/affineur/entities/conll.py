"""Files of words and tags: CoNLL columns and WikiNER's ``word|POS|tag`` lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from affineur.entities.corpus import Corpus
from affineur.entities.layout import (
    BLANK,
    SPACES,
    Column,
    Layout,
    cells_of,
    find_layout,
    is_comment,
    is_plain,
    numbered_rows,
    starts_document,
)
from affineur.entities.lines import blocks, refuse_too_long
from affineur.entities.mentions import Sentence
from affineur.entities.schemes import Scheme
from affineur.errors import DataError

#: How a line may begin that is no row, or no row as it stands: a comment, a document, a byte order mark.
_SPECIAL = frozenset("#-\ufeff")


def open_corpus(
    path: Path | str, word_column: Column = None, tag_column: Column = None, scheme: Scheme | None = None
) -> Corpus:
    """Open a CoNLL or WikiNER file; which of the two it is shows in its first line.

    Args:
        path: The file, UTF-8.
        word_column: Column of the word, from 0 (negative counts from the right), or its name in a heading;
            ``None`` for the first, or the second where the first counts words.
        tag_column: Column of the tag; ``None`` for the last, or the only one with tags.
        scheme: The tagging scheme, or ``None`` to recognize it. WikiNER lines are IOB1 (Nothman et al. 2013).

    Raises:
        DataError: If the file is missing, empty, not UTF-8, not of this format, or breaks its scheme.
    """
    path = Path(path)
    if is_wikiner(_first_line(path)):
        return open_wikiner(path, scheme)
    return open_columns(path, word_column, tag_column, scheme)


def open_columns(
    path: Path,
    word_column: Column = None,
    tag_column: Column = None,
    scheme: Scheme | None = None,
    tag_names: Sequence[str] | None = None,
) -> Corpus:
    """Open a file of columns; see :func:`open_corpus`."""
    _first_line(path)
    layout = find_layout(path, word_column, tag_column)
    corpus = Corpus.scan(str(path), lambda: _sentences(path, layout), scheme, tag_names)
    return replace(corpus, notes=(*layout.notes, *corpus.notes)) if layout.notes else corpus


def open_wikiner(path: Path, scheme: Scheme | None = None, tag_names: Sequence[str] | None = None) -> Corpus:
    """Open a file of WikiNER's lines; see :func:`open_corpus`."""
    _first_line(path)
    return Corpus.scan(str(path), lambda: _read_wikiner(path), scheme or Scheme.IOB1, tag_names)


def read_lines(path: Path, word_column: Column = None, tag_column: Column = None) -> Iterator[Sentence]:
    """Read the sentences of a CoNLL file, one at a time, with the tags that stand there.

    Columns are separated by tabs, or by spaces where a line has no tab. ``-DOCSTART-`` lines start a
    document; comments (``# …``) stand between sentences.

    Raises:
        DataError: At the first line that is not of this form.
    """
    return _sentences(path, find_layout(path, word_column, tag_column))


def _sentences(path: Path, layout: Layout) -> Iterator[Sentence]:
    word_at, tag_at, tabs = layout.word, layout.tag, layout.tabs
    columns = layout.columns if layout.has_both else -1
    words: list[str] = []
    tags: list[str] = []
    document: int | None = None
    first_line = 0
    # What is usual is decided here, at a million lines a second; all else in _row.
    for number, lines in blocks(path):
        for number, line in enumerate(lines, start=number):  # noqa: B020
            if line and line[0] not in _SPECIAL:
                cells = line.split("\t") if tabs else SPACES.split(line) if "\t" not in line else ()
                if len(cells) == columns:
                    word, tag = cells[word_at], cells[tag_at]
                    if word and tag and number != layout.heading:
                        if not words:
                            first_line = number
                        words.append(word)
                        tags.append(tag)
                        continue
            row = _row(line, layout, bool(words), path, number) if line else None
            if row is not None:
                if not words:
                    first_line = number
                words.append(row[0])
                tags.append(row[1])
                continue
            if words:
                refuse_too_long(len(words), path, first_line)
                yield Sentence(tuple(words), tuple(tags), document, first_line)
                words, tags = [], []
            if line and starts_document(line):
                document = 0 if document is None else document + 1
        refuse_too_long(len(words), path, first_line)
    if words:
        yield Sentence(tuple(words), tuple(tags), document, first_line)


def _row(line: str, layout: Layout, inside: bool, path: Path, number: int) -> tuple[str, str] | None:
    """Read a line that is not as the others: a word and its tag, or ``None`` for what is no row.

    Args:
        line: The line.
        layout: How the rows are built.
        inside: Whether a sentence has begun.
        path: The file.
        number: The line's number.

    Raises:
        DataError: If it can be neither.
    """
    if line.startswith("\ufeff"):  # files were put together
        line = line.removeprefix("\ufeff")
    if line.startswith("-DOCSTART-") or not line.strip(BLANK) or number == layout.heading:
        return None
    if line.startswith("#") and is_comment(line, layout):
        if inside:
            raise DataError(
                f"a comment within a sentence ('{_shown(line)}'); expected a blank line before it",
                path,
                number,
            )
        return None
    cells = cells_of(line)
    usual = layout.tabs == ("\t" in line)
    if len(cells) < 2:
        raise DataError(
            f"found one column ('{_shown(line)}'), expected a word and a tag separated by a tab or spaces"
            f"{_hint(line)}",
            path,
            number,
        )
    if len(cells) != layout.columns or not (usual or is_plain(cells[layout.tag])):
        other = "" if usual else f" separated by {'tabs' if layout.tabs else 'spaces'}"
        raise DataError(
            f"found {len(cells)} columns ('{_shown(line)}'), expected {layout.columns}{other} as in the lines"
            f" before{_hint(line)}",
            path,
            number,
        )
    if not layout.has_both:
        raise DataError(
            f"found {len(cells)} columns, expected columns {layout.word} (word) and {layout.tag} (tag)",
            path,
            number,
        )
    word, tag = cells[layout.word], cells[layout.tag].strip(BLANK)
    if not word.strip(BLANK):
        raise DataError(f"the word is empty ('{_shown(line)}')", path, number)
    return word, tag


def _shown(line: str) -> str:
    return line if len(line) <= 60 else line[:59] + "…"


def _hint(line: str) -> str:
    return "; this looks like CSV: name it so, or give format=csv" if "," in line or ";" in line else ""


def write_conll(sentences: Iterable[tuple[Iterable[str], Iterable[str]]], path: Path) -> None:
    """Write ``(words, tags)`` pairs as two tab-separated columns, a blank line after each sentence."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for words, tags in sentences:
            file.writelines(f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True))
            file.write("\n")


def _first_line(path: Path) -> str:
    """Return the first line with something in it.

    Raises:
        DataError: If there is none, or the file cannot be read.
    """
    if path.is_dir():
        raise DataError("this is a folder, expected a file of words and tags", path)
    if not path.is_file():
        raise DataError("no such file", path)
    first = next((line for _, line in numbered_rows(path) if line.strip(BLANK)), None)
    if first is None:
        raise DataError("the file is empty, expected a word and its tag on each line", path)
    return first


def is_wikiner(line: str) -> bool:
    """Say whether a line is one of WikiNER's: each of its words has two bars."""
    return "\t" not in line and all(cell.count("|") >= 2 for cell in line.strip(BLANK).split(" ") if cell)


def _read_wikiner(path: Path) -> Iterator[Sentence]:
    for number, line in numbered_rows(path):
        if not (text := line.strip(BLANK + "\ufeff")):
            continue
        cells = [cell.rsplit("|", 2) for cell in text.split(" ") if cell]
        refuse_too_long(len(cells), path, number)
        for cell in cells:
            if len(cell) != 3 or not cell[0] or not cell[2]:
                raise DataError(f"found '{'|'.join(cell)}', expected word|POS|tag", path, number)
        words, tags = tuple(cell[0] for cell in cells), tuple(cell[2] for cell in cells)
        yield Sentence(words, tags, None, number, True)
