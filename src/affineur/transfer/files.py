"""Bringing a model here: from a folder, a URL of a folder, or the Hub, checked before it is put in place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from affineur.artifact import (
    CARD,
    MANIFEST,
    Manifest,
    file_digest,
    new_folder,
    open_folder,
    read_manifest,
    verify,
    write_manifest,
)
from affineur.artifact.tensors import INDEX, WEIGHTS
from affineur.errors import ModelError, ParameterError, TransferError, one_line
from affineur.progress import report
from affineur.transfer.models import resolve_model
from affineur.transfer.names import CONFIG, OPTIONAL, manifest_files, shard_files

_TIMEOUT = 20.0  # seconds without a byte
_CHUNK = 1 << 20
_ABSENT = (403, 404, 410)  # S3 answers 403 for a file that is not there


def download(source: str, destination: Path, sha256: str | None = None) -> Path:
    """Copy a model to ``destination``, all of it or nothing.

    With ``affineur.json`` at the source, the files it lists are fetched and their digests checked; without,
    the files that ``save_pretrained`` writes and the model card. Either way the result is opened before it is
    put in place.

    Args:
        source: A local folder, a ``file://``, ``http://`` or ``https://`` URL of one, or a Hub id
            (``hub:owner/name``).
        destination: The folder to make; an artifact that is already there is replaced.
        sha256: Expected digest of ``model.safetensors``.

    Returns:
        ``destination``.

    Raises:
        TransferError: If a file does not come, comes cut short, or has another digest than ``sha256``.
        ModelError: If what came is not a usable model, or a file differs from its manifest.
        ParameterError: If ``sha256`` is not a digest, or ``destination`` holds something that Affineur did
            not write.
    """
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise ParameterError(f"sha256='{sha256}' is impossible, expected 64 hexadecimal digits", "sha256")
    base = _base(source)
    with new_folder(destination) as building:
        _fetch_model(base, source, building)
        if sha256 is not None:
            _check_weights(building, source, sha256.lower())
        try:
            verify(building)
            open_folder(building)
        except ModelError as error:  # the building folder is gone by the time the message is read
            raise ModelError(str(error).replace(str(building), source)) from None
        if read_manifest(building) is None:  # so that a second download knows the folder for its own
            write_manifest(
                building, Manifest("transformers", "download", {"source": source.partition("?")[0]})
            )
    return destination


def _base(source: str) -> str:
    if "://" not in source:
        return resolve_model(source).absolute().as_uri()
    scheme = source.partition("://")[0].lower()
    if scheme not in ("http", "https", "file"):
        raise TransferError(
            f"{source} cannot be fetched ({scheme} is not supported); "
            "expected a folder, http://, https://, file:// or a Hub id"
        )
    try:
        urlsplit(source)
    except ValueError as error:
        raise TransferError(f"{source} is not a URL ({error})") from None
    return source


def _fetch_model(base: str, source: str, folder: Path) -> None:
    if _fetch(base, MANIFEST, folder, required=False):
        for name in manifest_files(folder, source):
            _fetch(base, name, folder, required=name != CARD)  # people edit a card, and may take it away
        return
    _fetch(base, CONFIG, folder)
    if not _fetch(base, WEIGHTS, folder, required=False):
        if not _fetch(base, INDEX, folder, required=False):
            raise ModelError(
                f"{source} has neither {WEIGHTS} nor {INDEX} (pickles are refused); "
                "expected a folder written by save_pretrained"
            )
        for name in shard_files(folder, source):
            _fetch(base, name, folder)
    for name in OPTIONAL:
        _fetch(base, name, folder, required=False)


def _fetch(base: str, name: str, folder: Path, *, required: bool = True) -> bool:
    """Fetch one file; return whether it was there."""
    parts = urlsplit(base)  # a query, such as a signature, is kept
    url = parts._replace(path=f"{parts.path.rstrip('/')}/{quote(name)}").geturl()
    response = _open(url, required)
    if response is None:
        return False
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with response, target.open("wb") as file:
        for chunk in _chunks(response, url, name):
            file.write(chunk)
    return True


def _open(url: str, required: bool) -> Any:
    try:
        return urlopen(Request(url, headers={"User-Agent": "affineur"}), timeout=_TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code in _ABSENT and not required:
            return None
        raise TransferError(
            f"{url} was answered with {error.code} {error.reason}; check the address, nothing was kept"
        ) from None
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(getattr(error, "reason", None), FileNotFoundError) and not required:
            return None
        raise TransferError(f"{url} could not be fetched ({one_line(error)}); nothing was kept") from None


def _chunks(response: Any, url: str, name: str) -> Iterator[bytes]:
    """Read a body. Only reading is guarded here: a full disk is the writer's error, not the network's."""
    length = response.headers.get("Content-Length")
    total = int(length) if length and length.isdigit() else None
    done = 0
    while True:
        try:
            chunk = response.read(_CHUNK)
        except (OSError, HTTPException) as error:
            raise TransferError(
                f"{url} was cut off after {done} bytes ({one_line(error)}); try again, nothing was kept"
            ) from None
        if not chunk:
            break
        done += len(chunk)
        yield chunk
        report(f"fetching {name}", done, total)
    if total is not None and done != total:
        raise TransferError(f"{url} was cut off after {done} of {total} bytes; try again, nothing was kept")


def _check_weights(folder: Path, source: str, expected: str) -> None:
    if not (folder / WEIGHTS).is_file():
        raise TransferError(
            f"{source} has no {WEIGHTS} to compare the sha256 with; its weights are in several files"
        )
    if (found := file_digest(folder / WEIGHTS)) != expected:
        raise TransferError(
            f"{source}: {WEIGHTS} has the sha256 {found}, expected {expected}; nothing was kept"
        )
