"""Texts or words with what a model finds in them: rows or files, in one pass and in constant memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, tee
from pathlib import Path
from typing import Any

from affineur.artifact import new_file
from affineur.artifact.reading import parse_json
from affineur.entities import detect, numbered_lines, read_words, refuse_nul, repair, with_prefix
from affineur.errors import DataError, ParameterError, one_line
from affineur.progress import report
from affineur.runtime.aggregation import AggregationStrategy
from affineur.runtime.reading import Context
from affineur.runtime.rules.core.rule import RulesAsked, check_rules, with_rules
from affineur.runtime.tagger import EngineTagger

_CHUNK = 1024  # sentences in memory together
_BLANK = " \t\r\n"
_SURROGATE = re.compile("[\ud800-\udfff]")


def annotate(
    tagger: EngineTagger,
    source: Path,
    out: Path,
    *,
    strategy: AggregationStrategy = "word",
    threshold: float = 0.0,
    context: Context | None = None,
    kind: str,
    rules: RulesAsked = None,
) -> int:
    """Write a file with the entities a model finds in another.

    A file of ``text`` is one text per line, and one of ``json`` has the text of each line under ``text``:
    both become JSON lines, see :func:`annotate_rows`. One of ``conll`` has a word in a column of each line:
    it becomes words and predicted tags, invalid sequences repaired. The file appears when all of it is
    written.

    Args:
        tagger: The model.
        source: The file to read, UTF-8.
        out: The file to write.
        strategy: For raw text, as in :meth:`EngineTagger.predict_batch`.
        threshold: For raw text: entities with a lower score are left out, in [0, 1].
        context: For raw text: ``sentence`` or ``document``, as there.
        kind: ``text``, ``json`` or ``conll``.
        rules: For raw text: rules beside the model, such as ``fr``.

    Returns:
        How many texts or sentences there were.

    Raises:
        DataError: If the source cannot be read, with file and line.
        ParameterError: If ``out`` is a folder or the source itself, or an option is for raw text alone or
            out of range.
        AffineurError: If ``out`` cannot be written; what was there is unchanged.
    """
    check_files(source, out, strategy=strategy, threshold=threshold, context=context, rules=rules, kind=kind)
    lines: Iterator[str]
    if kind != "conll":
        what = "texts"
        given = _rows(source, kind == "json")
        rows = annotate_rows(
            tagger, given, strategy=strategy, threshold=threshold, context=context, rules=rules
        )
        lines = (json_line(row) + "\n" for row in rows)
    else:
        what, lines = "sentences", _annotated_words(tagger, source)
    done = 0
    with new_file(out) as file:
        for done, line in enumerate(lines, start=1):
            file.write(line)
            report(f"annotating {what}", done)
        if not done:
            raise DataError(f"the file is empty, expected {what}", source)
    return done


def annotate_rows(
    tagger: EngineTagger,
    rows: Iterable[Mapping[str, Any]],
    *,
    strategy: AggregationStrategy = "word",
    threshold: float = 0.0,
    context: Context | None = None,
    rules: RulesAsked = None,
) -> Iterator[dict[str, Any]]:
    """Add the entities a model finds to rows of any kind, as they come and in their order.

    Memory does not grow with their number.

    Args:
        tagger: The model.
        rows: Each with its text under ``text``.
        strategy: As in :meth:`EngineTagger.predict_batch`.
        threshold: Entities with a lower score are left out, in [0, 1].
        context: As there.
        rules: Rules beside the model, such as ``fr``.

    Returns:
        The rows, each with ``entities`` after what it holds: as in ``predict --json``.

    Raises:
        ParameterError: If there is no such strategy, or the threshold is out of range.
    """
    # What lies between the row read ahead and the row given back stays in memory, no more.
    read, kept = tee(rows)
    texts = (row["text"] for row in read)
    results: Iterator[list[Any]] = tagger.predict_stream(
        texts, strategy=strategy, threshold=threshold, context=context
    )
    more = check_rules(rules, strategy)
    return (
        {
            **row,
            "entities": [
                entity.as_dict() for entity in (with_rules(row["text"], found, more) if more else found)
            ],
        }
        for row, found in zip(kept, results, strict=True)
    )


def check_files(
    source: Path,
    out: Path,
    *,
    strategy: str = "word",
    threshold: float = 0.0,
    context: str | None = None,
    kind: str,
    rules: RulesAsked = None,
) -> None:
    """Refuse what cannot be annotated, before a model is loaded.

    Raises:
        DataError: If the source is no file.
        ParameterError: If ``out`` is a folder or the source itself, or an option is for raw text alone.
    """
    if not source.is_file():
        raise DataError("this is a folder, expected a file" if source.is_dir() else "no such file", source)
    if out.is_dir():
        raise ParameterError(
            f"{out} is a folder, expected a file to write, such as {out / source.name}", "out"
        )
    if out.exists() and out.samefile(source):
        raise ParameterError(f"{out} is the file that is read; name another", "out")
    if kind != "conll":
        return
    given = f"strategy={strategy}" if strategy != "word" else f"threshold={threshold:g}" if threshold else ""
    given = given or (f"context={context}" if context else "")
    given = given or ("" if rules is None else f"rules={rules}")
    if given:
        raise ParameterError(
            f"{source} is read as CoNLL (not .txt or .jsonl), where words are given; "
            f"{given} is for raw text: leave it out, or say format=text",
            given.partition("=")[0],
        )


def _rows(source: Path, rows: bool) -> Iterator[dict[str, Any]]:
    for number, line in numbered_lines(source):
        if not rows:
            refuse_nul(line, source, number)
            yield {"text": line.rstrip("\r\n")}
        elif line.strip(_BLANK):
            yield _row(line, source, number)


def _row(line: str, source: Path, number: int) -> dict[str, Any]:
    try:
        row = parse_json(line)
    except ValueError as error:
        raise DataError(
            f"not JSON ({one_line(error)}), expected one object with a text per line", source, number
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
    sentences = read_words(source)
    while chunk := list(islice(sentences, _CHUNK)):
        for (documents, words), tags in zip(chunk, tagger.tag([words for _, words in chunk]), strict=True):
            valid, _ = repair([with_prefix(tag) for tag in tags], scheme)
            rows = "".join(f"{word}\t{tag}\n" for word, tag in zip(words, valid, strict=True))
            yield "-DOCSTART-\tO\n\n" * documents + rows + "\n"


def json_line(value: Any) -> str:
    """Write a value as one line of JSON, readable where UTF-8 can carry it; lone surrogates are escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return json.dumps(value) if _SURROGATE.search(text) else text


def as_json(results: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """Write texts and their entities as one JSON list, a piece at a time."""
    opened = False
    for text, found in results:
        yield (",\n  " if opened else "[\n  ") + json_line(
            {"text": text, "entities": [entity.as_dict() for entity in found]}
        )
        opened = True
    yield "\n]\n" if opened else "[]\n"
