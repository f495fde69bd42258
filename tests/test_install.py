"""The bare wheel in a clean environment: it installs without torch, imports, looks at models and says what it
lacks.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(build, check=True, capture_output=True)
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    installed = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", next(folder.glob("*.whl"))],
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode:
        pytest.skip(f"no package registry to install the base dependencies from: {installed.stderr[-200:]}")
    return python


def test_an_exported_model_needs_no_torch(shared_model, shared_corpus: Path, tmp_path: Path) -> None:
    """What is blocked is as good as not installed: its import fails."""
    from affineur.cli.main import main
    from affineur.engines.support.torch_tagger import load_tagger

    source, exported, found = shared_model(), tmp_path / "exported", tmp_path / "found.json"
    assert main(["export", str(source), "-o", str(exported), "-q"]) == 0
    texts = ["Marie Duval habite à Paris.", "Hier, Élodie a quitté l'Union des Métiers 😀.", ""]
    code = (
        "import sys, json\nblocked = dict.fromkeys(('torch', 'transformers', 'accelerate',"
        " 'onnx'))\nsys.modules.update(blocked)\nfrom affineur.cli.main import main\nstatuses ="
        " [main([*words, '-q']) for words in json.loads(sys.argv[1])]\nassert statuses == [0] *"
        " len(statuses), statuses\nassert not [name for name in sys.modules if name.split('.')[0] in blocked"
        " and sys.modules[name] is not None]\n"
    )
    model, data = str(exported), str(shared_corpus / "test.conll")
    commands = [
        ["predict", model, *texts, "--json", str(found)],
        ["predict", model, *texts, "--aggregation-strategy", "average"],
        ["annotate", model, data, "-o", str(tmp_path / "annotated.conll")],
        ["evaluate", model, "--data", data],
        ["info", model],
    ]
    done = _run(Path(sys.executable), "-c", code, json.dumps(commands), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    wanted = load_tagger(source).predict_batch(texts)
    assert any(wanted)
    ours = [each["entities"] for each in json.loads(found.read_text("utf-8"))]
    assert [[{**e, "score": 0} for e in each] for each in ours] == [
        [{**e.as_dict(), "score": 0} for e in each] for each in wanted
    ]
    assert [e["score"] for each in ours for e in each] == pytest.approx(
        [e.score for each in wanted for e in each], abs=1e-4
    )


def _run(python: Path, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, *words], capture_output=True, text=True, check=False, cwd=cwd)


def test_base_rooms_import_without_torch(python: Path) -> None:
    code = (
        "import sys, affineur, affineur.entities, affineur.artifact, affineur.runtime, affineur.measure,"
        " affineur.transfer, affineur.sample\nimport importlib.util\nassert importlib.util.find_spec('torch')"
        " is None\nassert 'torch' not in sys.modules and 'transformers' not in"
        " sys.modules\nprint(affineur.describe(affineur.sample.teacher()).parameters)"
    )
    done = _run(python, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "7742597"


def test_commands_without_torch_work_or_say_what_to_install(python: Path, tmp_path: Path) -> None:
    info = _run(python, "-m", "affineur", "info", "sample", cwd=tmp_path)
    assert info.returncode == 0, info.stderr
    assert "12 encoder layers" in info.stdout
    prune = _run(python, "-m", "affineur", "prune", "sample", "-o", "out", cwd=tmp_path)
    assert prune.returncode == 1
    assert prune.stderr.strip().splitlines() == [
        "affineur: affineur prune needs packages that are not installed; type: pip install"
        " 'affineur[compress]'"
    ]
