"""Tokenizers as people have them: the pieces are those of ``AutoTokenizer``, whatever files a folder has.

Sources: transformers 5 (``models/auto/tokenization_auto.py``); transformers#36291 and #15919 (SentencePiece
alone), scibert#79 and biobert-pytorch#24 (``do_lower_case``).
"""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

from affineur.entities import split_words
from affineur.errors import ModelError
from affineur.runtime import Encoder
from affineur.runtime.tokenization import read_tokenizer, write_tokenizer
from cases.tokenizer_files import CLASSES, TEXTS, WORDS, sentencepiece, vocabulary_alone, write
from conftest import build_tokenizer

#: What a tokenizer_config.json may say, beside its class.
SETTINGS: dict[str, dict[str, Any] | None] = {
    "nothing": {},
    "no file": None,
    "lower": {"do_lower_case": True},
    "cased": {"do_lower_case": False},
    "strip accents": {"do_lower_case": False, "strip_accents": True},
    "keep accents": {"do_lower_case": True, "strip_accents": False},
    "no chinese": {"do_lower_case": False, "tokenize_chinese_chars": False},
    "prefix": {"add_prefix_space": True},
    "no prefix": {"add_prefix_space": False},
    "punctuation": {"split_by_punct": True, "do_lower_case": True},
    "special": {"split_special_tokens": False, "model_max_length": 48},
    "added": {
        "added_tokens_decoder": {
            "400": {"content": "<patient>", "lstrip": False, "rstrip": False, "single_word": False,
                    "normalized": True, "special": False},
        }
    },
    "extra": {"additional_special_tokens": ["<patient>"], "do_lower_case": True},
    "own name": {"patient_token": "<patient>"},
    "split": {"split_special_tokens": True},
    "accents": {"keep_accents": True, "trim_offsets": False},
}  # fmt: skip
ADDED = [AddedToken("<patient>", normalized=True), AddedToken("ÉLODIE", single_word=True)]

Writer = Callable[..., Path]


@pytest.fixture(autouse=True)
def _protobuf_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let transformers read SentencePiece's file by protobuf alone, which is all it needs of the library."""
    converting = importlib.import_module("transformers.convert_slow_tokenizer")
    monkeypatch.setattr(converting, "requires_backends", lambda *_: None)


def same_pieces(folder: Path) -> None:
    """Check that words and raw text are cut as transformers cuts them."""
    from transformers import AutoTokenizer

    config = json.loads((folder / "config.json").read_text("utf-8"))
    oracle = AutoTokenizer.from_pretrained(folder)
    ours = read_tokenizer(folder, config)
    for text in TEXTS:
        found = ours.tokenizer.encode(text)
        expected = oracle.backend_tokenizer.encode(text)
        assert (found.tokens, found.ids) == (expected.tokens, expected.ids), text
        assert (found.offsets, found.special_tokens_mask) == (expected.offsets, expected.special_tokens_mask)
    if hasattr(oracle.backend_tokenizer.pre_tokenizer, "add_prefix_space"):
        oracle.backend_tokenizer.pre_tokenizer.add_prefix_space = True  # as it asks for with words
    encoder = Encoder.from_folder(folder, {**config, "max_position_embeddings": 512})
    for start in range(0, len(WORDS), 30):
        words = WORDS[start : start + 30]
        (found,) = encoder.encode([words])
        expected = oracle(words, is_split_into_words=True, add_special_tokens=False)
        assert found.ids == expected["input_ids"], words
        assert found.word_ids == expected.word_ids(), words


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("family", CLASSES)
def test_settings_beside_tokenizer_json(family: str, settings: str, tmp_path: Path) -> None:
    """``do_lower_case`` and the like decide, and not the tokenizer.json beside them (cases 12 and 14)."""
    said = SETTINGS[settings]
    if said is not None:
        said = {"tokenizer_class": CLASSES[family]} | said
    same_pieces(write(tmp_path / "m", family, said, charsmap=settings == "nothing"))


@pytest.mark.parametrize("family", CLASSES)
def test_a_class_that_takes_the_file_as_it_stands(family: str, tmp_path: Path) -> None:
    said = {"tokenizer_class": "TokenizersBackend", "do_lower_case": True, "add_prefix_space": True}
    same_pieces(write(tmp_path / "m", family, said, added=ADDED))


@pytest.mark.parametrize("family", CLASSES)
def test_added_tokens(family: str, tmp_path: Path) -> None:
    same_pieces(write(tmp_path / "m", family, {"tokenizer_class": CLASSES[family]}, added=ADDED))


@pytest.mark.parametrize("family", CLASSES)
def test_settings_of_older_versions(family: str, tmp_path: Path) -> None:
    """Special tokens and added ones in files of their own."""
    folder = write(tmp_path / "m", family, {"tokenizer_class": CLASSES[family]})
    mask = "[MASK]" if Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id("[MASK]") else "<mask>"
    token = {"content": mask, "lstrip": True, "rstrip": False, "single_word": False, "normalized": False}
    special = {"mask_token": token, "additional_special_tokens": ["<patient>"]}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    (folder / "added_tokens.json").write_text(json.dumps({"<patient>": 500, "Saint-Étienne": 501}))
    same_pieces(folder)


ALONE = [name for name in CLASSES if name != "modernbert"]


@pytest.mark.parametrize("settings", ["nothing", "no file", "cased", "no chinese", "prefix", "extra"])
@pytest.mark.parametrize("family", ALONE)
def test_a_vocabulary_alone(family: str, settings: str, tmp_path: Path) -> None:
    """SentencePiece's file, ``vocab.txt``, or ``vocab.json`` and ``merges.txt`` (case 2)."""
    said = SETTINGS[settings]
    if said is not None:
        said = {"tokenizer_class": CLASSES[family]} | said
    same_pieces(vocabulary_alone(write(tmp_path / "m", family, said)))


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("bert", "ElectraTokenizerFast"),
        ("roberta", "BertTokenizer"),
        ("camembert", "XLMRobertaTokenizerFast"),
    ],
)
def test_a_class_of_another_family(family: str, kind: str, tmp_path: Path) -> None:
    """The settings name the class, and not the kind of model (``AutoTokenizer.from_pretrained``)."""
    of = {"ElectraTokenizerFast": "electra", "BertTokenizer": "bert"}.get(kind, "xlm-roberta")
    same_pieces(write(tmp_path / "m", of, {"tokenizer_class": kind}, config={"model_type": family}))


@pytest.mark.parametrize("is_graph", [False, True])
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("family", CLASSES)
def test_written_tokenizers_need_no_other_file(
    family: str, alone: bool, is_graph: bool, tmp_path: Path
) -> None:
    """``tokenizer.json`` alone cuts words as we do; all files are read as those they come from (case 15)."""
    said = {"tokenizer_class": CLASSES[family], "do_lower_case": True, "extra_special_tokens": ["<patient>"]}
    source, target = write(tmp_path / "source", family, said, charsmap=True), tmp_path / "target"
    if alone:
        if family == "modernbert":
            pytest.skip("it has no vocabulary without tokenizer.json")
        vocabulary_alone(source)
    config = json.loads((source / "config.json").read_text("utf-8"))
    target.mkdir()
    shutil.copyfile(source / "config.json", target / "config.json")
    write_tokenizer(source, target, config, is_graph=is_graph)
    encoder = Encoder.from_folder(source, {**config, "max_position_embeddings": 512})
    written = Tokenizer.from_file(str(target / "tokenizer.json"))
    if not is_graph and isinstance(written.pre_tokenizer, ByteLevel):
        written.pre_tokenizer.add_prefix_space = True  # as transformers asks for
    for start in range(0, len(WORDS), 30):
        words = WORDS[start : start + 30]
        (ours,) = encoder.encode([words])
        found = written.encode(words, is_pretokenized=True, add_special_tokens=False)
        assert (found.ids, found.word_ids) == (ours.ids, ours.word_ids)
    before, after = (read_tokenizer(folder, config) for folder in (source, target))
    assert before.tokenizer.encode("Marie <patient>").ids == after.tokenizer.encode("Marie <patient>").ids
    assert (before.unknown, before.named) == (after.unknown, after.named)
    if not is_graph:
        same_pieces(target)


def test_what_is_cut_off_and_padded_is_not_written_into_a_graphs_folder(tmp_path: Path) -> None:
    said = {"tokenizer_class": "PreTrainedTokenizerFast"}
    source, target = write(tmp_path / "s", "bert", said), tmp_path / "t"
    target.mkdir()
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(source / "tokenizer.json"))
    write_tokenizer(source, target, {"model_type": "bert"}, is_graph=True)
    assert len(Tokenizer.from_file(str(target / "tokenizer.json")).encode("Paris " * 20).ids) == 62


def test_a_file_that_says_it_all_stays(tmp_path: Path) -> None:
    said = {"tokenizer_class": "PreTrainedTokenizerFast"}
    source, target = write(tmp_path / "s", "camembert", said), tmp_path / "t"
    target.mkdir()
    write_tokenizer(source, target, {"model_type": "camembert"})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (target / name).read_bytes() == (source / name).read_bytes()


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("family", CLASSES)
def test_added_tokens_are_words_of_raw_text(family: str, special: bool, tmp_path: Path) -> None:
    """``<patient>`` is one word, and its piece the one it was trained on; ``<s>`` in a text is text."""
    token = AddedToken("<patient>", special=special, normalized=False)
    named = {"cls_token": "[CLS]", "sep_token": "[SEP]"} if family == "modernbert" else {}
    said = {"tokenizer_class": CLASSES[family]} | named
    folder = write(tmp_path / "m", family, said, added=[token])
    encoder = Encoder.from_folder(folder, {"model_type": family})
    text = "Le <patient>, né<patient> <s> à [CLS]"
    words = [text[start:end] for start, end in encoder.split(text)]
    assert words == [
        *("Le", "<patient>", ",", "né", "<patient>"),
        *("<", "s", ">", "à", "[", "CLS", "]"),
    ]
    (encoding,) = encoder.encode([words])
    piece = encoder.tokenizer.token_to_id("<patient>")
    assert [word for word, i in zip(encoding.word_ids, encoding.ids, strict=True) if i == piece] == [1, 4]
    assert encoder.split("Le patient dort.") == split_words("Le patient dort.")


@pytest.mark.parametrize(
    ("token", "lower", "found"),
    [
        (AddedToken("<Patient>", normalized=True), True, ["<PATIENT>", "<Patient>"]),
        (AddedToken("<Patient>", normalized=True), False, ["<Patient>"]),
        (AddedToken("<Patient>", normalized=False), True, ["<Patient>"]),
        (AddedToken("IPP:", single_word=True), False, ["IPP:"]),
        (AddedToken("..."), False, []),
        (AddedToken("<Patient><Patient>"), False, ["<Patient><Patient>"]),
    ],
)
def test_how_an_added_token_is_found(
    token: AddedToken, lower: bool, found: list[str], tmp_path: Path
) -> None:
    said = {"tokenizer_class": "BertTokenizer", "do_lower_case": lower}
    folder = write(tmp_path / "m", "bert", said, added=[token])
    encoder = Encoder.from_folder(folder, {"model_type": "bert"})
    text = "le <PATIENT> et <Patient>; xIPP:y IPP: <Patient><Patient> ..."
    words = [text[start:end] for start, end in encoder.split(text)]
    assert list(dict.fromkeys(w for w in words if w.lower() == token.content.lower())) == found or not found


def test_the_longest_window_is_what_the_settings_say(tmp_path: Path) -> None:
    """``model_max_length`` is what the pipeline cuts at."""
    for said, length in ((48, 48), (1e30, 510), (100_000, 510), (None, 510)):
        folder = write(tmp_path / str(said), "camembert", {"model_max_length": said})
        config = {"model_type": "camembert", "max_position_embeddings": 512, "pad_token_id": 1}
        assert Encoder.from_folder(folder, config).max_length == length


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ({"do_lower_case": "yes"}, r"do_lower_case='yes', expected true or false"),
        ({"strip_accents": 1}, r"strip_accents=1, expected true, false or null"),
        ({"cls_token": 7}, r"7 is no special token"),
        ({"unk_token": "[NONE]"}, r"Missing \[UNK\] token from the vocabulary"),
        ({"added_tokens_decoder": {"a": {"content": "x"}}}, r"cannot be read"),
        ({"added_tokens_decoder": []}, r"cannot be read"),
    ],
)
def test_settings_that_are_none(damage: dict[str, Any], told: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", "bert", {"tokenizer_class": "BertTokenizer"} | damage)
    with pytest.raises(ModelError, match=told) as caught:
        read_tokenizer(folder, {"model_type": "bert"})
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("family", "file", "content", "told"),
    [
        ("camembert", "sentencepiece.bpe.model", b"", "there is no piece in it"),
        ("camembert", "sentencepiece.bpe.model", b"\x0a\xff", "it is no SentencePiece model"),
        ("camembert", "sentencepiece.bpe.model", None, "of another kind than Unigram"),
        ("bert", "vocab.json", b"{}", r"neither it nor vocab\.txt is there"),
        ("roberta", "vocab.json", b"{}", r"neither it nor merges\.txt is there"),
        ("modernbert", "vocab.txt", b"a", "write it with transformers"),
    ],
)
def test_vocabularies_that_are_none(
    family: str, file: str, content: bytes | None, told: str, tmp_path: Path
) -> None:
    if content is None:
        content = sentencepiece([["a", -1.0]], kind=2)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ModelError, match=told) as caught:
        read_tokenizer(tmp_path, {"model_type": family})
    assert "\n" not in str(caught.value)


def test_how_many_pieces_there_are(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", "bert", {"tokenizer_class": "BertTokenizer"})
    before = Encoder.from_folder(folder, {"model_type": "bert"}).pieces
    assert before == build_tokenizer("bert").get_vocab_size()
    folder = write(tmp_path / "n", "bert", {"tokenizer_class": "BertTokenizer"}, added=["<patient>"])
    assert Encoder.from_folder(folder, {"model_type": "bert"}).pieces == before + 1
