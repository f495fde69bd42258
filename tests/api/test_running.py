"""``affineur.run``: what is given beside a recipe replaces what it says."""

from __future__ import annotations

from typing import Any

import pytest

import affineur
from affineur.pipeline import make_recipe

STEPS = [{"prune": {"sparsity": 0.1}}]


@pytest.mark.parametrize("kind", ["mapping", "recipe"])
def test_changes_replace_what_a_recipe_says(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    given: dict[str, Any] = {"name": "a", "teacher": "sample", "data": "sample", "seed": 1, "steps": STEPS}
    monkeypatch.setattr("affineur.pipeline.run", lambda recipe, **_: recipe)
    recipe = given if kind == "mapping" else make_recipe(given)
    made: Any = affineur.run(recipe, seed=99)
    assert (made.seed, made.teacher) == (99, "sample")
