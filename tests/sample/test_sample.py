"""The embedded corpus is well-formed, its splits do not overlap, and what is committed is what the generator
writes.
"""

from __future__ import annotations

from importlib.resources import files

import pytest

from affineur import sample
from affineur.entities import Corpus, Scheme, open_corpus
from affineur.sample.generate import generate, gold, parse_marked, write

TYPES = ("LOC", "MISC", "ORG", "PER")


@pytest.fixture(scope="module")
def splits() -> dict[str, Corpus]:
    return {name: open_corpus(sample.data() / f"{name}.conll") for name in ("train", "dev", "test")}


def test_every_split_is_well_formed_io_with_every_label(splits: dict[str, Corpus]) -> None:
    for corpus in splits.values():
        assert corpus.scheme is Scheme.IO
        assert corpus.types == TYPES


def test_sizes(splits: dict[str, Corpus]) -> None:
    assert len(splits["train"]) + len(splits["dev"]) >= 2000
    assert len(splits["test"]) >= 300
    templates = [
        line
        for line in (files("affineur.sample") / "source" / "templates.txt").read_text("utf-8").splitlines()
        if line and line[0] != "#"
    ]
    assert len(set(templates)) >= 150


def test_no_sentence_twice_within_or_between_splits(splits: dict[str, Corpus]) -> None:
    seen: dict[tuple[str, ...], str] = {}
    for name, corpus in splits.items():
        for sentence in corpus:
            folded = tuple(word.casefold().replace("’", "'") for word in sentence.words)
            assert folded not in seen, f"{' '.join(sentence.words)!r} is in {seen[folded]} and {name}"
            seen[folded] = name


def test_four_domains_are_in_the_test_set() -> None:
    for domain in ("administration", "encyclopedia", "press", "reports"):
        lines = (files("affineur.sample") / "source" / f"gold-{domain}.txt").read_text("utf-8").splitlines()
        assert len([line for line in lines if line.strip()]) >= 75, domain


def test_what_is_committed_is_what_the_sources_give(tmp_path, splits: dict[str, Corpus]) -> None:
    write(tmp_path)
    for name in splits:
        assert (tmp_path / f"{name}.conll").read_bytes() == (sample.data() / f"{name}.conll").read_bytes(), (
            f"regenerate {name}.conll"
        )


def test_generator_is_seeded() -> None:
    assert generate(train=50, dev=10, seed=1) == generate(train=50, dev=10, seed=1)
    assert generate(train=50, dev=10, seed=1) != generate(train=50, dev=10, seed=2)


def test_gold_has_the_hard_cases() -> None:
    sentences = [" ".join(words) for words, _ in gold()]
    tagged = [list(zip(words, tags, strict=True)) for words, tags in gold()]
    assert sum(s.isupper() for s in sentences) >= 4, "all capitals"
    assert sum(("l'" in s or "d'" in s or "’" in s) for s in sentences) >= 40, "elision"
    paris = {tag for sentence in tagged for word, tag in sentence if word.casefold() == "paris"}
    assert {"I-LOC", "I-ORG", "I-PER"} <= paris, "Paris as place, club and person"


@pytest.mark.parametrize("line", ["[PER Ada", "Ada]", "[PER [LOC Paris]]", "[XYZ Ada]", "[PER ]"])
def test_broken_markup_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_marked(line)


def test_markup() -> None:
    assert parse_marked("[PER Ada Roux] dort à [LOC Tours] .") == (
        ["Ada", "Roux", "dort", "à", "Tours", "."],
        ["I-PER", "I-PER", "O", "O", "I-LOC", "O"],
    )
