"""The tokenizers that transformers builds anew from a vocabulary and settings, class by class.

Transformers 5 takes nothing but the vocabulary (and the map of characters) from ``tokenizer.json`` where its
class has a pipeline of its own; the rest is the class's, steered by ``tokenizer_config.json``. Each function
here is one of these classes (``models/*/tokenization_*.py``), with the defaults it has there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from affineur.runtime.tokenization.settings import Settings

_FAIRSEQ = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
_BERT = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_DEBERTA = {**_BERT, "bos_token": "[CLS]", "eos_token": "[SEP]"}
_NOT_USED = ("<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Pieces, wherever they were read from.

    Args:
        pieces: Of WordPiece and BPE the id of each; of Unigram each with its score, by id.
        merges: The pairs BPE joins, by rank.
        characters: SentencePiece's normalization of characters.
        unknown: Of SentencePiece the id of the unknown piece.
        added: What SentencePiece matches before any other piece; ``None`` where it comes from elsewhere.
    """

    pieces: Any
    merges: list[tuple[str, str]] = field(default_factory=list)
    characters: bytes | None = None
    unknown: int | None = None
    added: tuple[AddedToken, ...] | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """How a class of transformers makes its tokenizer.

    Args:
        model: ``WordPiece``, ``Unigram`` or ``BPE``.
        named: Special tokens by name, where the settings name no other.
        build: Makes the tokenizer but for added tokens and what is put around a text.
        around: Makes the post-processor, once every special token has its id.
        extra: Further special tokens, where the settings list none.
        from_sentencepiece: Puts the pieces of a SentencePiece model in the order of the class.
    """

    model: str
    named: Mapping[str, str | AddedToken]
    build: Callable[[Settings, Vocabulary, Mapping[str, str]], Tokenizer]
    around: Callable[[Settings, Tokenizer, Mapping[str, str]], Any]
    extra: tuple[str, ...] = ()
    from_sentencepiece: Callable[[Sequence[tuple[str, float]], Mapping[str, str]], Any] | None = None


def make(family: Family, settings: Settings, vocabulary: Vocabulary) -> tuple[Tokenizer, str | None]:
    """Make the tokenizer of a family; return it with its unknown piece."""
    named = settings.named(family.named)
    names = {name: str(token) for name, token in named.items()}
    tokenizer = family.build(settings, vocabulary, names)
    extra = settings.extra(family.extra if vocabulary.added is None else vocabulary.added)
    # Defaults that a vocabulary lacks would get ids for which no model has an embedding.
    extra = [t for t in extra if t not in family.extra or tokenizer.token_to_id(str(t)) is not None]
    add_tokens(tokenizer, settings, named, extra)
    tokenizer.post_processor = family.around(settings, tokenizer, names)
    return tokenizer, names.get("unk_token")


def add_tokens(
    tokenizer: Tokenizer,
    settings: Settings,
    named: Mapping[str, str | AddedToken],
    extra: Sequence[str | AddedToken],
) -> None:
    """Add what the settings list and the tokenizer lacks, in the order of ``TokenizersBackend.__init__``."""
    there = list(tokenizer.get_added_tokens_decoder().values())
    known = {repr(token) for token in there}
    adding: list[str | AddedToken] = [t for _, t in sorted(settings.added.items()) if repr(t) not in known]
    contents = {str(token) for token in (*there, *adding)}
    for token in (*named.values(), *extra):
        if str(token) not in contents and token not in adding:
            adding.append(token)
    special = {str(token) for token in named.values()}
    tokenizer.add_tokens([_made(token, special) for token in adding])


def _made(token: str | AddedToken, special: Collection[str]) -> AddedToken:
    """Make a token as it is added: one that has a name, or comes as a plain text, is special."""
    if isinstance(token, str):
        return AddedToken(token, special=True)
    return AddedToken(
        token.content,
        single_word=token.single_word,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        normalized=token.normalized,
        special=token.special or token.content in special,
    )


def _word_piece(settings: Settings, vocabulary: Vocabulary, named: Mapping[str, str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocabulary.pieces, unk_token=named["unk_token"]))
    accents = settings.values.get("strip_accents")
    if not (accents is None or isinstance(accents, bool)):
        raise ValueError(f"tokenizer_config.json has strip_accents={accents!r}, expected true, false or null")
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.flag("tokenize_chinese_chars", True),
        strip_accents=accents,
        lowercase=settings.flag("do_lower_case", True),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def _byte_level(settings: Settings, vocabulary: Vocabulary, _named: Mapping[str, str]) -> Tokenizer:
    tokenizer = Tokenizer(
        models.BPE(
            vocabulary.pieces,
            vocabulary.merges,
            continuing_subword_prefix="",
            end_of_word_suffix="",
            fuse_unk=False,
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(
        add_prefix_space=settings.flag("add_prefix_space", False)
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _unigram(pieces: Any, unknown: int, settings: Settings) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram(pieces, unknown, byte_fallback=False))
    scheme = "always" if settings.flag("add_prefix_space", True) else "never"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", prepend_scheme=scheme)]
    )
    tokenizer.decoder = decoders.Metaspace("▁", prepend_scheme=scheme)
    return tokenizer


def _camembert(settings: Settings, vocabulary: Vocabulary, named: Mapping[str, str]) -> Tokenizer:
    unknown = next((i for i, (name, _) in enumerate(vocabulary.pieces) if name == named["unk_token"]), 0)
    tokenizer = _unigram(vocabulary.pieces, unknown, settings)
    if vocabulary.characters is not None:
        tokenizer.normalizer = normalizers.Precompiled(vocabulary.characters)
    return tokenizer


def _xlm_roberta(settings: Settings, vocabulary: Vocabulary, _named: Mapping[str, str]) -> Tokenizer:
    tokenizer = _unigram(vocabulary.pieces, 3, settings)
    if vocabulary.characters is not None:
        tokenizer.normalizer = normalizers.Precompiled(vocabulary.characters)
    return tokenizer


def _albert(settings: Settings, vocabulary: Vocabulary, _named: Mapping[str, str]) -> Tokenizer:
    tokenizer = _unigram(vocabulary.pieces, 1, settings)
    steps: list[Any] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if not settings.flag("keep_accents", False):
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if settings.flag("do_lower_case", True):
        steps.append(normalizers.Lowercase())
    if vocabulary.characters is not None:
        steps.append(normalizers.Precompiled(vocabulary.characters))
    tokenizer.normalizer = normalizers.Sequence(steps)
    return tokenizer


def _deberta_v2(settings: Settings, vocabulary: Vocabulary, named: Mapping[str, str]) -> Tokenizer:
    unknown = (named["unk_token"], 0.0)
    given = vocabulary.unknown if vocabulary.unknown is not None else int(settings.values.get("unk_id", 1))
    place = vocabulary.pieces.index(unknown) if unknown in vocabulary.pieces else given
    tokenizer = Tokenizer(models.Unigram(vocabulary.pieces, place, byte_fallback=False))
    steps: list[Any] = [normalizers.Lowercase()] if settings.flag("do_lower_case", False) else []
    steps += [
        normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " "),
        normalizers.NFC(),
        normalizers.Strip(left=False, right=True),
    ]
    tokenizer.normalizer = normalizers.Sequence(steps)
    scheme = "always" if settings.flag("add_prefix_space", True) else "first"
    cutting: list[Any] = []
    if settings.flag("split_by_punct", False):
        cutting.append(pre_tokenizers.Punctuation(behavior="isolated"))
    cutting.append(pre_tokenizers.Metaspace("▁", prepend_scheme=scheme))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(cutting)
    tokenizer.decoder = decoders.Metaspace("▁", prepend_scheme=scheme)
    return tokenizer


def _template(first: str, last: str) -> Callable[[Settings, Tokenizer, Mapping[str, str]], Any]:
    """Put the special tokens of two names around a text."""

    def around(_settings: Settings, tokenizer: Tokenizer, named: Mapping[str, str]) -> Any:
        begin, end = named[first], named[last]
        double = [end] if first == "bos_token" else []  # fairseq's models part two texts by two of them
        pair = [begin, "$A", end, *double, "$B:0" if double else "$B:1", end if double else f"{end}:1"]
        return processors.TemplateProcessing(
            single=[begin, "$A", end],
            pair=pair,
            special_tokens=[(token, tokenizer.token_to_id(token)) for token in dict.fromkeys((begin, end))],
        )

    return around


def _roberta_around(settings: Settings, tokenizer: Tokenizer, named: Mapping[str, str]) -> Any:
    return _sep_and_cls(
        tokenizer, named, settings.flag("trim_offsets", True), settings.flag("add_prefix_space", False)
    )


def _mpnet_around(_settings: Settings, tokenizer: Tokenizer, named: Mapping[str, str]) -> Any:
    return _sep_and_cls(tokenizer, named, True, False)


def _sep_and_cls(tokenizer: Tokenizer, named: Mapping[str, str], trim: bool, prefix: bool) -> Any:
    last, first = (
        (named[name], tokenizer.token_to_id(named[name]) or 0) for name in ("sep_token", "cls_token")
    )
    return processors.RobertaProcessing(last, first, trim, prefix)


def _camembert_order(pieces: Sequence[tuple[str, float]], named: Mapping[str, str]) -> Any:
    return [
        (_NOT_USED[0], 0.0),
        (named["pad_token"], 0.0),
        (_NOT_USED[1], 0.0),
        (named["unk_token"], 0.0),
        (_NOT_USED[2], -100.0),
        *pieces[1:],
        (named["mask_token"], 0.0),
    ]


def _xlm_roberta_order(pieces: Sequence[tuple[str, float]], named: Mapping[str, str]) -> Any:
    first = [(named[name], 0.0) for name in ("bos_token", "pad_token", "eos_token", "unk_token")]
    return [*first, *pieces[3:], (named["mask_token"], 0.0)]


def _same_order(pieces: Sequence[tuple[str, float]], _named: Mapping[str, str]) -> Any:
    return list(pieces)


#: By the name of the class.
FAMILIES = {
    "AlbertTokenizer": Family(
        "Unigram",
        {**_DEBERTA, "unk_token": "<unk>", "pad_token": "<pad>"},
        _albert,
        _template("cls_token", "sep_token"),
        from_sentencepiece=_same_order,
    ),
    "BertTokenizer": Family("WordPiece", _BERT, _word_piece, _template("cls_token", "sep_token")),
    "CamembertTokenizer": Family(
        "Unigram",
        {**_FAIRSEQ, "mask_token": AddedToken("<mask>", lstrip=True, special=True)},
        _camembert,
        _template("bos_token", "eos_token"),
        extra=_NOT_USED,
        from_sentencepiece=_camembert_order,
    ),
    "DebertaTokenizer": Family("BPE", _DEBERTA, _byte_level, _template("cls_token", "sep_token")),
    "DebertaV2Tokenizer": Family(
        "Unigram",
        _DEBERTA,
        _deberta_v2,
        _template("cls_token", "sep_token"),
        from_sentencepiece=_same_order,
    ),
    "MPNetTokenizer": Family(
        "WordPiece",
        {
            **{name: AddedToken(token) for name, token in {**_FAIRSEQ, "unk_token": "[UNK]"}.items()},
            "mask_token": AddedToken("<mask>", lstrip=True),
        },
        _word_piece,
        _mpnet_around,
    ),
    "RobertaTokenizer": Family("BPE", _FAIRSEQ, _byte_level, _roberta_around),
    "XLMRobertaTokenizer": Family(
        "Unigram",
        _FAIRSEQ,
        _xlm_roberta,
        _template("bos_token", "eos_token"),
        from_sentencepiece=_xlm_roberta_order,
    ),
}
