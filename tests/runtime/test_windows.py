from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers import Encoding, Tokenizer, pre_tokenizers

from affineur.errors import ModelError
from affineur.runtime import Encoder, Window, max_positions

from .conftest import byte_bpe, unigram, wordpiece

SPECIAL = {"unigram": (0, 2), "wordpiece": (2, 3), "byte_bpe": (0, 2)}
MARIE = ["Marie", "de", "Paris", "à", "L'", "Haÿ-les-Roses", "."]


def whole(encoder: Encoder, words: Sequence[str]) -> Encoding:
    """What the tokenizer itself makes of a sentence, without special pieces."""
    valid = ["".join("?" if "\ud800" <= c <= "\udfff" else c for c in word) for word in words]
    return encoder.tokenizer.encode(valid, is_pretokenized=True, add_special_tokens=False)


def first_pieces(encoding: Encoding) -> dict[int, int]:
    """Position of the first piece of each word that has one."""
    found: dict[int, int] = {}
    for position, word in enumerate(encoding.word_ids):
        found.setdefault(word, position)
    return found


def assert_covered(encoder: Encoder, words: Sequence[str], windows: Sequence[Window]) -> None:
    """Every word with pieces is labelled in one window, at its first piece, in context."""
    encoding = whole(encoder, words)
    before, after = encoder.tokenizer.encode("a").ids[0], encoder.tokenizer.encode("a").ids[-1]
    firsts = first_pieces(encoding)
    assert [word for window in windows for word in window.words] == sorted(firsts)
    total, least = len(encoding.ids), min((encoder.max_length - 2) // 3, 128) // 2
    for window in windows:
        assert len(window) == len(window.ids) <= encoder.max_length
        assert (window.ids[0], window.ids[-1]) == (before, after)
        assert len(window.words) == len(window.positions) > 0
        begin = firsts[window.words[0]] - (window.positions[0] - 1)
        end = begin + len(window) - 2
        assert window.ids[1:-1] == tuple(encoding.ids[begin:end])
        for word, position in zip(window.words, window.positions, strict=True):
            first = firsts[word]
            assert position == 1 + first - begin
            assert min(first, least) <= first - begin
            assert min(total - 1 - first, least) <= end - 1 - first


# ---- short sentences ----


def test_a_short_sentence_is_one_window_as_the_tokenizer_makes_it(tokenizer: Tokenizer) -> None:
    encoder = Encoder(tokenizer, 64, 1)
    (window,) = encoder.windows([MARIE])
    assert (window.sentence, window.words) == (0, tuple(range(len(MARIE))))
    assert_covered(encoder, MARIE, [window])
    if isinstance(tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel):  # there every word begins after a space
        assert list(window.ids) == tokenizer.encode(" " + " ".join(MARIE)).ids
    else:
        assert list(window.ids) == tokenizer.encode(MARIE, is_pretokenized=True).ids


def test_known_pieces() -> None:
    encoder = Encoder(unigram(), 64, 1)
    (window,) = encoder.windows([["Marie", "à", "Paris"]])
    assert [encoder.tokenizer.id_to_token(i) for i in window.ids] == [
        "<s>",
        "▁Mar",
        "ie",
        "▁à",
        "▁Paris",
        "</s>",
    ]
    assert window.positions == (1, 3, 4)
    encoder = Encoder(wordpiece(), 64, 0)
    (window,) = encoder.windows([["Marie", "L'M", "Paris"]])
    assert [encoder.tokenizer.id_to_token(i) for i in window.ids] == [
        "[CLS]",
        "Mar",
        "##ie",
        "L",
        "'",
        "M",
        "Paris",
        "[SEP]",
    ]
    assert window.positions == (1, 3, 6)
    encoder = Encoder(byte_bpe(), 64, 1)
    (window,) = encoder.windows([["de", "Paris", "é"]])
    assert [encoder.tokenizer.id_to_token(i) for i in window.ids] == [
        "<s>",
        "Ġde",
        "ĠParis",
        "Ġ",
        "Ã",
        "©",
        "</s>",
    ]
    assert window.positions == (1, 2, 3)


def test_a_byte_level_part_of_a_sequence_is_found_too() -> None:
    tokenizer = byte_bpe()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    (window,) = Encoder(tokenizer, 64, 1).windows([["de", "Paris"]])
    assert [tokenizer.id_to_token(i) for i in window.ids[1:-1]] == ["Ġde", "ĠParis"]


def test_the_tokenizer_given_is_left_as_it_was_and_its_truncation_is_not_used(tokenizer: Tokenizer) -> None:
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=50)
    given_as = tokenizer.to_str()
    windows = list(Encoder(tokenizer, 100, 1).windows([MARIE, ["de"]]))
    assert tokenizer.to_str() == given_as
    assert [w.words for w in windows] == [tuple(range(len(MARIE))), (0,)]
    assert len(windows[0]) > 10
    assert len(windows[1]) < 6


def test_a_tokenizer_without_special_pieces() -> None:
    tokenizer = Tokenizer(wordpiece().model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    (window,) = Encoder(tokenizer, 8, 0).windows([["Paris", "Marie"]])
    assert [tokenizer.id_to_token(i) for i in window.ids] == ["Paris", "Mar", "##ie"]
    assert window.positions == (0, 1)


# ---- long sentences ----


def test_a_long_sentence_goes_through_overlapping_windows(tokenizer: Tokenizer) -> None:
    encoder = Encoder(tokenizer, 32, 1)
    words = ["Marie", "de", "Paris"] * 60
    windows = list(encoder.windows([words]))
    assert len(windows) > 4
    assert_covered(encoder, words, windows)
    pieces = sum(len(w) - 2 for w in windows)
    assert pieces == len(whole(encoder, words).ids) + 10 * (len(windows) - 1)  # a third of 30 in common


def test_full_windows_have_a_limited_overlap() -> None:
    encoder = Encoder(unigram(), 512, 1)
    words = ["Paris"] * 2000
    windows = list(encoder.windows([words]))
    assert_covered(encoder, words, windows)
    assert [len(w) for w in windows] == [512] * 4 + [2000 - 4 * 382 + 2]
    assert max(map(len, windows)) == 512


@pytest.mark.parametrize("pieces", [29, 30, 31, 50, 51])
def test_the_edges_of_a_window(pieces: int) -> None:
    encoder = Encoder(unigram(), 32, 1)
    windows = list(encoder.windows([["Paris"] * pieces]))
    assert_covered(encoder, ["Paris"] * pieces, windows)
    assert len(windows) == 1 + (pieces > 30) + (pieces > 50)


def test_a_word_longer_than_the_window() -> None:
    for tokenizer in (unigram(), byte_bpe()):
        encoder = Encoder(tokenizer, 16, 1)
        words = ["de", "b" * 300, "Paris", "c" * 50, "."]
        windows = list(encoder.windows([words]))
        assert_covered(encoder, words, windows)
        assert [i for w in windows for i in w.words] == [0, 1, 2, 3, 4]


HOSTILE = st.one_of(
    st.sampled_from(
        [
            "Marie",
            "Paris",
            "de",
            "L'",
            ".",
            "",
            " ",
            "\x00",
            "\x7f",
            "\u200b",
            "\u200d",
            "\ufeff",
            "\u00ad",
            "\u0301",
            "\u00a0",
            "a\u2028b",
        ]
    ),
    st.sampled_from(
        [
            "\ud800",
            "a\udfffb",
            "\ud83d\ude00",
            "👩‍💻",
            "e\u0301te\u0301",
            "▁",
            "Ġ",
            "##",
            "<s>",
            "[SEP]",
            "</s>",
            "<unk>",
        ]
    ),
    st.text(max_size=8),
    st.integers(1, 60).map(lambda n: "b" * n),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(HOSTILE, max_size=40), st.integers(4, 40))
@example(["Paris"] * 100, 4)
@example(["\x00", "\u200b", "Paris", "\x00"], 5)
def test_every_word_with_pieces_is_labelled_once(tokenizer: Tokenizer, words: list[str], length: int) -> None:
    encoder = Encoder(tokenizer, length, 1)
    windows = list(encoder.windows([words]))
    assert all(w.sentence == 0 for w in windows)
    assert_covered(encoder, words, windows)


# ---- nothing to label ----


@pytest.mark.parametrize("sentences", [[], [[]], [[], []]])
def test_nothing_gives_no_window(tokenizer: Tokenizer, sentences: list[list[str]]) -> None:
    assert list(Encoder(tokenizer, 16, 1).windows(sentences)) == []


def test_words_without_pieces_are_in_no_window() -> None:
    encoder = Encoder(wordpiece(), 16, 0)
    windows = list(
        encoder.windows([["\x00", "Paris", "\u200b", "\x07\x7f", "de"], ["\x00", "\ufeff"], [""], ["de"]])
    )
    assert [(w.sentence, w.words, w.positions) for w in windows] == [(0, (1, 4), (1, 2)), (3, (0,), (1,))]


def test_a_lone_surrogate_shifts_nothing(tokenizer: Tokenizer) -> None:
    encoder = Encoder(tokenizer, 64, 1)
    bad, good = (list(encoder.windows([["de", word, "Paris"]])) for word in ("a\ud800b", "a?b"))
    assert bad == good
    assert bad[0].words == (0, 1, 2)


def test_sentences_keep_their_numbers(tokenizer: Tokenizer) -> None:
    encoder = Encoder(tokenizer, 16, 1)
    sentences = [["Paris"], [], ["de"] * 50, ["Marie", "de"]]
    windows = list(encoder.windows(sentences))
    assert [w.sentence for w in windows] == sorted(w.sentence for w in windows)
    for number, words in enumerate(sentences):
        assert_covered(encoder, words, [w for w in windows if w.sentence == number])


# ---- limits and files ----


@pytest.mark.parametrize("length", [0, 2, 3])
def test_no_room_for_words(tokenizer: Tokenizer, length: int) -> None:
    with pytest.raises(ModelError, match=f"windows of {length} pieces leave no room for words"):
        Encoder(tokenizer, length, 1)


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        ({"model_type": "camembert", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 130, "pad_token_id": 1}, 128),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 130}, 128),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 130, "pad_token_id": None}, 128),
        ({"model_type": "roberta", "max_position_embeddings": 130, "pad_token_id": 0}, 129),
        ({"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0}, 512),
        ({"model_type": "bert", "max_position_embeddings": 128, "pad_token_id": 0}, 128),
        ({"model_type": "distilbert", "max_position_embeddings": 128}, 128),
        ({"model_type": "modernbert", "max_position_embeddings": 8192, "pad_token_id": 50283}, 512),
        ({"model_type": "longformer", "max_position_embeddings": 4098, "pad_token_id": 1}, 512),
        ({"model_type": "xlnet"}, 512),
        ({}, 512),
    ],
)
def test_max_positions(config: dict[str, Any], positions: int) -> None:
    assert max_positions(config) == positions


def test_an_encoder_from_a_folder(tmp_path: Path) -> None:
    unigram().save(str(tmp_path / "tokenizer.json"))
    config = {"model_type": "camembert", "max_position_embeddings": 34, "pad_token_id": 1}
    encoder = Encoder.from_folder(tmp_path, config)
    assert (encoder.max_length, encoder.pad_id) == (32, 1)
    assert list(encoder.windows([MARIE])) == list(Encoder(unigram(), 32, 1).windows([MARIE]))


@pytest.mark.parametrize("content", [None, "", "{}", json.dumps({"model": {"type": "Unknown"}})])
def test_a_tokenizer_that_cannot_be_read(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content, "utf-8")
    with pytest.raises(ModelError, match=r"tokenizer\.json cannot be read \(") as error:
        Encoder.from_folder(tmp_path, {})
    assert "\n" not in str(error.value)


class Asked:
    """A tokenizer that remembers how it was asked."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.ways: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.ways.append(name)
        return getattr(self._tokenizer, name)


def test_only_short_sentences_are_cut_under_pythons_lock(tokenizer: Tokenizer) -> None:
    encoder = Encoder(tokenizer, 64, 1)
    own = encoder.tokenizer
    asked = Asked(own)
    encoder.tokenizer = asked  # type: ignore[assignment]
    found = [encoder.encode([words])[0].ids for words in (MARIE, MARIE * 73, MARIE * 74)]
    assert [len(MARIE) * n for n in (73, 74)] == [511, 518]
    assert asked.ways == ["encode", "encode", "encode_batch"]
    for repeated, ids in zip((1, 73, 74), found, strict=True):
        assert ids == own.encode(MARIE * repeated, is_pretokenized=True, add_special_tokens=False).ids
