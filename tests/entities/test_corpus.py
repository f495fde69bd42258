from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from affineur.entities import Corpus, Scheme, Sentence, chunks
from affineur.errors import DataError


def sentence(text: str, document: int | None = None) -> Sentence:
    """``"Marie/B-PER dort/O"`` as a sentence."""
    cells = [cell.rsplit("/", 1) for cell in text.split()]
    return Sentence(tuple(c[0] for c in cells), tuple(c[1] for c in cells), document)


def corpus(*texts: str, scheme: Scheme | None = None) -> Corpus:
    return Corpus.scan("test", lambda: map(sentence, texts), scheme)


def texts(found: Corpus) -> list[str]:
    return [" ".join(f"{w}/{t}" for w, t in zip(s.words, s.tags, strict=True)) for s in found]


def many(count: int, pulled: list[int] | None = None, size: int = 1) -> Callable[[], Iterator[Sentence]]:
    """A source that makes its sentences on the way, and notes how many it made."""

    def source() -> Iterator[Sentence]:
        for number in range(count):
            if pulled is not None:
                pulled.append(number)
            yield Sentence((f"{number}" + "x" * size, "Paris"), ("O", "I-LOC"))

    return source


# ---- scan ----


def test_counts_and_types() -> None:
    found = corpus("Marie/B-PER dort/O", "Paris/B-LOC", "la/O nuit/O")
    assert (found.sentences, len(found), found.words, found.types, found.scheme) == (
        3,
        3,
        5,
        ("LOC", "PER"),
        Scheme.BIO,
    )
    assert not found.has_documents
    assert Corpus.scan("x", lambda: iter([sentence("a/O"), sentence("b/O", 0)])).has_documents


def test_it_can_be_read_again_and_twice_at_once() -> None:
    found = corpus("a/O", "b/O", "c/O")
    assert texts(found) == texts(found) == ["a/O", "b/O", "c/O"]
    first, second = iter(found), iter(found)
    assert [next(first).words, next(first).words, next(second).words, next(first).words] == [
        ("a",),
        ("b",),
        ("a",),
        ("c",),
    ]


def test_an_error_in_the_last_sentence_is_found_at_once() -> None:
    with pytest.raises(
        DataError,
        match=r"^test: tag I-PER follows O, but in BIO a mention begins with B-PER "
        r"\(word 'Marie'\); mend the file",
    ):
        corpus(*["a/B-PER"] * 50, "Marie/I-PER")


def test_nothing_to_read() -> None:
    with pytest.raises(DataError, match=r"^test: no sentence found"):
        corpus()


def test_iob1_is_checked_and_rewritten() -> None:
    found = corpus("a/I-PER b/B-PER", scheme=Scheme.IOB1)
    assert (texts(found), found.scheme) == (["a/B-PER b/B-PER"], Scheme.BIO)
    assert found.digest == corpus("a/B-PER b/B-PER").digest
    with pytest.raises(DataError, match=r"tag S-PER does not exist in scheme IOB1 \(word 'b'\)"):
        corpus("a/I-PER b/S-PER", scheme=Scheme.IOB1)


def test_the_digest_sees_every_boundary() -> None:
    whole = ["a/O b/O"]
    others = (["a/O", "b/O"], ["ab/O"], ["b/O a/O"], ["a/O b/B-X"], whole * 2, [*whole, ""])
    digests = {corpus(*texts, scheme=Scheme.BIO).digest for texts in (whole, *others)}
    assert len(digests) == 7


def test_surrogates_have_a_digest() -> None:
    assert corpus("\ud800/O").digest != corpus("\ud801/O").digest


def test_a_corpus_is_never_held_in_memory() -> None:
    count, size = 3000, 10_000  # 30 MB of words
    tracemalloc.start()
    try:
        found = Corpus.scan("big", many(count, size=size))
        for part in (found, found.with_types({"LOC": "PLACE"}), *found.split(10)):
            assert sum(len(s.words) for s in part) == part.words
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000


# ---- head and split ----


def test_head_reads_no_more_than_it_gives() -> None:
    pulled: list[int] = []
    whole = Corpus.scan("many", many(1000, pulled))
    pulled.clear()
    few = whole.head(3)
    assert pulled == [0, 1, 2]
    assert (len(few), few.words, few.name) == (3, 6, "many (first 3)")
    assert [s.words for s in few] == [s.words for s in whole][:3]
    assert few.digest != whole.digest
    assert whole.head(1000) is whole


def test_the_scheme_of_a_part_is_that_of_the_whole() -> None:
    whole = corpus("a/O b/I-PER", "c/B-PER", scheme=Scheme.IOB1)
    assert whole.head(1).scheme is Scheme.BIO
    bio = corpus("a/O", "b/O", "c/O", "d/B-PER")
    assert bio.head(2).scheme is Scheme.BIO
    assert bio.head(2).types == ()
    assert [part.scheme for part in bio.split(4)] == [Scheme.BIO, Scheme.BIO]


def test_split_holds_out_one_in_every() -> None:
    whole = corpus(*(f"w{i}/O" for i in range(10)))
    rest, held_out = whole.split(4)
    assert texts(held_out) == ["w3/O", "w7/O"]
    assert texts(rest) == [f"w{i}/O" for i in range(10) if i not in (3, 7)]
    assert (rest.name, held_out.name) == ("test (train part)", "test (held-out part)")
    assert rest.words + held_out.words == whole.words
    assert texts(held_out) == ["w3/O", "w7/O"]  # a second time


# ---- types ----


def test_types_are_renamed_merged_and_dropped() -> None:
    found = corpus("Paris/B-GPE Seine/B-LOC", "hier/B-DATE soir/I-DATE Marie/B-PER")
    renamed = found.with_types({"GPE": "LOC", "DATE": "O"})
    assert texts(renamed) == ["Paris/B-LOC Seine/B-LOC", "hier/O soir/O Marie/B-PER"]
    assert renamed.types == ("LOC", "PER")
    assert (renamed.scheme, len(renamed), renamed.words) == (found.scheme, 2, 5)
    assert texts(found)[0] == "Paris/B-GPE Seine/B-LOC"
    assert len({found.digest, renamed.digest, found.with_types({"GPE": "LOC"}).digest}) == 3
    assert renamed.digest == found.with_types({"DATE": "O", "GPE": "LOC"}).digest


def test_an_empty_name_drops_too() -> None:
    renamed = corpus("Paris/I-LOC Marie/I-PER").with_types({"LOC": ""})
    assert (texts(renamed), renamed.types) == (["Paris/O Marie/I-PER"], ("PER",))


def test_every_type_may_be_dropped() -> None:
    renamed = corpus("Paris/I-LOC").with_types({"LOC": "O"})
    assert (texts(renamed), renamed.types) == (["Paris/O"], ())


def test_an_unknown_type() -> None:
    with pytest.raises(
        DataError, match=r"^test: the label map names DATE, GPE, but the types here are LOC, PER$"
    ):
        corpus("a/I-PER b/I-LOC").with_types({"GPE": "LOC", "DATE": "O", "PER": "PER"})


def test_chunks() -> None:
    assert [[s.words[0] for s in chunk] for chunk in chunks(map(sentence, ["a/O", "b/O", "c/O"]), 2)] == [
        ["a", "b"],
        ["c"],
    ]
    assert list(chunks(iter(()), 2)) == []


@pytest.mark.parametrize(
    ("sentences", "most"), [(1, 512), (512, 512), (513, 512), (1025, 512), (10, 3), (10, 10), (7, 1)]
)
def test_sentences_spread_over_the_corpus(sentences: int, most: int) -> None:
    corpus = Corpus.scan("words", lambda: (Sentence((str(i),), ("O",)) for i in range(sentences)))
    chosen = [int(sentence.words[0]) for sentence in corpus.spread(most)]
    assert len(chosen) == min(sentences, most)
    assert chosen == sorted(set(chosen))
    gaps = [b - a for a, b in zip(chosen, [*chosen[1:], sentences], strict=True)]
    assert max(gaps) - min(gaps) <= 1
