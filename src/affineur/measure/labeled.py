"""What labeled text holds, what looks wrong in it, and how two corpora label differently."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from affineur.display import Shown, Table
from affineur.entities import Corpus, Mention, Sentence, shared_sentences, to_mentions
from affineur.errors import counted

#: Words of a sentence and of a mention that are worth a look.
_LONG, _LONG_MENTION = 200, 15
_EXAMPLES = 3
#: How many mention texts, of how many words, are looked for in the other corpus.
_TEXTS, _WORDS = 200_000, 6
_ARTICLES = frozenset(("l'", "l’", "le", "la", "les", "d'", "d’", "de", "du", "des", "un", "une", "the"))
_TITLES = frozenset(("m.", "mm.", "mme", "mmes", "mlle", "dr", "pr", "me", "docteur", "monsieur", "madame"))


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a corpus that may be a mistake.

    Args:
        what: What it is.
        count: How often it is there.
        examples: Some of them, each with its line where the file has lines.
    """

    what: str
    count: int
    examples: tuple[str, ...] = ()


@dataclass(slots=True)
class _Survey:
    """What one reading of a corpus collects."""

    mentions: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    texts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    starts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    found: dict[str, list[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    longest: int = 0

    def add(self, what: str, example: str) -> None:
        self.counts[what] += 1
        some = self.found.setdefault(what, [])
        if len(some) < _EXAMPLES:
            some.append(example)


@dataclass(frozen=True)
class LabeledText(Shown):
    """What a corpus was taken for, and what it holds.

    Args:
        name: What it is called.
        format: The format it was read in; empty where it was made and not read.
        columns: Where words and tags stand in it.
        scheme: The scheme of its tags.
        sentences: How many sentences.
        words: How many words.
        documents: Whether it is divided into documents.
        longest: Words of the longest sentence.
        mentions: Mentions by type.
        mention_words: Words in them by type.
        notes: What was understood while it was read.
        findings: What may be a mistake.
        texts: The texts of its mentions, with their types; not shown.
        starts: Of each type, how many mentions begin with an article or a title; not shown.
    """

    name: str
    format: str
    columns: str
    scheme: str
    sentences: int
    words: int
    documents: bool
    longest: int
    mentions: Mapping[str, int]
    mention_words: Mapping[str, int]
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]
    texts: Mapping[str, Counter[str]] = field(repr=False, compare=False)
    starts: Mapping[str, Counter[str]] = field(repr=False, compare=False)

    @classmethod
    def of(cls, corpus: Corpus) -> LabeledText:
        """Read a corpus once and say what it holds.

        Args:
            corpus: The corpus.
        """
        seen = _survey(corpus)
        findings = [*_spelled_alike(seen.mentions), *_few(seen.mentions)]
        findings += [Finding(what, seen.counts[what], tuple(some)) for what, some in seen.found.items()]
        return cls(
            corpus.name,
            corpus.format,
            corpus.columns,
            str(corpus.scheme),
            corpus.sentences,
            corpus.words,
            corpus.has_documents,
            seen.longest,
            dict(sorted(seen.mentions.items())),
            dict(sorted(seen.words.items())),
            corpus.notes,
            tuple(findings),
            seen.texts,
            seen.starts,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return stable keys, as ``data --json`` writes them."""
        return {
            "data": self.name,
            "format": self.format or None,
            "columns": self.columns or None,
            "scheme": self.scheme,
            "sentences": self.sentences,
            "words": self.words,
            "documents": self.documents,
            "longest_sentence": self.longest,
            "types": {
                kind: {"mentions": many, "words": self.mention_words[kind]}
                for kind, many in self.mentions.items()
            },
            "notes": list(self.notes),
            "findings": [
                {"what": each.what, "count": each.count, "examples": list(each.examples)}
                for each in self.findings
            ],
        }

    @property
    def summary(self) -> str:
        """What it was taken for, in one line."""
        form = f"{self.format}, " if self.format else ""
        columns = f"{self.columns}, " if self.columns else ""
        return (
            f"{self.name}: {form}{columns}scheme {self.scheme}, {counted(self.sentences, 'sentence')},"
            f" {counted(self.words, 'word')}, the longest of {counted(self.longest, 'word')}"
            f"{', in documents' if self.documents else ''}"
        )

    def tables(self) -> list[Table]:
        """Return the types, and below them what was understood and what looks wrong."""
        rows = [
            (kind, f"{many:,}", f"{self.mention_words[kind]:,}", f"{self.mention_words[kind] / many:.1f}")
            for kind, many in self.mentions.items()
        ]
        notes = [f"understood: {note}" for note in self.notes]
        notes += [f"look at: {each.count:,} {each.what}{_shown(each.examples)}" for each in self.findings]
        return [Table(("Type", "Mentions", "Words", "Words a mention"), rows, self.summary, notes)]


def _shown(examples: Sequence[str]) -> str:
    return f" ({'; '.join(examples)})" if examples else ""


def _survey(corpus: Corpus) -> _Survey:
    seen = _Survey()
    tags_of: dict[bytes, bytes] = {}
    for sentence in corpus:
        mentions = to_mentions(sentence.tags, corpus.scheme)
        seen.longest = max(seen.longest, len(sentence.words))
        if len(sentence.words) > _LONG:
            seen.add(f"sentences of more than {_LONG} words", _where(sentence, 0, 3))
        for place, mention in enumerate(mentions):
            _look_at(seen, sentence, mention, mentions[place - 1] if place else None)
        if len(sentence.words) > 3:  # short ones stand twice with reason
            key, tags = _digest(sentence.words), _digest(sentence.tags)
            if key in tags_of:
                same = "the same" if tags_of[key] == tags else "other"
                seen.add(f"sentences that are there again, with {same} tags", _where(sentence, 0, 6))
            tags_of.setdefault(key, tags)
    return seen


def _digest(texts: Sequence[str]) -> bytes:
    return hashlib.blake2b("\n".join(texts).encode("utf-8", "replace"), digest_size=16).digest()


def _look_at(seen: _Survey, sentence: Sentence, mention: Mention, before: Mention | None) -> None:
    words = sentence.words[mention.start : mention.end]
    text = " ".join(words)
    seen.mentions[mention.type] += 1
    seen.words[mention.type] += len(words)
    if len(seen.texts) < _TEXTS or text in seen.texts:
        seen.texts[text][mention.type] += 1
    first = words[0].lower()
    if first in _ARTICLES or first in _TITLES:
        seen.starts[mention.type]["an article" if first in _ARTICLES else "a title"] += 1
    where = _where(sentence, mention.start, mention.end)
    if not any(map(str.isalnum, text)):
        seen.add("mentions without a letter or digit", where)
    elif not (words[-1][-1].isalnum() or words[-1][-1] in ".)'’\"»%+"):
        seen.add("mentions that end in punctuation", where)
    if len(words) > _LONG_MENTION:
        seen.add(f"mentions of more than {_LONG_MENTION} words", where)
    if before is not None and before.end == mention.start and before.type == mention.type:
        seen.add("mentions right after one of the same type", _where(sentence, before.start, mention.end))


def _where(sentence: Sentence, start: int, end: int) -> str:
    text = " ".join(sentence.words[start : min(end, start + 8)])
    if sentence.line is None:
        return f"'{text}'"
    return f"line {sentence.line + (0 if sentence.in_line else start)} '{text}'"


def _spelled_alike(mentions: Mapping[str, int]) -> Iterator[Finding]:
    alike: dict[str, list[str]] = defaultdict(list)
    for kind in mentions:
        alike["".join(filter(str.isalnum, kind.lower()))].append(kind)
    for kinds in alike.values():
        if len(kinds) > 1:
            yield Finding(f"types that are spelled alike: {', '.join(sorted(kinds))}", len(kinds))


def _few(mentions: Mapping[str, int]) -> Iterator[Finding]:
    few = sorted(kind for kind, many in mentions.items() if many < 5)
    if few:
        yield Finding(f"types with fewer than five mentions: {', '.join(few[:10])}", len(few))


@dataclass(frozen=True)
class LabeledTexts(Shown):
    """What several corpora hold, and in what they differ.

    Args:
        parts: Each of them: the splits of one, or two that are compared.
        differences: In what their labels differ, each a sentence.
        shared: How many sentences stand in two of them, by their names.
    """

    parts: tuple[LabeledText, ...]
    differences: tuple[str, ...]
    shared: Mapping[str, int]

    @classmethod
    def of(cls, corpora: Mapping[str, Corpus], *, compare: bool = False) -> LabeledTexts:
        """Describe corpora.

        Args:
            corpora: By what they are called beside each other.
            compare: Whether how they label is compared, of the first and the last.
        """
        parts = {name: LabeledText.of(corpus) for name, corpus in corpora.items()}
        names = list(corpora)
        pairs = [(a, b) for place, b in enumerate(names) for a in names[:place]]
        shared = {f"{b} in {a}": shared_sentences(corpora[b], [corpora[a]]) for a, b in pairs}
        said: list[str] = []
        if compare and len(parts) > 1:
            first, last = parts[names[0]], parts[names[-1]]
            said = [*_types_apart(first, last), *_labeled_apart(first, last), *_begun_apart(first, last)]
            said += [*_unlabeled(first, corpora[names[-1]]), *_unlabeled(last, corpora[names[0]])]
        return cls(tuple(parts.values()), tuple(said), {pair: many for pair, many in shared.items() if many})

    def as_dict(self) -> dict[str, Any]:
        """Return stable keys, as ``data --json`` writes them."""
        return {
            "data": [part.as_dict() for part in self.parts],
            "differences": list(self.differences),
            "shared_sentences": dict(self.shared),
        }

    @property
    def summary(self) -> str:
        """What each was taken for, in one line."""
        return "; ".join(part.summary for part in self.parts)

    def tables(self) -> list[Table]:
        """Return the table of each, and below the last in what they differ."""
        tables = [table for part in self.parts for table in part.tables()]
        notes = [f"look at: {counted(many, 'sentence')} of {pair} too" for pair, many in self.shared.items()]
        notes += [f"differs: {each}" for each in self.differences]
        last = tables.pop()
        return [*tables, Table(last.columns, last.rows, last.title, [*last.notes, *notes])]


def _types_apart(one: LabeledText, other: LabeledText) -> Iterator[str]:
    for here, there in ((one, other), (other, one)):
        if only := sorted(set(here.mentions) - set(there.mentions)):
            yield f"only {here.name} has {', '.join(only)}"


def _labeled_apart(one: LabeledText, other: LabeledText) -> Iterator[str]:
    """Name pairs of types that the same texts have in the two."""
    apart: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for text, kinds in one.texts.items():
        if text in other.texts:
            here, there = kinds.most_common(1)[0][0], other.texts[text].most_common(1)[0][0]
            if here != there:
                apart[here, there].append((kinds.total() + other.texts[text].total(), text))
    for (here, there), some in sorted(apart.items(), key=lambda each: -len(each[1]))[:10]:
        texts = ", ".join(f"'{text}'" for _, text in sorted(some, reverse=True)[:_EXAMPLES])
        many = counted(len(some), "text")
        yield f"{many} of type {here} in {one.name} and {there} in {other.name}: {texts}"


def _begun_apart(one: LabeledText, other: LabeledText) -> Iterator[str]:
    """Name types whose mentions take articles or titles in, in one of the two."""
    for kind in sorted(set(one.mentions) & set(other.mentions)):
        for what in ("an article", "a title"):
            shares = [each.starts.get(kind, Counter())[what] / each.mentions[kind] for each in (one, other)]
            if abs(shares[0] - shares[1]) > 0.05:
                yield (
                    f"{shares[0]:.0%} of {kind} in {one.name} begin with {what}, {shares[1]:.0%} in"
                    f" {other.name}"
                )


def _unlabeled(labeled: LabeledText, corpus: Corpus) -> Iterator[str]:
    """Say how often texts that are always mentions in one corpus are none in the other."""
    texts = {tuple(text.split(" ")): kinds.most_common(1)[0][0] for text, kinds in labeled.texts.items()}
    sizes = sorted({len(words) for words in texts if len(words) <= _WORDS and len(words) > 1})
    found: Counter[str] = Counter()
    example: dict[str, str] = {}
    for sentence in corpus:
        words, tags = sentence.words, sentence.tags
        for size in sizes:
            for start in range(len(words) - size + 1):
                kind = texts.get(words[start : start + size])
                if kind and all(tag == "O" for tag in tags[start : start + size]):
                    found[kind] += 1
                    example.setdefault(kind, " ".join(words[start : start + size]))
    for kind, many in found.most_common():
        yield (
            f"{counted(many, 'time')} a text of two or more words that is {kind} in {labeled.name} is no"
            f" mention in {corpus.name}, such as '{example[kind]}'"
        )
