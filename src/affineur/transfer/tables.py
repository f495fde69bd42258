"""Rows of tokens and tags: JSON lines, Parquet, and what ``datasets`` saves to disk.

The files are read here, with ``json`` and ``pyarrow``, and not by ``datasets.load_dataset``: that copies
everything into a cache first, while a stream of row batches keeps memory flat and can name the row an error
is in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affineur.artifact.reading import WRONG, parse_json
from affineur.entities import (
    MOST_WORDS,
    Column,
    Corpus,
    LabelError,
    Scheme,
    Sentence,
    is_number,
    refuse_too_long,
    understand,
)
from affineur.errors import DataError, brief, one_line
from affineur.transfer.formats.core.records import json_records
from affineur.transfer.hub import need

TOKENS = ("tokens", "words")
TAGS = ("ner_tags", "tags", "ner", "labels")
SUFFIXES = (".jsonl", ".json", ".parquet")
_BATCH = 1024  # rows in memory together …
_TOGETHER = 1 << 18  # … and values of them as Python has them
_MOST_TEXT = 1 << 26  # bytes of the text of these
# A value of a Parquet file may take no bit at all. Text takes some bits a word, however well it compresses.
_PER_BYTE, _AT_LEAST = 64, 1 << 20
_MOST_IN_GROUP = 50_000_000  # values of a row group, which may all stand in one row
WHAT = "reading data sets"

#: Row number from 1, and the values of the columns asked for; a row of JSON may lack one.
Row = tuple[int, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Table:
    """One file of rows, or one split that ``datasets`` saved.

    Args:
        path: Where it is.
        columns: The names of its columns.
        features: What the columns are, as ``datasets`` writes it in JSON; may lack columns.
        read: Opens the rows of the columns named.
    """

    path: Path
    columns: tuple[str, ...]
    features: Mapping[str, Any]
    read: Callable[[Sequence[str]], Iterator[Row]]


def open_table(path: Path, features: Mapping[str, Any] | None = None) -> Table:
    """Open a Parquet file, or one of JSON objects: one on each line, or an array of them.

    Args:
        path: The file.
        features: What its columns are, where that is written elsewhere, as in a data set's ``README.md``.

    Raises:
        DataError: If it is not such a file.
        MissingExtraError: If it is Parquet and pyarrow is not installed.
    """
    if not path.is_file():
        raise DataError("no such file", path)
    if path.suffix.lower() == ".parquet" or _begins_as_parquet(path):
        return _parquet(path, features or {})
    first = next(json_records(path), None)
    if first is None:
        raise DataError("the file is empty, expected one JSON object per line", path)
    return Table(path, tuple(first[1]), features or {}, lambda names: _json_rows(path, names))


def saved_table(path: Path, dataset: Any) -> Table:
    """Wrap a ``datasets.Dataset`` that lies memory-mapped under ``path``."""

    def read(names: Sequence[str]) -> Iterator[Row]:
        number = 0
        for batch in dataset.select_columns(list(names)).with_format("arrow").iter(_BATCH):
            for values in _values([batch.column(name).combine_chunks() for name in names], path, number):
                number += 1
                yield number, values

    return Table(path, tuple(dataset.column_names), dataset.features.to_dict(), read)


def to_corpus(
    name: str,
    tables: Sequence[Table],
    scheme: Scheme | None,
    tag_names: Sequence[str] | None,
    columns: tuple[Column, Column] = (None, None),
) -> Corpus:
    """Read tables, one after the other, as one corpus. A row without words is no sentence and is passed over.

    Args:
        name: What to call it.
        tables: At least one.
        scheme: The tagging scheme, or ``None`` to recognize it.
        tag_names: Names of tags that are numbers; ``None`` means those that the table itself gives.
        columns: The columns of the words and of the tags; ``None`` for those that are usually called so.

    Raises:
        DataError: If a column is missing, tags that are numbers have no names, or a row is wrong; it names
            the row.
    """
    readers = [_reader(table, tag_names, columns) for table in tables]
    place: tuple[Path, int] | None = None

    def source() -> Iterator[Sentence]:
        nonlocal place
        for table, reader in zip(tables, readers, strict=True):
            for number, sentence in reader():
                place = table.path, number
                yield sentence
        if place is None:
            raise DataError("no row with a token in it", name)

    try:
        return Corpus.scan(name, source, scheme)
    except DataError as error:
        if place is None or error.line is not None:
            raise
        # a sentence that breaks its scheme: only here is known in which row it stands
        path, number = place
        said = str(error).removeprefix(f"{error.path}: ")
        raise DataError(f"row {number}: {said}", path, number, parameter=error.parameter) from None


def table_columns(names: Sequence[str], columns: tuple[Column, Column]) -> tuple[str, str] | None:
    """Return the columns of the words and of the tags among those of a table, or ``None`` if one is missing.

    Args:
        names: The names of all columns, in order.
        columns: What the user said of the two: a name, a place, or nothing.
    """
    found = []
    for column, known in zip(columns, (TOKENS, TAGS), strict=True):
        if isinstance(column, int) and -len(names) <= column < len(names):
            found.append(names[column])
        else:
            usual = (column,) if isinstance(column, str) else known if column is None else ()
            found += [name for name in usual if name in names][:1]
    return (found[0], found[1]) if len(found) == 2 else None


def _reader(
    table: Table, tag_names: Sequence[str] | None, columns: tuple[Column, Column]
) -> Callable[[], Iterator[tuple[int, Sentence]]]:
    found = table_columns(table.columns, columns)
    if found is None:
        word, tag = columns
        raise DataError(
            f"found the columns {', '.join(table.columns) or 'none'}; expected {word or TOKENS[0]} and "
            f"{tag if tag is not None else 'one of ' + ', '.join(TAGS)}",
            table.path,
            parameter="word_column tag_column" if word or tag else None,
        )
    names = tag_names or _class_names(table.features.get(found[1]))
    tags = names and _understood(names, table.path)

    def read() -> Iterator[tuple[int, Sentence]]:
        for number, (row_words, row_tags) in table.read(found):
            sentence = _sentence(row_words, row_tags, tags, table.path, number)
            if sentence.words:
                yield number, sentence

    return read


def _understood(names: Sequence[str], path: Path) -> list[str]:
    try:
        tags = understand(names, of_model=True).tags
    except LabelError as error:
        raise DataError(str(error), path, parameter="tag_names") from None
    return [tags[name] for name in names]


def _sentence(words: Any, row_tags: Any, names: Sequence[str] | None, path: Path, row: int) -> Sentence:
    if not isinstance(words, list) or not isinstance(row_tags, list):
        kind = type(row_tags if isinstance(words, list) else words).__name__
        raise DataError(f"row {row}: found a {kind}, expected a list of tokens and a list of tags", path, row)
    refuse_too_long(len(words), path, row)
    if len(words) != len(row_tags):
        raise DataError(f"row {row}: {len(words)} tokens but {len(row_tags)} tags", path, row)
    for word in words:
        if not isinstance(word, str) or not word:
            raise DataError(f"row {row}: found the token {brief(word)}, expected text", path, row)
    return Sentence(tuple(words), tuple(_tag(tag, names, path, row) for tag in row_tags))


def _tag(tag: Any, names: Sequence[str] | None, path: Path, row: int) -> str:
    """Return a tag as it stands there, or the one that a number names; what it means is decided later."""
    if isinstance(tag, str) and not (names and is_number(tag)):
        return tag
    if not isinstance(tag, int | str) or isinstance(tag, bool):
        raise DataError(f"row {row}: found the tag {brief(tag)}, expected a name or a number", path, row)
    if names is None:
        return str(tag)
    number = int(float(tag))
    if not 0 <= number < len(names):
        raise DataError(
            f"row {row}: found the tag {tag}, but the {len(names)} names ({', '.join(names)}) "
            f"go from 0 to {len(names) - 1}",
            path,
            row,
        )
    return names[number]


def _class_names(feature: Any) -> tuple[str, ...] | None:
    """Find the names of a list of ``ClassLabel``, however that version of ``datasets`` nests them."""
    while isinstance(feature, dict | list):
        if isinstance(feature, list):
            feature = feature[0] if feature else None
        elif feature.get("names"):
            return tuple(map(str, feature["names"]))
        else:
            feature = feature.get("feature")
    return None


def _json_rows(path: Path, names: Sequence[str]) -> Iterator[Row]:
    for number, value in json_records(path):
        if missing := [name for name in names if name not in value]:
            raise DataError(
                f"row {number}: has no {missing[0]} (found {', '.join(value) or 'nothing'})", path, number
            )
        yield number, [value[name] for name in names]


def _begins_as_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _parquet(path: Path, features: Mapping[str, Any]) -> Table:
    arrow, parquet = need("pyarrow", WHAT), need("pyarrow.parquet", WHAT)

    def read(names: Sequence[str]) -> Iterator[Row]:
        number = 0
        try:
            with parquet.ParquetFile(path) as file:
                for group, rows in _row_groups(path, file.metadata, names):
                    for batch in file.iter_batches(rows, row_groups=[group], columns=list(names)):
                        for values in _values([batch.column(name) for name in names], path, number):
                            number += 1
                            yield number, values
        except (arrow.ArrowException, OSError, ValueError) as error:  # ValueError: text that is not UTF-8
            raise DataError(
                f"row {number + 1}: damaged ({one_line(error)}); fetch the file again", path, number + 1
            ) from None

    try:
        schema = parquet.read_schema(path)
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"not a Parquet file ({one_line(error)})", path) from None
    with suppress(*WRONG):  # written by something else than datasets
        features = parse_json(schema.metadata[b"huggingface"])["info"]["features"]
    return Table(path, tuple(schema.names), features, read)


def _row_groups(path: Path, metadata: Any, names: Sequence[str]) -> list[tuple[int, int]]:
    """Return each row group of a Parquet file, and how many of its rows may be read together.

    Raises:
        DataError: If there is more in the file than its bytes could say of text.
    """
    found, whole = [], 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = (group.column(place) for place in range(group.num_columns))
        values = max(
            (each.num_values for each in columns if each.path_in_schema.partition(".")[0] in names), default=0
        )
        whole += values
        if values > min(_MOST_IN_GROUP, group.num_rows * MOST_WORDS):
            raise DataError(
                f"{group.num_rows:,} rows hold {values:,} tokens, expected at most {MOST_WORDS:,} in a row"
                f" and {_MOST_IN_GROUP:,} in a row group; divide them",
                path,
            )
        found.append((number, max(1, min(_BATCH, _TOGETHER * group.num_rows // max(1, values)))))
    size = path.stat().st_size
    if whole > _PER_BYTE * size + _AT_LEAST:
        raise DataError(
            f"{size:,} bytes hold {whole:,} tokens, as no text does; write the file again from its source",
            path,
        )
    return found


def _values(columns: Sequence[Any], path: Path, before: int) -> Iterator[tuple[Any, ...]]:
    """Turn the columns of some rows into Python, some of the rows at a time.

    Args:
        columns: Arrow's arrays, one value for each row.
        path: The file.
        before: How many rows came before these.

    Raises:
        DataError: If a row has more tokens than a sentence, or some have more text than so many words.
    """
    compute, types = need("pyarrow.compute", WHAT), need("pyarrow.types", WHAT)
    lengths = [0] * len(columns[0])
    for column in columns:
        if types.is_list(column.type) or types.is_large_list(column.type):
            for row, length in enumerate(compute.list_value_length(column).to_pylist()):
                refuse_too_long(length or 0, path, before + row + 1)
                lengths[row] = max(lengths[row], length or 0)
    start = held = 0
    for row, length in enumerate([*lengths, _TOGETHER]):
        if row > start and held + length > _TOGETHER:
            parts = [column.slice(start, row - start) for column in columns]
            if sum(map(_text_size, parts)) > _MOST_TEXT:
                raise DataError(
                    f"{row - start:,} rows hold more than {_MOST_TEXT:,} bytes of text; divide their tokens",
                    path,
                    before + start + 1,
                )
            yield from zip(*(part.to_pylist() for part in parts), strict=True)
            start, held = row, 0
        held += length


def _text_size(column: Any) -> int:
    """Return the bytes of the text in a column, before any of it is copied."""
    compute, types = need("pyarrow.compute", WHAT), need("pyarrow.types", WHAT)
    while types.is_list(column.type) or types.is_large_list(column.type):
        column = column.flatten()
    if not (types.is_string(column.type) or types.is_large_string(column.type)):
        return 0
    return compute.sum(compute.binary_length(column)).as_py() or 0
