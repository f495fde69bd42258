"""What people hand over as texts or words: taken as it is, or refused with its place in one line."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from affineur.errors import ParameterError


def given_texts(texts: Iterable[str]) -> Iterator[str]:
    """Take texts one by one, and refuse what is none: a missing value of a table, a number, words.

    Raises:
        ParameterError: At once where it is no list of texts; in its turn, with its place, what is no text.
    """
    if isinstance(texts, str):
        raise ParameterError("texts is one text, expected a list of texts; type predict(text)", "texts")
    if isinstance(texts, bytes) or not isinstance(texts, Iterable):
        raise ParameterError(
            f"texts is of type {type(texts).__name__}, expected a text or a list of texts", "texts"
        )
    return map(_text_at, itertools.count(), texts)


def _text_at(place: int, text: object) -> str:
    if isinstance(text, str):
        return text
    missing = text is None or isinstance(text, float) or type(text).__name__ == "NAType"
    hint = "; leave out what is missing, or write ''" if missing else ""
    raise ParameterError(f"texts[{place}] is a {type(text).__name__}, expected a text{hint}", "texts")


def given_sentences(sentences: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
    """Check sentences that are cut into words.

    Raises:
        ParameterError: If one is a text, or one of its words is none.
    """
    if isinstance(sentences, str | bytes) or not isinstance(sentences, Sequence):
        found = type(sentences).__name__
        raise ParameterError(f"sentences is of type {found}, expected a list of lists of words", "sentences")
    for place, words in enumerate(sentences):
        if isinstance(words, str | bytes) or not isinstance(words, Sequence):
            found = type(words).__name__
            raise ParameterError(f"sentences[{place}] is a {found}, expected a list of words", "sentences")
        for at, word in enumerate(words):
            if not isinstance(word, str):
                found = type(word).__name__
                raise ParameterError(f"sentences[{place}][{at}] is a {found}, expected a word", "sentences")
    return sentences
