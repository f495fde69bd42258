"""What the base install weighs and how long it takes to import: a fresh environment, no extras.

    python benchmarks/base_install.py [MODEL]

Prints the installed size of every package (pip and setuptools, which the environment brings, left out), and
the best of five fresh processes for `import affineur` and for `affineur.load`. With MODEL, an exported ONNX
artifact: also until its first entities, and whether the entities of the sample's sentences, scores and
offsets included, are there those that this environment finds, which has torch and all else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
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
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", str(ROOT)], check=True, stderr=subprocess.DEVNULL
        )
        sizes = json.loads(
            subprocess.run([python, "-c", _SIZES], check=True, capture_output=True, text=True).stdout
        )
        print(f"installed: {sum(sizes.values()) / 1e6:.0f} MB in {len(sizes)} packages")
        for name, size in sorted(sizes.items(), key=lambda item: -item[1])[:8]:
            print(f"  {name:<20} {size / 1e6:6.1f} MB")
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
    wall, busy = [], []
    for _ in range(5):
        start, before = time.perf_counter(), os.times()
        subprocess.run([python, "-c", code], check=True)
        after = os.times()
        wall.append(time.perf_counter() - start)
        busy.append(
            after.children_user + after.children_system - before.children_user - before.children_system
        )
    return f"{min(wall):6.2f} s ({min(busy):.2f} s of processor time)  {code}"


if __name__ == "__main__":
    sys.exit(main())
