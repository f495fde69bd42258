"""The wheels: what is in them, and the bare one in a clean environment, where it installs without torch,
imports, looks at models and says what it lacks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FRENCH = ROOT / "packages" / "affineur-fr"
SMALL = ("README.md", "affineur.json", "model.onnx", "probe.safetensors", "tokenizer.json")
TEACHER = ("README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of both distributions."""
    folder = tmp_path_factory.mktemp("wheels")
    for source in (ROOT, FRENCH):
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        subprocess.run(build, check=True, capture_output=True, cwd=source)
    return folder


@pytest.fixture(scope="module")
def python(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean environment with Affineur and what its base install needs."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    installed = _run(python, "-m", "pip", "install", "--quiet", str(next(wheels.glob("affineur-*.whl"))))
    if installed.returncode:
        pytest.skip(f"no package registry to install the base dependencies from: {installed.stderr[-200:]}")
    return python


@pytest.fixture(scope="module")
def french(python: Path, wheels: Path) -> Path:
    """The same with the French models, for which no index is asked."""
    words = ["install", "--quiet", "--no-index", "--find-links", str(wheels), "affineur[fr]"]
    installed = _run(python, "-m", "pip", *words)
    assert installed.returncode == 0, installed.stderr
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
    clean = str(python) != sys.executable
    environment = {k: v for k, v in os.environ.items() if not (clean and k == "PYTHONPATH")}
    return subprocess.run(
        [python, *words], capture_output=True, text=True, check=False, cwd=cwd, env=environment
    )


def _about(wheel: zipfile.ZipFile) -> dict[str, list[str]]:
    """Return the metadata of a wheel, the values of each key in their order."""
    (name,) = (each for each in wheel.namelist() if each.endswith(".dist-info/METADATA"))
    parsed = message_from_bytes(wheel.read(name))
    return {key: parsed.get_all(key, []) for key in parsed}


def test_the_wheel_of_affineur_has_nothing_that_a_lawyer_stops_at(wheels: Path) -> None:
    with zipfile.ZipFile(next(wheels.glob("affineur-*.whl"))) as wheel:
        about = _about(wheel)
        assert about["License-Expression"] == ["Apache-2.0 AND CC0-1.0"]
        assert sorted(about["License-File"]) == ["LICENSE", "src/affineur/sample/LICENSES.md"]
        assert "affineur-fr>=0.1; extra == 'fr'" in about["Requires-Dist"]
        names = wheel.namelist()
        assert not [name for name in names if name.endswith((".safetensors", ".onnx", ".bin"))]
        assert sum(each.compress_size for each in wheel.infolist()) < 3_000_000
        # Modules name the license of the other package, and of cards; all else says nothing of such a one.
        others = [name for name in names if not name.endswith((".py", ".pyi", "LICENSES.md", "METADATA"))]
        assert not [name for name in others if b"cc-by-nc" in wheel.read(name).lower().replace(b" ", b"-")]


def test_the_wheel_of_the_french_models(wheels: Path) -> None:
    with zipfile.ZipFile(next(wheels.glob("affineur_fr-*.whl"))) as wheel:
        about = _about(wheel)
        assert about["Name"] == ["affineur-fr"]
        assert about["License-Expression"] == ["CC-BY-NC-SA-4.0"]
        assert sorted(about["License-File"]) == ["LICENSE", "LINEAGE.md"]
        assert "Requires-Dist" not in about
        names = set(wheel.namelist())
        (text,) = (name for name in names if name.endswith("licenses/LICENSE"))
        assert b"Attribution-NonCommercial-ShareAlike 4.0 International Public License" in wheel.read(text)
        assert {f"affineur_fr/sample/{name}" for name in TEACHER} <= names
        assert {f"affineur_fr/sample-int8/{name}" for name in SMALL} <= names
        assert not [name for name in names if not name.startswith(("affineur_fr/", "affineur_fr-"))]


def test_base_rooms_import_without_torch(python: Path) -> None:
    code = (
        "import sys, affineur, affineur.entities, affineur.artifact, affineur.runtime, affineur.measure,"
        " affineur.transfer, affineur.sample\nimport importlib.util\nassert importlib.util.find_spec('torch')"
        " is None\nassert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = _run(python, "-c", code)
    assert done.returncode == 0, done.stderr


def test_the_french_models_are_missing_and_then_there(
    python: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    text = "Marie travaille à l'hôpital de Paris."
    for words, name in (([text], "sample-int8"), (["sample", text], "sample")):
        done = _run(python, "-m", "affineur", "predict", *words, cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.splitlines() == [
            f"affineur: the model '{name}' needs packages that are not installed; type: pip install"
            " 'affineur[fr]'"
        ]
    request.getfixturevalue("french")
    done = _run(python, "-m", "affineur", "predict", text, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "'Marie'" in done.stdout


def test_commands_without_torch_work_or_say_what_to_install(french: Path, tmp_path: Path) -> None:
    info = _run(french, "-m", "affineur", "info", "sample", cwd=tmp_path)
    assert info.returncode == 0, info.stderr
    assert "12 encoder layers" in info.stdout
    prune = _run(french, "-m", "affineur", "prune", "sample", "-o", "out", cwd=tmp_path)
    assert prune.returncode == 1
    assert prune.stderr.strip().splitlines() == [
        "affineur: affineur prune needs packages that are not installed; type: pip install"
        " 'affineur[compress]'"
    ]
