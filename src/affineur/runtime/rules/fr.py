"""What identifies people in French texts and has a form of its own: addresses, numbers, dates."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial

from affineur.runtime.rules.core.checks import alphanumeric, iban_length, is_iban, is_nir, spans
from affineur.runtime.rules.core.french_dates import dates
from affineur.runtime.rules.core.rule import Rule, RuleSet

_S = " \xa0\u202f"  # spaces within a number
_FREE = r"(?<![\w])(?<!\d[.,/\-])"  # nothing of a longer number before
_END = r"(?!\w)(?![.,/\-]\d)"

_EMAIL = re.compile(
    r"(?<![\w.+%\-@])[\w.+%\-]{1,64}[ ]?(?:@|\(at\)|\[at\])[ ]?"
    r"(?:(?:[\w\-]{1,63}\.){1,8}[^\W\d_]{2,24}|[\w\-]{1,63}[ ]\.[ ](?:fr|com|org|net|eu))(?![\w@])",
    re.IGNORECASE,
)
_URL = re.compile(r"(?P<v>\b(?:https?://|ftp://|www\.)[^\s<>\"«»]{0,2000}[\w/=&#%+\-~])")
_DOMAIN = re.compile(
    r"(?<![\w@.\-/])(?:[a-z0-9][a-z0-9\-]{0,62}\.){1,5}(?:fr|com|org|net|eu)(?![\w\-@]"
    r"|\.\w)(?:/[^\s<>\"«»]{0,2000}[\w/])?"
)

_PAIRS = rf"(?:[{_S}.\-]?\d\d)"
_PHONES = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        # 06 12 34 56 78, 01.42.16.40.10, 06 / 28 / 42 / 50 / 36, 0654321867
        rf"{_FREE}0[1-9](?P<s>[{_S}]?[.\-/][{_S}]?|[{_S}]?)\d\d(?:(?P=s)\d\d){{3}}{_END}",
        # 03 01 23.56 74, 09 65 42 8231: as people type; not among other numbers, nor a date and a time
        rf"{_FREE}(?<!\d[ ])(?!\d\d(?P<s>[.\-/])\d\d(?P=s)\d\d)0[1-9]{_PAIRS}{{4}}{_END}(?![ ]\d)",
        # O1.42.15.93.30: what scanners read
        rf"{_FREE}[0O][1-9](?:\.[\dO]{{2}}){{4}}{_END}",
        # +33 6 12 34 56 78, +33 (0)1 …, 0033 6 …, (33) 1 20 49 98 13
        rf"(?:(?:\+|(?<!\d)00)[ ]?33"
        rf"|\([ ]?\+?[ ]?33[ ]?\))[{_S}.\-]?(?:\([ ]?0[ ]?\)[{_S}]?)?[1-9]{_PAIRS}{{4}}{_END}",
        # +49 30 5682001: of other countries, and the overseas
        rf"(?<![\w+])\+[ ]?[1-9]\d{{0,2}}(?:[{_S}.\-]?\d){{7,13}}{_END}",
        # 0 800 123 456, 0825 826 827
        rf"{_FREE}0[ ]?8\d\d(?P<s>[{_S}.]?)\d{{3}}(?P=s)\d{{3}}{_END}",
        # Tél : 38 69 12, poste 4512, joignable au 73389
        r"\b(?:t[ée]l(?:[ée](?:phone|copie))?|fax|portable|mobile|gsm|poste|phone|(?:joignables?"
        r"|faxer)[ ]au)\b"
        rf"[{_S}:.n°º]{{0,5}}(?P<v>[+(]?\d(?:[{_S}.\-]?\d){{3,14}}){_END}",
    )
)

_NIR_SEPARATOR = rf"[{_S}.\-/]?"
_NIR = re.compile(
    r"(?<!\d)(?=(?P<v>"
    + _NIR_SEPARATOR.join(
        (r"[1-478]", r"\d", r"\d", r"(?:0S[1-9]|1S[0-2]|[2-9]S\d)", r"(?:\dS\d|2S[AB])", *[r"\d"] * 8)
    ).replace("S", _NIR_SEPARATOR)
    + r")(?!\d))",
    re.IGNORECASE,
)
_NIR_LABELED = re.compile(
    r"(?:\bNIR\b|\bINS\b|\bNSS\b|\bn[°ºo][ ]?(?:de[ ])?s\.?s\.?(?!\w)"
    r"|s[ée]cu(?:rit[ée][ ]sociale)?\b|\bassur[ée]e?\b)"
    rf"[^\d\n]{{0,60}}(?P<v>\d(?:{_NIR_SEPARATOR}\d){{4,5}}(?:{_NIR_SEPARATOR}[0-9AB])"
    rf"(?:{_NIR_SEPARATOR}\d){{4,8}})(?!\w)",
    re.IGNORECASE,
)

_IBAN = re.compile(r"(?<!\w)(?P<v>[A-Z]{2}[ ]?\d\d)(?=[ ]?\w)", re.IGNORECASE)
_IBAN_LABELED = re.compile(
    r"\bIBAN\b[^\w\n]{0,5}(?P<v>[A-Z]{2}[ ]?\d\d(?:[ ]?[A-Z0-9]{4}){2,7}(?:[ ]?[A-Z0-9]{1,3})?)(?!\w)",
    re.IGNORECASE,
)

# Between a label and its number.
_FILL = (
    rf"(?:[{_S}\t:=#.)(\"]|n[ ]?[°º]\.?|no\b\.?|num[ée]ro|est|[ée]tant|le\b|IPP\b|du\b|de\b"
    rf"|la\b|patiente?\b){{0,10}}"
)
_CODE = (
    r"(?P<v>[A-Z]{0,4}\d[A-Z0-9]{0,20}(?:(?<=[A-Z0-9]{4})|(?:[ .\-]\d{2,4}(?![\w/]|[.:\-]\d)){1,5}))(?!\w)"
)
_LABELS = {
    "ipp": r"\bI\.?P\.?P\b\.?|\bIP(?=[ ]?:)|\bNIP\b|\bidentifi(?:ant"
    r"|cation)[ ](?:permanent[ ])?(?:du[ ])?patiente?\b"
    r"|\bn[ ]?[°º][ ]?(?:de[ ])?patiente?\b|\bpatiente?[ ](?=\d{8})",
    "nda": r"\bNDA\b|\bIEP\b|\b(?:n[°ºo]|num[ée]ro)[ ]?(?:de[ ]|du[ ])?(?:la[ ])?(?:dossier"
    r"|s[ée]jour|venue|visite)\b"
    r"|\b(?:dossier|s[ée]jour|venue)(?:[ ](?:patient|m[ée]dical|administratif))?[ ]?(?=n[ ]?[°º]"
    r"|num[ée]ro|[:#])"
    r"|\b(?:dossier|visite|d[’'][ ]?hospitalisation(?:[ ]est)?)[ ](?=\d{8})",
    "rpps": r"\bR\.?P\.?P\.?S\b\.?",
    "adeli": r"\bADELI\b",
    "finess": r"\bFINESS\b(?:[ ](?:ET|EJ|g[ée]ographique|juridique)\b)?",
}
_CODES = {name: re.compile(f"(?:{label}){_FILL}{_CODE}", re.IGNORECASE) for name, label in _LABELS.items()}
_DIGITS = {"rpps": (11, 11), "adeli": (9, 9), "finess": (9, 9)}

_PLATE = re.compile(
    r"(?<![\w\-])[A-HJ-NP-TV-Z]{2}(?P<s>[ \-])\d{3}(?P=s)[A-HJ-NP-TV-Z]{2}(?![\w\-])"
    r"|(?<=\bimmatriculée )\d{1,4}[ ]?[A-Z]{2,3}[ ]?(?:\d\d|2[AB])\b"
    r"|(?<=\bimmatriculé )\d{1,4}[ ]?[A-Z]{2,3}[ ]?(?:\d\d|2[AB])\b"
)

_POSTCODE = re.compile(
    r"(?<![\w.,/\-])(?<!\d[ ])(?:F-?[ ]?)?(?P<v>(?:0[1-9]|[1-8]\d|9[0-578])[ ]?\d{3})(?![\w%]|[.,/\-]\d)"
)
_TOWN = re.compile(r"[ ]{0,2}[,–\-]?[ ]{0,2}(?:[A-ZÉÈÊÎÔÂÇŒ][\w’'.\-]{2,}|Eu\b|Us\b)")
_NO_TOWN = re.compile(
    r"[ ,–\-]*(?:UI\b|Euros?|EUR\b|Plaq|Leuco|H[ée]mat|Patient|Cas\b|Habitants|PNN|Unit|Monsieur"
    r"|Madame|Mme|Mlle|Dr\b|Docteur)",
    re.IGNORECASE,
)
_STREET = re.compile(
    r"\b(?:rue|avenue|avn?|bd|bld|boulevard|place|all[ée]e|chemin|impasse|quai|route|cours|passage"
    r"|square|villa"
    r"|r[ée]sidence|lieu-dit|faubourg|adresse|domicili\w*|r[ée]sid\w*|habit\w*|demeur\w*|code[ ]postal|CP)\b",
    re.IGNORECASE,
)
_NUMBERED = re.compile(
    r"(?:\b(?:IPP|NDA|ID|r[ée]f\w*|lot|dossier|num[ée]ro|n[°ºo]|BP|CS|t[ée]l\w*|poste)[ .:°º#]{0,4}"
    r"|[+<>=≤≥]\s?)$",
    re.IGNORECASE,
)


def _phones(text: str) -> Iterator[tuple[int, int]]:
    for pattern in _PHONES:
        yield from spans(pattern, text)


def _urls(text: str) -> Iterator[tuple[int, int]]:
    yield from spans(_URL, text)
    yield from spans(_DOMAIN, text)


def _nirs(text: str) -> Iterator[tuple[int, int]]:
    yield from spans(_NIR, text, is_nir)
    yield from spans(_NIR_LABELED, text)


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    for match in _IBAN.finditer(text):
        start, length = match.start(), iban_length(match[0][:2])
        if length is None:
            continue
        end, seen = start, 0
        for end in range(start, min(len(text), start + 2 * length)):
            if text[end].isascii() and text[end].isalnum():
                seen += 1
            elif text[end] not in " \xa0\u202f-.":
                break
            if seen == length:
                break
        if seen == length and not text[end + 1 : end + 2].isalnum() and is_iban(text[start : end + 1]):
            yield start, end + 1
    yield from spans(_IBAN_LABELED, text)


def _codes(text: str, name: str) -> Iterator[tuple[int, int]]:
    """Yield numbers behind their label, and where the same number stands again."""
    least, most = _DIGITS.get(name, (4, 24))

    def is_code(found: str) -> bool:
        return least <= sum(map(str.isdigit, alphanumeric(found))) <= most

    values = set()
    for start, end in spans(_CODES[name], text, is_code):
        values.add(text[start:end])
        yield start, end
    long = sorted((each for each in values if len(each) > 5), key=len, reverse=True)
    if long:
        yield from spans(re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, long))})(?!\w)"), text)


def _postcodes(text: str) -> Iterator[tuple[int, int]]:
    for match in _POSTCODE.finditer(text):
        start, end = match.span("v")
        line = text.rfind("\n", 0, start) + 1
        before = text[max(line, start - 100) : match.start()]
        named = _TOWN.match(text, end) and not _NO_TOWN.match(text, end)
        if not _NUMBERED.search(before[-20:]) and (named or _STREET.search(before)):
            yield start, end


def _simple(pattern: re.Pattern[str]) -> Callable[[str], Iterator[tuple[int, int]]]:
    return partial(spans, pattern)


RULES = RuleSet(
    "identifiers of French letters and records",
    {
        "email": Rule("EMAIL", "e-mail addresses", _simple(_EMAIL)),
        "url": Rule("URL", "web addresses", _urls),
        "nir": Rule("NIR", "social security numbers with the right key, or behind their label", _nirs),
        "iban": Rule("IBAN", "bank accounts with the right check digits, or behind IBAN", _ibans),
        "ipp": Rule("IPP", "numbers of patients behind their label", partial(_codes, name="ipp")),
        "nda": Rule("NDA", "numbers of stays and files behind their label", partial(_codes, name="nda")),
        "rpps": Rule("RPPS", "numbers of health professionals behind RPPS", partial(_codes, name="rpps")),
        "adeli": Rule("ADELI", "numbers of health professionals behind ADELI", partial(_codes, name="adeli")),
        "finess": Rule("FINESS", "numbers of establishments behind FINESS", partial(_codes, name="finess")),
        "phone": Rule("PHONE", "telephone and fax numbers", _phones),
        "date": Rule("DATE", "dates with a day or a month and a year, in digits and in words", dates),
        "postcode": Rule("POSTCODE", "postal codes with a town or a street beside them", _postcodes),
        "plate": Rule("PLATE", "number plates of vehicles", _simple(_PLATE)),
    },
)
