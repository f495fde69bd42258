"""A model folder's tokenizer as ``AutoTokenizer.from_pretrained`` of transformers makes it, without torch."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, models

from affineur.artifact.reading import read_json
from affineur.errors import ModelError, one_line
from affineur.runtime.tokenization.families import FAMILIES, Family, Vocabulary, add_tokens, make
from affineur.runtime.tokenization.sentencepiece import read_sentencepiece
from affineur.runtime.tokenization.settings import (
    NAMED,
    PLAIN,
    PREFIX_SPACE_IN_TEXT,
    Settings,
    read_settings,
)
from affineur.runtime.tokenization.spec import from_spec, parsed, with_prefix_space

#: Names of SentencePiece's file in the folders of CamemBERT and XLM-R, DeBERTa v2, ALBERT, and others.
SENTENCEPIECE_FILES = ("sentencepiece.bpe.model", "spm.model", "spiece.model", "tokenizer.model")


@dataclass(frozen=True, slots=True)
class FolderTokenizer:
    """A tokenizer, and what its files say beside.

    Args:
        tokenizer: For raw text, with neither truncation nor padding.
        unknown: The piece for what the vocabulary lacks; ``None`` for what the tokenizer's model says.
        max_length: Most pieces at once, special ones included (``model_max_length``), where it is named.
        named: Special tokens that stand for the ends of a text, padding and the like.
        kind: The class of transformers it is read as.
    """

    tokenizer: Tokenizer
    unknown: str | None
    max_length: int | None
    named: tuple[str, ...]
    kind: str


def read_tokenizer(folder: Path, config: Mapping[str, Any]) -> FolderTokenizer:
    """Read the tokenizer of a model folder: ``tokenizer.json`` with its settings, or a vocabulary alone.

    Args:
        folder: The model folder.
        config: Its ``config.json``.

    Raises:
        ModelError: If it cannot be read.
    """
    file = folder / "tokenizer.json"
    whole: Tokenizer | None = None
    if file.is_file():
        try:
            whole = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises bare Exception
            raise ModelError(f"{file} cannot be read ({one_line(error)})") from None
    try:
        settings = read_settings(folder, config)
        kind, tokenizer, unknown = _made(folder, settings, whole)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        if settings.values.get("split_special_tokens") is True:
            tokenizer = _splitting(tokenizer)
        if isinstance(begins := settings.values.get(PREFIX_SPACE_IN_TEXT), bool):
            tokenizer = with_prefix_space(tokenizer, begins)
        tokenizer.model.tokenize("\U0010ffff")  # raises where there is no piece for what no piece stands for
        tokenizer.encode("a")  # and where an id of its special pieces is none
        longest = settings.values.get("model_max_length", settings.values.get("max_len"))
    except ModelError:
        raise
    except BaseException as error:  # what the settings say may be anything; the library raises bare Exception
        # … and where it panics, what is no Exception: nobody would catch it.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelError(f"the tokenizer of {folder} cannot be read ({one_line(error)})") from None
    named = {**(FAMILIES[kind].named if kind in FAMILIES else {}), **_given(settings)}
    return FolderTokenizer(
        tokenizer,
        unknown,
        int(longest) if isinstance(longest, int | float) and 0 < longest < 1 << 20 else None,
        tuple(dict.fromkeys(str(token) for token in named.values() if token is not None)),
        kind,
    )


def _given(settings: Settings) -> dict[str, str | AddedToken]:
    return {name: token for name, token in settings.named({}).items() if name in NAMED}


def _made(folder: Path, settings: Settings, whole: Tokenizer | None) -> tuple[str, Tokenizer, str | None]:
    """Make the tokenizer; return it with the class it was made as, and its unknown piece."""
    if whole is not None:
        family = FAMILIES.get(settings.kind)
        # A class that has another algorithm than the file would make nonsense of its vocabulary.
        if family is None or family.model != type(whole.model).__name__:
            add_tokens(whole, settings, settings.named({}), settings.extra())
            unknown = settings.named({}).get("unk_token")
            return PLAIN, whole, None if unknown is None else str(unknown)
        return settings.kind, *make(family, settings, _from_json(read_json(folder / "tokenizer.json")))
    # Settings that name the class for any tokenizer.json say nothing of how a vocabulary alone is read.
    kind = settings.of_model if settings.kind == PLAIN else settings.kind
    if kind not in FAMILIES:
        raise ModelError(
            f"{folder / 'tokenizer.json'} cannot be read (it is not there, and a vocabulary alone is not "
            f"enough for {settings.values.get('tokenizer_class') or settings.kind}); write it with "
            "transformers: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    return kind, *make(FAMILIES[kind], settings, _from_files(folder, FAMILIES[kind], kind, settings))


def _from_json(spec: Mapping[str, Any]) -> Vocabulary:
    """Take the vocabulary out of a ``tokenizer.json``."""
    model = spec["model"]
    pieces: Any = model["vocab"]
    if isinstance(pieces, list):
        pieces = [(str(name), float(score)) for name, score in pieces]
    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in model.get("merges", ()))
    return Vocabulary(pieces, [(a, b) for a, b in pairs], _characters(spec.get("normalizer")))


def _characters(normalizer: Any) -> bytes | None:
    steps = normalizer.get("normalizers", [normalizer]) if isinstance(normalizer, dict) else []
    for step in steps:
        if step.get("type") == "Precompiled" and "precompiled_charsmap" in step:
            return base64.b64decode(step["precompiled_charsmap"])
    return None


def _from_files(folder: Path, family: Family, kind: str, settings: Settings) -> Vocabulary:
    """Read the vocabulary of a folder without ``tokenizer.json``."""
    if family.model == "WordPiece":
        return Vocabulary(_words(_expected(folder, kind, "vocab.txt")))
    if family.model == "BPE":
        vocabulary, merges = (_expected(folder, kind, name) for name in ("vocab.json", "merges.txt"))
        pieces, pairs = models.BPE.read_file(str(vocabulary), str(merges))
        return Vocabulary(pieces, pairs)
    found = [folder / name for name in SENTENCEPIECE_FILES if (folder / name).is_file()]
    file = found[0] if found else _expected(folder, kind, SENTENCEPIECE_FILES[0])
    try:
        read = read_sentencepiece(file)
    except (OSError, ValueError) as error:
        raise ModelError(f"the tokenizer {file} cannot be read ({one_line(error)})") from None
    names = {name: str(token) for name, token in settings.named(family.named).items()}
    assert family.from_sentencepiece is not None  # every Unigram has it
    return Vocabulary(
        family.from_sentencepiece(read.pieces, names),
        characters=read.characters,
        unknown=read.unknown,
        added=tuple(AddedToken(piece, normalized=False, special=special) for piece, special in read.added),
    )


def _words(file: Path) -> dict[str, int]:
    """Read ``vocab.txt``: one piece a line, its id the number of the line."""
    try:
        return dict(models.WordPiece.read_file(str(file)))
    except Exception as error:  # the library raises bare Exception
        raise ModelError(f"{file} cannot be read ({one_line(error)})") from None


def _expected(folder: Path, kind: str, name: str) -> Path:
    if not (folder / name).is_file():
        raise ModelError(
            f"{folder / 'tokenizer.json'} cannot be read (neither it nor {name} is there, and "
            f"{kind} needs one of them)"
        )
    return folder / name


def _splitting(tokenizer: Tokenizer) -> Tokenizer:
    """Take special tokens in a text for text (``split_special_tokens``): none of them is matched there.

    The library has a switch for that, but no place for it in ``tokenizer.json``.
    """
    spec = parsed(tokenizer)
    own, added = _own(spec["model"]["vocab"]), spec["added_tokens"]
    # Ids beyond the vocabulary are given out in order: none may be missing before one that stays.
    last = max((t["id"] for t in added if not t["special"] and t["content"] not in own), default=-1)
    spec["added_tokens"] = [
        t for t in added if not t["special"] or (t["content"] not in own and t["id"] < last)
    ]
    return from_spec(spec)


def _own(vocabulary: Any) -> set[str]:
    return {name for name, _ in vocabulary} if isinstance(vocabulary, list) else set(vocabulary)
