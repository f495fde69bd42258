"""Where names that were found once stand again, however they are written."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

from affineur.entities import Entity
from affineur.runtime.common_words import GENERIC, PARTICLES, PLAIN, TITLES
from affineur.runtime.folding import SIGNS, Chunk, LineEnd, chunks, line_end, seen, signs

# Of a name that is looked for again: bounds the time that a text made to be slow can take.
_MOST_LETTERS, _MOST_CHUNKS = 200, 40
_FEWEST_LETTERS = 2
_MOST_PARTS = 6  # words of a person's name; what is longer was no name
_SURELY_A_NAME = 3  # letters of a word that is a name in lower case, too
_JOINED = 6  # letters of words that are a name in lower case where nothing stands between them, too
_MOST_SIGNS = 3  # different ones, between words of a name
_PARTING = frozenset(",;:!?")  # that part names from each other
_PERSONS = frozenset(
    ("per", "pers", "person", "persons", "personne", "name", "nom", "prenom", "patient", "medecin", "doctor")
)
# Keys of a node of the trie that are no letters.
_ENTRY, _BREAK = "entry", "break"
_BEFORE_ADDRESS = re.compile(r"[@_#]\Z|\w\.\Z|[0-9]\Z")
_AFTER_ADDRESS = re.compile(r"[@_0-9]|\.\w")
# Between words that are one: O'Brien, Jean-Pierre.
_COMPOUND = re.compile(r"['`\u00b4\u2018\u2019\u201b\u2032\u02b9-\u02cb\uff07\-\u2010\u2011]")
_IN_SENTENCE = re.compile(r"[ \t\xa0\u202f]+|\s?['\u2019]")


@dataclass(slots=True)
class _Name:
    """What is looked for.

    Args:
        mention: The first mention it comes from.
        free: Whether it is this name in lower case, too, wherever it stands.
        whole: Whether a mention is all of it.
        breaks: After how many letters a word of it ends, in all its writings.
        written: The mentions as they were written: the same writing is the same name.
    """

    mention: Entity
    free: bool
    whole: bool
    breaks: set[int]
    written: dict[str, Entity] = field(default_factory=dict)


class _Gap(NamedTuple):
    signs: str
    end: LineEnd | None


class Repetitions:
    """Names, and a text in which they are looked for.

    A name is a sequence of letters and digits: what stands between its words does not count, as long as it is
    short, nor does a line's end inside a word. All names are walked together in a trie, so many cost no more
    than few.

    Args:
        text: The text.
        mentions: What was found in it, by position, widened to whole words.
    """

    def __init__(self, text: str, mentions: Sequence[Entity]) -> None:
        self._text = text
        self._chunks = list(chunks(text)) if mentions else []
        self._starts = [chunk.start for chunk in self._chunks]
        self._letters = [0, *accumulate(len(chunk.form) for chunk in self._chunks)]
        self._gaps: dict[int, _Gap] = {}
        self._trie: dict[str, Any] = {}
        names = [(mention, found) for mention in mentions if (found := self._inside(mention))]
        for mention, found in names:
            self._add_whole(mention, found)
        for mention, found in names:  # after all whole names: a part takes nothing from them
            self._add_parts(mention, found)

    def __iter__(self) -> Iterator[Entity]:
        """Yield the longest name that begins at each chunk; they may overlap."""
        if not self._trie:
            return
        for place, chunk in enumerate(self._chunks):
            if chunk.form[0] in self._trie and (found := self._longest(place)):
                yield found

    def identity(self, start: int, end: int) -> str:
        """Return what makes words the same name: their letters and digits."""
        return "".join(chunk.form for chunk in self._chunks[slice(*self._places(start, end))])

    def _inside(self, mention: Entity) -> list[Chunk]:
        first, after = self._places(mention.start, mention.end)
        if after - first > _MOST_CHUNKS or self._letters[after] - self._letters[first] > _MOST_LETTERS:
            return []
        found = self._chunks[first:after]
        letters = "".join(chunk.form for chunk in found)
        enough = sum(map(str.isalnum, letters)) >= _FEWEST_LETTERS and any(map(str.isalpha, letters))
        return found if enough else []

    def _places(self, start: int, end: int) -> tuple[int, int]:
        return bisect_left(self._starts, start), bisect_left(self._starts, end)

    def _add_whole(self, mention: Entity, found: Sequence[Chunk]) -> None:
        person = _is_person(mention.type)
        content = [chunk.form for chunk in found if not _leads(chunk, person)]
        letters = "".join(chunk.form for chunk in found)
        if len(letters) < 3 and any(letters in words for words in (PARTICLES, TITLES, PLAIN)):
            return  # "Dr" or "Le", taken for a name
        name = self._add(found, mention, _is_free(content, person), whole=True)
        name.written.setdefault(self._written(found[0], found[-1]), mention)
        if any(chunk.form == "&" for chunk in found[1:-1]):  # an address has no such sign
            self._add([chunk for chunk in found if chunk.form != "&"], mention, name.free, whole=True)
        inner = _without_lead(found, person)
        if 0 < len(inner) < len(found) and (len(content) > 1 or content[0] not in PLAIN):
            self._add(inner, mention, _is_free(content, person), whole=True)

    def _add_parts(self, mention: Entity, found: Sequence[Chunk]) -> None:
        person = _is_person(mention.type)
        is_one = len(self._written(found[0], found[-1]).split()) == 1
        words = self._words(found) if person or is_one else []
        if not 1 < len(words) <= _MOST_PARTS:
            return
        lower = self._written(found[0], found[-1]).islower()
        for compound in self._compounds(words):
            if len(compound) > 1 and (lower or any(self._is_capital(word[0]) for word in compound)):
                self._add_compound(mention, [chunk for word in compound for chunk in word])
        if not person:
            return
        forms = ["".join(chunk.form for chunk in word) for word in words]
        for word, form in zip(words, forms, strict=True):
            told = form in PARTICLES or form in TITLES or form in GENERIC
            if len(form) >= 3 and _is_word(form) and not told and (lower or self._is_capital(word[0])):
                self._add(word, mention, len(form) >= _SURELY_A_NAME and form not in PLAIN, whole=False)
        for family in _families(forms):
            free = len(family) >= _JOINED and family not in PLAIN
            self._add([Chunk(family, 0, 0)], mention, free, whole=False)
        for login in _logins(forms):
            self._add([Chunk(login, 0, 0)], mention, False, whole=False)

    def _add_compound(self, mention: Entity, found: Sequence[Chunk]) -> None:
        """Add words that a hyphen or an apostrophe makes one, and the same without it: OBRIEN, jeanpierre."""
        joined = "".join(chunk.form for chunk in found)
        content = [chunk.form for chunk in found if not _leads(chunk, person=False)]
        if len(joined) >= 3 and _is_word(joined):
            free = len(joined) >= _SURELY_A_NAME and joined not in PLAIN and _is_free(content, person=False)
            self._add([Chunk(joined, 0, 0)], mention, free, whole=False)
            self._add(found, mention, free, whole=False)

    def _compounds(self, words: Sequence[list[Chunk]]) -> list[list[list[Chunk]]]:
        compounds: list[list[list[Chunk]]] = []
        for word in words:
            before = self._text[compounds[-1][-1][-1].end : word[0].start] if compounds else " "
            if _COMPOUND.fullmatch(before):
                compounds[-1].append(word)
            else:
                compounds.append([word])
        return compounds

    def _words(self, found: Sequence[Chunk]) -> list[list[Chunk]]:
        words: list[list[Chunk]] = []
        for chunk in found:
            if words and (
                words[-1][-1].end == chunk.start or line_end(self._text[words[-1][-1].end : chunk.start])
            ):
                words[-1].append(chunk)
            else:
                words.append([chunk])
        return words

    def _add(self, found: Sequence[Chunk], mention: Entity, free: bool, *, whole: bool) -> _Name:
        node, letters = self._trie, 0
        breaks: set[int] = set()
        for place, chunk in enumerate(found):
            if place and chunk.start > found[place - 1].end:
                node.setdefault(_BREAK, set()).add(signs(self._text[found[place - 1].end : chunk.start]))
                breaks.add(letters)
            letters += len(chunk.form)
            for letter in chunk.form:
                node = node.setdefault(letter, {})
        name: _Name = node.setdefault(_ENTRY, _Name(mention, free, whole, breaks))
        name.free |= free
        name.breaks &= breaks
        return name

    def _longest(self, place: int) -> Entity | None:
        """Return the longest name that begins at a chunk."""
        node: dict[str, Any] | None = self._trie
        ends: list[tuple[int, _Name]] = []
        after = place
        while node and after < len(self._chunks):
            if _BREAK in node and self._chunks[after].form in SIGNS and self._chunks[after].form not in node:
                after += 1  # SAINT+BREVIN
                if self._goes_on(after, node[_BREAK]):
                    continue
                break
            for letter in self._chunks[after].form:
                if (node := node.get(letter)) is None:
                    break
            else:
                if _ENTRY in node:
                    ends.append((after, node[_ENTRY]))
                after += 1
                if not self._goes_on(after, node.get(_BREAK)):
                    break
        found = (self._accepted(name, place, last) for last, name in reversed(ends))
        return next(filter(None, found), None)

    def _goes_on(self, after: int, breaks: set[str] | None) -> bool:
        """Say whether a name may go on at a chunk after what lies before it.

        Args:
            after: The place of the chunk.
            breaks: What stood between words of the name here, if a word of it ends here.
        """
        if after == len(self._chunks):
            return False
        last, chunk = self._chunks[after - 1], self._chunks[after]
        if last.end == chunk.start:
            return True
        found, end = self._gap(after)
        if end is LineEnd.HYPHENATED:
            return True
        if end is LineEnd.BARE:
            return breaks is not None or not self._are_common(last, chunk)
        if breaks is not None and (found in breaks or len(set(found)) <= _MOST_SIGNS):
            return found in breaks or _PARTING.isdisjoint(found)
        if len(found) > 1 or found in _PARTING:
            return False
        spaced = len(last.form) == len(chunk.form) == 1  # M O R V A N
        return spaced or (self._is_capital(last) and self._is_capital(chunk))  # De La Tour for Delatour

    def _gap(self, after: int) -> _Gap:
        """Return what lies before a chunk: read once, however many names may go on there."""
        if (gap := self._gaps.get(after)) is None:
            between = self._text[self._chunks[after - 1].end : self._chunks[after].start]
            gap = self._gaps[after] = _Gap(signs(between), line_end(between))
        return gap

    def _are_common(self, last: Chunk, chunk: Chunk) -> bool:
        """Say whether a line ends between common words (``le``, ``bon``), not inside a name (``Lebon``)."""
        begins = _is_common(last.form) and not self._is_capital(last)
        return begins and (self._is_capital(chunk) or _is_common(chunk.form))

    def _accepted(self, name: _Name, place: int, after: int) -> Entity | None:
        """Return a mention of a name from one chunk to another, or nothing where these are common words."""
        found = self._chunks[place : after + 1]
        start, end = found[0].start, found[-1].end
        written = self._written(found[0], found[-1])
        mention = name.written.get(written)
        if mention is None:
            if not (
                (name.free and not self._is_joined(name, found))
                or any(chunk.form not in PARTICLES and self._is_capital(chunk) for chunk in found)
                or self._is_spaced(found)
                or self._is_address(start, end)
                or (name.whole and written.islower() and not self._is_in_sentence(place))
            ):
                return None
            mention = name.mention
        return Entity(mention.type, written, start, end, mention.score)

    def _is_spaced(self, found: Sequence[Chunk]) -> bool:
        """Say whether all are capitals by themselves: L E A."""
        return len(found) >= 3 and all(len(chunk.form) == 1 and self._is_capital(chunk) for chunk in found)

    def _is_joined(self, name: _Name, found: Sequence[Chunk]) -> bool:
        """Say whether the words of a short name stand without anything between them."""
        ends = set(accumulate(len(chunk.form) for chunk in found))
        joined = "".join(chunk.form for chunk in found)
        return not name.breaks <= ends and (len(joined) < _JOINED or joined in PLAIN)

    def _written(self, first: Chunk, last: Chunk) -> str:
        return seen(self._text[first.start : last.end])

    def _is_capital(self, chunk: Chunk) -> bool:
        first = self._text[chunk.start]
        return first.isupper() or (first.isalpha() and not first.islower())

    def _is_address(self, start: int, end: int) -> bool:
        """Say whether a place is in a mail address or the name of a file: there case says nothing."""
        before, after = self._text[max(start - 2, 0) : start], self._text[end : end + 2]
        return bool(_BEFORE_ADDRESS.search(before) or _AFTER_ADDRESS.match(after))

    def _is_in_sentence(self, place: int) -> bool:
        """Say whether a chunk follows a word in lower case, as common words do."""
        if place == 0:
            return False
        before, chunk = self._chunks[place - 1 : place + 1]
        between = self._text[before.end : chunk.start]
        return self._text[before.start].islower() and _IN_SENTENCE.fullmatch(between) is not None


def _is_word(form: str) -> bool:
    """Say whether a form is letters and the marks on them alone, no digits or signs."""
    return not any(each.isnumeric() or each in SIGNS for each in form)


def _families(forms: Sequence[str]) -> set[str]:
    """Return names of families with the particles before them in one word: LEGOFF, DELAFONTAINE."""
    families = set()
    for place, form in enumerate(forms[:-1]):
        joined = "".join(forms[place:])
        if form in PARTICLES and _is_word(joined):
            families.add(joined)
    return families


def _logins(forms: Sequence[str]) -> set[str]:
    """Return the names in mail addresses that begin or end with initials: jpmorvan, cdegaulle, morvanj."""
    logins = set()
    for place in range(1, len(forms)):
        for family in {forms[place], "".join(forms[place:])}:
            if len(family) >= 3 and _is_word(family):
                for initials in (forms[0][0], "".join(form[0] for form in forms[:place])):
                    logins |= {initials + family, family + initials}
    return logins


def _is_common(form: str) -> bool:
    return form in PARTICLES or form in PLAIN


def _is_person(kind: str) -> bool:
    return re.split(r"[^a-zA-Z]", kind, maxsplit=1)[0].lower() in _PERSONS


def _leads(chunk: Chunk, person: bool) -> bool:
    return chunk.form in PARTICLES or (person and chunk.form in TITLES)


def _without_lead(found: Sequence[Chunk], person: bool) -> Sequence[Chunk]:
    """Leave out articles before a name, and how a person is addressed."""
    first = next((place for place, chunk in enumerate(found) if not _leads(chunk, person)), len(found))
    return found[first:]


def _is_free(content: Sequence[str], person: bool) -> bool:
    """Say whether words are a name in lower case, too, so that ``le monde`` is no newspaper."""
    if len(content) == 1:
        return len(content[0]) >= _SURELY_A_NAME and content[0] not in PLAIN
    return len(content) > 1 and (person or not PLAIN.issuperset(content))
