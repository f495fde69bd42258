"""What machine and which libraries a figure was measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_LIBRARIES = ("affineur", "torch", "transformers", "tokenizers", "safetensors", "numpy", "spacy")
# What decides the speed and the exactness of kernels, among the hundred flags of a CPU.
_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimddp",
    "i8mm",
    "bf16",
)


def environment() -> dict[str, Any]:
    """Return library versions, Python, system, CPU model, its instruction sets and the usable cores."""
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
    found = here["libraries"]
    libraries = [f", {name} {found[name]}" for name in ("torch", "transformers") if name in found]
    return f"{here['cpu']}, {here['cores']} cores ({flags}); Python {here['python']}{''.join(libraries)}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> tuple[str, set[str]]:
    # py-cpuinfo takes a second, for it starts processes, and psutil knows neither model nor instruction sets.
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown CPU", set()
    parts = (line.partition(":") for line in lines)
    fields = {key.strip(): value.strip() for key, _, value in parts}
    flags = fields.get("flags", fields.get("Features", ""))  # the latter on ARM
    return fields.get("model name", platform.processor() or "unknown CPU"), set(flags.split())
