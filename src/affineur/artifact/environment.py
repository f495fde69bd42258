"""What machine and which libraries a figure was measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_LIBRARIES = ("affineur", "torch", "transformers", "tokenizers", "safetensors", "numpy", "spacy")
# What decides the speed and the exactness of kernels, among the hundred flags of a CPU.
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm")


def environment() -> dict[str, Any]:
    """Return library versions, Python, system, CPU model.

    Its instruction sets and the number of usable cores.
    """
    model, flags = _cpu()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": model,
        "cpu_flags": [flag for flag in _FLAGS if flag in flags],
        "cores": cores,
        "libraries": {name: found for name in _LIBRARIES if (found := _version(name))},
    }


def describe_machine() -> str:
    """Describe the machine in one line, for the foot of a table."""
    here = environment()
    flags = " ".join(here["cpu_flags"]) or "no vector flags known"
    libraries = ", ".join(
        f"{name} {number}" for name, number in here["libraries"].items() if name in ("torch", "transformers")
    )
    return f"{here['cpu']}, {here['cores']} cores ({flags}); Python {here['python']}" + (
        f", {libraries}" if libraries else ""
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> tuple[str, set[str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown CPU", set()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return fields.get("model name", platform.processor() or "unknown CPU"), set(
        fields.get("flags", fields.get("Features", "")).split()
    )
