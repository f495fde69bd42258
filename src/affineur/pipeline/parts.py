"""Finished parts of a run's results, kept until all are there: a killed run measures no part again."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from affineur.artifact import write_json
from affineur.artifact.reading import read_json
from affineur.progress import report

T = TypeVar("T")


class Parts:
    """A folder of finished parts.

    Args:
        folder: Where they are kept.
        key: What decides all of them; parts of another key are measured again.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key = folder, key

    def get(self, name: str, kind: Any, make: Callable[[], T]) -> T:
        """Return a part, making it at most once.

        Args:
            name: Its name.
            kind: Its type, of dataclasses.
            make: Makes it.

        Raises:
            AffineurError: If it cannot be kept.
        """
        path, adapter = self._folder / f"{name}.json", TypeAdapter(kind)
        with contextlib.suppress(OSError, ValueError, ValidationError):  # absent or damaged: made again
            kept = read_json(path)
            if isinstance(kept, dict) and kept.get("key") == self._key:
                value: T = adapter.validate_python(json.loads(kept["value"]))
                report(f"{name}: measured by an earlier run, {path}")
                return value
        made = make()
        # As text of its own: a ratio may have no upper end, and our files hold no infinity.
        write_json(path, {"key": self._key, "value": json.dumps(adapter.dump_python(made, mode="python"))})
        return made

    def drop(self) -> None:
        """Remove them, when what they are for is written."""
        shutil.rmtree(self._folder, ignore_errors=True)
