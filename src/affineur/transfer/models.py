"""From what a user types to a model folder."""

from __future__ import annotations

import os
from glob import escape
from pathlib import Path

from affineur import sample
from affineur.artifact import CARD, MANIFEST
from affineur.artifact.card.names import is_id
from affineur.artifact.formats.core.external import external_files
from affineur.artifact.formats.onnx import FORMAT
from affineur.artifact.published import lies_at, places_of
from affineur.artifact.tensors import INDEX, WEIGHTS, is_pickle
from affineur.errors import ModelError
from affineur.transfer.cache import fetched, is_elsewhere
from affineur.transfer.hub import Snapshot, repository, snapshot
from affineur.transfer.index import require_model
from affineur.transfer.names import MODEL_PATTERNS, graph_files, manifest_files
from affineur.transfer.places.core.place import home_of, refuse_unknown


def resolve_model(reference: str | Path, revision: str | None = None) -> Path:
    """Return the folder a reference stands for; a Hub id that is no folder here is fetched.

    Only files that Affineur may read are fetched: configuration, tokenizer, safetensors, the model card and
    what ``affineur.json`` lists; pickles never.

    Args:
        reference: A folder, ``sample`` or ``sample-int8`` (of ``affineur-fr``), a folder at a place
            (``s3://…``, ``sftp://…``, ``https://…``), a Hub id (``owner/name``, or ``owner/name@revision``),
            or a Hub id after ``hub:`` where a folder has the same name.
        revision: Branch, tag or commit of a Hub model.

    Raises:
        ModelError: If it is neither a folder nor a Hub id, the Hub has its weights only as pickles, or
            ``affineur-fr`` is not the one that this Affineur wants.
        MissingExtraError: If it is in ``affineur-fr`` and that is not installed.
        TransferError: If the Hub, or another place, does not give it.
        ParameterError: If it is an address of no place that is known.
    """
    text = os.fspath(reference)
    path = home_of(text)
    if path.is_dir():
        return path
    if text in sample.MODELS:
        return sample.model(text)
    if is_elsewhere(text):
        return fetched(text, check=require_model)
    if path.exists():
        raise ModelError(f"{path} is a file, expected a model folder or a Hub id")
    refuse_unknown(text)
    name, revision = repository(text, revision)
    if not is_id(name):
        raise ModelError(f"{path} is not there, expected a model folder or a Hub id such as owner/name")
    found = snapshot(name, "model", MODEL_PATTERNS, revision)
    _refuse_pickles(name, found)
    # a card that is listed and gone is no reason to ask again: it decides nothing
    listed = (file for file in manifest_files(found.folder, name) if file != CARD)
    wanted = [
        place for file in listed if not lies_at(found.folder, file).is_file() for place in _among(found, file)
    ]
    if not {WEIGHTS, INDEX, MANIFEST} & set(found.names):  # others made it: all it may have is a graph
        wanted += [file for file in graph_files(found.names) if not (found.folder / file).is_file()]
    if wanted:  # the folder's name is its commit: the rest must not come from a later one
        snapshot(name, "model", map(escape, wanted), found.folder.name)
    if (graph := FORMAT.graph(found.folder)).is_file():  # only now it can say where it keeps its weights
        beside = [f.relative_to(found.folder).as_posix() for f in external_files(graph) if not f.is_file()]
        if beside := [file for file in beside if file in found.names]:
            snapshot(name, "model", map(escape, beside), found.folder.name)
    return found.folder


def _among(found: Snapshot, file: str) -> list[str]:
    """List where a file of an artifact lies in a repository, as far as that is known."""
    return [place for place in places_of(file) if place in found.names] or list(places_of(file))


def _refuse_pickles(name: str, found: Snapshot) -> None:
    if {WEIGHTS, INDEX} & set(found.names) or graph_files(found.names):
        return
    if pickles := [file for file in found.names if is_pickle(file)]:
        raise ModelError(
            f"{name} has its weights only as {', '.join(pickles)}: pickles can run code when they are read "
            "and are refused. Convert it where you trust it: "
            "AutoModelForTokenClassification.from_pretrained(…).save_pretrained(FOLDER), then give FOLDER"
        )
