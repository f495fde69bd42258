"""What each of several models finds in one text: a figure says how many are right, this shows one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from affineur.entities import Entity


@dataclass(frozen=True, slots=True)
class Example:
    """A text, and what each model finds in it.

    Args:
        text: The text.
        found: The entities that each model finds, by its name.
    """

    text: str
    found: Mapping[str, tuple[Entity, ...]]

    def mentions(self, model: str) -> str:
        """Name what a model finds, in the order of the text."""
        return ", ".join(f"{entity.word} ({entity.type})" for entity in self.found[model]) or "nothing"

    @property
    def lines(self) -> list[str]:
        """The text, then each finding with the models that agree on it."""
        agreed: dict[str, list[str]] = {}
        for model in self.found:
            agreed.setdefault(self.mentions(model), []).append(model)
        return [
            f"“{self.text}”",
            *(f"  {what}: {', '.join(models)}" for what, models in agreed.items()),
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the text, what each model finds under the keys of ``predict --json``, and the lines."""
        found = {model: [entity.as_dict() for entity in entities] for model, entities in self.found.items()}
        return {"text": self.text, "found": found, "lines": self.lines}
