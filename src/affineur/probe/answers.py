"""Whether an endpoint's answers can be true.

French sentences with the mentions any French NER must find, and what holds for every answer.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from affineur.probe.client import Found

#: Our own sentences and their mentions. The fourth tells code points from bytes and from UTF-16 units: its
#: names stand behind an emoji.
KNOWN: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("Marie Curie est née à Varsovie.", (("PER", "Marie Curie"), ("LOC", "Varsovie"))),
    ("Le train pour Lyon part à midi.", (("LOC", "Lyon"),)),
    ("Jean Dupuis habite à Marseille avec sa sœur.", (("PER", "Jean Dupuis"), ("LOC", "Marseille"))),
    (
        "Bonjour 👋 Sophie Marchand, votre rendez-vous à Lille est confirmé.",
        (("PER", "Sophie Marchand"), ("LOC", "Lille")),
    ),
    ("L'équipe de Paul Martin a quitté Bordeaux hier soir.", (("PER", "Paul Martin"), ("LOC", "Bordeaux"))),
    (
        "Nous avons visité l'Italie, puis la Grèce, avec Thomas Petit.",
        (("LOC", "Italie"), ("LOC", "Grèce"), ("PER", "Thomas Petit")),
    ),
    ("La Banque de France a publié son rapport à Paris.", (("ORG", "Banque de France"), ("LOC", "Paris"))),
    (
        "Le docteur Isabelle Moreau consulte à Nantes et à Rennes.",
        (("PER", "Isabelle Moreau"), ("LOC", "Nantes"), ("LOC", "Rennes")),
    ),
    (
        "D'après Camille Roussel, il pleuvra demain à Toulouse.",
        (("PER", "Camille Roussel"), ("LOC", "Toulouse")),
    ),
    (
        "Anne Lambert et Hugo Mercier vivent en Belgique.",
        (("PER", "Anne Lambert"), ("PER", "Hugo Mercier"), ("LOC", "Belgique")),
    ),
    (
        "Julien Faure rejoint Airbus à Toulouse.",
        (("PER", "Julien Faure"), ("ORG", "Airbus"), ("LOC", "Toulouse")),
    ),
    ("Il a travaillé dix ans pour la SNCF avant de partir au Canada.", (("ORG", "SNCF"), ("LOC", "Canada"))),
    ("La société Michelin ouvrira une usine en Espagne.", (("ORG", "Michelin"), ("LOC", "Espagne"))),
)
#: Scores of one text that differ by less are equal: eight-bit activations may be scaled by what else is in
#: the batch.
SCORES_EQUAL = 0.02

_GROUPS = {
    "PERSON": "PER",
    "PERS": "PER",
    "PERSONNE": "PER",
    "LOCATION": "LOC",
    "GPE": "LOC",
    "LIEU": "LOC",
    "ORGANIZATION": "ORG",
    "ORGANISATION": "ORG",
}
_BEFORE = re.compile(r"(?:\s|[dlDL]['’])*")  # "l'Italie" and " Italie" are Italie
_UNKNOWN = re.compile(r"[<\[]unk[>\]]", re.IGNORECASE)  # how tokenizers render what their vocabulary lacks


def group_of(found: Found) -> str:
    """Return the type of an entity by its shortest usual name, without prefix: ``PER`` for ``B-PERSON``."""
    label = str(found.get("entity_group", found.get("entity"))).upper()
    bare = re.sub(r"^[BIESLU]-", "", label)
    return _GROUPS.get(bare, bare)


def is_piece(found: Found) -> bool:
    """Say whether it is one labeled piece: the answer of servers that put nothing together."""
    return "entity_group" not in found


def spans_of(text: str, entities: Sequence[Found]) -> set[tuple[str, int, int]]:
    """Return type, start and end of entities whose offsets lie in the text, trimmed.

    White space and elided articles at their edges are left out.
    """
    spans = set()
    for found in entities:
        if place := _offsets(text, found):
            start, end = place
            word = text[start:end]
            before = _BEFORE.match(word)
            spans.add(
                (
                    group_of(found),
                    start + (before.end() if before else 0),
                    end - len(word) + len(word.rstrip()),
                )
            )
    return spans


def missing(text: str, mentions: Sequence[tuple[str, str]], entities: Sequence[Found]) -> list[str]:
    """Name the mentions of a known sentence that are not among the entities found, by type and exact span."""
    spans = spans_of(text, entities)
    return [
        f"{kind} '{name}'"
        for kind, name in mentions
        if (kind, text.index(name), text.index(name) + len(name)) not in spans
    ]


def faults(text: str, entities: Sequence[Found]) -> list[str]:
    """Say what in an answer cannot be true.

    That is offsets outside the text, a word that is not there, a score that is no probability, overlaps.
    A word that differs from the text only by case, accents, marks and white space is the tokenizer's
    rendering, as Hugging Face's own pipeline gives it by its strategies, and no fault (see :func:`renders`).
    """
    said = []
    last = 0
    for found in sorted(entities, key=lambda each: each["start"] if type(each.get("start")) is int else 0):
        word, place = found.get("word"), _offsets(text, found)
        if not place:
            said.append(
                f"{word!r} has offsets {found.get('start')!r} to {found.get('end')!r}, "
                f"expected 0 ≤ start < end ≤ {len(text)}"
            )
            continue
        start, end = place
        if not isinstance(word, str) or (_bare(word) != _bare(text[start:end]) and not _UNKNOWN.search(word)):
            said.append(
                f"word is {word!r}, but the text from {start} to {end} is '{text[start:end]}'"
                f"{_other_units(text, word, start, end)}"
            )
        if not 0 <= _score(found) <= 1:
            said.append(f"{word!r} has the score {found.get('score')!r}, expected 0 to 1")
        if start < last:
            said.append(f"{word!r} from {start} to {end} overlaps the entity before it, which ends at {last}")
        last = max(last, end)
    return said


def renders(text: str, entities: Sequence[Found]) -> bool:
    """Say whether a word is the tokenizer's rendering and not the text itself."""
    return any(
        (place := _offsets(text, each)) and each.get("word") != text[slice(*place)] for each in entities
    )


def differ(single: Sequence[Found], listed: Sequence[Found]) -> bool:
    """Say whether one text's entities, asked alone and in a list, differ.

    They do by type, by offsets, or by score if by more than rounding.
    """
    if len(single) != len(listed):
        return True
    fields = ("entity_group", "entity", "start", "end")
    return any(
        any(one.get(key) != other.get(key) for key in fields)
        or not abs(_score(one) - _score(other)) <= SCORES_EQUAL
        for one, other in zip(single, listed, strict=True)
    )


def _score(found: Found) -> float:
    """Return the score, or -1 where it is no number."""
    score = found.get("score")
    if isinstance(score, bool) or not isinstance(score, (int, float)):
        return -1.0
    try:
        return float(score)
    except OverflowError:  # an integer of 400 digits
        return -1.0


def _offsets(text: str, found: Found) -> tuple[int, int] | None:
    """Return start and end where both are integers (``true`` is none) and lie in the text."""
    start, end = found.get("start"), found.get("end")
    if (
        isinstance(start, bool)
        or isinstance(end, bool)
        or not isinstance(start, int)
        or not isinstance(end, int)
    ):
        return None
    return (start, end) if 0 <= start < end <= len(text) else None


def _bare(word: str) -> str:
    """Leave letters and digits without case and accents; where there are none, all but white space."""
    plain = unicodedata.normalize("NFKD", word).casefold()
    return "".join(c for c in plain if c.isalnum()) or "".join(plain.split())


def _other_units(text: str, word: object, start: int, end: int) -> str:
    """Recognize offsets counted in something else than code points."""
    for name, encoding, width in (("UTF-16 units", "utf-16-le", 2), ("bytes of UTF-8", "utf-8", 1)):
        cut = text.encode(encoding, "surrogatepass")[start * width : end * width].decode(encoding, "replace")
        if cut == word:
            return f"; the offsets count {name}, expected code points"
    return ""
