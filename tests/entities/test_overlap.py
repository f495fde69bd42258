"""Sentences two corpora share."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from affineur.entities import Corpus, Scheme, Sentence, shared_sentences


def corpus_of(sentences: Sequence[Sequence[str]], tag: str = "O") -> Corpus:
    made = [Sentence(tuple(words), (tag,) * len(words)) for words in sentences]
    return Corpus.scan("made", lambda: iter(made), Scheme.IO)


WORDS = st.lists(
    st.lists(st.sampled_from(["a", "b", "ab", "é", "\udcff"]), min_size=1, max_size=3),
    min_size=1,
    max_size=12,
)


@given(WORDS, WORDS, WORDS)
def test_it_counts_what_comparing_all_pairs_counts(
    some: list[list[str]], others: list[list[str]], more: list[list[str]]
) -> None:
    shared = sum(any(one == other for other in others + more) for one in some)
    assert shared_sentences(corpus_of(some), [corpus_of(others), corpus_of(more, "I-PER")]) == shared


def test_words_count_and_not_where_they_end() -> None:
    assert shared_sentences(corpus_of([["ab", "c"]]), [corpus_of([["a", "bc"], ["abc"]])]) == 0
    assert shared_sentences(corpus_of([["a"]]), []) == 0
