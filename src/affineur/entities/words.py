"""Raw text to words: whitespace, elisions and punctuation apart, as French CoNLL corpora are cut.

A model learned its labels on the first piece of each *corpus* word, so raw text is cut the same way before
the tokenizer sees it. Hugging Face's own rules would take ``Paris.`` for one word and start a new one in
*l'Olympique*.
"""

from __future__ import annotations

import re

_LETTER = r"[^\W_]"
_MARK = r"[\u0300-\u036f\u200c\u200d]"  # combining marks and joiners belong to the letter before
_CHAR = rf"(?:\w{_MARK}*)"
_QUOTE = r"['’]"

_WORD = re.compile(
    rf"""
      (?:aujourd{_QUOTE}hui|c{_QUOTE}est-à-dire|prud{_QUOTE}hom\w*)(?!\w)            # fixed words
    | (?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu|quoiqu|quelqu|presqu){_QUOTE}              # elision
    | (?:{_LETTER}\.){{2,}}(?!\w)                                                    # S.N.C.F.
    | (?:{_LETTER}\.-)+{_LETTER}\.(?!\w)                                             # J.-P.
    | [^\W\d_]\.(?=\s+[^\W\d_])                                                      # J. in J. Morvan
    | (?:MM?|Dr|Pr|Me|Mgr|St|Ste|etc|av|art|vol|chap|éd|cf|env)\.(?=\s)              # abbreviations
    | \d+(?:[.,]\d+)+(?!\w)                                                          # 3,5
    | -(?:t-)?(?:ils?|elles?|on|je|tu|ci|là)\b(?!-)                                  # -il, -ci
    | {_CHAR}+(?:(?!-(?:t-)?(?:ils?|elles?|on|je|tu|ci|là)\b(?!-))[-.'’&]{_CHAR}+)*  # words, hyphens inside
    | \.{{2,}}
    | \S
    """,
    re.VERBOSE | re.IGNORECASE,
)


def split_words(text: str) -> list[tuple[int, int]]:
    """Cut a text into words.

    Args:
        text: Any text.

    Returns:
        The character span ``(start, end)`` of each word, in order, in code points; spaces belong to no word.
    """
    return [match.span() for match in _WORD.finditer(text)]
