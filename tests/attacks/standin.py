"""The command line with a model that knows names by heart, so that no test waits for a real one.

python -m attacks.standin predict MODEL …
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import affineur.api.model
from affineur.cli.main import main
from affineur.entities import Entity

_NAMES = re.compile("Jean Morvan|Élodie|Nîmes|Hélène|Noël")


class Standin:
    """Finds five names."""

    def stream(self, texts: Any, **options: Any) -> Iterator[list[Entity]]:
        for text in texts:
            yield [Entity("PER", name[0], *name.span(), 0.9) for name in _NAMES.finditer(text)]


def load(*given: Any, **options: Any) -> Standin:
    return Standin()


def command(*words: str) -> list[str]:
    """Return the command line of ``affineur predict`` with that model."""
    return [sys.executable, "-m", "attacks.standin", "predict", "./MODEL", *words, "-q"]


#: Where a process finds this file.
PATH = str(Path(__file__).parents[1])


if __name__ == "__main__":
    affineur.api.model.load = load  # type: ignore[assignment]
    sys.exit(main())
