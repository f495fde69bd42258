"""Texts as chunks in the form in which names are compared.

Case, accents, typography, letters that only look different, and what nobody sees do not count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from enum import Enum
from functools import cache, lru_cache
from itertools import pairwise
from typing import NamedTuple

# What nobody sees: Unicode's Default_Ignorable_Code_Point and category Cf (version 16), and control
# characters that are no white space (of U+001C to U+001F Python thinks they are).
_UNSEEN = (
    r"\0-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f"
    r"\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff"
    r"\uffa0\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_UNSEEN_RUN = re.compile(f"[{_UNSEEN}]+")
_DASH = r"\-\u00ac\u058a\u05be\u2010-\u2015\u2212\u2e17\u2e1a\u2e3a\u2e3b\u2e40\u301c\u30a0\ufe58\ufe63\uff0d"
# Scripts without spaces between words: each character is a word.
_ALONE = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# Letters in circles and squares are symbols to Unicode.
_ENCLOSED = (
    r"\u249c-\u24e9\U0001f130-\U0001f149\U0001f150-\U0001f169\U0001f170-\U0001f189\U0001f1e6-\U0001f1ff"
)
_ENCLOSED_PLAIN = (
    (0x1F150, 0x1F169),
    (0x1F170, 0x1F189),
    (0x1F1E6, 0x1F1FF),
)  # those NFKD leaves as they are
# Letters that NFKD leaves whole, and those of other alphabets that look like Latin ones.
_LIKE_LATIN = str.maketrans(
    {"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "ı": "i"}
    | dict(zip("авекмнорстухіјѕү", "abekmhopctyxijsy", strict=True))
    | dict(zip("αβεζηικμνορτυχ", "abezhikmnoptyx", strict=True))
    | dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnoprstuvwyz", strict=True))
    | dict(zip("пѵԁԛԝһӏօսհոɑɡʋɩɱɵȷ", "nvdqwhlouhnagvimoj", strict=True))
    | dict(zip("ᎠᎡᎢᎪᎬᎳᎷᎻᏀᏃᏙᏢᏒ", "drtaewmhgzvpr", strict=True))
    | {"\u0640": ""}  # only lengthens a line between Arabic letters
    | {chr(a + i): chr(97 + i) for a, b in _ENCLOSED_PLAIN for i in range(b - a + 1)}
)
# Between the halves of a word that a line's end cut; mail repeats a sign of quotation there.
# Possessive: whatever the text, no character is read twice.
_LINE_END = re.compile(
    rf"[ \t\xa0]*+([{_DASH}][ \t\xa0]*+)?+[\n\r\x0b\x0c\x85\u2028\u2029][\s>]*+|([{_DASH}])\s++"
)
_BREAK = re.compile(r"[\n\r\x0b\x0c\x85\u2028\u2029]")
# A hyphen that is seen where a line ends after it.
_SOFT_HYPHEN = "\u00ad"
_SOFT_AT_END = re.compile(rf"{_SOFT_HYPHEN}[{_UNSEEN}]*\Z")
_USUAL = ("", "-", ".", "_")
#: Signs that are part of a name: Canal+, AT&T, C#.
SIGNS = "+&#"
# By kind of character: capitals before a capitalized word, a word, capitals, digits.
_PARTS = re.compile(r"(?:Um*)+(?=Um*lm*)|(?:Um*)?(?:lm*)+|(?:Um*)+|(?:dm*)+|m+")


class LineEnd(Enum):
    """How a line ends inside a word."""

    BARE = "bare"
    HYPHENATED = "hyphenated"


class Chunk(NamedTuple):
    """A word, or a part of one that case or digits set off (``JeanMorvan75`` has three).

    Args:
        form: What it is compared by.
        start: First character, in code points.
        end: One past the last character.
    """

    form: str
    start: int
    end: int


def chunks(text: str) -> Iterator[Chunk]:
    """Cut a text into chunks; what lies between them are spaces, punctuation and signs.

    Args:
        text: Any text.
    """
    for match in _word().finditer(text):
        word, start = _without_hyphen(match[0]), match.start()
        if word.isalpha() and (word.islower() or word.isupper() or word[1:].islower()):
            if form := fold(word):
                yield Chunk(form, start, start + len(word))
            continue
        for part in _PARTS.finditer("".join(map(_kind, word))):
            if form := fold(part_word := word[slice(*part.span())]):
                yield Chunk(form, start + part.start(), start + part.start() + len(part_word))


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return where each whole word lies: hyphens, and line ends that cut a word, are inside."""
    spans: list[tuple[int, int]] = []
    for match in _word().finditer(text):
        start = match.start()
        end = start + len(_without_hyphen(match[0]))
        if spans and match[0][0] not in SIGNS and _joins(text, spans[-1][1], start):
            start = spans.pop()[0]
        spans.append((start, end))
    return spans


def fold(word: str) -> str:
    """Return the form in which a word is compared."""
    return word.lower() if word.isascii() and word.isprintable() else "".join(map(_folded, word))


def seen(text: str) -> str:
    """Return a text without what nobody sees, composed (NFC): what a reader takes for the same writing."""
    if text.isascii() and text.isprintable():
        return text
    return unicodedata.normalize("NFC", _UNSEEN_RUN.sub("", text))


def line_end(between: str) -> LineEnd | None:
    """Return which line's end inside a word may lie between two chunks, or nothing if none may."""
    found = _LINE_END.fullmatch(_UNSEEN_RUN.sub("", between))
    if found and not found.lastindex and _SOFT_HYPHEN in between:
        return LineEnd.HYPHENATED  # no dash is seen there, but for this one
    return found and (LineEnd.HYPHENATED if found.lastindex else LineEnd.BARE)


def signs(between: str) -> str:
    """Return what is seen between two chunks but spaces and line ends."""
    return between if between in _USUAL else _UNSEEN_RUN.sub("", "".join(between.split()))


def _joins(text: str, start: int, end: int) -> bool:
    """Say whether a hyphen between two words makes them one: ``Saint-Nazaire``, ``Mor-`` at a line's end."""
    between = text[start : min(end, start + 80)]
    if len(between) != end - start:
        return False
    if between in ("-", "\u2010", "\u2011"):
        return True
    if between[:1] in ("-", "\u2010", "\u00ac"):
        return line_end(between) is not None
    return (
        line_end(between) is LineEnd.HYPHENATED and not between[0].isspace() and bool(_BREAK.search(between))
    )


def _without_hyphen(word: str) -> str:
    """Leave out a soft hyphen that a word ends with: at a line's end it is none of its letters."""
    return _SOFT_AT_END.sub("", word) if _SOFT_HYPHEN in word else word


@lru_cache(maxsize=8192)
def _folded(character: str) -> str:
    form = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(
        each
        for each in form.translate(_LIKE_LATIN)
        if (each.isalnum() or each in SIGNS or _is_kept(each)) and not _UNSEEN_RUN.match(each)
    )


def _is_kept(mark: str) -> bool:
    """Say whether a mark makes another letter, as the vowel signs of Indian scripts do and accents do not."""
    kind, place = unicodedata.category(mark), unicodedata.combining(mark)
    return kind in ("Mn", "Mc") and not (place == 1 or 10 <= place <= 36 or place >= 200)


@lru_cache(maxsize=8192)
def _kind(character: str) -> str:
    if _UNSEEN_RUN.match(character) or unicodedata.category(character)[0] == "M":
        return "m"
    return "U" if character.isupper() else "d" if character.isnumeric() else "l"


@cache
def _word() -> re.Pattern[str]:
    """Return what matches a word: letters and digits, each with the marks on it and what nobody sees after.

    ``_`` ends a word, as file names have it, and so does an apostrophe that is a letter to Unicode.
    """
    marks = [code for code in range(0x300, 0x10000) if unicodedata.category(chr(code))[0] == "M"]
    breaks = [0, *(i for i, (a, b) in enumerate(pairwise(marks), 1) if b != a + 1), len(marks)]
    on_it = "".join(f"{chr(marks[a])}-{chr(marks[b - 1])}" for a, b in pairwise(breaks)) + _UNSEEN
    letter = rf"(?:[^\W_\u02b9-\u02cb{_ALONE}{_UNSEEN}]|[{_ENCLOSED}])"
    return re.compile(rf"(?:{letter}[{on_it}]*+)++|[{_ALONE}][{on_it}]*+|[{SIGNS}][{_UNSEEN}]*+")
