from __future__ import annotations

import pytest

from affineur.entities import Scheme, Sentence
from affineur.entities.corpus import Corpus
from affineur.entities.texts import as_text, joined


def test_words_are_written_as_a_writer_would() -> None:
    sentences = ["L' hôpital ( de Brest ) , dit -il , va .", "« Oui » , rit-elle ...", "Fin"]
    text, spans = as_text([each.split() for each in sentences])
    assert text == "L'hôpital (de Brest), dit-il, va. « Oui », rit-elle... Fin"
    assert [" ".join(text[a:b] for a, b in each) for each in spans] == sentences
    assert as_text([]) == ("", [])
    assert as_text([[], ["a"]]) == ("a", [[], [(0, 1)]])


def corpus(documents: bool = False) -> Corpus:
    rows = [
        Sentence((str(n), "x"), ("B-PER", "O"), document=n // 3 if documents else None, line=n)
        for n in range(4000)
    ]
    return Corpus.scan("many", lambda: iter(rows), Scheme.BIO)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.0])
def test_a_share_of_sentences_is_joined(share: float) -> None:
    data = joined(corpus(), share, seed=1)
    lengths = [len(each.words) // 2 for each in data]
    assert sum(length for length in lengths if length > 1) / 4000 == pytest.approx(share, abs=0.05)
    assert max(lengths) <= 8
    assert [word for each in data for word in each.words] == [w for each in corpus() for w in each.words]
    assert [tag for each in data for tag in each.tags] == [t for each in corpus() for t in each.tags]
    assert list(data) == list(data) == list(joined(corpus(), share, seed=1))
    assert (list(data) == list(joined(corpus(), share, seed=2))) is (share == 0)


def test_documents_are_not_joined() -> None:
    data = joined(corpus(documents=True), 1.0, seed=1)
    assert {len(each.words) // 2 for each in data} <= {1, 2, 3}
    assert all(len({int(word) // 3 for word in each.words[::2]}) == 1 for each in data)
