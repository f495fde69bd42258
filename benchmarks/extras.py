"""What each extra of `pip install affineur` weighs once installed, beside the base install.

    python benchmarks/extras.py [EXTRA ...]

Installs the project once without and once with each extra (all of pyproject.toml but `dev` and `docs`
where none is named) into an empty folder of its own, and prints the megabytes (10^6 bytes) of the files
there, bytecode included. Torch is the version that `make setup` pins; the figures are those of its build for
CPUs, which the default build for Linux on PyPI, with CUDA, exceeds by several gigabytes."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
TORCH = re.search(r"torch==\S+", (ROOT / "Makefile").read_text("utf-8"))[0]


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = sys.argv[1:] or [
        name for name in project["optional-dependencies"] if name not in ("dev", "docs")
    ]
    base = installed("")
    print(f"{'affineur':<24} {base / 1e6:7.0f} MB")
    for extra in extras:
        size = installed(f"[{extra}]")
        print(f"{f'affineur[{extra}]':<24} {size / 1e6:7.0f} MB   +{(size - base) / 1e6:.0f} MB", flush=True)


def installed(extra: str) -> int:
    """Return the bytes of the project with an extra, such as ``[serve]``, and all it needs."""
    with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
        pins.write(TORCH + "\n")
        pins.flush()
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder]
        models = [ROOT / "packages" / "affineur-fr"] if extra in ("[fr]", "[all]") else []  # no index
        subprocess.run([*command, "--constraint", pins.name, *models, f"{ROOT}{extra}"], check=True)
        return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())


if __name__ == "__main__":
    main()
