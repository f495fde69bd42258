"""Raw text to words: whitespace, elisions and punctuation apart, as French CoNLL corpora are cut.

A model learned its labels on the first piece of each *corpus* word, so raw text is cut the same way before
the tokenizer sees it. Hugging Face's own rules would take ``Paris.`` for one word and start a new one in
*l'Olympique*.

Scripts that put no space between words have no words without a dictionary. Each character is one there, as
corpora of Chinese and Japanese have them and BERT's tokenizer cuts them; in Thai, Lao, Khmer and Burmese it
takes along what cannot stand alone; a run of katakana is one word (Unicode's UAX #29). Entities are not
affected by words that are short: an entity is as many of them as the model says.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import pairwise

_QUOTE = r"['’]"
# Nobody sees them, and they part no word: soft hyphen, joiners.
_UNSEEN = r"\u00ad\u200c\u200d\u2060"
_LATIN_LETTERS = r"A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af"  # most texts have no others
_LATIN = rf"{_LATIN_LETTERS}0-9_"
_HAN = r"\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_HIRAGANA = r"\u3041-\u3096\u309d-\u309f\U0001b001-\U0001b11f\U0001b150-\U0001b152"
_KATAKANA = r"\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"
# Letters of Unicode's line breaking class SA (Thai, Lao, Burmese, Khmer, Tai scripts), their digits apart.
_CLUSTERED = (
    r"\u0e01-\u0e4f\u0e81-\u0ecf\u0edc-\u0edf\u1000-\u103f\u1050-\u108f\u109a-\u109f\u1780-\u17df"
    r"\u1950-\u197f\u1980-\u19cf\u1a20-\u1a7f\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaadf"
)
# Thai and Lao write some vowels before their consonant and some after it, as letters of their own.
_VOWEL_BEFORE, _VOWEL_AFTER = (
    r"\u0e40-\u0e44\u0ec0-\u0ec4",
    r"\u0e2f\u0e30\u0e32\u0e33\u0e45\u0e46\u0eb0\u0eb2\u0eb3\u0ec6",
)
_STACKER = r"\u1039\u17d2\u1a60"  # the next consonant stands below
_FLAG = r"[\U0001f1e6-\U0001f1ff]"
_ON_SIGN = r"\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f"  # colors of skin, flags of regions

_ADDRESS = r"""
          (?:(?:https?|ftp)://|www\.)(?=\w)                                               # URL
          (?:[^\s<>"«»()。、，]|\([^\s<>"«»()]*+\))*(?<![.,;:!?…'’\]}])
        | \w[\w.+%-]{0,63}+@\w[\w-]{0,62}+(?:\.\w[\w-]{0,62}+)++                         # e-mail address
        |
"""


@cache  # built when first needed: importing should cost nothing, and few texts have addresses
def _word(addresses: bool) -> re.Pattern[str]:
    letter = r"[^\W_]"
    marks = _marks()
    mark = f"(?-i:[{marks}{_UNSEEN}])"  # to look at a character in both cases takes time
    spaced = rf"(?-i:(?:[{_LATIN}]++|[^\W{_HAN}{_HIRAGANA}{_KATAKANA}{_CLUSTERED}]++|(?<=\w){mark}++)++)"
    on_sign = rf"(?-i:[{marks}{_ON_SIGN}\u200c]*+)"
    return re.compile(
        rf"""
          (?-i:[{_LATIN_LETTERS}]++(?=[ ,]))                                              # most words
        | {_ADDRESS if addresses else ""}
          (?:aujourd{_QUOTE}hui|c{_QUOTE}est-à-dire|prud{_QUOTE}hom\w*)(?!\w)            # fixed words
        | (?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu|quoiqu|quelqu|presqu){_QUOTE}              # elision
        | (?:{letter}\.){{2,}}(?!\w)                                                    # S.N.C.F.
        | (?:{letter}\.-)+{letter}\.(?!\w)                                             # J.-P.
        | [^\W\d_]\.(?=\s+[^\W\d_])                                                      # J. in J. Morvan
        | (?:MM?|Dr|Pr|Me|Mgr|St|Ste|etc|av|art|vol|chap|éd|cf|env)\.(?=\s)              # abbreviations
        | \d{{4}}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?(?!\w)     # ISO 8601
        | \d{{1,3}}(?:[\xa0\u202f]\d{{3}})++(?:[.,]\d+)?(?!\w)                             # 1 234 567,89
        | \d+(?:[.,:/]\d+)+(?!\w)                                                        # 3,5 12/05/24 14:30
        | -(?:t-)?(?:ils?|elles?|on|je|tu|ci|là)\b(?!-)                                  # -il, -ci
        | {spaced}(?:(?!-(?:t-)?(?:ils?|elles?|on|je|tu|ci|là)\b(?!-))[-.'’&]{spaced})*+  # words, hyphens
        | [{_HAN}{_HIRAGANA}]{mark}*+
        | (?:[{_KATAKANA}]{mark}*+)++
        | [{_VOWEL_BEFORE}]?[{_CLUSTERED}](?:{mark}|[{_VOWEL_AFTER}]|(?<=[{_STACKER}])[{_CLUSTERED}])*+
        | \.{{2,}}
        | {_FLAG}{_FLAG}
        | \S{on_sign}(?:\u200d[^\w\s]{on_sign})*+                                        # signs, emoji whole
        """,
        re.VERBOSE | re.IGNORECASE,
    )


def _marks() -> str:
    """Return all combining marks (Unicode's categories Mn, Mc, Me) as ranges of a character class."""
    planes = (range(0x300, 0x20000), range(0xE0100, 0xE01F0))  # there are none in between
    codes = [code for plane in planes for code in plane if unicodedata.category(chr(code))[0] == "M"]
    breaks = [0, *(i for i, (a, b) in enumerate(pairwise(codes), 1) if b != a + 1), len(codes)]
    return "".join(f"{chr(codes[a])}-{chr(codes[b - 1])}" for a, b in pairwise(breaks))


def split_words(text: str) -> list[tuple[int, int]]:
    """Cut a text into words.

    Args:
        text: Any text.

    Returns:
        The character span ``(start, end)`` of each word, in order, in code points; spaces belong to no word,
        but no-break ones between the digits of a number.
    """
    addresses = "@" in text or "://" in text or "www." in text.lower()
    return [match.span() for match in _word(addresses).finditer(text)]
