"""A corpus: labeled sentences that can be read again and again without being kept in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from affineur.entities.mentions import Sentence
from affineur.entities.schemes import Scheme, TagError, detect, split_tag, to_mentions, to_tags, types_of
from affineur.errors import DataError


@dataclass(frozen=True, slots=True)
class Corpus:
    """Labeled sentences behind a source that can be opened any number of times.

    Build one with :meth:`scan`, which reads everything once and checks every tag, so that an error in the
    last line is found before any work is done.

    Args:
        name: What to call it in messages, usually a path.
        source: Opens the sentences, from the first.
        scheme: The scheme of the tags.
        types: The types that occur, sorted.
        sentences: How many sentences there are.
        words: How many words there are.
        digest: sha256 over words and tags, whatever the file format was.
        has_documents: Whether the sentences carry document numbers.
        notes: What was understood while it was read that a person should know, each a clause.
    """

    name: str
    source: Callable[[], Iterator[Sentence]]
    scheme: Scheme
    types: tuple[str, ...]
    sentences: int
    words: int
    digest: str
    has_documents: bool
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Sentence]:
        """Read the sentences from the first."""
        return self.source()

    def __len__(self) -> int:
        """Return the number of sentences."""
        return self.sentences

    @classmethod
    def scan(
        cls, name: str, source: Callable[[], Iterator[Sentence]], scheme: Scheme | None = None
    ) -> Corpus:
        """Read a source once: find its scheme, check every sentence, count and digest it.

        Args:
            name: What to call it in messages.
            source: Opens the sentences.
            scheme: The scheme, or ``None`` to recognize it from the tags. IOB1 is rewritten as BIO.

        Raises:
            DataError: If it has no sentence, or a tag breaks the scheme (with file, line and tag).
        """
        if scheme is None:
            scheme = detect({tag for sentence in source() for tag in sentence.tags})
        if scheme is Scheme.IOB1:
            return cls.scan(name, lambda: (_iob1_to_bio(sentence, name) for sentence in source()), Scheme.BIO)
        digest = hashlib.sha256()
        sentences = words = 0
        seen: set[str] = set()
        documents = False
        for sentence in source():
            _check(sentence, scheme, name)
            sentences += 1
            words += len(sentence.words)
            seen.update(sentence.tags)
            documents = documents or sentence.document is not None
            lines = map("\t".join, zip(sentence.words, sentence.tags, strict=True))
            digest.update("\n".join(lines).encode("utf-8", "surrogatepass") + b"\n\n")
        if not sentences:
            raise DataError(
                "no sentence found (expected a word and a tag on each line, a blank line between sentences)",
                name,
            )
        return cls(name, source, scheme, types_of(seen), sentences, words, digest.hexdigest(), documents)

    def with_types(self, label_map: Mapping[str, str]) -> Corpus:
        """Rename types; a type mapped to ``O`` disappears.

        Args:
            label_map: From types of this corpus to new types, as in ``{"GPE": "LOC", "DATE": "O"}``.

        Raises:
            DataError: If it names a type the corpus does not have.
        """
        if unknown := sorted(set(label_map) - set(self.types)):
            raise DataError(
                f"the label map names {', '.join(unknown)}, but the types here are {', '.join(self.types)}",
                self.name,
                parameter="label_map",
            )

        def rename(sentence: Sentence) -> Sentence:
            return replace(sentence, tags=tuple(_renamed(tag, label_map) for tag in sentence.tags))

        source = self.source
        types = tuple(sorted({label_map.get(kind, kind) for kind in self.types} - {"O", ""}))
        digest = hashlib.sha256(f"{self.digest} {sorted(label_map.items())!r}".encode()).hexdigest()
        return replace(self, source=lambda: map(rename, source()), types=types, digest=digest)

    def head(self, count: int) -> Corpus:
        """Return the first ``count`` sentences as a corpus of their own."""
        if count >= self.sentences:
            return self
        source = self.source
        return Corpus.scan(f"{self.name} (first {count})", lambda: islice(source(), count), self.scheme)

    def spread(self, count: int) -> list[Sentence]:
        """Return up to ``count`` sentences, evenly over the corpus and in its order.

        The head of a corpus is often all of one kind.
        """
        many, most = self.sentences, min(count, self.sentences)
        return [
            sentence
            for place, sentence in enumerate(self.source())
            if place == 0 or place * most // many != (place - 1) * most // many
        ]

    def split(self, every: int) -> tuple[Corpus, Corpus]:
        """Hold out one sentence in ``every``: return the rest and the held-out ones."""
        source = self.source

        def part(held_out: bool) -> Callable[[], Iterator[Sentence]]:
            return lambda: (s for i, s in enumerate(source()) if (i % every == every - 1) is held_out)

        return (
            Corpus.scan(f"{self.name} (train part)", part(False), self.scheme),
            Corpus.scan(f"{self.name} (held-out part)", part(True), self.scheme),
        )


def chunks(sentences: Iterator[Sentence], size: int) -> Iterator[list[Sentence]]:
    """Take sentences ``size`` at a time."""
    while chunk := list(islice(sentences, size)):
        yield chunk


def line_of(sentence: Sentence, word: int) -> int | None:
    """Return the line a word stands on: in CoNLL files each word has its own line."""
    return None if sentence.line is None else sentence.line + word


def _check(sentence: Sentence, scheme: Scheme, name: str) -> None:
    try:
        to_mentions(sentence.tags, scheme)
    except TagError as error:
        hint, parameter = "", None
        if scheme is Scheme.BIO and sentence.tags[error.position].startswith("I-"):
            hint, parameter = "; mend the file, or give scheme=IOB1 if it is in that older scheme", "scheme"
        word = sentence.words[error.position]
        path = Path(name) if sentence.line is not None else name
        raise DataError(
            f"{error} (word '{word}'){hint}", path, line_of(sentence, error.position), parameter=parameter
        ) from None


def _renamed(tag: str, label_map: Mapping[str, str]) -> str:
    prefix, kind = split_tag(tag)
    new = label_map.get(kind, kind)
    return "O" if new in ("O", "") else f"{prefix}-{new}"


def _iob1_to_bio(sentence: Sentence, name: str) -> Sentence:
    _check(sentence, Scheme.IOB1, name)
    mentions = to_mentions(sentence.tags, Scheme.IOB1)
    return replace(sentence, tags=tuple(to_tags(mentions, len(sentence.tags), Scheme.BIO)))
