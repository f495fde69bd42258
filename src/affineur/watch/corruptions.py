"""Ways in which text departs from a reference set: each spoils the words of a sentence and leaves its tags.

Calibrators are fitted on the set as it is. Copies of it that are spoiled on purpose show how well they carry
over to worse text: nothing is fitted on these, so every kind of damage is one that the calibrators never met.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from random import Random

Words = Sequence[str]
Tags = Sequence[str]
Spoiled = tuple[list[str], list[str]]
Corruption = Callable[[Words, Tags, Random], Spoiled]

_VOWELS = "aeiouy"
_CONSONANTS = "bcdfghjklmnpqrstvxz"
# What scanners take one character for: shapes of print, not of any corpus measured here.
_ALIKE: Mapping[str, Sequence[str]] = {
    "e": ("c", "o", "é"), "c": ("e", "o"), "o": ("0", "c", "a"), "a": ("u", "o", "n"),
    "n": ("u", "ii", "r"), "u": ("n", "ii", "v"), "i": ("l", "1", "t"), "l": ("i", "1", "t"),
    "t": ("l", "f", "r"), "f": ("t", "s"),
    "s": ("f", "a", "5"), "r": ("t", "i", "v"), "m": ("rn", "in", "ni"), "h": ("b", "li"), "b": ("h", "6"),
    "d": ("cl", "il"), "v": ("y", "r"), "g": ("q", "9"), "é": ("e", "6", "è"), "è": ("é", "e"),
    "à": ("a", "â"),
    "E": ("B", "F"), "B": ("R", "8", "E"), "D": ("O", "I)"), "C": ("G", "("), "G": ("C", "6"),
    "I": ("l", "1"),
    "L": ("I", "T."), "M": ("N", "iM"), "N": ("M", "K"), "O": ("0", "Q"), "P": ("F", "I"), "R": ("B", "H"),
    "S": ("5", "8"), "T": ("'I", "f"), "V": ("Y", "\\'"), "U": ("IJ", "ü"),
}  # fmt: skip
_ROMAN_ALPHABET = string.ascii_lowercase + "éèàç"


def plain(word: str) -> str:
    """Return a word without accents."""
    kept = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
    return kept or word


def scanned(word: str, share: float, random: Random) -> str:
    """Misread characters of a word as a scanner does."""
    out = []
    for character in word:
        if random.random() >= share:
            out.append(character)
        elif character in _ALIKE:
            out.append(random.choice(_ALIKE[character]))
        elif random.random() < 0.5:
            out.append(random.choice((".", "", "'", "-")))
        else:
            out.append(character)
    return "".join(out) or word


def mistyped(word: str, share: float, random: Random) -> str:
    """Make slips of the hand: characters lost, doubled, swapped or wrong."""
    letters = list(word)
    for place in range(len(letters)):
        if random.random() < share:
            slip = random.randrange(4)
            if slip == 0 and len(letters) > 1:
                letters[place] = ""
            elif slip == 1:
                letters[place] *= 2
            elif slip == 2 and place:
                letters[place - 1], letters[place] = letters[place], letters[place - 1]
            else:
                letters[place] = random.choice(_ROMAN_ALPHABET)
    return "".join(letters) or word


def invented(word: str, random: Random) -> str:
    """Put other letters for those of a word: a name nobody has met, of the same shape."""

    def other(match: re.Match[str]) -> str:
        character = match[0]
        pool = _VOWELS if plain(character).lower() in _VOWELS else _CONSONANTS
        new = random.choice(pool)
        return new.upper() if character.isupper() else new

    return re.sub(r"[^\W\d_]", other, word)


def _each(change: Callable[[str, Random], str]) -> Corruption:
    def spoil(words: Words, tags: Tags, random: Random) -> Spoiled:
        return [change(word, random) for word in words], list(tags)

    return spoil


def _names(change: Callable[[str, Random], str], inside: bool = True) -> Corruption:
    """Change the words of mentions alone, or all others."""

    def spoil(words: Words, tags: Tags, random: Random) -> Spoiled:
        return [
            change(word, random) if (tag != "O") is inside else word
            for word, tag in zip(words, tags, strict=True)
        ], list(tags)

    return spoil


def _varying(change: Callable[[str, float, Random], str], most: float) -> Corruption:
    """Spoil each sentence to an extent of its own."""

    def spoil(words: Words, tags: Tags, random: Random) -> Spoiled:
        share = most * random.random()
        return [change(word, share, random) for word in words], list(tags)

    return spoil


def _shuffled(words: Words, tags: Tags, random: Random) -> Spoiled:
    """Move pieces of a sentence about; a mention stays whole."""
    pieces: list[list[tuple[str, str]]] = []
    for word, tag in zip(words, tags, strict=True):
        if tag.startswith(("I-", "E-")) and pieces:
            pieces[-1].append((word, tag))
        else:
            pieces.append([(word, tag)])
    for place in range(len(pieces) - 1):
        if random.random() < 0.5:
            pieces[place], pieces[place + 1] = pieces[place + 1], pieces[place]
    flat = [pair for piece in pieces for pair in piece]
    return [word for word, _ in flat], [tag for _, tag in flat]


#: By the kind of damage.
FAMILIES: Mapping[str, Corruption] = {
    "capitals": _each(lambda word, _: word.upper()),
    "lower case": _each(lambda word, _: word.lower()),
    "headline": _each(lambda word, _: word[:1].upper() + word[1:]),
    "no accents": _each(lambda word, _: plain(word)),
    "scan": _varying(scanned, 0.3),
    "slips": _varying(mistyped, 0.2),
    "new names": _names(invented),
    "new words": _names(
        lambda word, random: invented(word, random) if random.random() < 0.5 else word, False
    ),
    "order": _shuffled,
}
