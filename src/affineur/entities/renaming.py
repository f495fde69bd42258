"""What types of one corpus may be called in another."""

from __future__ import annotations

from collections.abc import Sequence

#: Names of one thing, the usual one first.
_SAME = (
    ("PER", "PERS", "PERSON", "PERSONNE", "PEOPLE", "PERSONNAME", "NAME", "NOM"),
    ("LOC", "LOCATION", "PLACE", "LIEU", "GPE", "GEO"),
    ("ORG", "ORGANIZATION", "ORGANISATION", "COMPANY", "CORPORATION", "COMP"),
    ("MISC", "MISCELLANEOUS", "OTHER", "OTH", "DIVERS"),
    ("DATE", "TIME", "TIM", "DAT"),
)


def renaming_hint(foreign: Sequence[str], known: Sequence[str]) -> str:
    """Say how types that a model does not know can be renamed or left out.

    A name is proposed only where it is plainly the same thing.

    Args:
        foreign: The types it does not know.
        known: Those it knows.
    """
    pairs = [f"{kind}={same}" for kind in foreign if (same := _same(kind, known))]
    if pairs:
        return f"rename with label_map {','.join(pairs)} (or =O to drop it)"
    return f"rename with label_map {foreign[0]}=TYPE, or {foreign[0]}=O to drop it"


def _same(kind: str, known: Sequence[str]) -> str | None:
    plain = _letters(kind)
    group = next((names for names in _SAME if plain in names), (plain,))
    return next((each for each in known if _letters(each) == plain or _letters(each) in group), None)


def _letters(kind: str) -> str:
    return "".join(filter(str.isalpha, kind.upper()))
