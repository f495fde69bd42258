"""Which precision a training computes in: by what the CPU says of itself, or as asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from affineur.artifact import open_folder
from affineur.errors import ParameterError
from affineur.steps.core.context import Context
from affineur.steps.core.step import STEPS
from affineur.steps.training import precision
from affineur.steps.training.precision import precision_on
from affineur.transfer import load_splits


@pytest.fixture
def cpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "environment", lambda: {"cpu_flags": request.param})


@pytest.mark.parametrize(
    "cpu", [["avx2", "avx512_bf16"], ["amx_bf16"], ["asimddp", "bf16"]], indirect=True, ids=str
)
@pytest.mark.usefixtures("cpu")
def test_a_cpu_with_bf16() -> None:
    assert [precision_on(asked, "cpu") for asked in ("auto", "bf16", "fp32")] == ["bf16", "bf16", "fp32"]


@pytest.mark.parametrize("cpu", [[], ["avx2", "avx512f", "avx512_vnni"]], indirect=True, ids=str)
@pytest.mark.usefixtures("cpu")
def test_a_cpu_without_bf16() -> None:
    assert [precision_on(asked, "cpu") for asked in ("auto", "fp32")] == ["fp32", "fp32"]
    with pytest.raises(ParameterError, match=r"precision=bf16: this CPU has no bf16 instructions .*use auto"):
        precision_on("bf16", "cpu")


@pytest.mark.parametrize("cpu", [[]], indirect=True, ids=["no flags"])
@pytest.mark.usefixtures("cpu")
@pytest.mark.parametrize("name", ["train", "distill", "recover"])
def test_it_is_said_before_anything_is_read(name: str, corpus: Path) -> None:
    step = STEPS.get(name).given({"precision": "bf16"})
    with pytest.raises(ParameterError, match="no bf16 instructions"):
        step.check(Context(data=load_splits(str(corpus))))


@pytest.mark.parametrize(("cpu", "told"), [(["amx_bf16"], "bf16"), ([], "fp32")], indirect=["cpu"], ids=str)
@pytest.mark.usefixtures("cpu")
def test_the_manifest_tells_what_auto_was(told: str, tiny_model, corpus: Path, tmp_path: Path) -> None:
    """Another precision gives other weights: it is part of what decides the result."""
    context = Context(data=load_splits(str(corpus)), cache=tmp_path / "cache")
    step = STEPS.get("recover").given({"epochs": 0.1})
    out = step.run(open_folder(tiny_model(num_hidden_layers=2)), tmp_path / "out", context)
    manifest = json.loads((out / "affineur.json").read_text("utf-8"))
    assert manifest["parameters"]["precision"] == told
