"""A tokenizer written so that ``tokenizer.json`` needs none of the files beside it to be right."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from affineur.artifact import TOKENIZER_FILES, write_json, write_text
from affineur.artifact.reading import WRONG, read_json
from affineur.runtime.tokenization.folder import read_tokenizer
from affineur.runtime.tokenization.settings import PLAIN, PREFIX_SPACE_IN_TEXT
from affineur.runtime.tokenization.spec import with_prefix_space


def for_words(tokenizer: Tokenizer) -> Tokenizer:
    """Return a tokenizer for words, each of which begins like one after a space, that neither cuts nor pads.

    Without the space RoBERTa's tokenizer would glue the words of a sentence together (transformers asks for
    ``add_prefix_space=True`` for the same reason).
    """
    made = Tokenizer.from_str(with_prefix_space(tokenizer, True).to_str())
    made.no_truncation()
    made.no_padding()
    return made


def write_tokenizer(source: Path, target: Path, config: Mapping[str, Any], *, is_graph: bool = False) -> None:
    """Write the tokenizer of a model folder into another, where ``tokenizer.json`` needs no other file.

    What the settings beside it change is written into it; a file that says all of it stays byte for byte, and
    so do the settings: transformers reads the same from both folders.

    Args:
        source: The folder it comes from.
        target: An existing folder.
        config: The ``config.json`` of the source.
        is_graph: Whether nobody will read it with transformers, which adds the space before a word itself.
            Then the file begins each word like one after a space, and how raw text begins is noted in the
            settings where that differs.

    Raises:
        ModelError: If it cannot be read.
    """
    read = read_tokenizer(source, config)
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    made = for_words(read.tokenizer) if is_graph else read.tokenizer
    if not _says(source / "tokenizer.json", made, exactly=is_graph):
        write_text(target / "tokenizer.json", made.to_str(pretty=True) + "\n")
    if is_graph:
        raw = read_tokenizer(target, config).tokenizer
        if raw.to_str() != read.tokenizer.to_str():
            change_settings(target, {PREFIX_SPACE_IN_TEXT: False})
    settle(target, config)


def settle(folder: Path, config: Mapping[str, Any]) -> None:
    """See to it that a written ``tokenizer.json`` is read as it stands where its class would change it.

    Some classes of transformers expect the unknown piece at one place; in a smaller vocabulary it may have
    another.
    """
    written = for_words(Tokenizer.from_file(str(folder / "tokenizer.json")))
    if for_words(read_tokenizer(folder, config).tokenizer).to_str() != written.to_str():
        change_settings(folder, {"tokenizer_class": PLAIN})


def change_settings(folder: Path, changes: Mapping[str, Any]) -> None:
    """Change entries of ``tokenizer_config.json``, which is made where there is none."""
    file = folder / "tokenizer_config.json"
    try:
        settings = read_json(file) if file.is_file() else {}
    except WRONG:
        settings = {}
    write_json(file, settings | dict(changes))


def _says(file: Path, made: Tokenizer, exactly: bool) -> bool:
    """Say whether a ``tokenizer.json`` is this tokenizer, also in what it cuts off and pads."""
    if not file.is_file():
        return False
    found = Tokenizer.from_file(str(file))
    if not exactly:  # transformers cuts and pads as it is asked to
        found.no_truncation()
        found.no_padding()
    return found.to_str() == made.to_str()
