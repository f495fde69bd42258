"""Check digits, and patterns as spans."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import accumulate

#: Letters and digits of a BBAN and its country and check digits, by country: the IBAN registry (ISO 13616).
_IBAN_LENGTHS = {
    15: "NO",
    16: "BE",
    18: "DK FI NL",
    19: "SI",
    20: "AT EE LT LU",
    21: "CH HR LI LV",
    22: "BG DE GB IE VA",
    23: "GI",
    24: "AD CZ ES MD RO SE SK TN",
    25: "PT",
    26: "IS TR",
    27: "FR GR IT MC SM",
    28: "CY HU MA PL",
    31: "MT",
}
_NIR_BREAKS = frozenset((1, 3, 5, 7, 10, 13, 15))


def spans(
    pattern: re.Pattern[str], text: str, check: Callable[[str], bool] | None = None
) -> Iterator[tuple[int, int]]:
    """Yield where a pattern matches: its group ``v`` if it has one.

    Args:
        pattern: The pattern.
        text: The text.
        check: Says of what was found whether it is meant.
    """
    group: int | str = "v" if "v" in pattern.groupindex else 0
    for match in pattern.finditer(text):
        if match[group] and (check is None or check(match[group])):
            yield match.span(group)


def alphanumeric(text: str) -> str:
    """Return the letters and digits of a text, in capitals."""
    return "".join(filter(str.isalnum, text)).upper()


def is_nir(text: str) -> bool:
    """Say whether the key of a French social security number is right (INSEE; Corsica: 2A is 19, 2B 18).

    Spaces stand nowhere, where forms have them, or after each digit: numbers of a table are none.
    """
    number = alphanumeric(text)
    groups = [len(alphanumeric(part)) for part in re.split(r"\W", text)]
    if set(groups) != {1} and not _NIR_BREAKS.issuperset(list(accumulate(groups))):
        return False
    digits = number[:13].replace("2A", "19").replace("2B", "18")
    return len(number) == 15 and digits.isdigit() and 97 - int(digits) % 97 == int(number[13:])


def iban_length(country: str) -> int | None:
    """Return how many letters and digits an IBAN of a country has, or nothing if it has none."""
    wanted = country.upper()
    return next((length for length, known in _IBAN_LENGTHS.items() if wanted in known.split()), None)


def is_iban(text: str) -> bool:
    """Say whether the check digits of an IBAN are right (ISO 7064, mod 97-10)."""
    number = alphanumeric(text)
    moved = number[4:] + number[:4]
    return len(number) == iban_length(number[:2]) and int("".join(str(int(c, 36)) for c in moved)) % 97 == 1
