"""The Hub of Hugging Face: models that everybody finds, each version a commit.

A revision is pinned to its commit when a repository is first asked for something, so that all files come
from one version. Files are read by range from their address; of those kept in Xet storage the Hub serves the
same (https://huggingface.co/docs/hub/xet/legacy-git-lfs), so nothing else is needed for them.

**Layout.** Others look for ONNX graphs in ``onnx/`` (see :mod:`affineur.artifact.published`), so there they
are put, and found again: whoever reads here asks for ``model.onnx`` and gets ``onnx/model_quantized.onnx``
where the repository has that. No other file is renamed, and ``affineur.json`` is the one of the artifact.
A repository that others made has what :data:`~affineur.transfer.names.MODEL_PATTERNS` names, or a graph.

**Writing** is one commit of what changed, on top of the commit that was looked at: nobody sees half of it,
and a commit made in between is a conflict. What was uploaded before a push was killed is not sent again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from affineur.artifact.card.names import is_id
from affineur.artifact.exported import EXPORT_INFO
from affineur.artifact.published import GRAPH, find_name, is_graph
from affineur.artifact.reading import WRONG, parse_json
from affineur.artifact.tensors import INDEX, WEIGHTS, is_pickle
from affineur.errors import AffineurError, TransferError
from affineur.transfer.hub import PREFIX, TIMEOUT, reason_of, repository, status_of
from affineur.transfer.names import MODEL_PATTERNS, graph_files
from affineur.transfer.places.core.place import (
    Access,
    Passing,
    Place,
    Publication,
    Pushed,
    Remote,
    Stat,
)

_CHUNK = 1 << 20
_PASSING = (408, 425, 429, 500, 502, 503, 504)


class File(NamedTuple):
    """A file of a repository.

    Args:
        size: Bytes.
        blob: What git calls its content; of a large file, that of the pointer to it.
        sha256: Digest of a large file; ``None`` where git itself keeps it.
    """

    size: int
    blob: str
    sha256: str | None


class HubRepository(Remote):
    """A repository at a revision, opened.

    Args:
        name: Its id.
        revision: Branch, tag or commit; ``None`` means the default branch.
    """

    lists = True

    def __init__(self, name: str, revision: str | None = None) -> None:
        import huggingface_hub  # here: it brings an HTTP library

        self.name, self.revision = name, revision
        self.where = f"{PREFIX}{name}" + (f"@{revision}" if revision else "")
        self._api = huggingface_hub.HfApi()
        self._lock = threading.Lock()
        self._known: tuple[str, dict[str, File]] | None = None
        self._quantized: bool | None = None

    @property
    def commit(self) -> str:
        """The commit that the revision stood for when it was first asked for something."""
        return self._look()[0]

    @property
    def files(self) -> dict[str, File]:
        """Its files, by the names they have there."""
        return self._look()[1]

    def _look(self) -> tuple[str, dict[str, File]]:
        with self._lock:
            if self._known is None:
                with translated(self.where, self.revision):
                    info: Any = self._api.repo_info(self.name, revision=self.revision, timeout=TIMEOUT)
                    tree = self._api.list_repo_tree(self.name, recursive=True, revision=info.sha)
                    self._known = info.sha, {each.path: _file(each) for each in tree if hasattr(each, "size")}
            return self._known

    def at(self, name: str) -> str | None:
        """Find a file of an artifact; ``None`` where it is not there.

        Args:
            name: Its name in an artifact.

        Returns:
            Its name in the repository.
        """
        if not is_graph(name) or name in self.files:
            return name if name in self.files else None
        if self._quantized is None:
            info = b"".join(self.read(EXPORT_INFO, 0, None)) if EXPORT_INFO in self.files else b""
            try:
                self._quantized = parse_json(info)["scheme"] != "fp32"
            except WRONG:  # others made it
                self._quantized = False
        return find_name(name, self.files, self._quantized)

    def stat(self, name: str) -> Stat | None:
        """Ask for a file; what git or LFS calls its content is its version."""
        at = self.at(name)
        if at is None:
            return None
        file = self.files[at]
        return Stat(file.size, version=file.sha256 or file.blob)

    def names(self) -> Iterator[str]:
        """List the files that may be read, as an artifact names them: never pickles or checkpoints."""
        there = self.files
        for name in there:
            if not is_pickle(name) and any(fnmatch(name, pattern) for pattern in MODEL_PATTERNS):
                yield name
        if not {WEIGHTS, INDEX} & set(there):
            yield from (GRAPH if name.endswith(".onnx") else Path(name).name for name in graph_files(there))

    def read(self, name: str, start: int, stop: int | None) -> Iterator[bytes]:
        """Read bytes of a file, from wherever the Hub says it is; the token goes to no other host."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        at = self.at(name)
        if at is None:
            raise TransferError(f"{self.where} has no {name}")
        size = self.files[at].size
        stop = size if stop is None else min(stop, size)
        if start >= stop:
            return
        url = hf_hub_url(self.name, at, revision=self.commit)
        headers = {
            **build_hf_headers(),
            "Range": f"bytes={start}-{stop - 1}",
            "Accept-Encoding": "identity",
        }
        with (
            translated(f"{self.where}: {name}", self.revision),
            # the library's session follows redirects, and takes the token off those to another host
            get_session().stream("GET", url, headers=headers, timeout=6 * TIMEOUT) as answer,
        ):
            if answer.status_code >= 400:
                answer.read()
                hf_raise_for_status(answer)
            skipped = 0 if answer.status_code == 206 else start
            left = stop - start
            for chunk in answer.iter_raw(_CHUNK):
                skip = min(skipped, len(chunk))
                skipped -= skip
                part = chunk[skip : skip + left]
                left -= len(part)
                if part:
                    yield part
                if not left:
                    return
            raise Passing(f"{self.where}: {name} ended {left} bytes early")


def _file(entry: Any) -> File:
    return File(int(entry.size), str(entry.blob_id), entry.lfs.sha256 if entry.lfs else None)


@contextmanager
def translated(where: str, revision: str | None) -> Iterator[None]:
    """Say in one line what the library or its HTTP library raises.

    Args:
        where: What was asked.
        revision: The revision that was asked for.

    Raises:
        Passing: For what may pass: no connection, a busy server.
        TransferError: For everything else.
    """
    try:
        yield
    except AffineurError:
        raise
    except Exception as error:  # which ones depends on the library's version
        causes = [error, *_causes(error)]
        said = f"{where}: {reason_of(error, revision)}"
        if isinstance(error, RuntimeError) and len(causes) > 1:  # an upload says which file, and no more
            said += f" {reason_of(causes[1], revision)}"
        if not any(map(_may_pass, causes)):
            raise TransferError(said) from error
        passing = Passing(said)
        asked = getattr(getattr(error, "response", None), "headers", {}).get("Retry-After", "")
        passing.after = float(asked) if asked.isdecimal() and len(asked) < 9 else 0.0
        raise passing from error


def _causes(error: BaseException) -> Iterator[Exception]:
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
        yield error


def _may_pass(error: Exception) -> bool:
    """Say whether a failure is one of the network or of a busy server."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "OfflineModeIsEnabled" in kinds:
        return False
    return status_of(error) in _PASSING or bool(kinds & {"TransportError", "ConnectionError", "TimeoutError"})


class Hub(Place):
    """Repositories of models."""

    prefixes = (PREFIX,)
    form = "hub:OWNER/NAME[@REVISION]"
    summary = "a model on the Hub of Hugging Face"
    publishing = ("private", "pull_request", "revision", "tag", "license", "message")

    def open(self, reference: str, access: Access) -> HubRepository:
        """Open a repository."""
        name, revision = repository(reference)
        if not is_id(name):
            raise TransferError(f"'{reference}' is no repository, expected {self.form}")
        return HubRepository(name, revision)

    def push(self, folder: Path, reference: str, access: Access, publication: Publication) -> Pushed:
        """Commit what changed."""
        from affineur.transfer.commits import publish

        name, revision = repository(reference, publication.revision)
        if not is_id(name):
            raise TransferError(f"'{reference}' is no repository, expected {self.form}")
        return publish(folder, HubRepository(name, revision), publication)


PLACE = Hub()
