"""The bare wheel in a clean environment: it installs without torch, imports, looks at models and says what it lacks."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    installed = subprocess.run([python, "-m", "pip", "install", "--quiet", next(folder.glob("*.whl"))], capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"no package registry to install the base dependencies from: {installed.stderr[-200:]}")
    return python


def _run(python: Path, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, *words], capture_output=True, text=True, check=False, cwd=cwd)


def test_base_rooms_import_without_torch(python: Path) -> None:
    code = (
        "import sys, affineur, affineur.entities, affineur.artifact, affineur.runtime, affineur.measure, affineur.transfer, affineur.sample\n"
        "import importlib.util\n"
        "assert importlib.util.find_spec('torch') is None\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
        "print(affineur.describe(affineur.sample.teacher()).parameters)"
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
        "affineur: affineur prune needs packages that are not installed; type: pip install 'affineur[compress]'"
    ]
