"""Folders with the files of a tokenizer, of every family and in every form, and words that are awkward."""

from __future__ import annotations

import json
import random
import unicodedata
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers

from conftest import build_tokenizer

#: The class of transformers of each family.
CLASSES = {
    "camembert": "CamembertTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "roberta": "RobertaTokenizer",
    "bert": "BertTokenizer",
    "distilbert": "DistilBertTokenizer",
    "electra": "ElectraTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
    "modernbert": "PreTrainedTokenizerFast",
}

WORDS = [
    *[
        "Marie",
        "habite",
        "à",
        "Paris",
        ".",
        "L'",
        "équipe",
        "de",
        "Saint-Étienne",
        "dit-elle",
        "Élodie",
        "élodie",
        "ÉLODIE",
        "Noël",
        "NOËL",
    ],
    *(unicodedata.normalize("NFD", word) for word in ("Élodie", "Noël", "Nîmes", "œuvre")),
    *[
        "Aujourd'hui",
        "aujourd’hui",
        "N°5",
        "12,5",
        "3.14",
        "1er",
        "XIVᵉ",
        "€",
        "$",
        "%",
        "½",
        "①",
        "ﬁn",
        "ﬀ",
        "Ⅳ",
        "℃",
        "™",
        "…",
        "—",
        "–",
        "-",
        "_",
        "'",
        '"',
        "«",
        "»",
        "‘",
        "’",
        "“",
        "”",
    ],
    *[
        "日本",
        "東京タワー",
        "中国人",
        "한국어",
        "नमस्ते",
        "مُحَمَّد",
        "עברית",
        "Москва",
        "Ἀθῆναι",
        "ไทย",
        "😀",
        "👩\u200d👩\u200d👧",
        "é́",
        "ß",
        "ẞ",
        "İ",
        "ı",
        "ſ",
    ],
    *[
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "[UNK]",
        "[PAD]",
        "<s>",
        "</s>",
        "<mask>",
        "<unk>",
        "<pad>",
        "<patient>",
        "<PATIENT>",
        "x<patient>y",
    ],
    *[
        "▁",
        "▁Paris",
        "Paris▁",
        "ĠParis",
        "##is",
        "a\xadb",
        "a\u200bb",
        "a\u200db",
        "\ufeffParis",
        "\xa0",
        "x\xa0y",
        "a\tb",
        "a\nb",
    ],
    *("a  b", " Paris", "Paris ", "``mot''", "mot.", "(mot)", "mot/mot", "C++", "R&D", "a@b.fr", "a" * 120),
    *("http://exemple.fr/?a=1&b=2", "06.12.34.56.78", "\x00", "\x07bip", "\ud7ff", "\U0010ffff", "\u3000"),
]
_ALPHABETS = (
    "abcdeéàçœ",
    "ABCÉÀŒİẞ",
    "'’-.,;:!?()«»",
    "0123456789",
    "日本東京ﬁ①Ⅳ™",
    "\u0301\u200b\u00ad\u00a0▁Ġ#",
    "çñüßøł😀",
)
WORDS += [
    "".join(rng.choice(rng.choice(_ALPHABETS[: 1 + number % 7])) for _ in range(rng.randint(1, 9)))
    for rng in [random.Random(15)]
    for number in range(300)
]
TEXTS = [
    "Marie Duval habite à Paris .",
    "  Deux espaces  au milieu\tet\nligne. ",
    "Le <patient> est né à Saint-Étienne<patient>, ÉLODIE <mask> aussi [MASK].",
    "東京タワー と Paris",
    "",
    "l'équipe “Noël” — N°5, 12,5 % …",
]


def write(folder: Path, family: str, settings: dict[str, Any] | None = None, **kinds: Any) -> Path:
    """Write a tokenizer as people have it.

    Args:
        folder: A new folder.
        family: A family of models.
        settings: ``tokenizer_config.json``; ``None`` for none.
        kinds: ``added``: tokens added to ``tokenizer.json``; ``charsmap``: whether characters are normalized
            as SentencePiece does; ``config``: entries of ``config.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(family)
    if kinds.get("charsmap"):
        tokenizer.normalizer = normalizers.Sequence([normalizers.Precompiled(CHARSMAP), normalizers.NFC()])
    if kinds.get("added"):
        tokenizer.add_tokens(kinds["added"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"model_type": family} | kinds.get("config", {})))
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings, ensure_ascii=False), "utf-8")
    return folder


def vocabulary_alone(folder: Path) -> Path:
    """Leave of a tokenizer the files that its family had before there was ``tokenizer.json``."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    kind = type(tokenizer.model).__name__
    if kind == "Unigram":
        spec = json.loads(tokenizer.to_str())
        (folder / _sentencepiece_name(folder)).write_bytes(sentencepiece(spec["model"]["vocab"]))
    else:
        for file in tokenizer.model.save(str(folder)):
            assert Path(file).name in ("vocab.txt", "vocab.json", "merges.txt")
    (folder / "tokenizer.json").unlink()
    return folder


def _sentencepiece_name(folder: Path) -> str:
    family = json.loads((folder / "config.json").read_text())["model_type"]
    return {"deberta-v2": "spm.model", "albert": "spiece.model"}.get(family, "sentencepiece.bpe.model")


def sentencepiece(vocabulary: list[list[Any]], kind: int = 1, characters: bytes = b"") -> bytes:
    """Write a SentencePiece model with the pieces of a tokenizer, its own special ones first."""
    from transformers.utils import sentencepiece_model_pb2_new as pb2

    model = pb2.ModelProto()
    special = ["<unk>", "<s>", "</s>"]
    known = {"<s>", "</s>", "<unk>", "<pad>", "<mask>"}
    for number, piece in enumerate(special):
        model.pieces.add(piece=piece, score=0.0, type=2 if number == 0 else 3)
    for piece, score in vocabulary:
        if piece not in known:
            model.pieces.add(piece=piece, score=score, type=1)
    model.pieces.add(piece="<patient>", score=0.0, type=4)
    model.trainer_spec.model_type = kind
    model.trainer_spec.unk_id = 0
    model.normalizer_spec.name = "nmt_nfkc"
    model.normalizer_spec.precompiled_charsmap = characters or CHARSMAP
    return bytes(model.SerializeToString())


def _characters() -> bytes:
    """Make a map of a few characters in SentencePiece's form: a trie (double array), then what they become.

    Each node of the trie has a block of 256 units to itself; a unit holds the byte that leads to it, whether
    something ends there, and the way to its own block.
    """
    changes = {"ﬁ": "fi", "①": "1", "Ⅳ": "IV", "™": "TM", "\u00a0": " ", "\u3000": " ", "é": "e\u0301"}
    units, blocks, texts = {0: 256 << 10}, {b"": 256}, b""
    for source, becomes in changes.items():
        key = source.encode()
        for size in range(1, len(key) + 1):
            if key[:size] not in blocks:
                blocks[key[:size]] = 256 * (len(blocks) + 1)
                place = blocks[key[: size - 1]] ^ key[size - 1]
                units[place] = (place ^ blocks[key[:size]]) << 10 | key[size - 1]
        units[blocks[key[:-1]] ^ key[-1]] |= 1 << 8
        units[blocks[key]] = len(texts)
        texts += becomes.encode() + b"\0"
    trie = b"".join(units.get(i, 0).to_bytes(4, "little") for i in range(256 * (len(blocks) + 1)))
    return len(trie).to_bytes(4, "little") + trie + texts


CHARSMAP = _characters()
