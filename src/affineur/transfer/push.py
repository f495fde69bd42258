"""Sending an artifact somewhere else: only what changed, and never a half one for a reader to see."""

from __future__ import annotations

from pathlib import Path

from affineur.transfer.places.core.place import Pushed, Remote


def push_files(folder: Path, remote: Remote) -> Pushed:
    """Send a folder."""
    raise NotImplementedError
