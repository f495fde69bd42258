"""A corpus: labeled sentences that can be read again and again without being kept in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from affineur.entities.dialects import Dialect, LabelError, understand
from affineur.entities.mentions import Sentence
from affineur.entities.schemes import Scheme, TagError, is_iob1, split_tag, to_mentions, to_tags, types_of
from affineur.errors import DataError

#: Schemes that nothing is written in.
_READ_ONLY = (Scheme.IOB1, Scheme.IOE1, Scheme.IOE2)


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
        cls,
        name: str,
        source: Callable[[], Iterator[Sentence]],
        scheme: Scheme | None = None,
        tag_names: Sequence[str] | None = None,
    ) -> Corpus:
        """Read a source: find out what its tags mean, check every sentence, count and digest it.

        What a tag means is decided here for every format, by :func:`~affineur.entities.dialects.understand`.

        Args:
            name: What to call it in messages.
            source: Opens the sentences, with the tags that people wrote.
            scheme: The scheme, or ``None`` to recognize it from the tags. IOB1, IOE1 and IOE2 are rewritten
                as BIO.
            tag_names: Names of tags that are numbers, in their order.

        Raises:
            DataError: If it has no sentence, or a tag is none or breaks the scheme (with file, line and tag).
        """
        labels: set[str] = set()
        for sentence in source():
            labels.update(sentence.tags)
        try:
            dialect = understand(labels, scheme=scheme, names=tag_names)
        except LabelError as error:
            raise _located(error, source(), name) from None
        tags = dialect.tags
        if any(label != tag for label, tag in tags.items()):
            return cls._in_scheme(
                name, lambda: (_retagged(each, tags) for each in source()), dialect, scheme is None
            )
        return cls._in_scheme(name, source, dialect, scheme is None)

    @classmethod
    def _in_scheme(
        cls, name: str, source: Callable[[], Iterator[Sentence]], dialect: Dialect, recognize: bool
    ) -> Corpus:
        """Check sentences in the scheme of their tags, or in one whose tags look the same."""
        scheme, notes = dialect.scheme, dialect.notes
        if scheme is Scheme.BIO and recognize:
            try:
                return replace(cls.checked(name, source, scheme), notes=notes)
            except DataError:
                scheme = Scheme.IOB1
            if not all(is_iob1(sentence.tags) for sentence in source()):
                return cls.checked(name, source, Scheme.BIO)  # for its error, with the source where it stands
        if scheme is Scheme.IOE2 and recognize and not any(_is_valid(each, scheme) for each in source()):
            scheme = Scheme.IOE1
        if scheme not in _READ_ONLY:
            return replace(cls.checked(name, source, scheme), notes=notes)
        old = scheme
        found = cls.checked(name, lambda: (_to_bio(each, old, name) for each in source()), Scheme.BIO)
        return replace(found, notes=(*notes, f"the tags are {old} and read as BIO") if recognize else notes)

    @classmethod
    def checked(cls, name: str, source: Callable[[], Iterator[Sentence]], scheme: Scheme) -> Corpus:
        """Read a source whose tags are written as ours: check every sentence, count and digest it.

        Args:
            name: What to call it in messages.
            source: Opens the sentences.
            scheme: The scheme: IO, BIO or BIOES.

        Raises:
            DataError: If it has no sentence, or a tag breaks the scheme (with file, line and tag).
        """
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
        kept = {kind for kind in self.types if kind not in label_map}
        types = tuple(sorted(kept | set(label_map.values()) - {"O", ""}))
        digest = hashlib.sha256(f"{self.digest} {sorted(label_map.items())!r}".encode()).hexdigest()
        return replace(self, source=lambda: map(rename, source()), types=types, digest=digest)

    def head(self, count: int) -> Corpus:
        """Return the first ``count`` sentences as a corpus of their own."""
        if count >= self.sentences:
            return self
        source = self.source
        return Corpus.checked(f"{self.name} (first {count})", lambda: islice(source(), count), self.scheme)

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
            Corpus.checked(f"{self.name} (train part)", part(False), self.scheme),
            Corpus.checked(f"{self.name} (held-out part)", part(True), self.scheme),
        )


def chunks(sentences: Iterator[Sentence], size: int) -> Iterator[list[Sentence]]:
    """Take sentences ``size`` at a time."""
    while chunk := list(islice(sentences, size)):
        yield chunk


def line_of(sentence: Sentence, word: int) -> int | None:
    """Return the line a word stands on: in CoNLL files each word has its own line."""
    return sentence.line if sentence.line is None or sentence.in_line else sentence.line + word


def _check(sentence: Sentence, scheme: Scheme, name: str) -> None:
    try:
        to_mentions(sentence.tags, scheme)
    except TagError as error:
        hint, parameter = "", None
        if scheme is Scheme.BIO and sentence.tags[error.position].startswith("I-"):
            hint, parameter = "; mend the file, or give scheme=IOB1 if it is in that older scheme", "scheme"
        raise _at(sentence, error.position, f"{error}", hint, name, parameter) from None


def _at(
    sentence: Sentence, position: int, what: str, hint: str, name: str, parameter: str | None
) -> DataError:
    path = Path(name) if sentence.line is not None else name
    word = sentence.words[position]
    return DataError(f"{what} (word '{word}'){hint}", path, line_of(sentence, position), parameter=parameter)


def _located(error: LabelError, sentences: Iterator[Sentence], name: str) -> DataError:
    """Say in which line a label stands that is no tag."""
    for sentence in sentences:
        if error.label in sentence.tags:
            return _at(sentence, sentence.tags.index(error.label), f"{error}", "", name, error.parameter)
    return DataError(str(error), name, parameter=error.parameter)


def _retagged(sentence: Sentence, tags: Mapping[str, str]) -> Sentence:
    return replace(sentence, tags=tuple(map(tags.__getitem__, sentence.tags)))


def _is_valid(sentence: Sentence, scheme: Scheme) -> bool:
    try:
        return bool(to_mentions(sentence.tags, scheme))
    except TagError:
        return False


def _renamed(tag: str, label_map: Mapping[str, str]) -> str:
    prefix, kind = split_tag(tag)
    if kind not in label_map:  # a type may be called O itself
        return tag
    new = label_map[kind]
    return "O" if new in ("O", "") else f"{prefix}-{new}"


def _to_bio(sentence: Sentence, scheme: Scheme, name: str) -> Sentence:
    _check(sentence, scheme, name)
    mentions = to_mentions(sentence.tags, scheme)
    return replace(sentence, tags=tuple(to_tags(mentions, len(sentence.tags), Scheme.BIO)))
