"""Names in the front matter: ids of the Hub, and one name or several."""

from __future__ import annotations

from typing import Any

from affineur.artifact.card.markdown import folded


def is_id(name: str) -> bool:
    """Say whether a name could be a Hub id, ``owner/name`` or ``name``."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id  # here: it brings an HTTP library

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def names_in(value: Any) -> str | list[str] | None:
    """Return a name or a list of names, or ``None`` for anything else."""
    if isinstance(value, str):
        return folded(value) or None
    if isinstance(value, list):
        return [folded(name) for name in value if isinstance(name, str) and name.strip()] or None
    return None


def listed(value: Any) -> list[str]:
    """Return the names as a list, empty where there are none."""
    found = names_in(value)
    return [] if found is None else [found] if isinstance(found, str) else found
