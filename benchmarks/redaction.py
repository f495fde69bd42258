"""What redaction leaves readable: names that were found once and stand again in eight disguises, documents
with nothing left, halves of words, and what is hidden without need.

Documents are ten sentences of a corpus each, a sentence a line. Behind each, every name of it is listed again
in eight disguises that no model has to find; one that has a readable letter counts. *Given* stands for what a
perfect model finds, the other rows for MODEL.

    python benchmarks/redaction.py [--model sample] [--data sample FILE …]
"""

from __future__ import annotations

import argparse
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import affineur
from affineur.cli.main import guarded
from affineur.entities import Corpus, Entity, repair, to_entities, to_mentions
from affineur.transfer import load_corpus

SENTENCES = 10
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


def documents(corpus: Corpus) -> Iterator[Document]:
    """Make documents of a corpus."""
    sentences = iter(corpus)
    while some := list(islice(sentences, SENTENCES)):
        body, gold = "", []
        for sentence in some:
            spans, line = [], ""
            for word in sentence.words:
                line += " " if line and not line.endswith(("'", "\u2019")) and word not in ".,)" else ""
                spans.append((len(body) + len(line), len(body) + len(line) + len(word)))
                line += word
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


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="sample")
    parser.add_argument("--data", nargs="+", default=["sample"])
    args = parser.parse_args()
    model = affineur.load(args.model)
    print("readable again        share   Redact Full  so listed  needless  halves of words")
    for data in args.data:
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
    return 0


if __name__ == "__main__":
    raise SystemExit(guarded(main, "benchmark", quiet=True))
