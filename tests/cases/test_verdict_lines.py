"""What the last line of a training says (case 34)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from affineur.steps.core.step import STEPS


@pytest.mark.parametrize(
    ("keep_best", "dev", "said"),
    [
        (True, [0.5, 0.9, 0.7], "dev F1 of the saved model 0.9000 (after epoch 2 of 3, the best)"),
        (True, [0.5, 0.9], "dev F1 of the saved model 0.9000"),
        (False, [0.5, 0.9, 0.7], "dev F1 of the saved model 0.7000"),
    ],
)
@pytest.mark.parametrize("name", ["train", "distill"])
def test_the_last_line_tells_the_saved_model(name: str, keep_best: bool, dev: list[float], said: str) -> None:
    manifest = SimpleNamespace(scores={"dev_f1": dev}, parameters={"keep_best": keep_best})
    info: Any = SimpleNamespace(manifest=manifest)
    source: Any = None
    step = STEPS.get(name).given({"layers": 1} if name == "distill" else {})
    assert step.said(info, source)[0] == said
