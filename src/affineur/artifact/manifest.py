"""``affineur.json``: where an artifact comes from, how it was made, and the digest of each of its files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from affineur.artifact.environment import environment
from affineur.artifact.folder import file_digest
from affineur.artifact.paths import inside, present, safe_names
from affineur.artifact.published import lies_at
from affineur.artifact.reading import WRONG, check_types, read_json
from affineur.artifact.writing import COMPANIONS, MANIFEST, SIGNATURE, to_json, write_json, write_text
from affineur.errors import ModelError, one_line
from affineur.progress import report

FORMAT = 1
#: The model card, which is written again when scores are known, and which people edit, on the Hub too.
CARD = "README.md"


@dataclass(frozen=True, slots=True)
class Parent:
    """An ancestor.

    Args:
        stage: The stage that made it; ``given`` where none of ours did, ``configuration`` where it had no
            weights to give.
        digest: Digest of its weights, configuration and tokenizer.
        name: Its id on the Hub where it came from there, otherwise the name of its folder.
        parameters: That stage's parameters.
        data: Name and digest of the data used, by role.
        command: The command line that makes it again, where the stage said so.
    """

    stage: str
    digest: str
    name: str
    parameters: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What ``affineur.json`` says.

    Args:
        kind: ``transformers``, ``packed``, ``onnx`` or ``openvino``.
        stage: The stage that wrote it.
        parameters: That stage's parameters.
        parents: Ancestors, the nearest first, up to the teacher.
        data: Name and digest of the data used, by role.
        key: Digest of everything that decided the result, by which a finished stage is recognized.
        recipe: Digest of the recipe, or ``None``.
        scores: Scores measured when it was written.
        environment: Library versions and CPU.
        files: sha256 of every other file.
        format: Version of this format.
        command: The command line that makes it again, where the stage said so.
    """

    kind: str
    stage: str
    parameters: dict[str, Any] = field(default_factory=dict)
    parents: list[Parent] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    key: str | None = None
    recipe: str | None = None
    scores: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=environment)
    files: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT
    command: str | None = None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``affineur.json`` last, with the digest of every file that is in ``folder`` by then.

    The signature and the bill of materials come after it, and are not listed.
    """
    names = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    beside = (MANIFEST, *COMPANIONS)
    files = {name: file_digest(path) for name, path in names.items() if name not in beside}
    write_json(folder / MANIFEST, asdict(manifest) | {"files": files})


def seal(folder: Path, manifest: Manifest) -> None:
    """Write ``affineur.json`` into a finished artifact again, as it is given; the same again is not written.

    Args:
        folder: The artifact.
        manifest: What it shall say, the digests of files included.
    """
    text = to_json(asdict(manifest)) + "\n"
    if (folder / MANIFEST).read_bytes() != text.encode():
        write_text(folder / MANIFEST, text)
        if (folder / SIGNATURE).exists():
            report(f"{folder / SIGNATURE} no longer holds, for {MANIFEST} was written again; sign it again")


def read_manifest(folder: Path) -> Manifest | None:
    """Read a folder's manifest, or return ``None`` where it has none.

    Raises:
        ModelError: If the manifest is damaged or from a newer version of Affineur.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        raw = read_json(path)
        if raw["format"] > FORMAT:
            raise ModelError(
                f"{path} has format {raw['format']}, this Affineur reads up to {FORMAT}; "
                "upgrade it: pip install -U affineur"
            )
        manifest = Manifest(**{**raw, "parents": [Parent(**p) for p in raw["parents"]]})
        for each in (manifest, *manifest.parents):
            check_types(each)
        if not all(isinstance(value, str) for value in manifest.files.values()):
            raise TypeError("its files are not a table of digests")
        return manifest
    except (OSError, *WRONG) as error:
        raise ModelError(
            f"{path} is damaged ({one_line(error)}); delete it to use the folder as a plain model"
        ) from None


class State(StrEnum):
    """What a file of an artifact is beside what the manifest says of it."""

    GOOD = "as written"
    #: The model card, which decides nothing, and which people edit, on the Hub too.
    EDITED = "edited since, which a card may be"
    MISSING = "missing"
    DIFFERS = "differs"
    ELSEWHERE = "a link out of the folder"
    UNLISTED = "not listed"

    @property
    def passes(self) -> bool:
        """Whether an artifact with such a file is what was written."""
        return self in (State.GOOD, State.EDITED)


def examine(folder: Path, manifest: Manifest) -> Iterator[tuple[str, State]]:
    """Compare every listed file with the manifest, one by one.

    Args:
        folder: The artifact.
        manifest: What its ``affineur.json`` says.

    Yields:
        Names of files, and what each is.

    Raises:
        ModelError: If a name is not safe (see :func:`~affineur.artifact.paths.safe_names`).
    """
    for name in safe_names(manifest.files, str(folder / MANIFEST), (MANIFEST,)):
        path = lies_at(folder, name)
        if not inside(folder, path.relative_to(folder).as_posix()):
            state = State.ELSEWHERE
        elif path.is_file() and file_digest(path) == manifest.files[name]:
            state = State.GOOD
        elif name == CARD:
            state = State.EDITED
        else:
            state = State.DIFFERS if path.is_file() else State.MISSING
        yield name, state


def unlisted(folder: Path, manifest: Manifest) -> list[str]:
    """Name the files of a folder that the manifest does not list, sorted.

    The card is not among them, nor what stands beside an artifact (its signature and its bill of materials),
    nor hidden files (see :func:`~affineur.artifact.paths.present`).
    """
    known = {MANIFEST, CARD, *COMPANIONS}
    known |= {lies_at(folder, name).relative_to(folder).as_posix() for name in manifest.files}
    return [name for name in present(folder) if name not in known]


def verify(folder: Path) -> Manifest | None:
    """Check every file against the manifest; a folder without one passes.

    The model card may differ or be gone: it decides nothing, and people edit it, on the Hub too. Files that
    the manifest does not list are not looked at (see :func:`unlisted`).

    Raises:
        ModelError: If a file is missing or differs, or a name is not safe.
    """
    manifest = read_manifest(folder)
    for name, state in examine(folder, manifest) if manifest else ():
        path = lies_at(folder, name)
        if state is State.ELSEWHERE:
            raise ModelError(
                f"{path} is a link to {path.resolve()}, outside the folder; put the file in its place, "
                "for what is elsewhere may change unseen"
            )
        if state is State.MISSING:
            raise ModelError(f"{path} is missing, though {MANIFEST} lists it; the artifact is incomplete")
        if state is State.DIFFERS:
            raise ModelError(
                f"{path} is not the file that was written (sha256 differs from {MANIFEST}); "
                f"fetch or make the artifact again, or delete {MANIFEST} if the change was meant"
            )
    return manifest
