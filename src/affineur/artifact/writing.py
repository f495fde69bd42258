"""Atomic writing: a crash leaves the old file or folder, or the new one, never half of either."""

from __future__ import annotations

import ctypes
import errno
import glob
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from affineur.artifact.reading import WRONG, read_json
from affineur.errors import AffineurError, ParameterError

MANIFEST = "affineur.json"
#: Lists the files of a folder that was fetched and is no model; no loader of data looks at hidden files.
HIDDEN = ".affineur-files.json"
#: The signature of an artifact, under the name that OpenSSF model signing gives it.
SIGNATURE = "model.sig"
#: What an artifact was made of, as CycloneDX has it.
BILL = "sbom.json"
#: What a watch learned of the model from labeled text.
REFERENCE = "watch.json"
#: What is made of a finished artifact and laid beside its files: the manifest cannot list it.
COMPANIONS = (SIGNATURE, BILL, REFERENCE)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What safetensors (Rust), torch and numpy say of a full disk; they keep no error number.
_SAYS_FULL = re.compile(
    r"No space left|File too large|os error (27|28|122)|PytorchStreamWriter|inline_container"
    r"|requested and \d+ written|mmap an empty file"
)
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Build a folder beside ``target`` and put it in place in one step when the block ends well.

    An existing ``target`` is replaced only if Affineur wrote it and nobody has added a file to it since.

    Args:
        target: Where the folder will be.

    Yields:
        The folder to write into; its files are synced to disk before the rename.

    Raises:
        ParameterError: If ``target`` holds something that Affineur did not write.
        AffineurError: If the disk is full or not writable; ``target`` is then as it was.
    """
    target = resolved(target)  # what a symbolic link points to is replaced, not the link
    refuse_to_lose(target)
    building = target.parent / f".{target.name}.tmp-{os.getpid()}"
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(target)
        building.mkdir()
        try:
            yield building
            _sync_tree(building)
            _swap(building, target)
        finally:
            shutil.rmtree(building, ignore_errors=True)


@contextmanager
def new_file(path: Path) -> Iterator[TextIO]:
    """Write a text file beside ``path`` and put it in place in one step when the block ends well.

    Nobody can tell the name it has until then, and no file or link that is there already is opened.

    Args:
        path: Where the file will be.

    Yields:
        The file to write into, UTF-8.

    Raises:
        AffineurError: If the disk is full or not writable; the old file is then as it was.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise AffineurError(f"{path} is no regular file, and would be replaced by one; name another file")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        building = path.parent / f".{path.name}.tmp-{secrets.token_hex(8)}"
        try:
            # "x" is O_EXCL: in a folder that others write to, a link could lie there.
            with building.open("x", encoding="utf-8", newline="\n") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            building.replace(path)
            _sync(path.parent)
        finally:
            building.unlink(missing_ok=True)


@contextmanager
def private_log(path: Path) -> Iterator[Callable[[str], None]]:
    """Write a new file under its own name, line by line, that only its owner can read.

    However the process ends, the file has each line that was written, whole; one without any is removed.

    Args:
        path: Where the file will be; nothing may be there, a link neither.

    Yields:
        What writes a line: the system has it when that returns.

    Raises:
        AffineurError: If the disk is full or not writable, or something is there.
    """
    size = 0
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "xb", buffering=0, opener=lambda name, flags: os.open(name, flags, 0o600)) as file:

            def write(line: str) -> None:
                nonlocal size
                with disk_errors(path):
                    data = line.encode("utf-8")
                    left = memoryview(data)
                    while left:
                        left = left[file.write(left) :]
                size += len(data)

            try:
                yield write
            finally:
                file.truncate(size)  # a full disk, or a signal, may have cut the last line
                if not size and sys.exc_info()[0] is not None:
                    path.unlink(missing_ok=True)
                os.fsync(file.fileno())
        _sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically.

    Raises:
        AffineurError: If the disk is full or not writable; the old file is then as it was.
    """
    with new_file(path) as file:
        file.write(text)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically."""
    write_text(path, to_json(value) + "\n")


def to_json(value: Any) -> str:
    """Write a value as indented JSON, readable where UTF-8 can carry it; lone surrogates are escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text if text.isascii() or not re.search("[\ud800-\udfff]", text) else json.dumps(value, indent=2)


def refuse_to_lose(target: Path) -> None:
    """Refuse to write over anything that is not an untouched artifact of ours.

    Raises:
        ParameterError: If ``target`` is a file, the current folder, or one with files that no manifest names.
    """
    if not resolved(target).exists():
        return
    if Path.cwd().is_relative_to(resolved(target)):  # it would be replaced under the feet of whoever is in it
        raise ParameterError(f"{target} is the current folder, or holds it; name another, or leave it", "out")
    if not target.is_dir():
        raise ParameterError(f"{target} is a file, expected a folder to write to; name another", "out")
    found = {str(p.relative_to(target)) for p in target.rglob("*") if p.is_symlink() or not p.is_dir()}
    if foreign := sorted(found - _written_by_us(target)):
        shown = ", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else "")
        damaged = f"; its {MANIFEST} is damaged" if MANIFEST in foreign else ""
        raise ParameterError(
            f"{target} holds files that Affineur did not write ({shown}){damaged}; "
            "move them away or name another folder",
            "out",
        )


def resolved(target: Path) -> Path:
    """Follow the links of a path.

    Raises:
        ParameterError: If they lead in a circle, or it is no path.
    """
    try:
        return target.resolve()
    except (OSError, RuntimeError, ValueError):  # which of them depends on the version of Python
        raise ParameterError(
            f"{str(target)!r} is a link in a circle, or no name of a folder; name another", "out"
        ) from None


def _written_by_us(folder: Path) -> set[str]:
    for listing in (MANIFEST, HIDDEN):
        try:
            return {listing, *COMPANIONS, *read_json(folder / listing)["files"]}
        except (OSError, *WRONG):
            continue
    return set()


@contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """Turn a full or read-only disk into one line, whichever library met it first."""
    try:
        yield
    except (AffineurError, BrokenPipeError):  # a reader that has gone is no fault of the disk
        raise
    except Exception as error:
        number, named = getattr(error, "errno", None), getattr(error, "filename", None)
        if isinstance(named, str) and not Path(named).absolute().is_relative_to(target.parent.absolute()):
            target = Path(named)  # a cache or a temporary folder, which may lie on another disk
        if is_full(error):
            raise AffineurError(
                f"no space left on the disk of {target.parent} (or a limit on file size) "
                f"while writing {target.name}; what was there is unchanged"
            ) from error
        if number is not None:
            reason = getattr(error, "strerror", None) or str(error)
            raise AffineurError(f"{target} cannot be written ({reason})") from error
        raise


def is_full(error: Exception) -> bool:
    """Say whether an error, of whichever library, means that a disk is full."""
    return getattr(error, "errno", None) in _FULL or bool(_SAYS_FULL.search(str(error)))


def _remove_stale(target: Path) -> None:
    """Remove what killed processes left behind while building the same target."""
    for leftover in target.parent.glob(f".{glob.escape(target.name)}.tmp-*"):
        pid = leftover.name.rpartition("-")[2]
        if not pid.isdigit() or (int(pid) != os.getpid() and _alive(int(pid))):
            continue
        if ".tmp-old-" in leftover.name and not target.exists():
            leftover.rename(target)  # killed between two renames: it is all that is left of the old folder
        else:
            shutil.rmtree(leftover, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _swap(building: Path, target: Path) -> None:
    if not target.exists():
        building.rename(target)
    elif _exchange(building, target):
        shutil.rmtree(building)
    else:  # no atomic exchange on this system: the old folder stands aside for the moment between two renames
        aside = target.parent / f".{target.name}.tmp-old-{os.getpid()}"
        target.rename(aside)
        building.rename(target)
        shutil.rmtree(aside)
    _sync(target.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two folders in one system call (Linux ``renameat2``); return whether the system could."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return bool(
        renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0
    )


def _sync_tree(folder: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    for path in folder.rglob("*"):
        if path.is_file():
            # safetensors writes through a private temporary file, readable by its owner alone
            path.chmod(0o666 & ~umask)
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    # Windows writes to the disk only what was opened to be written, and opens no folder.
    try:
        descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    except PermissionError:
        if not path.is_dir():
            raise
        return
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # some file systems cannot sync a folder; a file that is not synced may be half
            raise
    finally:
        os.close(descriptor)
