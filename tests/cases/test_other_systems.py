"""What Windows lacks is not needed to read a model and to use it (case 40: ``import fcntl``)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

#: Taken away before anything of ours is imported; then each command is run.
_AWAY = """
import os, signal, sys
for name in ("fcntl", "grp", "pwd", "resource", "termios", "uvloop"):
    sys.modules[name] = None
for name in (
    "chown fchmod geteuid getuid getegid killpg posix_fadvise pread pwrite sched_getaffinity "
    "sched_setaffinity set_blocking statvfs sysconf O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK"
).split():
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGALRM", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGUSR1"):
    if hasattr(signal, name):
        delattr(signal, name)
from affineur.cli.main import main
model, texts, data, out = sys.argv[1:]
for command in (
    ["predict", model, "Marie Dupont vit à Paris."],
    ["annotate", model, texts, "-o", out],
    ["evaluate", model, "--data", data],
    ["info", model],
    ["verify", model],
    ["cache"],
):
    if status := main([*command]):
        raise SystemExit(f"{command[0]}: {status}")
"""


def test_nothing_that_only_posix_has_is_needed(shared_int8: Path, tmp_path: Path) -> None:
    texts, data, out = tmp_path / "texts.txt", tmp_path / "data.conll", tmp_path / "out.jsonl"
    texts.write_text("Marie Dupont vit à Paris.\n", encoding="utf-8")
    data.write_text("Marie\tI-PER\nvit\tO\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", _AWAY, str(shared_int8), str(texts), str(data), str(out)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Marie Dupont vit" in out.read_text(encoding="utf-8")
