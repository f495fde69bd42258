"""The way back from a redacted text: by position where it is unchanged, else by placeholder."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from affineur.artifact.reading import parse_json
from affineur.entities import decoded
from affineur.errors import DataError, ParameterError, counted, one_line
from affineur.runtime.folding import chunks

_NUMBERED = re.compile(r"\[(.+)_[0-9]+\]", re.DOTALL)
_BLANK = " \t\r\n"
_EXAMPLE = '{"map": [{"placeholder": "[PER_1]", "start": 0, "end": 7, "word": "Jean Morvan"}]}'


class Replacement(NamedTuple):
    """One mention that was replaced.

    Args:
        placeholder: What stands in the redacted text.
        start: First character there, in code points.
        end: One past the last character.
        word: What stood in the original.
    """

    placeholder: str
    start: int
    end: int
    word: str


@dataclass(frozen=True, slots=True)
class TextMap:
    """What was replaced in one text.

    Args:
        replacements: By position.
        characters: Length of the redacted text; ``None`` where the map does not say.
        sha256: Digest of the redacted text; ``None`` where the map does not say.
    """

    replacements: Sequence[Replacement]
    characters: int | None = None
    sha256: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as a line of a map has it."""
        listed = [replacement._asdict() for replacement in self.replacements]
        return {"map": listed, "characters": self.characters, "sha256": self.sha256}


@dataclass(slots=True)
class Restored:
    """A text with its names again.

    Args:
        text: The text.
        unknown: Placeholders that stand in the text and not in the map, once each; they stay.
        unused: Placeholders of the map that do not stand in the text.
        respelled: Placeholders whose name the map spells in several ways, in a text that was changed: which
            spelling stood where is not known.
        moved: Lines (from 1) that were changed, where each line was redacted as a text of its own.
    """

    text: str
    unknown: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    respelled: list[str] = field(default_factory=list)
    moved: list[int] = field(default_factory=list)


def map_of(redacted_text: str, replacements: Sequence[Replacement]) -> TextMap:
    """Return what leads back from a redacted text, and how to tell that it was not changed since."""
    return TextMap(replacements, len(redacted_text), _digest(redacted_text))


def restore(
    redacted_text: str,
    replacements: Sequence[tuple[str, int, int, str] | Mapping[str, Any]] | str | os.PathLike[str],
) -> str:
    """Undo :func:`redact`: to the character where the text is unchanged, else by its placeholders.

    Lines may have been added, removed and moved. Placeholders that only the text or only the map has are
    left as they are; :func:`affineur.runtime.restoring.restored` tells which.

    Args:
        redacted_text: The redacted text.
        replacements: Those of the same text, in order: placeholder, start, end, original word, as tuples or
            as in a line of a map; or the path of a map (``--redact-map``).

    Raises:
        ParameterError: If the text has none of the placeholders, or was changed and a placeholder stands for
            several names (style ``type``).
        DataError: If the map cannot be read, with its line.
    """
    if isinstance(replacements, str | os.PathLike):
        return restored_all(redacted_text, read_maps(Path(replacements))).text
    return restored(redacted_text, [_replacement(each) for each in replacements]).text


def restored(text: str, replacements: Sequence[Replacement]) -> Restored:
    """Undo the redaction of one text, and say what did not fit.

    Args:
        text: The redacted text.
        replacements: Those of the same text, in order.

    Raises:
        ParameterError: As :func:`restore`.
    """
    exact = _by_position(text, replacements)
    return _by_placeholder(text, replacements) if exact is None else Restored(exact)


def _by_placeholder(text: str, replacements: Sequence[Replacement]) -> Restored:
    words: dict[str, list[str]] = {}
    for each in replacements:
        words.setdefault(each.placeholder, []).append(each.word)
    pattern = _any_of(words)
    counts = Counter(found[0] for found in pattern.finditer(text))
    if not counts:
        raise _foreign(f"none of the {counted(len(words), 'placeholder')} of the map stands in the text")
    for placeholder in counts:
        if len({_letters(word) for word in words[placeholder]}) > 1:
            raise _foreign(
                f"'{placeholder}' stands for several names, so that only an unchanged text leads back; "
                "redact with the style pseudonym, which has a placeholder for each name"
            )
    # Where as many stand in the text as in the map, each has most likely its own spelling.
    left = {
        placeholder: deque(words[placeholder] if many == len(words[placeholder]) else words[placeholder][:1])
        for placeholder, many in counts.items()
    }

    def name(found: re.Match[str]) -> str:
        spellings = left[found[0]]
        return spellings.popleft() if len(spellings) > 1 else spellings[0]

    return Restored(
        pattern.sub(name, text),
        _unknown(text, words),
        [placeholder for placeholder in words if placeholder not in counts],
        [placeholder for placeholder in counts if len(set(words[placeholder])) > 1],
    )


def restored_all(text: str, maps: Sequence[TextMap]) -> Restored:
    """Undo the redaction of all texts of a run: of one, or of the lines of a file.

    Args:
        text: What the run printed, changed or not.
        maps: The lines of its map.

    Raises:
        ParameterError: As :func:`restore`, or if it cannot be told which text a line was.
    """
    if len(maps) > 1:
        exact = _unchanged(text, maps)
        return Restored(exact) if exact is not None else _by_line(text, maps)
    [one] = maps
    # Where lines of a changed text only happen to fit, each name could be another's.
    if one.sha256 in (None, _digest(text[: one.characters])) or not one.replacements:
        return restored(text, one.replacements)
    return _by_placeholder(text, one.replacements)


def read_maps(path: Path) -> list[TextMap]:
    """Read a map: a line of JSON for each text.

    Raises:
        DataError: If it is no map, with the line.
    """
    if not path.is_file():
        raise DataError("this is a folder, expected a map" if path.is_dir() else "no such file", path)
    try:
        with path.open("rb") as file:  # the map of a long document is a long line
            lines = [decoded(line, path, number) for number, line in enumerate(file, start=1)]
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", path) from None
    maps = [_text_map(line, path, number) for number, line in enumerate(lines, 1) if line.strip(_BLANK)]
    if not maps:
        raise DataError(f"the map is empty, expected a line for each text, such as {_EXAMPLE}", path)
    return maps


def _text_map(line: str, path: Path, number: int) -> TextMap:
    try:
        row = parse_json(line)
    except ValueError as error:
        raise DataError(f"not JSON ({one_line(error)}), expected {_EXAMPLE}", path, number) from None
    if not isinstance(row, dict) or not isinstance(row.get("map"), list):
        raise DataError(f'expected an object with a list "map", such as {_EXAMPLE}', path, number)
    try:
        replacements = [_replacement(each) for each in row["map"]]
        last = 0
        for each in replacements:
            if each.start < last:
                raise ParameterError(f"'{each.placeholder}' at {each.start} begins before {last}")
            last = each.end
    except ParameterError as error:
        raise DataError(f"{error}; the map is damaged", path, number) from None
    characters, digest = row.get("characters"), row.get("sha256")
    if not isinstance(characters, int) or not isinstance(digest, str):
        characters = digest = None
    return TextMap(replacements, characters, digest)


def _replacement(given: Any) -> Replacement:
    try:
        each = Replacement(**given) if isinstance(given, Mapping) else Replacement(*given)
    except TypeError:
        raise ParameterError(
            f"a replacement has not the fields {', '.join(Replacement._fields)}", "replacements"
        ) from None
    good = isinstance(each.placeholder, str) and isinstance(each.word, str) and each.placeholder
    if not good or not all(type(place) is int for place in (each.start, each.end)):
        raise ParameterError(
            "a replacement has a value of another type, expected placeholder and word as strings, start and"
            " end as integers",
            "replacements",
        )
    if each.start < 0 or each.end - each.start != len(each.placeholder):
        raise ParameterError(f"'{each.placeholder}' does not fit {each.start}-{each.end}", "replacements")
    return each


def _by_position(text: str, replacements: Sequence[Replacement]) -> str | None:
    """Return the original, or nothing if a placeholder is not where it was."""
    parts: list[str] = []
    last = 0
    for placeholder, start, end, word in replacements:
        if start < last or text[start:end] != placeholder:
            return None
        parts += text[last:start], word
        last = end
    return "".join([*parts, text[last:]])


def _unchanged(text: str, maps: Sequence[TextMap]) -> str | None:
    """Return the original of several texts, each with a line feed after it, if none was changed."""
    parts: list[str] = []
    begin = 0
    for each in maps:
        end = text.find("\n", begin) if each.characters is None else begin + each.characters
        end = len(text) if end < 0 else end
        part = text[begin:end]
        original = _by_position(part, each.replacements)
        if begin > len(text) or original is None or each.sha256 not in (None, _digest(part)):
            return None
        parts.append(original)
        begin = end + 1
        if text[end : end + 1] not in ("", "\n"):
            return None
    return None if begin < len(text) else "\n".join(parts) + "\n" * (begin == len(text))


def _by_line(text: str, maps: Sequence[TextMap]) -> Restored:
    """Restore lines that were texts of their own, each by the map that its digest names."""
    if any(each.sha256 is None for each in maps):
        raise _foreign(
            f"the map is of {counted(len(maps), 'text')} and an earlier version wrote it; it leads back from"
            " unchanged lines alone"
        )
    lines = text.split("\n")
    pattern = _any_of({each.placeholder: [] for one in maps for each in one.replacements})
    places = [(place, line) for place, line in enumerate(lines) if pattern.search(line)]
    by_digest: dict[str | None, list[TextMap]] = {}
    for each in maps:
        by_digest.setdefault(each.sha256, []).append(each)
    same = Counter(_digest(line) for _, line in places)
    taken: Counter[str] = Counter()
    changed: list[tuple[int, str]] = []
    for place, line in places:
        digest = _digest(line)
        known = by_digest.get(digest)
        if known is None:
            changed.append((place, line))
            continue
        if same[digest] != len(known) and len({_words(each) for each in known}) > 1:
            raise _ambiguous(place, f"{len(known)} texts of the map look alike, {same[digest]} lines do")
        chosen = known[min(taken[digest], len(known) - 1)]
        taken[digest] += 1
        lines[place] = str(_by_position(line, chosen.replacements))
    left = [each for each in maps if each.replacements and not taken[str(each.sha256)]]
    found = Restored("")
    used: set[int] = set()
    for place, line in changed:
        wanted = {match[0] for match in pattern.finditer(line)}
        able = [
            number for number, each in enumerate(left) if wanted <= {r.placeholder for r in each.replacements}
        ]
        if len(able) != 1:
            raise _ambiguous(
                place, f"it was changed, and {len(able)} texts of the map that are left have its placeholders"
            )
        used.add(able[0])
        one = restored(line, left[able[0]].replacements)
        lines[place] = one.text
        found.moved.append(place + 1)
        found.respelled += one.respelled
    gone = (each for number, each in enumerate(left) if number not in used)
    found.unused = list(dict.fromkeys(r.placeholder for each in gone for r in each.replacements))
    found.unknown = _unknown(text, {r.placeholder for each in maps for r in each.replacements})
    found.text = "\n".join(lines)
    return found


def _words(each: TextMap) -> tuple[str, ...]:
    return tuple(replacement.word for replacement in each.replacements)


def _any_of(placeholders: Mapping[str, object]) -> re.Pattern[str]:
    """Return what matches any of some placeholders, the longest first, and those of words whole."""
    longest = sorted(placeholders, key=len, reverse=True)
    parts = (
        (r"(?<!\w)" if each[0].isalnum() else "")
        + re.escape(each)
        + (r"(?!\w)" if each[-1].isalnum() else "")
        for each in longest
    )
    return re.compile("|".join(parts) or r"(?!)")


def _unknown(text: str, known: Collection[str]) -> list[str]:
    """Return what looks like one of the placeholders and is none, in the order of the text."""
    kinds = {kind[1] for each in known if (kind := _NUMBERED.fullmatch(each))}
    if not kinds:
        return []
    alike = re.compile(rf"\[(?:{'|'.join(map(re.escape, sorted(kinds)))})_[0-9]+\]")
    found = dict.fromkeys(match[0] for match in alike.finditer(text))
    return [each for each in found if each not in known]


def _letters(word: str) -> str:
    return "".join(chunk.form for chunk in chunks(word)) or word


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _foreign(message: str) -> ParameterError:
    return ParameterError(
        f"{message}: these replacements belong to another text, or it was changed", "replacements"
    )


def _ambiguous(place: int, why: str) -> ParameterError:
    return ParameterError(
        f"line {place + 1} of the text cannot be told from others ({why}); each line has pseudonyms of its"
        " own: redact with --document, or restore before lines are changed",
        "replacements",
    )
