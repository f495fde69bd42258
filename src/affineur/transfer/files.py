"""Bringing a model here, from a folder of this disk or from any place: a usable model, or nothing."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from affineur.artifact import file_digest
from affineur.artifact.locking import alone
from affineur.artifact.tensors import WEIGHTS
from affineur.artifact.writing import refuse_to_lose
from affineur.errors import ParameterError, TransferError
from affineur.transfer.index import Index, find_index, require_model
from affineur.transfer.models import resolve_model
from affineur.transfer.places.core.place import Access, Publication, Remote, opened, place_of
from affineur.transfer.places.folder import PLACE as FOLDERS
from affineur.transfer.places.folder import FolderRemote
from affineur.transfer.pull import fetch


def download(
    source: str, destination: Path, sha256: str | None = None, *, access: Access | None = None
) -> Path:
    """Copy a model to ``destination``, all of it or nothing.

    Where the source says which files it has (``affineur.files.json`` or ``affineur.json``), those are fetched
    and their digests checked; else the files that ``save_pretrained`` writes and the model card, whatever
    lies beside them. Either way the model is opened before it is put in place. What is interrupted goes on
    where it was when it is called again.

    Args:
        source: A local folder, ``sample``, a Hub id (``owner/name``), or a folder at a place, such as
            ``runpod:VOLUME/FOLDER``.
        destination: The folder to make; an artifact that is already there is replaced.
        sha256: Expected digest of ``model.safetensors``.
        access: How the place is reached, where its usual configuration does not say so.

    Returns:
        ``destination``.

    Raises:
        TransferError: If a file does not come, or has another digest than ``sha256`` or the source says.
        ModelError: If what came is not a usable model.
        ParameterError: If ``sha256`` is not a digest, ``destination`` holds something that Affineur did not
            write, or ``source`` is at no place that is known.
    """
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise ParameterError(f"sha256='{sha256}' is impossible, expected 64 hexadecimal digits", "sha256")
    refuse_to_lose(destination)
    with _opened(source, access) as remote, alone(destination, "name another folder"):
        remote.lists = False  # a folder that says nothing is asked for a model's files alone, by their names
        index, _ = find_index(remote)
        require_model(index, remote.where)
        expected = None if sha256 is None else _expected(index, sha256.lower(), remote.where)
        fetch(remote, index, destination, partial(_check_weights, remote.where, expected))
    return destination


def _opened(source: str, access: Access | None) -> Remote:
    if place_of(source) is not None:
        return opened(source, access)
    FOLDERS.refuse_options(access or Access(), Publication())
    remote = FolderRemote(resolve_model(source).absolute())
    remote.where = source
    return remote


def _expected(index: Index, sha256: str, where: str) -> str:
    """Compare with what the source says of its weights, before they are fetched.

    Raises:
        TransferError: If it is another digest, or there is no one file to compare with.
    """
    weights = index.files.get(WEIGHTS)
    if weights is None:
        raise TransferError(
            f"{where} has no {WEIGHTS} to compare the sha256 with; its weights are in other files"
        )
    if weights.sha256 is not None and weights.sha256 != sha256:
        raise _other_weights(where, weights.sha256, sha256)
    return sha256


def _check_weights(where: str, expected: str | None, building: Path) -> None:
    if expected is not None and (found := file_digest(building / WEIGHTS)) != expected:
        raise _other_weights(where, found, expected)


def _other_weights(where: str, found: str, expected: str) -> TransferError:
    return TransferError(f"{where}: {WEIGHTS} has the sha256 {found}, expected {expected}; nothing was kept")
