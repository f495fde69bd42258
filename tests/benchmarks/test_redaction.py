"""What the benchmark of redaction counts of persons, line by line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType

import pytest

from affineur.entities import Corpus, Entity, Sentence
from affineur.errors import DataError

LINES = (
    (("Vu", "par", "Marie", "Morvan", "."), ("O", "O", "B-PER", "I-PER", "O")),
    (("À", "Brest", "."), ("O", "B-LOC", "O")),
    (("Zoé", "part", "."), ("B-PER", "O", "O")),
)


@pytest.fixture(scope="module")
def redaction(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_module("redaction")


def _corpus(lines: Sequence[tuple[tuple[str, ...], tuple[str, ...]]] = LINES) -> Corpus:
    return Corpus.scan("lines", lambda: (Sentence(words, tags) for words, tags in lines))


def test_words_are_written_as_text_and_found_again(redaction: ModuleType) -> None:
    words = ("(", "L'", "été", ",", "à", "Brest", ")", ".")
    text, spans = redaction.written(words, 3)
    assert text == "( L'été, à Brest)."
    assert [text[start - 3 : end - 3] for start, end in spans] == list(words)


def _finds(*names: tuple[str, str]) -> Callable[[Sequence[Sequence[str]]], list[list[Entity]]]:
    """Find words by themselves, each under the type given."""

    def find(lines: Sequence[Sequence[str]]) -> list[list[Entity]]:
        texts = [" ".join(words).replace(" .", ".") for words in lines]
        return [
            [
                Entity(kind, word, text.index(word), text.index(word) + len(word), 1.0)
                for word, kind in names
                if word in text
            ]
            for text in texts
        ]

    return find


def test_a_person_hidden_as_anything_is_hidden_and_half_a_name_is_not_full(redaction: ModuleType) -> None:
    found = redaction.persons(_corpus(), _finds(("Morvan", "ORG"), ("Zoé", "PER"), ("Vu", "MISC")))
    assert found.words.tolist() == [[1, 2, 2], [0, 0, 0], [1, 1, 1]]
    assert found.lines.tolist() == [[0, 1, 1], [1, 1, 1], [1, 1, 1]]
    # Brest is neither a person nor without need; signs are no words.
    assert (found.needless, found.others) == (1, 4)
    shown = " ".join(str(found).split())
    assert shown.startswith("66.7 % (")
    assert " 50.0 % (" in shown
    assert shown.endswith(" 25.00 %")


def test_a_perfect_finder_leaves_nothing(redaction: ModuleType) -> None:
    found = redaction.persons(_corpus(), _finds(("Marie Morvan", "PER"), ("Zoé", "PER")))
    assert found.lines[:, 0].all()
    assert found.needless == 0


def test_text_without_persons_is_an_error(redaction: ModuleType) -> None:
    with pytest.raises(DataError, match=r"the types here are LOC, expected PER"):
        redaction.persons(_corpus(LINES[1:2]), _finds())


def test_a_model_is_asked_in_words_too(redaction: ModuleType) -> None:
    class Tags:
        labels = ("O", "I-PER", "I-LOC")

        def tag(self, lines: Sequence[Sequence[str]]) -> list[list[str]]:
            return [["I-PER" if word in ("Marie", "Morvan") else "O" for word in words] for words in lines]

    found = redaction.from_words(Tags(), [words for words, _ in LINES])
    assert [[(e.type, e.word) for e in line] for line in found] == [[("PER", "Marie Morvan")], [], []]
