"""A file of texts or words to the same file with what a model finds in it.

In one pass and in constant memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice, tee
from pathlib import Path
from typing import Any

from affineur.artifact import new_file
from affineur.entities import detect, numbered_lines, repair, with_prefix
from affineur.errors import DataError, ParameterError
from affineur.progress import report
from affineur.runtime.aggregation import AggregationStrategy
from affineur.runtime.tagger import EngineTagger

_CHUNK = 1024  # sentences in memory together
_BLANK = " \t\r\n"
_SURROGATE = re.compile("[\ud800-\udfff]")


def annotate(
    tagger: EngineTagger, source: Path, target: Path, aggregation_strategy: AggregationStrategy = "word"
) -> int:
    """Write a file with the entities a model finds in another.

    ``.txt`` is raw text, one a line, and ``.jsonl`` has the text of each line under ``text``: both become
    JSON lines, whose ``entities`` are as in ``predict --json``; what else a line holds is kept. Any other
    file is CoNLL, a word in the first column of each line: it becomes words and predicted tags, invalid
    sequences repaired. The target appears when all of it is written.

    Args:
        tagger: The model.
        source: The file to read, UTF-8.
        target: The file to write.
        aggregation_strategy: For raw text, as in :meth:`EngineTagger.predict_batch`.

    Returns:
        How many texts or sentences there were.

    Raises:
        DataError: If the source cannot be read, with file and line.
        ParameterError: If the target is a folder or the source itself, or CoNLL is asked for a strategy.
        AffineurError: If the target cannot be written; what was there is unchanged.
    """
    check_files(source, target, aggregation_strategy)
    lines = (
        _annotated_texts(tagger, source, aggregation_strategy)
        if is_text(source)
        else _annotated_words(tagger, source)
    )
    what = "texts" if is_text(source) else "sentences"
    done = 0
    with new_file(target) as file:
        for done, line in enumerate(lines, start=1):
            file.write(line)
            report(f"annotating {what}", done)
        if not done:
            raise DataError(f"the file is empty, expected {what}", source)
    return done


def check_files(source: Path, target: Path, aggregation_strategy: str) -> None:
    """Refuse what cannot be annotated, before a model is loaded.

    Raises:
        DataError: If the source is no file.
        ParameterError: If the target is a folder or the source itself, or CoNLL is asked for a strategy.
    """
    if not source.is_file():
        raise DataError("this is a folder, expected a file" if source.is_dir() else "no such file", source)
    if target.is_dir():
        raise ParameterError(
            f"{target} is a folder, expected a file to write; type: -o {target / source.name}"
        )
    if target.exists() and target.samefile(source):
        raise ParameterError(f"{target} is the file that is read; name another with -o")
    if not is_text(source) and aggregation_strategy != "word":
        raise ParameterError(
            f"{source} is read as CoNLL (not .txt or .jsonl), where words are given; "
            f"--aggregation-strategy {aggregation_strategy} is for raw text: leave it out, or name the file .txt"
        )


def is_text(source: Path) -> bool:
    """Say whether a file is raw text or JSON lines and not CoNLL, by its name."""
    return source.suffix.lower() in (".txt", ".jsonl")


def _annotated_texts(tagger: EngineTagger, source: Path, strategy: AggregationStrategy) -> Iterator[str]:
    read, kept = tee(
        _rows(source)
    )  # the rows between what is read ahead and what is written stay in memory, no more
    results: Iterator[list[Any]] = tagger.predict_stream((row["text"] for row in read), strategy)
    for row, found in zip(kept, results, strict=True):
        yield json_line({**row, "entities": list(map(asdict, found))}) + "\n"


def _rows(source: Path) -> Iterator[dict[str, Any]]:
    rows = source.suffix.lower() == ".jsonl"
    for number, line in numbered_lines(source):
        if not rows:
            yield {"text": line.rstrip("\r\n")}
        elif line.strip(_BLANK):
            yield _row(line, source, number)


def _row(line: str, source: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"not JSON ({error}), expected an object with a text a line", source, number
        ) from None
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise DataError(
            'expected an object whose "text" is a string, such as {"text": "Marie vit à Paris."}',
            source,
            number,
        )
    if "entities" in row:
        raise DataError('"entities" is there already and would be lost; rename that key', source, number)
    return row


def _annotated_words(tagger: EngineTagger, source: Path) -> Iterator[str]:
    labels = [with_prefix(label) for label in tagger.labels]
    scheme = detect(labels)
    sentences = _sentences(source)
    while chunk := list(islice(sentences, _CHUNK)):
        for (heading, words), tags in zip(chunk, tagger.tag([words for _, words in chunk]), strict=True):
            valid, _ = repair([with_prefix(tag) for tag in tags], scheme)
            yield heading + "".join(f"{word}\t{tag}\n" for word, tag in zip(words, valid, strict=True)) + "\n"


def _sentences(source: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the words of each sentence, and the ``-DOCSTART-`` lines before it as they are to be written."""
    heading, words = "", []
    for number, line in numbered_lines(source):
        starts_document = line.startswith("-DOCSTART-")
        if not starts_document and line.strip(_BLANK):
            words.append(_word(line, source, number))
            continue
        if words:
            yield heading, words
            heading, words = "", []
        if starts_document:
            heading += "-DOCSTART-\tO\n\n"
    if words:
        yield heading, words


def _word(line: str, source: Path, number: int) -> str:
    word = line.rstrip("\r\n").partition("\t")[0] if "\t" in line else line.strip(_BLANK).partition(" ")[0]
    if not word.strip(_BLANK):
        raise DataError(f"the word is empty ('{line.strip(_BLANK)[:60]}')", source, number)
    return word


def json_line(value: Any) -> str:
    """Write a value as one line of JSON, readable where UTF-8 can carry it; lone surrogates are escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return json.dumps(value) if _SURROGATE.search(text) else text


def as_json(results: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """Write texts and their entities as one JSON list, a piece at a time."""
    opened = False
    for text, found in results:
        yield (",\n  " if opened else "[\n  ") + json_line(
            {"text": text, "entities": [asdict(entity) for entity in found]}
        )
        opened = True
    yield "\n]\n" if opened else "[]\n"
