"""Write the sample corpus: generated training text and hand-annotated test text.

`source/templates.txt` holds one template per line, grouped by domain under `# ` headings; `source/names.txt`
holds the lists that fill their slots. A slot `{name}` draws an entry of the list `## name`, which may hold
slots and marked mentions of its own; `{NAME}` writes that entry in capitals, `{~name}` without accents.
`source/gold-*.txt` holds the test sentences. GUIDELINES.md fixes the marking.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from random import Random
from typing import TypeVar

Sentence = tuple[list[str], list[str]]
Lists = dict[str, list[str]]
Item = TypeVar("Item")

TYPES = ("PER", "LOC", "ORG", "MISC")
HELD_OUT = 0.15  # share of the templates kept for dev
UPPER, PLAIN, CURLY = 0.04, 0.04, 0.10  # shares of sentences in capitals, without accents, with ’
TRIES = 30  # draws before a slot may repeat itself, or a template counts as used up

_SLOT = re.compile(r"\{(~?)(\w+)\}")
_TOUCHING = re.compile(r"\[(\w+) [^\]]*\] \[\1 ")
_VOWEL = "[aàâeéèêëiîïoôœuù]|y[^aeiou]|h(?:é|e|ort|ub|ug|yè|on)"  # h: the names of our lists that elide
_ELISION = re.compile(rf"\b(d|qu|jusqu|lorsqu|puisqu)e (?=(?:\[[A-Z]+ )?(?:{_VOWEL}))", re.IGNORECASE)
_CONTRACTION = re.compile(r"\b(?:de|à) les? ")
_CONTRACTED = {"de le ": "du ", "de les ": "des ", "à le ": "au ", "à les ": "aux "}


def parse_marked(line: str) -> Sentence:
    """Turn a marked sentence into its words and their IO tags.

    Args:
        line: words separated by spaces, mentions written `[TYPE word word]`.

    Returns:
        The words and, for each, `O` or a tag such as `I-PER`.

    Raises:
        ValueError: a bracket is unbalanced or nested, a type unknown, a mention empty,
            or two mentions of one type touch, which IO could not tell apart.
    """
    if _TOUCHING.search(line):
        raise ValueError(f"two mentions of one type touch: {line!r}")
    words: list[str] = []
    tags: list[str] = []
    kind, start = "", 0
    for token in line.split():
        if token.startswith("["):
            kind, start = _opened(token, kind, line), len(words)
            continue
        word = token.removesuffix("]")
        if "[" in word or "]" in word or (word != token and not kind):
            raise ValueError(f"unbalanced bracket at {token!r}: {line!r}")
        if word:
            words.append(word)
            tags.append(f"I-{kind}" if kind else "O")
        if word != token:
            if len(words) == start:
                raise ValueError(f"empty mention: {line!r}")
            kind = ""
    if kind:
        raise ValueError(f"unbalanced bracket, a mention stays open: {line!r}")
    return words, tags


def generate(train: int = 2400, dev: int = 400, seed: int = 13) -> tuple[list[Sentence], list[Sentence]]:
    """Draw the generated sentences, the same ones for the same arguments.

    About 15 % of each domain's templates serve dev alone. Every template is used as soon as its
    split asks for as many sentences as it has templates.

    Args:
        train: number of training sentences.
        dev: number of development sentences.
        seed: seed of the draws.

    Returns:
        The train and the dev sentences, without a duplicate within or between them.

    Raises:
        ValueError: the templates cannot give that many different sentences.
    """
    rng = Random(seed)
    lists = _sections("names.txt", "## ")
    kept, held = _split_templates(rng)
    seen: set[str] = set()
    drawn = [_sentences(pool, count, lists, rng, seen) for pool, count in ((kept, train), (held, dev))]
    return drawn[0], drawn[1]


def gold() -> list[Sentence]:
    """Return the hand-annotated sentences of `source/gold-*.txt`, files in sorted order."""
    names = sorted(item.name for item in _source().iterdir() if re.fullmatch(r"gold-.*\.txt", item.name))
    return [parse_marked(line) for name in names for line in _lines(name)]


def write(folder: Path) -> None:
    """Write train.conll, dev.conll and test.conll: `word<TAB>tag` lines, a blank line between sentences.

    Args:
        folder: where the files go; made if missing.
    """
    train, dev = generate()
    folder.mkdir(parents=True, exist_ok=True)
    for name, sentences in (("train", train), ("dev", dev), ("test", gold())):
        blocks = ("".join(f"{word}\t{tag}\n" for word, tag in zip(*pair, strict=True)) for pair in sentences)
        (folder / f"{name}.conll").write_text("\n".join(blocks), encoding="utf-8", newline="\n")


def _opened(token: str, inside: str, line: str) -> str:
    """Return the type that an opening token names, having checked that a mention may open there."""
    kind = token.removeprefix("[")
    if inside:
        raise ValueError(f"nested mention at {token!r}: {line!r}")
    if kind.removesuffix("]") in TYPES and kind not in TYPES:
        raise ValueError(f"empty mention at {token!r}: {line!r}")
    if kind not in TYPES:
        raise ValueError(f"unknown type {kind!r}: {line!r}")
    return kind


def _source() -> Traversable:
    """Return the folder of the source files."""
    return files("affineur.sample") / "source"


def _lines(name: str) -> list[str]:
    """Return the lines of a source file that are not blank."""
    text = (_source() / name).read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _sections(name: str, mark: str) -> Lists:
    """Group the lines of a source file under its headings, the lines that start with `mark`."""
    sections: Lists = {}
    entries: list[str] = []
    for line in _lines(name):
        if line.startswith(mark):
            entries = sections.setdefault(line.removeprefix(mark), [])
        elif not line.startswith("# "):
            entries.append(line)
    return sections


def _split_templates(rng: Random) -> tuple[list[str], list[str]]:
    """Share the templates of each domain out between train and dev."""
    kept: list[str] = []
    held: list[str] = []
    for templates in _sections("templates.txt", "# ").values():
        cut = round(HELD_OUT * len(templates))
        shuffled = _shuffled(rng, templates)
        held += shuffled[:cut]
        kept += shuffled[cut:]
    return kept, held


def _sentences(pool: list[str], count: int, lists: Lists, rng: Random, seen: set[str]) -> list[Sentence]:
    """Fill the templates in turn, each round in a new order, until there are `count` new sentences."""
    sentences: list[Sentence] = []
    while len(sentences) < count:
        before = len(sentences)
        for template in _shuffled(rng, pool)[: count - before]:
            if marked := _draw(template, lists, rng, seen):
                seen.add(marked)
                sentences.append(_noisy(parse_marked(marked), rng))
        if len(sentences) == before:
            raise ValueError(f"the templates give {before} different sentences, not {count}")
    return sentences


def _draw(template: str, lists: Lists, rng: Random, seen: set[str]) -> str | None:
    """Return a new marked sentence of a template, or None when it seems to have no more."""
    for _ in range(TRIES):
        marked = _agreed(_filled(template, lists, rng, set()))
        if template.startswith("{"):
            marked = marked[0].upper() + marked[1:]
        if marked not in seen and not _TOUCHING.search(marked):
            return marked
    return None


def _filled(text: str, lists: Lists, rng: Random, used: set[str]) -> str:
    """Fill the slots of a text, with no value twice as far as the lists allow."""

    def value(slot: re.Match[str]) -> str:
        style, name = slot.groups()
        for _ in range(TRIES):
            entry = _filled(_pick(rng, lists[name.lower()]), lists, rng, used)
            if entry not in used:
                break
        used.add(entry)
        return entry.upper() if name.isupper() else _plain(entry) if style else entry

    return _SLOT.sub(value, text)


def _agreed(marked: str) -> str:
    """Elide `de` and `que` before a vowel and contract `de le`, `à les`."""
    elided = _ELISION.sub(r"\1' ", marked)
    return _CONTRACTION.sub(lambda found: _CONTRACTED[found[0]], elided)


def _noisy(sentence: Sentence, rng: Random) -> Sentence:
    """Put a few sentences in capitals, without accents or with typographic apostrophes."""
    words, tags = sentence
    noises: tuple[tuple[float, Callable[[str], str]], ...] = (
        (UPPER, str.upper),
        (PLAIN, _plain),
        (CURLY, lambda word: word.replace("'", "’")),
    )
    for share, change in noises:
        if rng.random() < share:
            words = [change(word) for word in words]
    return words, tags


def _plain(text: str) -> str:
    """Return a text without its accents."""
    spread = unicodedata.normalize("NFD", text.replace("œ", "oe").replace("Œ", "OE"))
    return "".join(char for char in spread if not unicodedata.combining(char))


def _pick(rng: Random, items: list[Item]) -> Item:
    """Draw an item through `random()`, the one method whose sequence Python promises to keep."""
    return items[int(rng.random() * len(items))]


def _shuffled(rng: Random, items: Iterable[Item]) -> list[Item]:
    """Return the items in a drawn order."""
    return [item for _, item in sorted(((rng.random(), item) for item in items), key=lambda pair: pair[0])]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m affineur.sample.generate OUT")
    write(Path(sys.argv[1]))
