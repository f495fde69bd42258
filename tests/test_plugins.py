"""A package outside Affineur adds a method, a step, an engine and a protocol: nothing in Affineur changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from affineur.serve.keys import add_key
from serve.running import running

TEXT = "Marie Duval habite à Paris."
ROOT = Path(__file__).parents[1]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build ``examples/plugin`` as a wheel and install it into a folder of its own."""
    built, place = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    source = str(ROOT / "examples" / "plugin")
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(built), source]
    subprocess.run(wheel, check=True, capture_output=True)
    packed = str(next(built.glob("*.whl")))
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(place), packed], check=True, capture_output=True
    )
    return place


@pytest.fixture
def affineur(installed: Path, tmp_path: Path) -> Run:
    """Run Python, or a command, where the plugin is installed."""
    path = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])

    def run(*words: object, code: str | None = None) -> subprocess.CompletedProcess[str]:
        start = [sys.executable, "-c", code] if code else [sys.executable, "-m", "affineur"]
        environment = os.environ | {"PYTHONPATH": path}
        command = [*start, *map(str, words)]
        found = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert found.returncode == 0, found.stderr
        return found

    return run


def test_all_four_from_the_command_line(
    affineur: Run, shared_model, shared_corpus: Path, tmp_path: Path
) -> None:
    model, data = shared_model("camembert"), ["--data", shared_corpus]
    listed = affineur("--help").stdout
    assert "round" in listed
    assert "random" in affineur("prune", "--help").stdout
    said = affineur("prune", model, "--method", "random", "--sparsity", "0.25", "-o", "pruned").stdout
    assert "are zero: 25.00" in said
    affineur("round", "pruned", "--bits", "4", "-o", "rounded")
    affineur("compare", "rounded", "torch-bf16:rounded", *data, "--rounds", "1", "--json", "c.json")
    rows = json.loads((tmp_path / "c.json").read_text())["rows"]
    assert [row["model"] for row in rows] == ["rounded", "torch-bf16:rounded"]
    assert rows[0]["sparsity"] == pytest.approx(0.25, abs=1e-3)
    card = (tmp_path / "rounded" / "README.md").read_text("utf-8").partition("## Reproduce")[2]
    assert "affineur prune camembert --sparsity 0.25 --method random -o pruned" in card
    assert "affineur round pruned --bits 4 -o rounded" in card
    assert "round" in affineur("info", "rounded").stdout


def test_all_in_a_recipe_and_in_python(
    affineur: Run, shared_model, shared_corpus: Path, tmp_path: Path
) -> None:
    recipe = {
        "name": "mine",
        "teacher": str(shared_model("camembert")),
        "data": str(shared_corpus),
        "steps": [{"prune": {"method": "random", "sparsity": 0.1}}, {"round": {"bits": 5, "name": "few"}}],
        "compare": {"rounds": 1, "memory": False, "rows": ["teacher", "few", "torch-bf16:few"]},
    }
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    affineur("run", "r.yaml")
    table = json.loads((tmp_path / "runs" / "mine" / "compare.json").read_text())
    assert [row["model"] for row in table["rows"]] == ["teacher", "few", "torch-bf16:few"]
    report = (tmp_path / "runs" / "mine" / "report.html").read_text("utf-8")
    assert "torch-bf16:few" in report
    affineur(
        code="""if True:
        import affineur, inspect
        pruned = affineur.prune("runs/mine/models/few", method="random", sparsity=0.3, out="p")
        few = affineur.round(pruned, bits=3, out="f")
        assert few.info.manifest.stage == "round", few.info.manifest.stage
        assert "bits" in inspect.signature(affineur.round).parameters
        half = affineur.load("torch-bf16:f")
        assert isinstance(half("Marie habite à Paris."), list)
        assert half.evaluate("sample").f1 >= 0
        assert "round" in dir(affineur)
        """
    )


def test_the_protocol_is_served_listed_and_guarded(
    installed: Path, shared_int8: Path, tmp_path: Path
) -> None:
    path = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])
    keys = tmp_path / "keys"
    key = add_key(keys, "Marie")
    with running(tmp_path, shared_int8, "--port", 0, "--key-file", keys, PYTHONPATH=path) as endpoint:
        endpoint.ready()
        assert endpoint.ask({"text": TEXT}, "/displacy")[0] == 401
        status, answer, _ = endpoint.ask({"text": TEXT}, "/displacy", Authorization=f"Bearer {key}")
        assert status == 200
        assert answer["text"] == TEXT
        assert all(set(each) == {"start", "end", "label"} for each in answer["ents"])
        schema = endpoint.ask(None, "/openapi.json", Authorization=f"Bearer {key}")[1]
        assert "/displacy" in schema["paths"]
