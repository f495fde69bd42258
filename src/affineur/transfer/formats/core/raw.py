"""What a file is taken for that a model is to read: texts, records with a text, or words."""

from __future__ import annotations

from pathlib import Path

from affineur.errors import DataError, ParameterError, did_you_mean
from affineur.transfer.formats.core.format import DATA_FORMATS
from affineur.transfer.formats.core.head import Head

#: What annotate reads, and how such files are called: one text per line, an object with a text per line, a
#: word in the first column of each line.
KINDS = {"text": (".txt", ".text"), "json": (".jsonl", ".ndjson"), "conll": ()}


def kind_of(path: Path, name: str | None = None) -> str:
    """Say what a file to annotate is taken for: by its suffix, and by looking into it.

    Args:
        path: The file.
        name: What the user said it is.

    Returns:
        One of ``text``, ``json`` and ``conll``.

    Raises:
        ParameterError: If there is no such kind.
        DataError: If the file is not there, or nothing tells what it is.
    """
    if name is not None:
        if name not in KINDS:
            raise ParameterError(
                f"format={name} is impossible here, expected {', '.join(KINDS)}{did_you_mean(name, KINDS)}",
                "format",
            )
        return name
    if path.is_dir():
        raise DataError("this is a folder, expected a file", path)
    head, suffix = Head.of(path), path.suffix.lower()
    columns = DATA_FORMATS.get("conll")
    if suffix in KINDS["json"] or (head.is_json and suffix not in KINDS["text"]):
        return "json"
    if suffix in KINDS["text"]:
        if len(head.lines) > 1 and columns.recognize(path, head):
            raise DataError(
                "this looks like words and tags, one of each in a line; say whether it is (format=conll) or"
                " each line is a text (format=text)",
                path,
                parameter="format",
            )
        return "text"
    if suffix in columns.suffixes or columns.recognize(path, head):
        return "conll"
    others = [(key, each) for key, each in DATA_FORMATS.all().items() if not each.folder]
    if labeled := [key for key, each in others if each.recognize(path, head)]:
        raise DataError(
            f"this is labeled text ({labeled[0]}), expected one text per line, JSON lines with a text, or a"
            " word per line; say so with format=text if it is text",
            path,
            parameter="format",
        )
    if any(" " in line.strip() for line in head.lines):
        return "text"
    raise DataError(
        "nothing tells what this is; say whether it holds one text per line (format=text), a JSON object per"
        " line (format=json) or a word per line (format=conll)",
        path,
        parameter="format",
    )
