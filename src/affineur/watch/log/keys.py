"""Keys of the hashes that stand for texts: in a file that only its owner reads, each with its age.

A plain hash of a short text is undone by trying texts; a keyed one (HMAC, RFC 2104) only by who has the key.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from affineur.artifact.locking import in_turn
from affineur.artifact.reading import read_within
from affineur.errors import ParameterError
from affineur.progress import report

_LINE = re.compile(r"(?P<key>[0-9a-f]{64})\s+(?P<made>\d{1,12})")
_MOST_BYTES = 1 << 20
_DAY = 86_400
#: Bytes of a digest that are its hash; others of it decide whether a text is sampled.
_HASH, _SAMPLE = 16, 8
_FILE = "expected a file of keys that a log has written"


@dataclass(frozen=True, slots=True)
class LogKey:
    """A key.

    Args:
        secret: 256 random bits.
        made: When it was made, in seconds UTC.
    """

    secret: bytes
    made: int

    @property
    def id(self) -> str:
        """What rows call it: it follows from the key, so that no two files can mean another by it."""
        return hashlib.sha256(b"affineur log key " + self.secret).hexdigest()[:8]

    def hash(self, text: str) -> tuple[str, float]:
        """Return what stands for a text, and a number in [0, 1) that says whether it is sampled."""
        digest = hmac.digest(self.secret, text.encode("utf-8", "surrogatepass"), "sha256")
        return digest[:_HASH].hex(), int.from_bytes(digest[-_SAMPLE:]) / (1 << 8 * _SAMPLE)


class LogKeys:
    """The file of keys of a log. The newest hashes; the others are kept to find what they hashed.

    Args:
        path: The file; made where it is missing.
        days: Age at which a key is followed by another.

    Raises:
        ParameterError: If it cannot be read or written, or is no file of keys.
    """

    def __init__(self, path: Path, days: int) -> None:
        self.path, self._days = path, days
        self.all = read_log_keys(path)
        if self.all and path.stat().st_mode & 0o077:
            report(f"{path} has the keys of a log and can be read by others; type: chmod 600 {path}")
        self.rotate()

    @property
    def current(self) -> LogKey:
        """The key that hashes now."""
        return self.all[-1]

    def rotate(self) -> bool:
        """Make another key where the current one is too old, or there is none; read what others have made.

        Returns:
            Whether the current key is another than before.

        Raises:
            ParameterError: If the file cannot be read or written.
        """
        before = self.all[-1:]
        if not self._due():
            return False
        with in_turn(self.path):
            self.all = read_log_keys(self.path)  # another process may have made one
            if self._due():
                self._add(LogKey(secrets.token_bytes(32), int(time.time())))
        return self.all[-1:] != before

    def _due(self) -> bool:
        return not self.all or time.time() - self.all[-1].made > self._days * _DAY

    def _add(self, key: LogKey) -> None:
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "a", encoding="ascii") as file:
                file.write(f"{key.secret.hex()} {key.made}\n")
                file.flush()
                os.fsync(file.fileno())  # rows are hashed with it from now on
        except OSError as error:
            raise ParameterError(
                f"{self.path} cannot be written ({error.strerror}); name another file of keys", "log_key"
            ) from None
        self.all.append(key)


def read_log_keys(path: Path) -> list[LogKey]:
    """Read a file of keys, the newest last; none where there is no file.

    Raises:
        ParameterError: If it cannot be read, or is no file of keys.
    """
    try:
        text = read_within(path, _MOST_BYTES).decode("ascii")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ParameterError(f"{path} cannot be read ({error.strerror}); {_FILE}", "log_key") from None
    except ValueError:
        raise ParameterError(f"{path} is no file of keys, {_FILE}", "log_key") from None
    keys = []
    for number, line in enumerate(text.splitlines(), start=1):
        if (match := _LINE.fullmatch(line.strip())) is None:
            raise ParameterError(f"{path}:{number} is no key, {_FILE}", "log_key")
        keys.append(LogKey(bytes.fromhex(match["key"]), int(match["made"])))
    return keys
