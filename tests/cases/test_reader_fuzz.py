"""Files that somebody's editor, download or script has changed: the same sentences, or an error with a line.

A mutation that loses a word has to be refused; one that changes only how words are written down, such as line
ends, may be read. What nobody can tell from another file (a letter more in a word) may give another word, and
never fewer.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from affineur.errors import AffineurError
from affineur.transfer import load_corpus

Sentences = list[tuple[list[str], list[str]]]

WORDS = [
    "Camille",
    "Rey",
    "#",
    "vit",
    "à",
    "l'Haÿ-les-Roses",
    ",",
    "3,5",
    "%",
    "de",
    '"',
    "😀",
    "plus",
    "le",
    "1er",
    "(",
    "mai",
    ")",
    ".",
    "O",
    "B-PER",
]
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "O", "O"]


def sentences(seed: int) -> Sentences:
    """Make some sentences, in valid BIO."""
    choose = random.Random(seed)
    found: Sentences = []
    for _ in range(5):
        words = [choose.choice(WORDS) for _ in range(choose.randint(2, 6))]
        tags: list[str] = []
        for _ in words:
            tag = choose.choice(TAGS)
            tags.append("B-PER" if tag == "I-PER" and not (tags and tags[-1].endswith("PER")) else tag)
        found.append((words, tags))
    found[0][1][:2] = ["B-PER", "O"]
    found[0][0][0] = "Camille"
    found[0][1][2:] = ["O"] * len(found[0][1][2:])
    return found


def columns(separator: str, *more: str) -> Callable[[Sentences], str]:
    def write(some: Sentences) -> str:
        rows = (
            "".join(separator.join([w, *more, t]) + "\n" for w, t in zip(*each, strict=True)) for each in some
        )
        return "\n".join(rows)

    return write


def universal(some: Sentences) -> str:
    return "\n".join(
        f"# sent_id = {n}\n"
        + "".join(f"{i}\t{w}\t{t}\t-\tx\n" for i, (w, t) in enumerate(zip(*each, strict=True), 1))
        for n, each in enumerate(some)
    )


def comma(some: Sentences) -> str:
    def cell(word: str) -> str:
        return '"' + word.replace('"', '""') + '"' if re.search('[",]', word) else word

    rows = ("".join(f"{cell(w)},{t}\n" for w, t in zip(*each, strict=True)) for each in some)
    return "word,tag\n" + "\n".join(rows)


def wikiner(some: Sentences) -> str:
    return "".join(" ".join(f"{w}|X|{t}" for w, t in zip(*each, strict=True)) + "\n" for each in some)


def objects(some: Sentences) -> list[dict[str, list[str]]]:
    return [{"tokens": words, "ner_tags": tags} for words, tags in some]


FORMATS: dict[str, Callable[[Sentences], str]] = {
    "tabs.conll": columns("\t"),
    "spaces.conll": columns(" "),
    "four.conll": columns("\t", "X", "Y"),
    "uner.iob2": universal,
    "a.csv": comma,
    "a.wikiner": wikiner,
    "a.jsonl": lambda some: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in objects(some)),
    "a.json": lambda some: json.dumps(objects(some), ensure_ascii=False, indent=1),
}


def _at(text: str, choose: random.Random, pattern: str) -> tuple[int, int]:
    found = [match.span() for match in re.finditer(pattern, text)]
    return choose.choice(found) if found else (0, 0)


def _replaced(pattern: str, new: str) -> Callable[[str, random.Random], str]:
    def mutate(text: str, choose: random.Random) -> str:
        start, end = _at(text, choose, pattern)
        return text[:start] + new + text[end:]

    return mutate


#: What changes only how it is written down: the same sentences, or an error.
HARMLESS: list[Callable[[str, random.Random], str]] = [
    lambda text, _: text.replace("\n", "\r\n"),
    lambda text, _: text.replace("\n", "\r"),
    lambda text, _: "\ufeff" + text,
    lambda text, _: text.rstrip("\n"),
    lambda text, _: text + "\n\n\n",
    lambda text, _: "\n\n" + text,
    _replaced(r"\n\n", "\n \n\n"),
    _replaced(r"\n", "\r\n"),
    _replaced(r"(?<=[^\n])\n", " \n"),
    _replaced(r"(?<=[^\n])\n", "\t\n"),
    _replaced(r"\n\n", "\n\n# sent_id = 7\n"),
]
#: What may change a word, or lose something: never fewer words.
HARMFUL: list[Callable[[str, random.Random], str]] = [
    _replaced(r"[\t ,|]", ""),
    _replaced(r"[\t ,|]", "\t"),
    _replaced(r"[\t ,|]", " "),
    _replaced(r"[\t ,|]", "\xa0"),
    _replaced(r"(?<=[\t ,|\"])(?:O|[BI]-[A-Z]+)(?=[\n\t \"])", ""),
    _replaced(r"(?<=[\t ,|\"])(?:O|[BI]-[A-Z]+)(?=[\n\t \"])", "PP"),
    _replaced(r"[^\n]", "\0"),
    _replaced(r"[^\n]", "#"),
    _replaced(r"[^\n]", '"'),
    _replaced(r"(?<=\n)(?=[^\n])", "# "),
    _replaced(r"(?<=\n)(?=[^\n])", "#"),
    _replaced(r"(?<=\n)(?=[^\n])", "\t"),
    _replaced(r"(?<=[^\n])(?=[^\n])", "\t"),
    _replaced(r"(?<=[^\n])(?=[^\n])", " "),
    _replaced(r"(?<=[^\n])(?=[^\n])", ","),
    _replaced(r"[BI]-", ""),
    _replaced(r"-", "_"),
    _replaced(r"[^\n]", ""),
]


def read(path: Path) -> Sentences | str:
    try:
        return [(list(each.words), list(each.tags)) for each in load_corpus(path)]
    except AffineurError as error:
        return str(error)


def mutations(seed: int, many: int) -> Iterator[tuple[str, Sentences, str, bool]]:
    choose = random.Random(seed)
    files = [
        (name, some, write(some)) for name, write in FORMATS.items() for some in map(sentences, range(10))
    ]
    for _ in range(many):
        name, some, text = choose.choice(files)
        harmless = choose.random() < 0.4
        yield name, some, choose.choice(HARMLESS if harmless else HARMFUL)(text, choose), harmless


def check(path: Path, seed: int, many: int) -> None:
    for name, some, text, harmless in mutations(seed, many):
        (path / name).write_bytes(text.encode())
        found = read(path / name)
        if isinstance(found, str):
            assert "\n" not in found
            assert re.search(r":\d+: |row \d+|found the columns|was recognized|may be", found), (text, found)
        elif harmless:
            assert found == some, (name, text)
        else:
            before, after = (sum(len(words) for words, _ in each) for each in (some, found))
            assert after >= before, (name, text, found)


@pytest.mark.parametrize("name", FORMATS)
def test_unchanged(name: str, tmp_path: Path) -> None:
    for seed in range(10):
        some = sentences(seed)
        (tmp_path / name).write_text(FORMATS[name](some), "utf-8")
        assert read(tmp_path / name) == some


def test_some_mutations(tmp_path: Path) -> None:
    check(tmp_path, 1, 400)


@pytest.mark.slow
def test_ten_thousand_mutations_of_each_format(tmp_path: Path) -> None:
    check(tmp_path, 2, 10_000 * len(FORMATS))
