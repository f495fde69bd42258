"""API keys: shown once, kept as digests, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from affineur.artifact.reading import read_within
from affineur.errors import ParameterError
from affineur.progress import report

_LINE = re.compile(r"(?P<name>[\w.-]{1,64})\s+sha256:(?P<digest>[0-9a-f]{64})(?P<admin>\s+admin)?")


_MOST_BYTES = 1 << 20
_FILE_OF_KEYS = "expected a file of keys, made with: affineur key FILE NAME"


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is known by its digest.

    Args:
        name: Whose it is; it stands in logs.
        digest: sha256, hexadecimal. Keys are 256 random bits, so a slow hash would only slow the endpoint.
        admin: Whether it may reload models.
    """

    name: str
    digest: str
    admin: bool


#: What no key opens: a file of keys whose last line was taken out admits nobody, and not everybody.
NOBODY = Key("nobody", "", False)


def read_keys(path: Path, empty: bool = False) -> tuple[Key, ...]:
    """Read a file of keys, one per line: a name, ``sha256:`` and a digest, and ``admin`` where it is so.

    Args:
        path: The file.
        empty: Whether it may hold no key, which then admits nobody.

    Raises:
        ParameterError: If it cannot be read, a line is not of that form, or there is none.
    """
    keys = _parse(path, _read(path))
    if not keys and empty:
        return (NOBODY,)
    if not keys:
        raise ParameterError(f"{path} holds no key; make one with: affineur key {path} NAME", "key_file")
    return tuple(keys)


def warn_if_open(path: Path) -> None:
    """Report a file of keys that anybody may read."""
    if (
        path.stat().st_mode & 0o007
    ):  # its group may: Kubernetes shows a secret to a user without rights by its group
        report(f"{path} can be read by anybody; type: chmod 600 {path}")


def _read(path: Path) -> str:
    try:
        return read_within(path, _MOST_BYTES).decode()
    except OSError as error:
        raise ParameterError(
            f"{path} cannot be read ({error.strerror}); {_FILE_OF_KEYS}", "key_file"
        ) from None
    except UnicodeDecodeError:
        raise ParameterError(f"{path} is not text; {_FILE_OF_KEYS}", "key_file") from None
    except ValueError as error:
        raise ParameterError(f"{path} is no file of keys: {error}", "key_file") from None


def _parse(path: Path, text: str) -> list[Key]:
    keys = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if (match := _LINE.fullmatch(line.strip())) is None:
            raise ParameterError(
                f"{path}:{number}: expected NAME sha256:DIGEST [admin]; "
                f"make one with: affineur key {path} NAME",
                "key_file",
            )
        keys.append(Key(match["name"], match["digest"], match["admin"] is not None))
    return keys


def add_key(path: Path, name: str, admin: bool = False, show: Callable[[str], None] | None = None) -> str:
    """Make a key, add its digest to a file that only its owner reads, and return the key, kept nowhere else.

    Args:
        path: The file.
        name: Whose key it is.
        admin: Whether it may reload models.
        show: Shows the key before its digest is stored; where that fails, nothing is.

    Raises:
        ParameterError: If the name is taken or not a name, or the file cannot be written or is no file of
            keys.
    """
    if not re.fullmatch(r"[\w.-]{1,64}", name):
        raise ParameterError(
            f"'{name}' is no name for a key, expected up to 64 letters, digits, '.', '-' and '_'"
        )
    before = _read(path) if path.exists() else ""
    if any(key.name == name for key in _parse(path, before)):
        raise ParameterError(
            f"{path} has a key of the name {name}; choose another, or take its line out first"
        )
    key = secrets.token_urlsafe(32)
    line = f"{name} sha256:{digest(key)}{' admin' if admin else ''}\n"
    if before and not before.endswith("\n"):
        line = "\n" + line
    try:
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8"
        ) as file:
            if show is not None:
                _show(show, key, path)
            file.write(line)
    except OSError as error:
        raise ParameterError(f"{path} cannot be written ({error.strerror}); name another file") from None
    return key


def _show(show: Callable[[str], None], key: str, path: Path) -> None:
    try:
        show(key)
    except OSError as error:
        if path.is_file() and not path.stat().st_size:  # made for this key
            path.unlink()
        raise ParameterError(
            f"the key could not be shown ({error.strerror}), so {path} has no digest of it; type it again,"
            " where standard output can be read"
        ) from None


def digest(key: str) -> str:
    """Return the sha256 of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def find_key(header: str | None, keys: tuple[Key, ...]) -> Key | None:
    """Return the key that an ``Authorization`` header shows.

    The time it takes does not depend on how much of it is right.
    """
    scheme, _, shown = (header or "").partition(" ")
    given = digest(shown.strip())
    found = None
    for key in keys:
        if hmac.compare_digest(key.digest, given):
            found = key
    return found if scheme.lower() == "bearer" else None
