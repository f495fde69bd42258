"""What the base install weighs, with and without the French models, and how long it takes.

    python benchmarks/base_install.py [MODEL]

Builds both wheels and prints their sizes. Installs `affineur` in a fresh environment, then `affineur[fr]`
beside it, and prints the installed size of every package (pip and setuptools, which the environment brings,
left out); torch is not among them. Then the median of nine whole processes for `affineur predict "…"`, which
uses `sample-int8`, and the best of five for `import affineur` and for `affineur.load`. With MODEL, an
exported ONNX artifact: also until its first entities, and whether the entities of the sample's sentences,
scores and offsets included, are there those that this environment finds, which has torch and all else."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = "Marie travaille à l'hôpital de Paris."
_SIZES = """
import importlib.metadata as m, json
files = {d.metadata["Name"]: [d.locate_file(f) for f in d.files or ()] for d in m.distributions()}
sizes = {name: sum(p.stat().st_size for p in found if p.is_file()) for name, found in files.items()}
print(json.dumps({name: size for name, size in sizes.items() if name not in ("pip", "setuptools")}))
"""
_ENTITIES = """
import json, sys, affineur
found = affineur.load(sys.argv[1])(json.load(sys.stdin))
assert "torch" not in sys.modules
print(json.dumps([[entity.as_dict() for entity in entities] for entities in found]))
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        wheels, pip = Path(folder) / "wheels", [sys.executable, "-m", "pip"]
        for source in (ROOT, ROOT / "packages" / "affineur-fr"):
            subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "-w", wheels, source], check=True)
        for wheel in sorted(wheels.glob("*.whl")):
            print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
        home = Path(folder) / "environment"
        venv.create(home, with_pip=True)
        python = home / "bin" / "python"
        (ours,) = wheels.glob("affineur-*.whl")
        for name, words in (
            ("affineur", [ours]),
            ("affineur[fr]", ["--no-index", "--find-links", wheels, "affineur[fr]"]),
        ):
            command = [python, "-m", "pip", "install", "--quiet", *words]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
            print(_weighed(python, name))
        print(_predicted(home / "bin" / "affineur"))
        for code in (
            "pass",
            "import affineur",
            "import affineur; affineur.load",
            "import affineur; affineur.load; import affineur.engines.support.onnx_tagger",
        ):
            print(_best(python, code))
        for model in sys.argv[1:2]:
            code = f"import affineur; affineur.load({str(Path(model).resolve())!r})('Marie vit à Paris.')"
            print(_best(python, code))
            if not _same(python, model):
                return 1
    return 0


def _weighed(python: Path, name: str) -> str:
    """Say what is installed, the heaviest first."""
    found = subprocess.run([python, "-c", _SIZES], check=True, capture_output=True, text=True).stdout
    sizes = json.loads(found)
    assert "torch" not in sizes
    lines = [f"{name}: {sum(sizes.values()) / 1e6:.0f} MB in {len(sizes)} packages, no torch"]
    heaviest = sorted(sizes.items(), key=lambda item: -item[1])[:8]
    return "\n".join([*lines, *(f"  {each:<20} {size / 1e6:6.1f} MB" for each, size in heaviest)])


def _predicted(affineur: Path) -> str:
    """Say what the median of nine whole processes took, after one that writes the bytecode."""
    taken = [_timed([affineur, "predict", TEXT]) for _ in range(10)][1:]
    wall, busy = (statistics.median(each) for each in zip(*taken, strict=True))
    return f'{wall:6.2f} s ({busy:.2f} s of processor time), median of 9:  affineur predict "{TEXT}"'


def _same(python: Path, model: str) -> bool:
    """Compare the entities that two environments find, and print what came out."""
    from affineur.transfer import load_corpus

    texts = json.dumps([" ".join(sentence.words) for sentence in load_corpus("sample")])
    here, there = (
        json.loads(
            subprocess.run(
                [each, "-c", _ENTITIES, model], input=texts, check=True, capture_output=True, text=True
            ).stdout
        )
        for each in (sys.executable, python)
    )
    print(
        f"{sum(map(len, there)):,} entities in {len(there)} texts:"
        f" {'the same' if here == there else 'NOT the same'} as where everything is installed"
    )
    return here == there


def _best(python: Path, code: str) -> str:
    """Say what the fastest of five processes took; the first writes the bytecode. Processor time hardly feels
    other work beside it.
    """
    wall, busy = zip(*(_timed([python, "-c", code]) for _ in range(5)), strict=True)
    return f"{min(wall):6.2f} s ({min(busy):.2f} s of processor time)  {code}"


def _timed(command: list[str | Path]) -> tuple[float, float]:
    """Run a process; its seconds and its seconds of processor time."""
    start, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    busy = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, busy


if __name__ == "__main__":
    sys.exit(main())
