"""The nouns: a mention, a sentence, and whatever can tag one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

#: Words of one sentence: a novel has as many. What reads files stops there, for memory's sake.
MOST_WORDS = 100_000


@dataclass(frozen=True, slots=True, order=True)
class Mention:
    """A typed span of words, ``start`` included and ``end`` excluded.

    Raises:
        ValueError: If the span is empty or negative, or the type is empty.
    """

    start: int
    end: int
    type: str

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(f"a mention needs 0 <= start < end, got [{self.start}, {self.end})")
        if not self.type:
            raise ValueError("a mention needs a type")


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words and one tag for each of them.

    Args:
        words: The words as they stand in the corpus.
        tags: One tag for each word, in the scheme of the corpus.
        document: Number of the document it belongs to, from 0, or ``None`` where the data has no documents.
        line: Line of its first word in the file, from 1.
        in_line: Whether all its words stand on that line, and not each on its own.

    Raises:
        ValueError: If there are not as many tags as words.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    document: int | None = None
    line: int | None = None
    in_line: bool = False

    def __post_init__(self) -> None:
        if len(self.words) != len(self.tags):
            raise ValueError(f"{len(self.words)} words but {len(self.tags)} tags")


@runtime_checkable
class Tagger(Protocol):
    """Turns words into tags. Scores and timings know nothing else about a model."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Every tag it may give, such as ``("O", "I-PER")``."""

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return one tag for each word of each sentence, in input order."""
