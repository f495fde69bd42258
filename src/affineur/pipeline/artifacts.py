"""Copies of artifacts, whole and without what somebody put beside their files."""

from __future__ import annotations

import shutil
from pathlib import Path

from affineur.artifact import CARD, MANIFEST, new_folder, read_manifest, refuse_to_lose


def copy_files(folder: Path, building: Path) -> None:
    """Copy the files that the manifest of an artifact lists, and nothing that somebody put beside them.

    Args:
        folder: The artifact.
        building: A folder that is being built; the manifest itself is not copied.
    """
    manifest = read_manifest(folder)
    for name in manifest.files if manifest else ():
        if name == CARD and not (folder / CARD).is_file():
            continue  # the card alone may be gone
        (building / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, building / name)


def copy_artifact(folder: Path, out: Path) -> None:
    """Write an artifact once more, in one step.

    Raises:
        ParameterError: If ``out`` holds what is not ours and would be lost.
    """
    refuse_to_lose(out)
    with new_folder(out) as building:
        copy_files(folder, building)
        shutil.copyfile(folder / MANIFEST, building / MANIFEST)
