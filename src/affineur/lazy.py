"""Names that load their room when they are first used (PEP 562).

Importing a package then costs nothing, and needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def names(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make ``__getattr__`` and ``__dir__`` for a package.

    Args:
        package: The package's name.
        homes: The names it gives, with spaces between, by the module where they live.
    """
    home_of = {name: home for home, given in homes.items() for name in given.split()}

    def get(name: str) -> Any:
        if name in home_of:
            return getattr(import_module(home_of[name]), name)
        raise AttributeError(f"module '{package}' has no attribute '{name}'")

    def listed() -> list[str]:
        return sorted([*vars(import_module(package)), *home_of])

    return get, listed
