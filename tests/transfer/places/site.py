"""A folder at a place whose server runs here, as the tests of what every place promises need it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


def flip(file: Path) -> None:
    """Damage one byte in the middle of a file, and leave its length."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def _as_it_is(folder: Path) -> None:
    pass


@dataclass(frozen=True)
class Site:
    """Where a test pulls from and pushes to.

    Each module ``NAME_server.py`` gives one by a context manager ``site(folder, monkeypatch)``: ``folder`` is
    empty and its own, and the environment says how the server is reached, for processes that are started too.

    Args:
        reference: What is pulled.
        filled: What is pushed to fill it: ``reference`` itself, where the place can be written.
        damage: Changes a byte of a file that was pushed, by its name, behind the place's back.
        received: Counts the bytes of files that came there.
        knows: Whether it keeps what says which file it holds; if not, a push calls sent what it found there
            by comparing, and only ``received`` tells.
        parts: Whether a part of a file can be read; if not, a pull that is killed begins the file anew.
        seal: Called with the folder whenever it was changed, before it is pushed: makes of it what the place
            reads back.
        ours: Whether a push is ours from part to part; if not, it is the official client's: a file that was
            under way when it was killed is sent anew, and the client shows the progress itself.
    """

    reference: str
    filled: str
    damage: Callable[[str], None]
    parts: bool = True
    received: Callable[[], int] | None = None
    knows: bool = True
    seal: Callable[[Path], None] = _as_it_is
    ours: bool = True

    @property
    def writes(self) -> bool:
        """Whether the place itself can be written."""
        return self.reference == self.filled
