"""Whether an artifact is what was written, and what was signed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affineur.artifact import MANIFEST, SIGNATURE, State, examine, read_manifest, unlisted
from affineur.display import Shown, Table
from affineur.errors import ModelError, counted


@dataclass(frozen=True, slots=True, repr=False)
class Verification(Shown):
    """What was found of an artifact; ``print`` and a notebook show it.

    Args:
        folder: The artifact.
        kind: What holds its weights.
        stage: The stage that made it.
        files: What each file is beside what ``affineur.json`` and the signature say of it, by name.
        signature: ``none``, ``not checked``, ``holds`` or ``does not hold``.
        signed_by: What signed it, in words; of a signature that was not checked what it says of itself.
        problem: Why the signature does not hold.
    """

    folder: Path
    kind: str
    stage: str
    files: dict[str, State]
    signature: str = "none"
    signed_by: str | None = None
    problem: str | None = None

    @property
    def passed(self) -> bool:
        """Whether every file is what was written, and the signature holds as far as it was checked."""
        return not self.faults and self.problem is None

    @property
    def faults(self) -> dict[str, State]:
        """The files that are not what was written or signed, by name."""
        return {name: state for name, state in self.files.items() if not state.passes}

    def as_dict(self) -> dict[str, Any]:
        """Return stable keys for ``verify --json``."""
        return {
            "folder": str(self.folder),
            "passed": self.passed,
            "kind": self.kind,
            "stage": self.stage,
            "files": {name: state.name.lower() for name, state in self.files.items()},
            "faults": list(self.faults),
            "signature": {"state": self.signature, "by": self.signed_by, "problem": self.problem},
        }

    @property
    def summary(self) -> str:
        """The outcome in one line, which names the files at fault."""
        from affineur.transfer.signing import faulty

        wrong = [f"{self.folder} is not as it was made: {faulty(self.faults)}"] if self.faults else []
        if self.problem:
            wrong.append(self.problem)
        if wrong:
            return "; ".join(wrong)
        told = {
            "none": "not signed",
            "not checked": f"signed by {self.signed_by}, which was not checked: give key or certificates",
            "holds": f"signed by {self.signed_by}",
        }
        return (
            f"{self.folder} is what was written ({counted(len(self.files), 'file')}); {told[self.signature]}"
        )

    def tables(self) -> list[Table]:
        """Return what is shown."""
        return [Table(("File", "State"), self.rows(), notes=[self.summary], words=("State",))]

    def rows(self) -> list[list[str]]:
        """Write one row for each file."""
        return [[name, str(state)] for name, state in self.files.items()]


def verify(
    folder: Path | str, *, key: Path | str | None = None, certificates: Sequence[Path | str] = ()
) -> Verification:
    """Check every file of an artifact against ``affineur.json``, and its signature where there is one.

    Loading a model stops at the first file that differs; this looks at all of them, and at files that are
    there and not listed. The model card may differ: it decides nothing, and people edit it.

    Args:
        folder: The artifact.
        key: A PEM file with the public key that must have signed it.
        certificates: PEM files with root certificates, one of which must stand behind who signed it.

    Returns:
        What was found; :attr:`Verification.passed` is the outcome.

    Raises:
        ModelError: If the folder has no manifest, or a damaged one, or one that names files elsewhere.
        ParameterError: If the key or a certificate cannot be read, or both are given.
        MissingExtraError: If a signature is to be checked and the library is not installed.
    """
    from affineur.transfer.signing import check_signature, read_signature

    folder = Path(folder)
    manifest = read_manifest(folder)
    if manifest is None:
        found = (
            "is a file" if folder.is_file() else f"has no {MANIFEST}" if folder.is_dir() else "is not there"
        )
        raise ModelError(
            f"{folder} {found}, expected a folder with the {MANIFEST} that says what its files must be"
        )
    files = dict(examine(folder, manifest)) | dict.fromkeys(unlisted(folder, manifest), State.UNLISTED)
    state, by, problem = "none", None, None
    if (folder / SIGNATURE).exists():
        try:
            if said := read_signature(folder):
                state, by = "not checked", said.by
                more = said.faults(folder) if said.files else {}
                files |= {name: fault for name, fault in more.items() if files.get(name, State.GOOD).passes}
                if more:
                    problem = f"{folder / SIGNATURE} does not hold: it is of other files"
        except ModelError as error:
            problem = str(error)
    if key is not None or certificates:
        try:
            by, state = check_signature(folder, key, certificates=certificates), "holds"
        except ModelError as error:
            problem = str(error)
    state = "does not hold" if problem and state != "none" else state
    return Verification(
        folder, manifest.kind, manifest.stage, dict(sorted(files.items())), state, by, problem
    )
