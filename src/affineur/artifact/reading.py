"""JSON and YAML that anybody may have written: read within bounds, with one kind of error for what is wrong.

Every JSON file is read here, and all YAML. Deep nesting, numbers of thousands of digits, and YAML that
refers to itself a billion times then end in a ``ValueError`` of one line, whatever the library beneath makes
of them.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Hashable
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import yaml
from yaml.constructor import ConstructorError

from affineur.errors import brief, one_line

#: What a value of another type or size than expected makes of code that takes it to pieces; whoever reads a
#: file catches all of them together.
WRONG = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
#: Bytes of a JSON file, whose numbers may take ten times as much memory; a list or table takes fifty times
#: its two bytes, and a vocabulary's merges are a few hundred thousand of them.
_LONGEST, _MOST_LISTS = 1 << 26, 2_000_000
#: Characters of YAML, read at some 100 kB a second, and what it may hold once its aliases are written out.
_LONGEST_YAML, _MOST_YAML = 1 << 18, 1 << 20
#: Lists and tables inside one another: far below what recursion in Python bears, far above what any file has.
_DEEPEST = 100
#: Digits of a number: all that floating point holds has fewer, written out.
_DIGITS = 310


def read_within(path: Path, most: int) -> bytes:
    """Read a regular file of bounded size: no pipe that nobody writes to, no device that never ends.

    Args:
        path: The file.
        most: Bytes it may have.

    Raises:
        OSError: If it cannot be read, or is no regular file.
        ValueError: If it has more.
    """
    opened = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(opened, "rb") as file:
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it has {max(found.st_size, len(data)):,} bytes, expected at most {most:,}")
    return data


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        OSError: If it cannot be read, or is no regular file.
        ValueError: If it is too large, not UTF-8, not JSON, nested too deep, holds too much, or has a number
            too long to be one.
    """
    return parse_json(read_within(path, _LONGEST))


def read_yaml(path: Path, *, unique_keys: bool = True) -> Any:
    """Read a YAML file; see :func:`parse_yaml`.

    Raises:
        OSError: If it cannot be read, or is no regular file.
        ValueError: If it is too large, not UTF-8, or as for :func:`parse_yaml`.
    """
    return parse_yaml(read_within(path, 4 * _LONGEST_YAML).decode(), unique_keys=unique_keys)


def parse_json(text: str | bytes) -> Any:
    """Read JSON.

    Raises:
        ValueError: If it is not UTF-8, not JSON, nested too deep, holds too much, or has a number too long
            to be one.
    """
    text = text.decode() if isinstance(text, bytes) else text
    if text.count("[") + text.count("{") > _MOST_LISTS:
        raise ValueError(f"it holds more than {_MOST_LISTS:,} lists and tables")
    try:
        value = json.loads(text, parse_int=_integer)
    except RecursionError:
        raise _too_deep() from None
    _refuse_depth(value)
    return value


def check_types(made: Any) -> None:
    """Check that each field of a dataclass is of the type it is declared with; what is inside one is not.

    Raises:
        TypeError: If one is not, naming it.
    """
    for name, declared in get_type_hints(type(made)).items():
        kinds = get_args(declared) if isinstance(declared, UnionType) else (declared,)
        value = getattr(made, name)
        if not isinstance(value, tuple(get_origin(kind) or kind for kind in kinds)):
            raise TypeError(f"'{name}' is {brief(value)}")


def parse_yaml(text: str, *, unique_keys: bool = True) -> Any:
    """Read YAML: plain values only, and no more of them than the text itself could hold.

    Args:
        text: The document.
        unique_keys: Whether a key may stand only once in a table. YAML says so; its library keeps the last.

    Raises:
        ValueError: If it is not YAML, too long, nested too deep, grows too large when its aliases are written
            out, or has a key twice.
    """
    if len(text) > _LONGEST_YAML:
        raise ValueError(f"it has {len(text):,} characters, expected at most {_LONGEST_YAML:,}")
    try:
        loader = _Loader(text, unique_keys)
        value = loader.get_single_data()
    except RecursionError:
        raise _too_deep() from None
    except (yaml.YAMLError, *WRONG) as error:  # an impossible date, a tag on what is none of its kind
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(where + one_line(getattr(error, "problem", None) or error)) from None
    _refuse_depth(value)
    return value


class _Loader(yaml.SafeLoader):
    """Counts what the document holds while it is composed, an alias as much as what it stands for."""

    def __init__(self, text: str, unique_keys: bool) -> None:
        super().__init__(text)
        self._unique = unique_keys
        self._held = 0
        self._sizes: dict[int, int] = {}  # of nodes that are whole; anchors keep them alive

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        alias = self.check_event(yaml.AliasEvent)
        before = self._held
        node = super().compose_node(parent, index)
        if node is None:
            return None
        if alias:
            if id(node) not in self._sizes:
                raise ConstructorError(
                    None, None, "an alias stands inside what it stands for", node.start_mark
                )
            self._held += self._sizes[id(node)]
        else:
            self._held += 1 + (len(node.value) if isinstance(node, yaml.ScalarNode) else 0)
            self._sizes[id(node)] = self._held - before
        if self._held > _MOST_YAML:
            raise _broken(f"its aliases stand for more than {_MOST_YAML:,} characters", node)
        return node

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if len(node.value) > _DIGITS and node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
            raise ConstructorError(None, None, f"a number of {len(node.value):,} characters", node.start_mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[Hashable] = set()
        for key, _ in node.value if self._unique else ():
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise _broken(f"the key {brief(key.value)} is there twice", key)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return node


def _broken(problem: str, node: yaml.Node) -> ConstructorError:
    return ConstructorError(None, None, problem, node.start_mark)  # with line and column


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


def _refuse_depth(value: Any) -> None:
    level: list[Any] = [[value]]
    for _ in range(_DEEPEST + 1):
        held = [item.values() if isinstance(item, dict) else item for item in level]
        level = [each for items in held for each in items if isinstance(each, dict | list | tuple)]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {_DEEPEST} deep")
