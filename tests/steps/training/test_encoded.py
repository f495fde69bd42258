"""A corpus as pieces on disk: labels on first pieces, nothing lost, mentions swapped as words would be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from affineur.engines.support.checkpoints import load_encoder
from affineur.entities import Corpus, Mention, Sentence, detect, project, to_mentions, to_tags
from affineur.errors import DataError
from affineur.progress import listening
from affineur.runtime import Encoder
from affineur.steps.training.encoded import IGNORED, EncodedCorpus, check_types, collate, encode_corpus

from ..conftest import corpus_of

LABELS = ("O", "I-LOC", "I-PER", "I-MISC", "I-ORG")
BIO = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
NONE = -100


@pytest.fixture
def encoder(shared_model) -> Encoder:
    return load_encoder(shared_model())


def whole(data: EncodedCorpus) -> list[tuple[list[int], list[int]]]:
    return [
        (item["input_ids"].tolist(), item["labels"].tolist()) for item in (data[i] for i in range(len(data)))
    ]


def words_in_order(data: EncodedCorpus) -> list[int]:
    return [t for _, targets in whole(data) for t in targets if t != IGNORED]


@pytest.mark.parametrize(
    "family", ["camembert", "bert", "xlm-roberta", "electra", "deberta-v2", "distilbert"]
)
def test_labels_are_on_first_pieces_only(
    family: str, shared_model, train_corpus: Corpus, tmp_path: Path
) -> None:
    """Against transformers' own tokenizer and its word ids."""
    path = shared_model(family)
    data = encode_corpus(train_corpus, load_encoder(path), LABELS, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    assert len(data) == len(train_corpus)
    for sentence, (pieces, targets) in zip(train_corpus, whole(data), strict=True):
        wanted = tokenizer(list(sentence.words), is_split_into_words=True)
        words = wanted.word_ids()
        first = [i for i, word in enumerate(words) if word is not None and word not in words[:i]]
        assert pieces == wanted["input_ids"]
        assert [i for i, t in enumerate(targets) if t != NONE] == first
        assert [targets[i] for i in first] == [LABELS.index(tag) for tag in sentence.tags]


@pytest.mark.parametrize("family", ["roberta", "modernbert"])
def test_byte_level_words_start_as_after_a_space(
    family: str, shared_model, train_corpus: Corpus, tmp_path: Path
) -> None:
    path = shared_model(family)
    data = encode_corpus(train_corpus, load_encoder(path), LABELS, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    for sentence, (pieces, targets) in zip(train_corpus, whole(data), strict=True):
        assert pieces == tokenizer(" " + " ".join(sentence.words))["input_ids"]
        assert [t for t in targets if t != NONE] == [LABELS.index(tag) for tag in sentence.tags]


def test_a_long_sentence_goes_through_windows_and_loses_nothing(
    encoder: Encoder, train_corpus: Corpus, tmp_path: Path
) -> None:
    parts = list(train_corpus)[:12]
    long = Sentence(tuple(w for s in parts for w in s.words), tuple(t for s in parts for t in s.tags))
    corpus = Corpus.scan("long", lambda: iter([parts[0], long, parts[1]]))
    data = encode_corpus(corpus, encoder, LABELS, tmp_path)
    assert len(data) > 5
    assert max(data.lengths) <= encoder.max_length == 64
    assert data.lengths == [len(pieces) for pieces, _ in whole(data)]
    assert words_in_order(data) == [LABELS.index(tag) for s in (parts[0], long, parts[1]) for tag in s.tags]
    numbers = np.arange(corpus.words, dtype=np.float32)[:, None].repeat(len(LABELS), 1)
    data.with_teacher(numbers)
    assert np.concatenate([data[i]["teacher"][:, 0] for i in range(len(data))]).tolist() == list(
        range(corpus.words)
    )
    data.with_mention_replacement(1.0, 1, encoder.max_length)
    for i in range(1, len(data) - 1):  # the extent of a mention cut by a window is not known
        assert data[i]["input_ids"].tolist() == data.window(i)[0].tolist()


def test_bio_data_in_an_io_model_and_back(encoder: Encoder, tmp_path: Path) -> None:
    words = "Marie Duval , Paris Lyon et Jean"
    bio = corpus_of((words, "B-PER I-PER O B-LOC B-LOC O B-PER"))
    io = corpus_of((words, "I-PER I-PER O I-LOC I-LOC O I-PER"))
    bioes = corpus_of((words, "B-PER E-PER O S-LOC S-LOC O S-PER"))
    for folder in ("a", "b", "c", "d", "e"):
        (tmp_path / folder).mkdir()
    assert [LABELS[t] for t in words_in_order(encode_corpus(bio, encoder, LABELS, tmp_path / "a"))] == list(
        next(iter(io)).tags
    )
    assert [BIO[t] for t in words_in_order(encode_corpus(bio, encoder, BIO, tmp_path / "b"))] == list(
        next(iter(bio)).tags
    )
    assert [BIO[t] for t in words_in_order(encode_corpus(bioes, encoder, BIO, tmp_path / "c"))] == list(
        next(iter(bio)).tags
    )
    # IO cannot tell two touching places apart.
    merged = ["B-PER", "I-PER", "O", "B-LOC", "I-LOC", "O", "B-PER"]
    assert [BIO[t] for t in words_in_order(encode_corpus(io, encoder, BIO, tmp_path / "d"))] == merged
    bare = ("PER", "LOC", "O")
    assert [bare[t] for t in words_in_order(encode_corpus(bio, encoder, bare, tmp_path / "e"))] == [
        "PER",
        "PER",
        "O",
        "LOC",
        "LOC",
        "O",
        "PER",
    ]


def test_a_model_that_lacks_a_label_gets_the_nearest(encoder: Encoder, tmp_path: Path) -> None:
    labels = ("O", "B-PER", "B-LOC", "I-LOC")
    data = encode_corpus(corpus_of(("Marie Duval à Paris", "B-PER I-PER O B-LOC")), encoder, labels, tmp_path)
    assert [labels[t] for t in words_in_order(data)] == ["B-PER", "B-PER", "O", "B-LOC"]


def test_types_the_model_lacks(encoder: Encoder, tmp_path: Path) -> None:
    corpus = corpus_of(("Paris en mai", "I-GPE O I-DATE"))
    for check in (
        lambda: check_types(corpus, LABELS),
        lambda: encode_corpus(corpus, encoder, LABELS, tmp_path),
    ):
        with pytest.raises(
            DataError,
            match=r"made: the data has types DATE, GPE, the model knows LOC, MISC, ORG, PER; "
            r"rename with label_map GPE=LOC \(or =O to drop it\)",
        ):
            check()
    assert list(tmp_path.iterdir()) == []


def test_words_without_a_piece_are_left_out(shared_model, tmp_path: Path) -> None:
    encoder = load_encoder(shared_model("bert"))
    corpus = corpus_of(("\x01 \x02", "O O"), ("Marie \x01 Paris", "I-PER O I-LOC"))
    data = encode_corpus(corpus, encoder, LABELS, tmp_path)
    assert len(data) == 1
    assert words_in_order(data) == [2, 1]
    data.with_teacher(np.arange(5, dtype=np.float32)[:, None].repeat(5, 1))
    assert data[0]["teacher"][:, 0].tolist() == [2, 4]
    with pytest.raises(DataError, match="no piece"):
        encode_corpus(corpus_of(("\x01", "O")), encoder, LABELS, tmp_path)


def test_memory_mapped(encoder: Encoder, train_corpus: Corpus, tmp_path: Path) -> None:
    data = encode_corpus(train_corpus, encoder, LABELS, tmp_path)
    for array in data.window(3):
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable
    again = EncodedCorpus(tmp_path, LABELS)
    assert whole(again) == whole(data)


def test_progress_is_told(encoder: Encoder, train_corpus: Corpus, tmp_path: Path) -> None:
    heard: list[tuple[str, int | None, int | None]] = []
    with listening(lambda *what: heard.append(what)):
        encode_corpus(train_corpus, encoder, LABELS, tmp_path)
    assert heard == [("reading sentences", 60, 60)]


def test_teacher_logits_must_have_the_right_width(encoder: Encoder, short: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="4 columns, expected 5"):
        encode_corpus(short, encoder, LABELS, tmp_path).with_teacher(np.zeros((short.words, 4), np.float32))


def test_batches_are_padded_and_teacher_rows_follow_the_labelled_pieces(
    encoder: Encoder, short: Corpus, tmp_path: Path
) -> None:
    data = encode_corpus(short, encoder, LABELS, tmp_path)
    data.with_teacher(np.arange(short.words, dtype=np.float32)[:, None].repeat(5, 1))
    items = [data[i] for i in (3, 0, 5)]
    batch = collate(items, encoder.pad_id)
    longest = max(len(item["input_ids"]) for item in items)
    assert {name: tuple(t.shape) for name, t in batch.items() if name != "teacher"} == dict.fromkeys(
        ("input_ids", "attention_mask", "labels"), (3, longest)
    )
    for row, item in enumerate(items):
        size = len(item["input_ids"])
        assert batch["input_ids"][row].tolist() == [
            *item["input_ids"].tolist(),
            *[encoder.pad_id] * (longest - size),
        ]
        assert batch["attention_mask"][row].tolist() == [1] * size + [0] * (longest - size)
        assert batch["labels"][row].tolist() == [*item["labels"].tolist(), *[IGNORED] * (longest - size)]
    rows = torch.cat([torch.from_numpy(np.array(item["teacher"])) for item in items])
    assert torch.equal(batch["teacher"], rows)
    assert len(rows) == int((batch["labels"] != IGNORED).sum())


# Mention replacement, told again in words: the same draws, on words instead of pieces.


def swapped(
    corpus: Corpus, labels: tuple[str, ...], encoder: Encoder, index: int, draws: tuple[float, int, int, int]
) -> tuple[Sentence, list[int]]:
    """Return the sentence with mentions swapped, and where in the corpus each of its words stood."""
    share, seed, epoch, longest = draws
    scheme = detect(labels)
    sentences = [Sentence(s.words, tuple(project(s.tags, corpus.scheme, scheme))) for s in corpus]

    def mentions(sentence: Sentence) -> list[tuple[int, int, str]]:
        return [
            (m.start, m.end, m.type)
            for m in to_mentions(sentence.tags, scheme)
            if m.end < len(sentence.words)
        ]

    bank: dict[str, list[tuple[tuple[str, ...], range]]] = {}
    before = np.cumsum([0, *(len(s.words) for s in sentences)]).tolist()
    for first, sentence in zip(before, sentences, strict=False):
        for start, end, kind in mentions(sentence):
            bank.setdefault(kind, []).append((sentence.words[start:end], range(first + start, first + end)))
    words, tags = list(sentences[index].words), list(sentences[index].tags)
    stood = list(range(before[index], before[index + 1]))
    random = np.random.default_rng((seed, epoch, index))
    for start, end, kind in reversed(mentions(sentences[index])):
        if random.random() >= share:
            continue
        new, there = bank[kind][random.integers(len(bank[kind]))]
        changed = [*words[:start], *new, *words[end:]]
        if pieces_of(encoder, changed) <= longest:
            words = changed
            stood = [*stood[:start], *there, *stood[end:]]
            tags = [*tags[:start], *to_tags([Mention(0, len(new), kind)], len(new), scheme), *tags[end:]]
    return Sentence(tuple(words), tuple(tags)), stood


def pieces_of(encoder: Encoder, words: list[str]) -> int:
    return len(encoder.tokenizer.encode(words, is_pretokenized=True, add_special_tokens=True).ids)


@pytest.mark.parametrize(
    "labels",
    [LABELS, ("O", *(f"{p}-{t}" for t in ("LOC", "PER", "MISC", "ORG") for p in "BI"))],
    ids=["IO", "BIO"],
)
@pytest.mark.parametrize("family", ["camembert", "bert", "roberta"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    share=st.floats(0, 1),
    seed=st.integers(0, 2**31),
    epoch=st.integers(0, 5),
    index=st.integers(0, 59),
    longest=st.integers(30, 64),
)
def test_swapping_mentions_is_encoding_swapped_words(
    family: str,
    labels: tuple[str, ...],
    shared_model,
    train_corpus: Corpus,
    tmp_path_factory: pytest.TempPathFactory,
    share: float,
    seed: int,
    epoch: int,
    index: int,
    longest: int,
) -> None:
    encoder = load_encoder(shared_model(family))
    data = encode_corpus(train_corpus, encoder, labels, tmp_path_factory.mktemp("data"))
    assert len(data) == len(train_corpus)
    # a teacher says of each word where in the corpus it stands
    data.with_teacher(np.repeat(np.arange(train_corpus.words, dtype=np.float32)[:, None], len(labels), 1))
    data.with_mention_replacement(share, seed, longest)
    data.set_epoch(epoch)
    item = data[index]
    wanted, stood = swapped(train_corpus, labels, encoder, index, (share, seed, epoch, longest))
    one = Corpus.scan("one", lambda: iter([wanted]), detect(labels))
    (expected,) = whole(encode_corpus(one, encoder, labels, tmp_path_factory.mktemp("one")))
    assert (item["input_ids"].tolist(), item["labels"].tolist()) == expected
    assert data[index]["input_ids"].tolist() == expected[0]  # asked twice, the same
    assert item["teacher"][:, 0].tolist() == stood


def test_replacement_changes_with_the_epoch_and_not_at_share_zero(
    encoder: Encoder, train_corpus: Corpus, tmp_path: Path
) -> None:
    data = encode_corpus(train_corpus, encoder, LABELS, tmp_path)
    plain = whole(data)
    data.with_mention_replacement(1.0, 3, 64)
    epochs = []
    for epoch in (0, 1, 0):
        data.set_epoch(epoch)
        epochs.append(whole(data))
    assert epochs[0] == epochs[2]
    assert sum(a != b for a, b in zip(epochs[0], epochs[1], strict=True)) > 30
    assert sum(a != b for a, b in zip(epochs[0], plain, strict=True)) > 30
    data.with_mention_replacement(0.0, 3, 64)
    assert whole(data) == plain


def test_replacement_survives_a_mention_whose_first_word_has_no_piece(shared_model, tmp_path: Path) -> None:
    encoder = load_encoder(shared_model("bert"))
    corpus = corpus_of(("la \x01 Ville dort", "O B-LOC I-LOC O"), ("à Paris ce soir", "O B-LOC O O"))
    data = encode_corpus(corpus, encoder, BIO, tmp_path)
    data.with_mention_replacement(1.0, 1, 64)
    for epoch in range(10):
        data.set_epoch(epoch)
        assert {len([t for t in targets if t != NONE]) for _, targets in whole(data)} <= {3, 4}
