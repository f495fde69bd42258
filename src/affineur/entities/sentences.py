"""Raw text to lines and sentences: what a model that was trained on sentences is shown at once.

The rules are for French, and there is no dependency for them: pysbd is no longer kept and slow, syntok and
blingfire know no French abbreviations, punkt and spaCy have to fetch a model. A sentence ends at ``. ! ? …``
before white space and something that may begin one, unless the dot is that of an abbreviation, an initial or
a number in a list; at ``。！？``; at a tab; and where a line ends, unless the sentence plainly goes on below.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_LINE_END = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_BREAK = re.compile(rf"\r\n|[{_LINE_END}]")
_PLACE = re.compile(
    r"""[.!?…।॥؟۔](?<![.!?…।॥؟۔]{2})[.!?…।॥؟۔]*+(?:["'”’»)\]]|[ \xa0\u202f]»)*+(?P<space>\s++)"""
    rf"|[。！？]++[」』”’）》]*+(?P<after>\s*+)|[\t{_LINE_END}]\s*+"
)
# What stands before a dot: a word, with dots, hyphens and apostrophes inside (S.N.C.F., J.-P., l'art.).
_BEFORE = re.compile(r"[^\W_][\w.'’-]*$")
_INITIALS = re.compile(r"[^\W\d_](?:\.-?[^\W\d_]{1,2})*")
_LONGEST = 24  # what is longer is no abbreviation
_AFTER = re.compile(r"(?:[^\w\s]{1,3}\s?){0,2}(\w*)([.'’]?)")

#: Before a name, whatever its first letter.
_TITLES = frozenset(
    [
        "M",
        "MM",
        "Mme",
        "Mmes",
        "Mlle",
        "Mlles",
        "Mgr",
        "Dr",
        "Drs",
        "Pr",
        "Prs",
        "Me",
        "Mes",
        "St",
        "Ste",
        "Vve",
        "Gal",
        "Gén",
        "Col",
        "Cdt",
    ]
)
#: Before a number or a letter.
_NUMBERED = frozenset(
    [
        "art",
        "al",
        "alin",
        "p",
        "pp",
        "chap",
        "vol",
        "t",
        "fig",
        "tab",
        "n",
        "no",
        "nos",
        "num",
        "ch",
        "pl",
        "éd",
        "arr",
        "ann",
        "annexe",
        "§",
        "par",
        "cf",
        "réf",
        "tél",
    ]
)
#: Never at the end, but for those that end a sentence before a word that begins one.
_ABBREVIATIONS = frozenset(
    [
        "etc",
        "env",
        "av",
        "apr",
        "bd",
        "bld",
        "boul",
        "rte",
        "tél",
        "réf",
        "dép",
        "dépt",
        "cie",
        "ltd",
        "inc",
        "co",
        "jr",
        "sr",
        "janv",
        "févr",
        "fév",
        "avr",
        "juil",
        "sept",
        "oct",
        "nov",
        "déc",
        "abbé",
        "sgt",
        "adj",
        "cne",
        "lt",
        "cf",
        "v",
        "vs",
        "ex",
        "p.ex",
        "coll",
        "éd",
        "trad",
        "ibid",
        "op",
        "cit",
        "approx",
        "resp",
        "hab",
        "sq",
        "sqq",
        "suiv",
    ]
)
# Words that begin a sentence when they have a capital, and are no names.
_STARTERS = frozenset(
    [
        "le",
        "la",
        "les",
        "l",
        "un",
        "une",
        "des",
        "du",
        "de",
        "d",
        "il",
        "ils",
        "elle",
        "elles",
        "on",
        "nous",
        "vous",
        "je",
        "j",
        "tu",
        "ce",
        "c",
        "cet",
        "cette",
        "ces",
        "ça",
        "cela",
        "mon",
        "ma",
        "mes",
        "ton",
        "ta",
        "tes",
        "son",
        "sa",
        "ses",
        "notre",
        "nos",
        "votre",
        "vos",
        "leur",
        "leurs",
        "en",
        "dans",
        "pour",
        "par",
        "à",
        "au",
        "aux",
        "avec",
        "sans",
        "sur",
        "sous",
        "chez",
        "entre",
        "mais",
        "et",
        "ou",
        "donc",
        "or",
        "ni",
        "car",
        "si",
        "s",
        "quand",
        "lorsque",
        "lorsqu",
        "puis",
        "puisque",
        "puisqu",
        "ainsi",
        "cependant",
        "après",
        "avant",
        "depuis",
        "pendant",
        "pas",
        "ne",
        "n",
        "y",
        "qui",
        "que",
        "qu",
        "quoi",
        "où",
        "comme",
        "comment",
        "pourquoi",
        "aujourd",
        "hier",
        "demain",
        "alors",
        "enfin",
        "toutefois",
        "néanmoins",
        "selon",
        "malgré",
        "dès",
        "lors",
        "tout",
        "toute",
        "tous",
        "toutes",
        "aucun",
        "aucune",
        "plusieurs",
    ]
)
# Words in lower case at which no sentence ends, and no line of a list.
_INSIDE = frozenset(
    [
        "le",
        "la",
        "les",
        "l",
        "un",
        "une",
        "des",
        "du",
        "de",
        "d",
        "ce",
        "cet",
        "cette",
        "ces",
        "mon",
        "ma",
        "mes",
        "ton",
        "ta",
        "tes",
        "son",
        "sa",
        "ses",
        "notre",
        "nos",
        "votre",
        "vos",
        "leur",
        "leurs",
        "en",
        "dans",
        "pour",
        "par",
        "à",
        "au",
        "aux",
        "avec",
        "sans",
        "sur",
        "sous",
        "chez",
        "entre",
        "mais",
        "et",
        "ou",
        "donc",
        "or",
        "ni",
        "car",
        "si",
        "que",
        "qu",
        "qui",
        "dont",
        "où",
        "comme",
        "est",
        "sont",
        "a",
        "ont",
        "était",
        "été",
    ]
)
_ITEM = re.compile(r"[-–—•*·▪◦►>|#]|\w{1,3}[.)°]\s")
_FULL = 40  # characters of a line that may have been broken because it was full
_WORDS = re.compile(r"\w+")


class _Cut(NamedTuple):
    """An end of a sentence, and whether it is that of a line or a cell, too."""

    end: int
    following: int
    hard: bool


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Cut a text into sentences.

    Args:
        text: Any text.

    Returns:
        The character span ``(start, end)`` of each sentence, in order, in code points, without the white
        space around it; every other character is in one of them.
    """
    spans: list[tuple[int, int]] = []
    start = len(text) - len(text.lstrip())
    for end, following, _ in (*_cuts(text), _Cut(len(text), len(text), True)):
        if sentence := text[start:end].rstrip():
            spans.append((start, start + len(sentence)))
        start = max(start, following)
    return spans


def line_starts(text: str) -> list[int]:
    """Return where a new line or cell begins that has nothing to do with what stands before it.

    Args:
        text: Any text.

    Returns:
        Offsets of their first characters, in order; the text's own is not among them.
    """
    return [cut.following for cut in _cuts(text) if cut.hard]


def _cuts(text: str) -> Iterator[_Cut]:
    line = sentence = previous = 0  # where the line and the sentence began, and the length of the line before
    for place in _PLACE.finditer(text):
        begin, following = place.span()
        named = place.lastgroup
        space = place[named] if named else place[0]
        end = following - len(space)
        breaks = _BREAK.findall(space)
        if not breaks:
            if "\t" in space or named == "after" or _ends(text, sentence, begin, end, following):
                yield _Cut(end, following, "\t" in space)
                sentence = following
            continue
        above = text[line:end].rstrip()
        one = len(breaks) == 1 and text[begin] != "\t" and breaks[0] not in "\x0b\x0c\x1c\x1d\x1e\u2029"
        if named == "space":
            goes_on = (
                one and not _ends(text, sentence, begin, end, following) and not _is_item(text, following)
            )
        else:
            goes_on = one and named is None and _goes_on(above, text[following : following + 200], previous)
        if not goes_on:
            yield _Cut(end, following, True)
            sentence = following
        line, previous = following, len(above)


def _ends(text: str, start: int, begin: int, end: int, following: int) -> bool:
    """Say whether a sentence ends at a mark.

    Args:
        text: The text.
        start: Where the sentence begins.
        begin: Where the mark begins.
        end: Where the mark and the quotes and brackets after it end.
        following: Where the text goes on.
    """
    after = _AFTER.match(text, following)
    word, sign = after.groups() if after else ("", "")
    if not word:
        return text[following : following + 1] not in ".!?…,;:)»]"
    if word[0].islower():
        return False
    if text[begin] != "." or text[begin + 1 : begin + 2] in (".", "!", "?", "…"):
        return True
    before = _BEFORE.search(text, max(start, begin - _LONGEST), begin)
    if before is None:
        return True
    starts = word.lower() in _STARTERS and sign != "."
    last = re.split("['’]", before[0])[-1]
    if end > begin + 1 and text[begin + 1] != ".":  # a quote or a bracket was closed after the dot
        return True
    if last in _TITLES:
        return False
    if not last.strip("0123456789."):  # 3. or 1.2. before an entry of a list
        return before.start() > start
    if last.lower() in _NUMBERED and (word[0].isdigit() or len(word) == 1 or not word.strip("IVXLC")):
        return False
    if _INITIALS.fullmatch(last) or last.lower() in _ABBREVIATIONS:  # J., J.-P., S.N.C.F., etc.
        return starts and before.start() > start
    return True


def _is_item(text: str, start: int) -> bool:
    return _ITEM.match(text, start) is not None


def _goes_on(above: str, below: str, previous: int) -> bool:
    """Say whether a sentence goes on behind the end of a line that is no mark's.

    Args:
        above: The line.
        below: What follows it, its beginning.
        previous: Characters of the line before.
    """
    if not above or _is_item(below, 0) or above[-1] in ":;":
        return False
    if above[-1] in "-\u2010\u00ad" and above[-2:-1].isalpha():
        return True
    first, last = _WORDS.search(below), _WORDS.search(above, max(above.rfind(" "), above.rfind("'")) + 1)
    if first is None or last is None:
        return False
    word, before = first[0], last[0]
    if before in _INSIDE or word in _INSIDE:
        return True
    if word[0].islower():
        return len(above) >= _FULL or above[-1] == ","
    if word.lower() in _STARTERS:
        return False
    if before[0].isupper():
        return _is_name_between(above, below)
    line = _BREAK.split(below, maxsplit=1)[0]
    return len(above) >= _FULL and len(above) + 1 + len(word) > max(previous, len(line))


def _is_name_between(above: str, below: str) -> bool:
    """Say whether words with a capital are one name inside a sentence: *madame Lucie / Faure, née à Brest*.

    Two whole names are two (*par Lucie Faure / Hugo Blanc dort*), and what begins or ends a line without any
    sentence around it is no part of one.
    """
    head = above[-120:].split()[::-1]
    names = next((i for i, word in enumerate(head) if not word[0].isupper()), len(head))
    if names == len(head) or not head[names][0].islower() or head[names][-1] in ",.;:":
        return False
    tail = below[:120].split()
    goes_on = next((i for i, word in enumerate(tail) if not word[0].isupper() or word[-1] in ",.;:)"), None)
    if goes_on is None or not (tail[goes_on][0].islower() or tail[goes_on][0].isupper()):
        return False
    return names == 1 or goes_on + tail[goes_on][0].isupper() == 1
