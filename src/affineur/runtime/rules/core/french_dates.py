"""Dates as French texts write them: in digits, with months in words, and in words throughout."""

from __future__ import annotations

import re
from collections.abc import Iterator

from affineur.runtime.rules.core.checks import spans

MONTHS = (
    r"janv(?:ier|\.)?|jan\.?|f[ée]v(?:rier|r\.?|\.)?|feb\.?|mars|avr(?:il|\.)?|mai|juin|juil(?:let|\.)?"
    r"|ao[uû]t|sept(?:embre|\.)?|oct(?:obre|\.)?|nov(?:embre|\.)?|d[ée]c(?:embre|\.)?"
)
WEEKDAYS = "lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche"
_UNITS = "un|deux|trois|quatre|cinq|six|sept|huit|neuf"
_TEENS = "dix[ -](?:sept|huit|neuf)|dix|onze|douze|treize|quatorze|quinze|seize"
_DAY_WORDS = (
    rf"premier|trente[ -]et[ -]un|trente|vingt[ -]et[ -]un|vingt[ -](?:{_UNITS})|vingt|{_TEENS}|{_UNITS}"
)
_NUMBER = rf"{_UNITS}|{_TEENS}|vingts?|trente|quarante|cinquante|soixante|cents?|et|une"
_YEAR_WORDS = rf"(?:mil(?:le)?|deux[ -]mille)(?:[ -](?:{_NUMBER})\b){{0,8}}"
_YEAR = r"(?:1[89]|20|21)\d\d(?!\d)"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_MONTH = r"(?:0?[1-9]|1[0-2])"
_BEFORE = r"(?<![\w.,/\-])(?<!\d[ ][./\-|])"
_AFTER = r"(?!\d)(?![./\-]\d)"
_SHORT_YEAR = r"\d\d(?!\d)(?![ ]?(?:h|:|ans?\b|%|mg|g\b|ml|[.,/\-]\d))"

_FORMS = (
    # 26/02/2013, 26 / 02 / 2013, 24.06.1971, 30-03-2024, 21 | 05 | 1956
    rf"{_BEFORE}{_DAY}(?P<a>[ ]?[./\-|][ ]?){_MONTH}[ ]?[./\-|][ ]?{_YEAR}{_AFTER}",
    # 03/11/21, 06-03-02, 15.04.45; with one digit only with a slash, or after "le"
    rf"{_BEFORE}(?:0[1-9]|[12]\d|3[01])(?P<b>[ ]?[./\-|][ ]?)(?:0[1-9]|1[0-2])(?P=b)\d\d{_AFTER}",
    rf"{_BEFORE}{_DAY}(?P<c>[ ]?/[ ]?){_MONTH}(?P=c)\d\d{_AFTER}",
    rf"\b(?:le|du|au)[ ](?P<v>{_DAY}(?P<d>[./\-]){_MONTH}(?:(?P=d)\d\d)?){_AFTER}(?![ ]?%)",
    rf"\b(?:le|du|au)[ ](?P<v>{_DAY}[ ]/[ ]{_MONTH}){_AFTER}(?![ ]/)",
    r"\b(?:le|du|au|n[ée]e?)[ ](?P<v>(?:0[1-9]|[12]\d|3[01])(?:0[1-9]|1[0-2])(?:19|20)\d\d)(?!\d)",
    # 2023-03-30, 2023 / 03 / 30; 03/2015; 02 01 1978, vingt-six 02 2012
    rf"{_BEFORE}(?:1[89]|20|21)\d\d(?P<e>[ ]?[./\-][ ]?)(?:0[1-9]|1[0-2])(?P=e)(?:0[1-9]|[12]\d|3[01])"
    r"(?=T\d|(?!\w))(?![./\-]\d)",
    rf"{_BEFORE}(?<!/[ ]){_MONTH}[ ]?/[ ]?{_YEAR}{_AFTER}",
    rf"{_BEFORE}(?<!\d[ ])(?:(?:0[1-9]|[12]\d|3[01])|\b(?:{_DAY_WORDS}))[ ](?:0[1-9]"
    rf"|1[0-2])[ ]{_YEAR}{_AFTER}",
    # 1er mars 2022, 18 avril, 05nov, lundi 3 mai, le deux janvier mille neuf cent soixante dix huit
    rf"(?<![\w.,/\-])(?:(?:{WEEKDAYS})[ ,]{{1,2}}(?:le[ ])?)?(?:(?:1[ ]?er|{_DAY})[ \-]?"
    rf"|(?:{_DAY_WORDS})[ ](?!sept\b))(?:{MONTHS})"
    rf"(?![^\W\d_])(?:[ \-,]{{0,3}}(?:{_YEAR}|{_YEAR_WORDS}\b)|[ ]{_SHORT_YEAR})?",
    # nov. 2019, dec1993, mars mille neuf cent dix; Sept 01 , 2026
    rf"(?<![\w])(?:{MONTHS})[ \-,]{{0,2}}(?:{_YEAR}|{_YEAR_WORDS}\b)",
    rf"(?<![\w])(?:{MONTHS})[ ]{_DAY}[ ]?,[ ]?{_YEAR}",
)
_DATES = tuple(re.compile(form.replace("[ ]", "[ \xa0\u202f]"), re.IGNORECASE) for form in _FORMS)


def dates(text: str) -> Iterator[tuple[int, int]]:
    """Yield where dates stand in a text; a year alone, a weekday alone and times of day are none."""
    for pattern in _DATES:
        yield from spans(pattern, text)
