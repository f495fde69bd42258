"""Tagging schemes: IO, BIO and BIOES, what each can express, and how one becomes another.

References: Ramshaw and Marcus 1995 (IOB1, BIO), Ratinov and Roth 2009 (BILOU, here BIOES).
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Sequence
from enum import StrEnum

from affineur.entities.mentions import Mention

_NO_WORD = re.compile(r"\[\w+\]|<\w+>")
_PREFIXES = {"B": "B", "I": "I", "E": "E", "L": "E", "S": "S", "U": "S"}


class Scheme(StrEnum):
    """A way to write mentions as tags. Only IO cannot keep two touching mentions of one type apart."""

    IO = "IO"
    BIO = "BIO"
    BIOES = "BIOES"
    IOB1 = "IOB1"
    """Read only: ``B-`` stands only between two touching mentions of one type (WikiNER, CoNLL-2003).

    Where it is named, ``B-`` is read anywhere: files of this scheme have it in other places too, and it
    begins a mention in every reading.
    """
    IOE1 = "IOE1"
    """Read only: ``E-`` ends a mention that another of its type touches, and no other."""
    IOE2 = "IOE2"
    """Read only: ``E-`` ends every mention."""


class TagError(ValueError):
    """A tag sequence that its scheme forbids.

    Args:
        position: Index of the offending word in its sentence.
        message: What is wrong with it.
    """

    def __init__(self, position: int, message: str) -> None:
        self.position = position
        super().__init__(message)


@functools.lru_cache(1024)  # a corpus has few, and a server reads them word by word
def split_tag(tag: str) -> tuple[str, str]:
    """Split ``"B-PER"`` into ``("B", "PER")`` and ``"O"`` into ``("O", "")``.

    BILOU letters become BIOES ones.

    Raises:
        ValueError: If it is neither ``O`` nor a prefix, a hyphen and a type.
    """
    if tag == "O":
        return "O", ""
    prefix, hyphen, kind = tag.partition("-")
    if not hyphen or not kind or prefix not in _PREFIXES:
        raise ValueError(f"'{tag}' is not a tag (expected O, or B-, I-, E- or S- and a type, as in B-PER)")
    return _PREFIXES[prefix], kind


def with_prefix(label: str) -> str:
    """Return a label as a tag: a bare type such as ``PER``, seen in some models and data, means ``I-PER``.

    What is no word, as ``[PAD]`` and ``<s>``, is ``O``: some models have labels for their special pieces.
    """
    if _NO_WORD.fullmatch(label):
        return "O"
    try:
        split_tag(label)
    except ValueError:
        return f"I-{label}"
    return label


def types_of(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the types that occur in ``tags``, sorted."""
    return tuple(sorted({split_tag(tag)[1] for tag in tags} - {""}))


def detect(tags: Iterable[str]) -> Scheme:
    """Name the scheme of a set of tags: BIOES with ``E-`` or ``S-``, else BIO with ``B-``, else IO."""
    prefixes = {split_tag(tag)[0] for tag in tags}
    if prefixes & {"E", "S"}:
        return Scheme.BIOES
    return Scheme.BIO if "B" in prefixes else Scheme.IO


def coarser(first: Scheme, second: Scheme) -> Scheme:
    """Return the scheme both can be projected to without inventing boundaries: IO if one is, else BIO."""
    return Scheme.IO if Scheme.IO in (first, second) else Scheme.BIO


def to_mentions(tags: Sequence[str], scheme: Scheme) -> list[Mention]:
    """Read the mentions of one sentence, strictly.

    Args:
        tags: One tag for each word.
        scheme: The scheme they are written in.

    Raises:
        TagError: At the first tag the scheme forbids.
    """
    if scheme in (Scheme.IOE1, Scheme.IOE2):
        return _ended_mentions(tags, scheme)
    mentions: list[Mention] = []
    start, kind = -1, ""  # start of the open mention, or -1
    previous = "O"
    for index, tag in enumerate([*tags, "O"]):
        prefix, current = _split_at(tag, index)
        complaint = (
            _complaint(previous, kind, prefix, current, scheme) if index < len(tags) or start >= 0 else ""
        )
        if complaint:
            raise TagError(min(index, len(tags) - 1), complaint)
        if start >= 0 and (_begins(prefix, scheme) or current != kind):
            mentions.append(Mention(start, index, kind))
            start = -1
        if start < 0 and prefix != "O":
            start = index
        kind, previous = current, prefix
    return mentions


def is_iob1(tags: Sequence[str]) -> bool:
    """Say whether tags are IOB1 as it is defined: ``B-`` only right after a mention of the same type."""
    return all(
        after[0] != "B" or (before[0] != "O" and before[1] == after[1])
        for before, after in itertools.pairwise(map(split_tag, ("O", *tags)))
    )


def _ended_mentions(tags: Sequence[str], scheme: Scheme) -> list[Mention]:
    """Read the mentions of a scheme that marks ends, strictly."""
    mentions: list[Mention] = []
    start = -1
    split = [_split_at(tag, index) for index, tag in enumerate(tags)]
    for index, (prefix, kind) in enumerate(split):
        if prefix not in "OIE":
            raise TagError(index, f"tag {prefix}-{kind} does not exist in scheme {scheme}")
        if prefix == "O":
            continue
        start = index if start < 0 else start
        touches = index + 1 < len(tags) and split[index + 1][1] == kind
        if scheme is Scheme.IOE2 and prefix == "I" and not touches:
            raise TagError(index, f"tag I-{kind} ends a mention, but in IOE2 a mention ends with E-{kind}")
        if scheme is Scheme.IOE1 and prefix == "E" and not touches:
            raise TagError(
                index, f"tag E-{kind} stands before no other {kind}, but in IOE1 it only parts two that touch"
            )
        if prefix == "E" or not touches:
            mentions.append(Mention(start, index + 1, kind))
            start = -1
    return mentions


def _split_at(tag: str, index: int) -> tuple[str, str]:
    try:
        return split_tag(tag)
    except ValueError as error:
        raise TagError(index, str(error)) from None


def _begins(prefix: str, scheme: Scheme) -> bool:
    return prefix in ("B", "S") and scheme is not Scheme.IO


def _complaint(before: str, before_type: str, prefix: str, kind: str, scheme: Scheme) -> str:
    """Say why ``scheme`` forbids ``prefix-kind`` after ``before-before_type``, or return an empty string."""
    tag = f"{prefix}-{kind}" if kind else "O"
    after = f"{before}-{before_type}" if before_type else "O"
    allowed = {Scheme.IO: "OI", Scheme.BIO: "OBI", Scheme.IOB1: "OBI", Scheme.BIOES: "OBIES"}[scheme]
    if prefix not in allowed:
        return f"tag {tag} does not exist in scheme {scheme}"
    continues = before in ("B", "I") and before_type == kind
    if scheme is Scheme.BIO and prefix == "I" and not continues:
        return f"tag {tag} follows {after}, but in BIO a mention begins with B-{kind}"
    if scheme is Scheme.BIOES:
        if prefix in ("I", "E") and not continues:
            return f"tag {tag} follows {after}, but in BIOES a mention begins with B-{kind} or S-{kind}"
        if before in ("B", "I") and not (prefix in ("I", "E") and kind == before_type):
            wanted = f"I-{before_type} or E-{before_type}"
            return f"tag {tag} follows {after}, but in BIOES an open mention goes on with {wanted}"
    return ""


def to_tags(mentions: Iterable[Mention], length: int, scheme: Scheme) -> list[str]:
    """Write mentions as ``length`` tags.

    In IO, touching mentions of one type come out as one: :func:`merged_by_io` counts them.

    Raises:
        ValueError: If mentions overlap or reach beyond ``length``.
    """
    tags = ["O"] * length
    for mention in mentions:
        if mention.end > length or any(tags[i] != "O" for i in range(mention.start, mention.end)):
            raise ValueError(f"{mention} overlaps another mention or leaves a sentence of {length} words")
        last = mention.end - 1
        for i in range(mention.start, mention.end):
            tags[i] = f"{_prefix_for(i, mention.start, last, scheme)}-{mention.type}"
    return tags


def _prefix_for(index: int, first: int, last: int, scheme: Scheme) -> str:
    if scheme in (Scheme.IOB1, Scheme.IOE1, Scheme.IOE2):
        raise ValueError(f"{scheme} is read but not written; write BIO")
    if scheme is Scheme.BIOES and index == last:
        return "S" if first == last else "E"
    return "B" if index == first and scheme is not Scheme.IO else "I"


def project(tags: Sequence[str], source: Scheme, target: Scheme) -> list[str]:
    """Rewrite one sentence's tags from ``source`` to ``target``.

    Raises:
        TagError: If the tags are not valid in ``source``.
    """
    return to_tags(to_mentions(tags, source), len(tags), target)


def merged_by_io(mentions: Sequence[Mention]) -> int:
    """Count the mentions that lose their boundary in IO: those that touch one before, of the same type."""
    ordered = sorted(mentions)
    return sum(a.end == b.start and a.type == b.type for a, b in itertools.pairwise(ordered))


def repair(tags: Sequence[str], scheme: Scheme) -> tuple[list[str], int]:
    """Make a *predicted* sequence valid by the ``begin`` rule of conlleval, and count the tags changed.

    A tag that continues nothing begins a mention; in BIOES a mention left open is closed where it stops.
    Gold tags never come here.

    Args:
        tags: Predicted tags, one for each word.
        scheme: The scheme of the model's labels.

    Returns:
        Valid tags of the same length, and how many of them differ from the prediction.
    """
    repaired = to_tags(repaired_mentions(tags, scheme), len(tags), scheme)
    loose = [split_tag(tag) for tag in tags]
    canonical = [f"{p}-{k}" if k else "O" for p, k in loose]
    return repaired, sum(a != b for a, b in zip(repaired, canonical, strict=True))


def repaired_mentions(tags: Sequence[str], scheme: Scheme) -> list[Mention]:
    """Read the mentions of a *predicted* sequence, valid or not, by the rule of :func:`repair`.

    Args:
        tags: Predicted tags, one for each word.
        scheme: The scheme of the model's labels.

    Returns:
        What :func:`to_mentions` reads in the repaired tags.
    """
    loose = [split_tag(tag) for tag in tags]
    mentions: list[Mention] = []
    start = -1
    for index, (prefix, kind) in enumerate([*loose, ("O", "")]):
        before, before_type = loose[index - 1] if index else ("O", "")
        ends = prefix == "O" or kind != before_type or _begins(prefix, scheme)
        ends = ends or (scheme is Scheme.BIOES and before in ("E", "S"))
        if start >= 0 and ends:
            mentions.append(Mention(start, index, before_type))
            start = -1
        if start < 0 and prefix != "O":
            start = index
    return mentions
