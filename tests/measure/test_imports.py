from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "names",
    [
        "affineur",
        "affineur.entities",
        "affineur.entities, affineur.artifact, affineur.runtime, affineur.measure, affineur.transfer",
    ],
)
def test_the_base_rooms_are_free_of_torch(names: str) -> None:
    code = (
        f"import sys, {names}; print(sorted(m for m in sys.modules if m.partition('.')[0] in ('torch', "
        "'transformers')), 'affineur' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("[] True", "", 0)


def test_entities_need_the_standard_library_only() -> None:
    code = (
        "import sys; before = set(sys.modules); import affineur.entities; "
        "print(sorted({m.partition('.')[0] for m in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "['affineur']"
