"""What people write for tags, in data and in models, and the tags that are meant.

The one place that knows it. A set of labels is understood as a whole: ``E-MAIL`` is a type where ``PER`` and
``LOC`` stand beside it without a prefix, and the end of a mention of type ``MAIL`` where ``B-MAIL`` does.

References: Ramshaw and Marcus 1995 (IOB1), Sang and Veenstra 1999 (IOB2, IOE1, IOE2), Ratinov and Roth 2009
(BILOU); BMES and BMEOW are what Chinese corpora and Borthwick 1999 use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from affineur.entities.schemes import Scheme
from affineur.errors import brief

#: Letters that belong together, and what each becomes. A set of prefixes has to lie within one of them.
_FAMILIES = ("BI", "BIES", "BILU", "BMES", "BMEW", "IE")
_LETTERS = "BIESLUMW"
_PLAIN = {"M": "I", "W": "S"}  # L and U stay: whoever splits a tag knows them
_HYPHENS = re.compile(r"[‐‑‒–—−﹣－]")
_AROUND = " \t\r\n\v\f\xa0\u200b\u200c\u200d\u2060\ufeff\u202f\u3000"
_NUMBER = re.compile(r"-?\d+(?:\.0+)?")
_TYPE = re.compile(r"[^\W\d_](?:[\w .&/+:'’-]*[\w+])?")
_NO_WORD = re.compile(r"(?:\[\w+\]|<\w+>)")
_SEPARATORS = "-_:/.| "

#: A label's letter (upper case) and its type; ``None`` where it is not written so.
_Parse = Callable[[str], tuple[str, str] | None]


class LabelError(ValueError):
    """A label that cannot be understood, or that may mean two things.

    Args:
        label: The label, as it was given.
        message: What is wrong with it and what to do.
        parameter: The Python name of the parameter that would help.
    """

    def __init__(self, label: str, message: str, parameter: str | None = None) -> None:
        self.label, self.parameter = label, parameter
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a set of labels means.

    Args:
        tags: Of every label the tag that is meant: ``O``, or ``B-``, ``I-``, ``E-`` or ``S-`` (BILOU's ``L-``
            and ``U-`` stay as they are) and a type.
        scheme: The scheme of these tags, as far as the set tells. ``BIO`` may turn out to be ``IOB1``, and
            ``IOE2`` to be ``IOE1``: that only sentences tell.
        notes: What was understood that a person should know, each a clause; empty where the labels are
            written as usual.
    """

    tags: Mapping[str, str]
    scheme: Scheme
    notes: tuple[str, ...] = ()


def understand(
    labels: Iterable[str],
    *,
    scheme: Scheme | None = None,
    names: Sequence[str] | None = None,
    of_model: bool = False,
) -> Dialect:
    """Say what a set of labels means.

    Understood are IO, IOB1, BIO (IOB2), BIOES, BILOU, BMES, BMEOW, IOE1 and IOE2; types without prefix, read
    as IO; ``B_PER``, ``B:PER`` and the like; ``PER-B``; lower case (``b-per``, whose type becomes ``PER``,
    and ``o``); numbers with ``names``; types such as ``E-MAIL`` or ``O`` (``I-O``).

    Args:
        labels: Every label there is, of a whole corpus or a whole model.
        scheme: The scheme, where it is known.
        names: Names of labels that are numbers, in their order.
        of_model: Whether they are the labels of a model, which may lack ``O``, have types without prefix
            beside tags, and have labels for what is no word, as in ``[PAD]``.

    Raises:
        LabelError: If one of them is no tag in any spelling, or may mean two things.
    """
    given = sorted(set(labels))
    bare = {label: label.strip(_AROUND) for label in given}
    for label, text in bare.items():
        if not text:
            raise LabelError(label, f"found the tag '{label}', expected O or a tag such as B-PER")
    notes: list[str] = []
    bare = _named(bare, names)
    outside = {label for label, text in bare.items() if text in ("O", "o")}
    if of_model:
        outside |= {label for label, text in bare.items() if _NO_WORD.fullmatch(text)}
        if special := sorted(bare[label] for label in outside if bare[label] not in ("O", "o")):
            notes.append(f"{', '.join(special)} {'is' if len(special) == 1 else 'are'} read as O")
    texts = {label: text for label, text in bare.items() if label not in outside}
    parts, said = _parsed(texts, scheme, of_model)
    untagged = all(part == ("I", texts[label]) for label, part in parts.items())
    if texts and untagged and not outside and not of_model:
        raise LabelError(
            next(iter(texts)),
            f"found {_listed(texts.values())} and no O, expected tags such as B-PER, or types and O; is this"
            " the column of the tags? tag_column=N names another",
            "tag_column",
        )
    lower = outside and "O" not in bare.values() and all(text == text.lower() for text in texts.values())
    if texts and untagged and lower:  # o, per, loc
        parts = {label: ("I", kind.upper()) for label, (_, kind) in parts.items()}
        said = [_said(texts, parts)]
    tags = dict.fromkeys(outside, "O") | {
        label: f"{_PLAIN.get(letter, letter)}-{kind}" for label, (letter, kind) in parts.items()
    }
    notes += said
    if any(bare[label] == "o" for label in outside):
        notes.append("o is read as O")
    letters = {letter for letter, _ in parts.values()}
    return Dialect({label: tags[label] for label in given}, _scheme_of(letters, scheme), tuple(notes))


def is_number(label: str) -> bool:
    """Say whether a label is the number of one: ``3``, or ``3.0`` as spreadsheets write it."""
    return _NUMBER.fullmatch(label.strip(_AROUND)) is not None


def _named(bare: Mapping[str, str], names: Sequence[str] | None) -> dict[str, str]:
    """Give labels that are numbers their names."""
    numbers = [label for label, text in bare.items() if is_number(text)]
    if not numbers:
        return dict(bare)
    if not names:
        others = set(bare.values()) - {bare[label] for label in numbers}
        beside = f"; beside them stand {_listed(others)}" if others else ""
        raise LabelError(
            numbers[0],
            f"the tags are numbers and nothing names them; give tag_names (O,I-PER,… in order){beside}",
            "tag_names",
        )
    found = dict(bare)
    for label in numbers:
        number = int(float(bare[label]))
        if not 0 <= number < len(names):
            raise LabelError(
                label,
                f"found the tag {bare[label]}, but the {len(names)} names ({', '.join(names)}) go from 0 to"
                f" {len(names) - 1}",
                "tag_names",
            )
        found[label] = names[number].strip(_AROUND)
    return found


def _parsed(
    texts: Mapping[str, str], scheme: Scheme | None, of_model: bool
) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Return letter and type of each label, and what is to be said of them."""
    if not texts:
        return {}, []
    usual = {label: part for label, text in texts.items() if (part := _usual(text))}
    if scheme is Scheme.IO and (len(usual) < len(texts) or _doubtful(usual)):
        usual = {label: part for label, part in usual.items() if part[0] == "I"}
    if scheme is None and len(usual) == len(texts) and (doubt := _doubtful(usual)):
        raise LabelError(
            doubt,
            f"'{texts[doubt]}' may be a type of its own, or the end of a mention of type {usual[doubt][1]};"
            f" write I-{texts[doubt]}, or give scheme=IO for the first and scheme=IOE2 for the second",
            "scheme",
        )
    if len(usual) == len(texts):
        _refuse_mixture(usual)
        return usual, []
    for parse in _SPELLINGS:
        found = {label: part for label, text in texts.items() if (part := parse(text))}
        letters = {letter for letter, _ in found.values()}
        if len(found) == len(texts) and letters & {"B", "I"} and not _doubtful(found):
            found = _as_meant(texts, found)
            _refuse_mixture(found)
            return found, [_said(texts, found)]
    return _some_bare(texts, usual, scheme, of_model)


def _some_bare(
    texts: Mapping[str, str],
    usual: Mapping[str, tuple[str, str]],
    scheme: Scheme | None,
    of_model: bool,
) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Read labels of which some at least are types without prefix, or are misspelt."""
    begun = any(letter in "BI" for letter, _ in usual.values())
    tagged = {label: part for label, part in usual.items() if begun and not _stray(part, usual)}
    rest = {label: text for label, text in texts.items() if label not in tagged}
    if tagged:
        known = {kind for _, kind in tagged.values()}
        said = []
        for label, text in rest.items():
            others = [part for parse in _SPELLINGS if (part := parse(text))]
            others += [(letter, kind.upper()) for letter, kind in others]
            found = next((part for part in others if part[1] in known), None)
            if found:
                said.append(f"{text} is read as {found[0]}-{found[1]}")
            elif of_model and _TYPE.fullmatch(text):
                found = ("I", text)
                said.append(f"{text} is read as I-{text}")
            else:
                raise LabelError(label, _no_tag(text))
            tagged[label] = found
        _refuse_mixture(tagged)
        return tagged, said
    for label, text in rest.items():
        if text.upper() in _LETTERS:
            raise LabelError(label, f"the tag '{text}' names no type; write one, as in {text.upper()}-PER")
        strange = scheme is not Scheme.IO and all(other[1:2] == "-" for other in rest.values())
        if strange or not _TYPE.fullmatch(text):
            raise LabelError(label, _no_tag(text))
    said = []
    for label, (_, kind) in usual.items():
        if kind in rest.values():
            raise LabelError(
                label,
                f"'{texts[label]}' may be a tag of the type {kind} or a type of its own; write I-{kind}",
            )
        said.append(f"{texts[label]} is read as a type of its own: no tag has a prefix")
    return {label: ("I", text) for label, text in rest.items()}, said


def _no_tag(text: str) -> str:
    return f"'{text}' is not a tag (expected O, or B-, I-, E- or S- and a type, as in B-PER)"


def _usual(text: str) -> tuple[str, str] | None:
    letter, hyphen, kind = text.partition("-")
    return (letter, kind) if hyphen and kind and len(letter) == 1 and letter in _LETTERS else None


def _prefixed(separator: str) -> _Parse:
    def parse(text: str) -> tuple[str, str] | None:
        text = _HYPHENS.sub("-", text)
        letter, kind = text[:1].upper(), text[2:].strip()
        return (letter, kind) if text[1:2] == separator and kind and letter in _LETTERS else None

    return parse


def _suffixed(separator: str) -> _Parse:
    def parse(text: str) -> tuple[str, str] | None:
        text = _HYPHENS.sub("-", text)
        letter, kind = text[-1:].upper(), text[:-2].strip()
        return (letter, kind) if text[-2:-1] == separator and kind and letter in _LETTERS else None

    return parse


#: Ways to write tags beside the usual one, in the order in which they are tried.
_SPELLINGS: list[_Parse] = [*map(_prefixed, _SEPARATORS), *map(_suffixed, _SEPARATORS)]


def _as_meant(texts: Mapping[str, str], found: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Write types in upper case where whole labels are in lower case, and no other label has the type so."""
    lower = {label for label in found if texts[label] == texts[label].lower()}
    kept = {kind for label, (_, kind) in found.items() if label not in lower}
    return {
        label: (letter, kind.upper() if label in lower and kind not in kept else kind)
        for label, (letter, kind) in found.items()
    }


def _stray(part: tuple[str, str], found: Mapping[str, tuple[str, str]]) -> bool:
    """Say whether a tag goes on with or ends a mention, and no tag of its type begins one."""
    return part[0] in "ELM" and not any(kind == part[1] and letter in "BI" for letter, kind in found.values())


def _doubtful(found: Mapping[str, tuple[str, str]]) -> str | None:
    """Return a label with the letter of an end whose type has no beginning, as E-MAIL has none."""
    begun = {kind for letter, kind in found.values() if letter in "BI"}
    ends = [label for label, (letter, kind) in found.items() if letter in "ELM" and kind not in begun]
    if not ends:
        return None
    letters = {letter for letter, _ in found.values()}
    kinds = {kind for _, kind in found.values()}
    # IOE2: every type may have mentions of one word alone, but then some type has longer ones
    return None if letters == {"I", "E"} and begun and len(kinds) > 1 and _all_end(found) else ends[0]


def _all_end(found: Mapping[str, tuple[str, str]]) -> bool:
    ended = {kind for letter, kind in found.values() if letter == "E"}
    return all(kind in ended for _, kind in found.values())


def _refuse_mixture(found: Mapping[str, tuple[str, str]]) -> None:
    letters = {letter for letter, _ in found.values()}
    if any(letters <= set(family) for family in _FAMILIES):
        return
    label = next(label for label, (letter, _) in found.items() if letter not in "BI")
    raise LabelError(
        label,
        f"the prefixes {', '.join(sorted(letters))} belong to no one scheme (expected B I, B I E S, B I L U,"
        " B M E S, B M E W, or I E)",
    )


def _scheme_of(letters: set[str], scheme: Scheme | None) -> Scheme:
    if scheme is not None:
        return scheme
    if letters == {"I", "E"} or letters == {"E"}:
        return Scheme.IOE2
    if letters & set("ESLUMW"):
        return Scheme.BIOES
    return Scheme.BIO if "B" in letters else Scheme.IO


def _said(texts: Mapping[str, str], found: Mapping[str, tuple[str, str]]) -> str:
    label = next(iter(found))
    letter, kind = found[label]
    others = ", and the others alike" if len(found) > 1 else ""
    return f"{texts[label]} is read as {_PLAIN.get(letter, letter)}-{kind}{others}"


def _listed(texts: Iterable[str]) -> str:
    some = sorted(set(texts))
    return ", ".join(brief(text, 40)[1:-1] for text in some[:6]) + (", …" if len(some) > 6 else "")
