"""A fresh process that loads one model, tags the sentences on its standard input, and prints its peak memory in bytes."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path


def main() -> None:
    """Load, tag, tell."""
    warnings.simplefilter("ignore")
    reference, device = sys.argv[1:3]
    from affineur.pipeline.models import load

    load(reference, device).tag(json.load(sys.stdin))
    print(_peak_bytes())


def _peak_bytes() -> int:
    """Read the high-water mark of this process; ``getrusage`` would count what the parent held when it forked."""
    try:
        status = Path("/proc/self/status").read_text("utf-8")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return 0


if __name__ == "__main__":
    main()
