"""What a file begins with: enough to tell its format."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from affineur.artifact.reading import WRONG
from affineur.errors import DataError

#: Bytes that are looked at.
SIZE = 1 << 20
_SPACE = re.compile(r"[\s\ufeff]*")
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[][{}:,]')


@dataclass(frozen=True)
class Head:
    """The beginning of a file, or the names in a folder.

    Args:
        data: Its first bytes, at most :data:`SIZE`.
        whole: Whether that is all of it.
        names: The names of the files in it, where it is a folder; else empty.
    """

    data: bytes
    whole: bool = True
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: Path) -> Head:
        """Look at a file or folder.

        Raises:
            DataError: If it is not there or cannot be read.
        """
        try:
            if path.is_dir():
                return cls(b"", names=tuple(sorted(each.name for each in path.iterdir())))
            with path.open("rb") as file:
                data = file.read(SIZE + 1)
        except FileNotFoundError:
            raise DataError("no such file", path) from None
        except OSError as error:
            raise DataError(f"cannot be read ({error.strerror})", path) from None
        return cls(data[:SIZE], whole=len(data) <= SIZE)

    @cached_property
    def text(self) -> str:
        """What it begins with as text, without a byte order mark; what is not UTF-8 is replaced."""
        return self.data.decode("utf-8", "replace").removeprefix("\ufeff")

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """Its first lines that are whole and not empty, without their ends (LF, CRLF or CR)."""
        lines = re.split(r"\r\n|\r|\n", self.text)
        if not self.whole:
            lines = lines[:-1] or lines
        return tuple(line for line in lines if line.strip(" \t"))

    @cached_property
    def record(self) -> Mapping[str, Any] | None:
        """The first object of JSON lines, of a JSON array, or the whole document if it is one object.

        ``None`` where there is none, or where it is longer than what is looked at.
        """
        start = self._object_at
        if start is None:
            return None
        try:
            value, _ = json.JSONDecoder().raw_decode(self.text, start)
        except WRONG:
            return None
        return value if isinstance(value, dict) else None

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The keys of that object, in order; of a longer one those that can be seen."""
        if self.record is not None:
            return tuple(self.record)
        if self._object_at is None:
            return ()
        found, depth, text = [], 0, ""
        for token in _JSON_TOKEN.finditer(self.text, self._object_at):
            mark = token[0]
            if mark[0] == '"':
                text = mark
            elif mark == ":" and depth == 1 and text:
                found.append(text[1:-1])
            elif mark in "{[":
                depth += 1
            elif mark in "}]":
                depth -= 1
                if not depth:
                    break
        return tuple(found)

    @property
    def is_json(self) -> bool:
        """Say whether it begins as JSON lines, an array of objects, or an object."""
        return self._object_at is not None

    @cached_property
    def _object_at(self) -> int | None:
        start = _end_of_space(self.text, 0)
        if self.text[start : start + 1] == "[":
            start = _end_of_space(self.text, start + 1)
        return start if self.text[start : start + 1] == "{" else None


def _end_of_space(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    return found.end() if found else start
