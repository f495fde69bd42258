"""Which words of a command line are the model and which the text, where the model may be left out."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from affineur import sample
from affineur.errors import ModelError, ParameterError
from affineur.transfer.places.core.place import home_of, place_of


def take_more(args: argparse.Namespace, more: Sequence[str]) -> bool:
    """Take words that argparse left over: it takes only such as stand together (python/cpython#59317).

    Args:
        args: What it read; they are added to it.
        more: The words, among them options that are not known.

    Returns:
        Whether the command has a use for all of them.
    """
    if any(word.startswith("-") for word in more):
        return False
    if args.command == "predict":
        args.texts = [*args.texts, *more]
    elif args.command == "annotate" and args.model is None and len(more) == 1:
        args.model, args.source = args.source, more[0]
    else:
        return not more
    return True


def model_and_texts(words: Sequence[str]) -> tuple[str, list[str]]:
    """Tell the model from the texts that follow it; where no model is named, it is :data:`sample.DEFAULT`.

    The first word is a model unless there is white space in it. A text of one word could be either, and is
    refused before the Hub is asked for it: it may be somebody's name.

    Args:
        words: Words of the command line, options left out.

    Raises:
        ModelError: If the first one is no model that is here, and has not the form of one elsewhere.
    """
    if not words or _is_text(words[0]):
        return sample.DEFAULT, list(words)
    _refuse_unknown(words[0])
    return words[0], list(words[1:])


def refuse_model_alone(source: str) -> None:
    """Refuse a model where the text to annotate is wanted.

    Args:
        source: The only word that was given.

    Raises:
        ParameterError: If it is a folder, or a model of ``affineur-fr``.
    """
    if _is(Path.is_dir, source) or (source in sample.MODELS and not _is(Path.exists, source)):
        raise ParameterError(
            f"{source} is a model, and what it is to annotate is missing; type: affineur annotate"
            f" {shlex.quote(source)} IN -o OUT"
        )


def _is_text(word: str) -> bool:
    rest = _behind(word)
    if not re.search(r"\s", rest) or _is(Path.is_dir, rest):
        return False
    # What is kept in a bucket may have a space in its name; a web address has none (RFC 3986).
    return place_of(rest) is None or rest.startswith(("http:", "https:"))


def _refuse_unknown(word: str) -> None:
    rest = _behind(word)
    if rest == word and _is(Path.is_file, word):
        raise ModelError(
            f"{word} is a file, expected a model; to read texts from it, type: affineur predict --file"
            f" {shlex.quote(word)}"
        )
    bare = rest == word and not {"/", os.sep, ":"}.intersection(word)
    if bare and word not in sample.MODELS and not _is(Path.is_dir, word):
        raise ModelError(
            f"{word} is not there, expected a model folder or a Hub id such as owner/name; to tag a text of"
            f" one word, name the model: affineur predict {sample.DEFAULT} {shlex.quote(word)}"
        )


def _behind(word: str) -> str:
    """Leave out the prefix that names an engine."""
    from affineur.engines.core.references import Reference

    return Reference.parse(word).rest


def _is(kind: Callable[[Path], bool], word: str) -> bool:
    try:
        return kind(home_of(word))
    except (OSError, ValueError):  # no name of a file: too long, or not text
        return False
