from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affineur.entities import Corpus, Scheme, open_corpus, read_lines, write_conll
from affineur.errors import DataError

Pairs = list[tuple[tuple[str, ...], tuple[str, ...]]]
MARIE: Pairs = [(("Marie", "dort"), ("I-PER", "O")), (("À", "Paris"), ("O", "I-LOC"))]
WIKINER = "Jean|NAM|I-PER Paul|NAM|I-PER Marie|NAM|B-PER dort|VER|O\n\nà|PRP|O L'Haÿ|NAM|I-LOC a||b|SYM|O\n"


def pairs(corpus: Corpus) -> Pairs:
    return [(s.words, s.tags) for s in corpus]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data.conll"


def opened(path: Path, text: str | bytes, **options: object) -> Corpus:
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return open_corpus(path, **options)


def refused(path: Path, text: str | bytes, **options: object) -> DataError:
    with pytest.raises(DataError) as error:
        opened(path, text, **options)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    return error.value


# ---- formats that are read ----


@pytest.mark.parametrize(
    ("text", "options"),
    [
        pytest.param("Marie\tI-PER\ndort\tO\n\nÀ\tO\nParis\tI-LOC\n\n", {}, id="tabs"),
        pytest.param("Marie I-PER\ndort O\n\nÀ O\nParis I-LOC\n\n", {}, id="spaces"),
        pytest.param(
            "  Marie   I-PER \ndort  O\n \t \nÀ O\nParis I-LOC", {}, id="loose spaces, no final line feed"
        ),
        pytest.param(
            "\n\n\nMarie\tI-PER\ndort\tO\n\n\n\nÀ\tO\nParis\tI-LOC",
            {},
            id="many blank lines, none at the end",
        ),
        pytest.param(
            "Marie NNP B-NP I-PER\ndort VBZ B-VP O\n\nÀ IN B-PP O\nParis NNP B-NP I-LOC\n",
            {},
            id="four columns",
        ),
        pytest.param(
            "1\tMarie\tI-PER\tx\n2\tdort\tO\tx\n\n1\tÀ\tO\ty\n2\tParis\tI-LOC\ty\n",
            {"word_column": 1, "tag_column": 2},
            id="chosen",
        ),
        pytest.param(
            "I-PER x Marie\nO x dort\n\nO x À\nI-LOC x Paris\n",
            {"word_column": -1, "tag_column": 0},
            id="from the right",
        ),
        pytest.param("\ufeffMarie\tI-PER\ndort\tO\n\nÀ\tO\nParis\tI-LOC\n", {}, id="byte order mark"),
        pytest.param("Marie\tI-PER\r\ndort\tO\r\n\r\nÀ\tO\r\nParis\tI-LOC\r\n\r\n", {}, id="CRLF"),
        pytest.param("Marie\tI-PER\t\ndort\tO \n\nÀ\tO\nParis\t I-LOC\n", {}, id="spaces about the tag"),
    ],
)
def test_layouts(file: Path, text: str, options: dict[str, int]) -> None:
    corpus = opened(file, text, **options)
    assert pairs(corpus) == MARIE
    assert (corpus.scheme, corpus.types, corpus.sentences, corpus.words, corpus.has_documents) == (
        Scheme.IO,
        ("LOC", "PER"),
        2,
        4,
        False,
    )
    assert len(corpus) == 2


@pytest.mark.parametrize("separator", ["\t", " "])
def test_unusual_spaces_stay_inside_words(file: Path, separator: str) -> None:
    words = ("1\u00a0000", "a\u2028b", "c\u0085d", "\u3000", "e\x0bf", "g\x1ch")
    corpus = opened(file, "".join(f"{word}{separator}O\n" for word in words))
    assert pairs(corpus) == [(words, ("O",) * len(words))]


def test_a_tab_file_may_have_words_with_spaces(file: Path) -> None:
    assert pairs(opened(file, "Le Mans\tI-LOC\n")) == [(("Le Mans",), ("I-LOC",))]


def test_documents(file: Path) -> None:
    text = "-DOCSTART- -X- O O\n\na O\n\nb O\nc O\n-DOCSTART- -X- O O\nd O\n\n-DOCSTART-\n-DOCSTART-\n\ne O\n"
    corpus = opened(file, text)
    assert [(s.words, s.document, s.line) for s in corpus] == [
        (("a",), 0, 3),
        (("b", "c"), 0, 5),
        (("d",), 1, 8),
        (("e",), 3, 13),
    ]
    assert corpus.has_documents


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("a I-PER\nb I-PER\n", Scheme.IO),
        ("a B-PER\nb I-PER\n", Scheme.BIO),
        ("a B-PER\nb E-PER\nc S-LOC\n", Scheme.BIOES),
        ("a B-PER\nb L-PER\nc U-LOC\n", Scheme.BIOES),
    ],
)
def test_the_scheme_is_recognized(file: Path, text: str, scheme: Scheme) -> None:
    assert opened(file, text).scheme is scheme


def test_iob1_becomes_bio(file: Path) -> None:
    corpus = opened(file, "a I-PER\nb B-PER\nc O\nd I-LOC\n", scheme=Scheme.IOB1)
    assert corpus.scheme is Scheme.BIO
    assert [s.tags for s in corpus] == [("B-PER", "B-PER", "O", "B-LOC")]


def test_wikiner_lines_are_iob1(file: Path) -> None:
    corpus = opened(file, WIKINER)
    assert corpus.scheme is Scheme.BIO
    assert pairs(corpus) == [
        (("Jean", "Paul", "Marie", "dort"), ("B-PER", "I-PER", "B-PER", "O")),
        (("à", "L'Haÿ", "a||b"), ("O", "B-LOC", "O")),
    ]
    assert opened(file, WIKINER.replace(" ", "  ").replace("\n", "\r\n")).digest == corpus.digest


def test_a_word_of_bars_does_not_make_it_wikiner(file: Path) -> None:
    assert pairs(opened(file, "|||\tO\nParis\tI-LOC\n")) == [(("|||", "Paris"), ("O", "I-LOC"))]


# ---- files that are refused ----


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        pytest.param(
            "Marie\tI-PER\nseul\n", 2, "found one column ('seul'), expected a word and a tag", id="one column"
        ),
        pytest.param("a\tO\n\nseul\t\n", 3, "found one column", id="no tag"),
        pytest.param("Marie,I-PER\ndort,O\n", 1, "this looks like CSV: name it so", id="commas"),
        pytest.param("mot;tag\nMarie;I-PER\n", 1, "this looks like CSV", id="semicolons"),
        pytest.param("a b\tO\n\tO\n", 2, "the word is empty", id="no word"),
        pytest.param(
            "a\tI-LOC\n\nParis\tLOC\n",
            3,
            "'LOC' is not a tag (expected O, or B-, I-, E- or S- and a type",
            id="no prefix",
        ),
        pytest.param("a\tX-LOC\n", 1, "'X-LOC' is not a tag", id="prefix"),
        pytest.param("a\tO\n# sent_id = 2\n", 2, "a comment within a sentence", id="comment"),
        pytest.param("a|N|O\n\nb|N|I-PER b|N|LOC\n", 3, "'LOC' is not a tag", id="WikiNER tag"),
        pytest.param("a|N|O\n\nb|N|O c|O\n", 3, "found 'c|O', expected word|POS|tag", id="WikiNER cell"),
    ],
)
def test_a_bad_line_is_named(file: Path, text: str, line: int, message: str) -> None:
    error = refused(file, text)
    assert message in str(error)
    assert str(error).startswith(f"{file}:{line}: ")
    assert (error.path, error.line) == (file, line)


def test_no_csv_hint_where_there_is_no_comma(file: Path) -> None:
    assert "CSV" not in str(refused(file, "seul\n"))


def test_a_long_line_is_shortened(file: Path) -> None:
    assert len(str(refused(file, "x" * 10_000))) < len(str(file)) + 200


def test_a_column_that_is_not_there(file: Path) -> None:
    message = str(refused(file, "a\tb\tO\nc\tO\n", word_column=0, tag_column=2))
    assert message == f"{file}:2: found 2 columns ('c\tO'), expected 3 as in the lines before"
    message = str(refused(file, "a\tO\n", word_column=0, tag_column=2))
    assert message == f"{file}:1: found 2 columns, expected columns 0 (word) and 2 (tag)"


def test_a_broken_scheme_is_named_with_a_hint(file: Path) -> None:
    error = refused(file, "a O\n\nb B-PER\nc O\nd I-LOC\ne O\n")
    assert error.line == 5
    assert str(error).startswith(
        f"{file}:5: tag I-LOC follows O, but in BIO a mention begins with B-LOC (word 'd')"
    )
    assert "scheme=IOB1" in str(error)
    assert open_corpus(file, scheme=Scheme.IOB1).types == ("LOC", "PER")


def test_a_broken_bioes_has_no_iob1_hint(file: Path) -> None:
    error = refused(file, "a S-PER\nb B-PER\n\nc O\n")
    assert error.line == 2
    assert "(word 'b')" in str(error)
    assert "IOB1" not in str(error)


def test_a_named_scheme_is_held_to(file: Path) -> None:
    assert "tag B-PER does not exist in scheme IO" in str(refused(file, "a B-PER\n", scheme=Scheme.IO))
    assert f"{file}:2: tag E-PER does not exist in scheme IOB1" in str(
        refused(file, "a I-PER\nb E-PER\n", scheme=Scheme.IOB1)
    )


@pytest.mark.parametrize("text", ["", "\n \n\t\n", "\ufeff", "\ufeff\r\n\r\n"])
def test_an_empty_file(file: Path, text: str) -> None:
    assert "the file is empty, expected a word and its tag on each line" in str(refused(file, text))


def test_only_documents_and_no_sentence(file: Path) -> None:
    assert "no sentence found" in str(refused(file, "-DOCSTART- -X- O O\n\n"))


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.conll: no such file$"):
        open_corpus(tmp_path / "nowhere.conll")
    with pytest.raises(DataError, match="this is a folder, expected a file of words and tags"):
        open_corpus(str(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(file: Path) -> None:
    file.write_text("a O\n", "utf-8")
    file.chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        open_corpus(file)


@pytest.mark.parametrize("line", [1, 2, 4000])
def test_latin_1_is_refused_at_its_line(file: Path, line: int) -> None:
    lines = [b"Paris\tI-LOC\n"] * 5000
    lines[line - 1] = "Orléans\tI-LOC\n".encode("latin-1")
    error = refused(file, b"".join(lines))
    assert error.line == line
    assert (
        "not UTF-8 (invalid continuation byte); convert it first, e.g. with iconv -f latin1 -t utf-8"
        in str(error)
    )


# ---- writing ----

WORDS = st.text(
    st.characters(exclude_characters="\0\t\n\r\ufeff", exclude_categories=["Cs"]), min_size=1, max_size=5
).filter(lambda w: w.strip(" "))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.lists(st.tuples(WORDS, st.sampled_from(["O", "B-PER", "B-LOC"])), min_size=1, max_size=4),
        min_size=1,
        max_size=4,
    )
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[list[tuple[str, str]]]
) -> None:
    file = tmp_path_factory.getbasetemp() / "round-trip.conll"
    wanted = [(tuple(w for w, _ in s), tuple(t for _, t in s)) for s in sentences]
    write_conll(wanted, file)
    assert [(s.words, s.tags) for s in read_lines(file)] == wanted
    corpus = open_corpus(file)
    assert pairs(corpus) == wanted
    again = file.with_suffix(".again")
    write_conll(pairs(corpus), again)
    assert again.read_bytes() == file.read_bytes()


def test_writing_needs_a_tag_for_each_word(file: Path) -> None:
    with pytest.raises(ValueError, match="shorter"):
        write_conll([(("a", "b"), ("O",))], file)


# ---- digests ----


def test_the_digest_does_not_depend_on_the_format(file: Path) -> None:
    tabs = opened(file, "Marie\tB-PER\ndort\tO\n\nParis\tB-LOC\n")
    for text, options in (
        ("Marie B-PER\r\ndort O\r\n\r\n\r\nParis B-LOC", {}),
        ("\ufeff1 Marie x B-PER\n2 dort x O\n\n1 Paris x B-LOC\n", {"word_column": 1}),
        ("-DOCSTART-\n\nMarie B-PER\ndort O\n\nParis B-LOC\n", {}),
        ("Marie I-PER\ndort O\n\nParis I-LOC\n", {"scheme": Scheme.IOB1}),
        ("Marie|N|I-PER dort|V|O\n\nParis|N|I-LOC\n", {}),
    ):
        assert opened(file, text, **options).digest == tabs.digest
    for text in (
        "Marie B-PER\ndort O\nParis B-LOC\n",
        "Marie B-PER\ndort B-LOC\n\nParis B-LOC\n",
        "Paris B-LOC\n\nMarie B-PER\ndort O\n",
    ):
        assert opened(file, text).digest != tabs.digest
