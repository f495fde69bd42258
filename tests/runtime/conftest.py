"""Three small tokenizers of the kinds that token classifiers have."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

LETTERS = "abcdefghijklmnopqrstuvwxyzéABCLMPR'-."


def unigram() -> Tokenizer:
    """CamemBERT's kind: Unigram on Metaspace, ``<s> … </s>``; controls and invisible letters are dropped."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [*special, "▁", *LETTERS, "▁Paris", "▁de", "▁L'", "▁Mar", "ie", "on", "▁à"]
    scores = [0.0] * 4 + [-8.0 if len(piece) == 1 else -3.0 for piece in pieces[4:]]
    tokenizer = Tokenizer(models.Unigram(list(zip(pieces, scores, strict=True)), unk_id=3))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.Replace("\u200b", ""), normalizers.NFKC()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.add_special_tokens(special)
    return tokenizer


def wordpiece() -> Tokenizer:
    """BERT's kind: punctuation apart, ``##`` inside, ``[CLS] … [SEP]``; a very long word is one ``[UNK]``."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    pieces = [
        *special,
        *LETTERS,
        *(f"##{letter}" for letter in LETTERS),
        "Paris",
        "de",
        "Mar",
        "##ie",
        "##on",
    ]
    tokenizer = Tokenizer(
        models.WordPiece(
            {piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]", max_input_chars_per_word=100
        )
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(special)
    return tokenizer


def byte_bpe() -> Tokenizer:
    """RoBERTa's kind: byte-level BPE that knows a word's beginning by the space before it."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    merges = [
        ("P", "a"),
        ("r", "i"),
        ("Ġ", "d"),
        ("Ġd", "e"),
        ("Ġ", "Pa"),
        ("ĠPa", "ri"),
        ("ĠPari", "s"),
        ("i", "e"),
    ]
    pieces = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in merges)]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.add_special_tokens(special)
    return tokenizer


KINDS: dict[str, Callable[[], Tokenizer]] = {"unigram": unigram, "wordpiece": wordpiece, "byte_bpe": byte_bpe}


@pytest.fixture(params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return KINDS[request.param]()
