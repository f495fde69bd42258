"""What all steps share: recognizing finished work, a place for unfinished work, and writing; no torch."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affineur.artifact import (
    CARD,
    PRUNING_INFO,
    REFERENCE,
    Manifest,
    ModelFolder,
    Parent,
    alone,
    card_text,
    describe,
    disk_errors,
    new_folder,
    read_card,
    read_manifest,
    refuse_to_lose,
    verify,
    write_json,
    write_manifest,
    write_text,
)
from affineur.artifact.folder import has_weights
from affineur.entities import Corpus
from affineur.errors import ModelError, ParameterError
from affineur.progress import report
from affineur.steps.core.command import command_line
from affineur.steps.core.step import Shape

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from affineur.steps.core.context import Context
    from affineur.steps.core.step import Step


@dataclass(frozen=True, slots=True)
class Work:
    """The work of one step on one model: from its folder to a new one.

    Args:
        step: The step.
        out: The folder it writes.
        source: The model it starts from.
        context: Where it works.
        data: Corpora used, by role.
        teacher: The teacher, where there is one beside the source.
        resolved: Parameters that the step worked out, over its own: everything that decides the result is
            among them.
        unused: Names of the step's parameters that decide nothing about this result, so that neither its key
            nor its manifest has them.
    """

    step: Step
    out: Path
    source: ModelFolder
    context: Context
    data: Mapping[str, Corpus] = field(default_factory=dict)
    teacher: ModelFolder | None = None
    resolved: Mapping[str, Any] = field(default_factory=dict)
    unused: Collection[str] = ()

    @property
    def name(self) -> str:
        """What the step is called."""
        return self.step.name

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything that decides the result beside source and data."""
        used = {key: value for key, value in self.step.parameters.items() if key not in self.unused}
        return used | dict(self.resolved)

    @property
    def key(self) -> str:
        """Digest of all that decides the result: the same key means the same artifact."""
        decides = {
            "step": self.name,
            "source": self.source.digest(),
            "teacher": self.teacher.digest() if self.teacher else None,
            "parameters": self.parameters,
            "data": {role: corpus.digest for role, corpus in self.data.items()},
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()

    def finished(self) -> bool:
        """Say whether ``out`` already holds this very result, whole.

        Raises:
            ParameterError: If ``out`` is the source, or holds something that is not ours and would be lost.
        """
        for given in (self.source, self.teacher):
            if given is None:
                continue
            out, model = self.out.resolve(), given.path.resolve()
            if out == model:
                raise ParameterError(
                    f"{self.out} is the model itself, which would be lost; name another folder as out", "out"
                )
            if model in out.parents or out in model.parents:
                raise ParameterError(
                    f"{self.out} and the model {given.path} lie in one another; name another folder as out",
                    "out",
                )
        try:
            manifest = read_manifest(self.out)
            if manifest is not None and manifest.key == self.key:
                verify(self.out)
                report(f"{self.name}: {self.out} is up to date")
                return True
        except ModelError:
            pass  # damaged, so it is made again
        refuse_to_lose(self.out)
        return False

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """Give a folder beside ``out`` for unfinished work.

        What an interrupted run of the same key left is still in it.

        Raises:
            ParameterError: If another process is at work on the same ``out``.
            AffineurError: If the disk is full or not writable.
        """
        place = self.out.parent / f".{self.out.name}.work"
        with disk_errors(self.out), alone(self.out, "name another one as out"):
            place.mkdir(parents=True, exist_ok=True)
            key_file = place / "key"
            if not (key_file.exists() and key_file.read_text() == self.key):
                for old in place.iterdir():
                    shutil.rmtree(old) if old.is_dir() else old.unlink()
                key_file.write_text(self.key)
            yield place
            shutil.rmtree(place)

    def write(
        self,
        model: PreTrainedModel,
        scores: dict[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
        check: Callable[[Path], None] | None = None,
    ) -> Path:
        """Write the artifact from a torch model: its files, the tokenizer, extra JSON files.

        Otherwise as :meth:`write_files`.

        Args:
            model: The result.
            scores: What was measured on the way.
            extra: JSON files to add, by name.
            check: Called with the folder before it takes its place; raises to refuse it.
        """

        def fill(folder: Path) -> None:
            from affineur.engines.support.checkpoints import save_model

            save_model(model, folder, self.source.path)
            if self.step.after(Shape.of(self.source)).pruned and PRUNING_INFO not in (extra or {}):
                shutil.copyfile(self.source.path / PRUNING_INFO, folder / PRUNING_INFO)
            for name, value in (extra or {}).items():
                write_json(folder / name, value)
            if check is not None:
                check(folder)

        return self.write_files(fill, scores=scores)

    def write_files(self, fill: Callable[[Path], None], scores: dict[str, Any] | None = None) -> Path:
        """Write the artifact: what ``fill`` puts into the folder, model card, manifest; all of it or nothing.

        Of the source's card only license, language and the like are read; its text is about another model.

        Args:
            fill: Called with the empty folder; raises to refuse the result, and then ``out`` stays as it was.
            scores: What was measured on the way.
        """
        with new_folder(self.out) as folder:
            fill(folder)
            self._keep_reference(folder)
            manifest = self._manifest(scores or {})
            self._write_card(folder, manifest)
            write_manifest(folder, manifest)
        report(f"{self.name}: wrote {self.out}")
        return self.out

    def _keep_reference(self, folder: Path) -> None:
        """Say that what a watch knows of the model before is not true of this one; no file of it is lost."""
        if (old := self.out / REFERENCE).is_file():
            shutil.copyfile(old, folder / REFERENCE)
        for stale in (old, self.source.path / REFERENCE):
            if stale.is_file():
                report(
                    f"{self.name}: {stale} is of the model before, not of this one; fit it again: "
                    f"affineur watch fit {self.out} --data DATA"
                )

    def _write_card(self, folder: Path, manifest: Manifest) -> None:
        try:
            info = describe(folder)
        except ModelError as error:  # hours of training are not thrown away for want of a card
            report(f"{self.name}: no {CARD} is written ({error})")
            return
        write_text(
            folder / CARD,
            card_text(info, manifest, None, read_card(self.source.path), self.out.resolve().name),
        )

    def _manifest(self, scores: dict[str, Any]) -> Manifest:
        before = read_manifest(self.source.path)
        weights = has_weights(self.source.path)
        parent = Parent(
            before.stage if before else "given" if weights else "configuration",
            self.source.digest(),
            _model_name(self.source.path, before),
            before.parameters if before else {},
            before.data if before else {},
            before.command if before else None,
        )
        parameters, inputs = self.parameters, self._inputs()
        if self.teacher:
            taught = _model_name(self.teacher.path, read_manifest(self.teacher.path))
            parameters = parameters | {"teacher": taught, "teacher_digest": self.teacher.digest()}
            inputs["teacher"] = taught
        return Manifest(
            kind=self.step.kind,
            stage=self.name,
            parameters=parameters,
            parents=[parent, *(before.parents if before else [])],
            data={role: record(corpus) for role, corpus in self.data.items()},
            key=self.key,
            recipe=self.context.recipe,
            scores=scores,
            command=command_line(self._settled(), parent.name, self.out.resolve().name, inputs),
        )

    def _inputs(self) -> dict[str, str]:
        """Say which inputs have to be given again, with a placeholder for each."""
        named = {known.name for known in self.step.inputs}
        if "calibration" in named:
            return {"calibration": "DATA"} if self.data else {}
        return {"data": "DATA"} if "data" in named else {}

    def _settled(self) -> Step:
        """Return the step with what it worked out, so that its command does the same on another machine."""
        fields = {field.alias or name for name, field in type(self.step).model_fields.items()}
        known = {key: value for key, value in self.resolved.items() if key in fields}
        return type(self.step).given(self.step.model_dump(by_alias=True) | known)


def record(corpus: Corpus) -> dict[str, Any]:
    """Return what is kept of data that a result was made with: name, digest and number of sentences."""
    return {"name": corpus.name, "digest": corpus.digest, "sentences": len(corpus)}


def _model_name(path: Path, manifest: Manifest | None) -> str:
    """Name a model by its id on the Hub where it was fetched from there, otherwise by its folder."""
    source = str(manifest.parameters.get("source", "")) if manifest and manifest.stage == "download" else ""
    if source.startswith("hub:"):
        return source.removeprefix("hub:").partition("@")[0]
    path = path.absolute()
    # In the Hub's cache the folder's own name is a commit: models--owner--name/snapshots/commit.
    if path.parent.name == "snapshots" and path.parent.parent.name.startswith("models--"):
        return path.parent.parent.name.removeprefix("models--").replace("--", "/")
    return path.name
