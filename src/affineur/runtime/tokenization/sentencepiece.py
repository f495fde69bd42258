"""SentencePiece models (``.model``) read without its library: pieces, scores, and the map of characters.

A model is one message of protocol buffers, ``sentencepiece_model.proto``; its wire format is a sequence of
fields, each a number, a kind and a value (protobuf.dev, "Encoding").
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from affineur.artifact.reading import read_within

_LONGEST = 1 << 27  # bytes; XLM-R's has 5 MB
_UNIGRAM = 1
_CONTROL, _USER_DEFINED = 3, 4


@dataclass(frozen=True, slots=True)
class SentencePieceModel:
    """What a SentencePiece model holds.

    Args:
        pieces: Each piece with its score, by id.
        unknown: Id of the piece for what the vocabulary lacks.
        added: Pieces that are matched before any other, by id, and whether each is special: control pieces
            such as ``<s>`` are, those that somebody defined are not.
        characters: Its normalization of characters (``precompiled_charsmap``), where it has one.
    """

    pieces: list[tuple[str, float]]
    unknown: int
    added: tuple[tuple[str, bool], ...]
    characters: bytes | None


def read_sentencepiece(path: Path) -> SentencePieceModel:
    """Read a SentencePiece model.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is none, or of another kind than Unigram.
    """
    pieces: list[tuple[str, float]] = []
    added: list[tuple[str, bool]] = []
    unknown, kind, characters = 0, _UNIGRAM, None
    try:
        for number, value in _fields(read_within(path, _LONGEST)):
            if number == 1 and isinstance(value, bytes):
                piece, score, what = _piece(value)
                pieces.append((piece, score))
                if what in (_CONTROL, _USER_DEFINED):
                    added.append((piece, what == _CONTROL))
            elif number == 2 and isinstance(value, bytes):
                trained = dict(_fields(value))
                kind = _number(trained.get(3, _UNIGRAM))
                unknown = _number(trained.get(40, 0))
            elif number == 3 and isinstance(value, bytes):
                found = dict(_fields(value)).get(2)
                characters = found if isinstance(found, bytes) and found else None
    except (IndexError, struct.error, UnicodeDecodeError, TypeError) as error:
        raise ValueError(f"it is no SentencePiece model ({error})") from None
    if not pieces:
        raise ValueError("it is no SentencePiece model: there is no piece in it")
    if kind != _UNIGRAM:
        raise ValueError(
            "it is a SentencePiece model of another kind than Unigram; save the tokenizer as tokenizer.json"
        )
    return SentencePieceModel(pieces, unknown, tuple(added), characters)


def _piece(data: bytes) -> tuple[str, float, int]:
    piece, score, kind = "", 0.0, 1
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            piece = value.decode()
        elif number == 2 and isinstance(value, bytes):
            score = struct.unpack("<f", value)[0]
        elif number == 3:
            kind = _number(value)
    return piece, score, kind


def _number(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise TypeError("a text where a number is expected")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the number and the value of each field; fixed sizes come as bytes, as texts and messages do."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, place = _varint(data, place)
            yield number, value
            continue
        if kind == 2:
            size, place = _varint(data, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise TypeError(f"a field of the kind {kind}")
        if place + size > len(data):
            raise IndexError("it ends within a field")
        yield number, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise TypeError("a number of more than 64 bits")
