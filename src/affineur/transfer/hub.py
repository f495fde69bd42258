"""The Hub: a snapshot of a repository, restricted to chosen files."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple

from affineur.artifact.writing import is_full
from affineur.errors import MissingExtraError, ParameterError, TransferError, one_line
from affineur.progress import report

#: Says that a reference is a Hub id even where a local folder has the same name.
PREFIX = "hub:"
#: Seconds the Hub has for its first answer.
TIMEOUT = 10.0

Kind = Literal["model", "dataset"]
_WORDS: dict[Kind, str] = {"model": "model", "dataset": "data set"}


class Repository(NamedTuple):
    """A repository as it was typed.

    Args:
        name: Its id, if it is one (see :func:`~affineur.artifact.card.names.is_id`).
        revision: Branch, tag or commit; ``None`` means the default branch.
    """

    name: str
    revision: str | None


def repository(reference: str, revision: str | None = None) -> Repository:
    """Take apart ``hub:OWNER/NAME@REVISION``, with or without ``hub:`` and revision.

    Args:
        reference: What was typed.
        revision: What was said of the revision elsewhere.

    Raises:
        ParameterError: If two revisions are named.
    """
    name, _, named = reference.removeprefix(PREFIX).partition("@")
    if named and revision and named != revision:
        raise ParameterError(
            f"{reference} names the revision {named}, and revision={revision} another; leave one out",
            "revision",
        )
    return Repository(name, named or revision)


class Snapshot(NamedTuple):
    """A repository on this disk.

    Args:
        folder: The folder in the library's cache.
        names: Every file of the repository, fetched or not; empty when the Hub did not answer and the cache
            did.
    """

    folder: Path
    names: tuple[str, ...]


def need(module: str, what: str) -> Any:
    """Import a module of the ``transfer`` extra.

    Args:
        module: Its name.
        what: What the user asked for.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtraError(what, "transfer") from None


def snapshot(name: str, kind: Kind, patterns: Iterable[str], revision: str | None = None) -> Snapshot:
    """Fetch the files of a repository that match ``patterns``, or find them in the cache.

    The library's environment variables hold: ``HF_ENDPOINT``, ``HF_HOME``, ``HF_HUB_OFFLINE``, ``HF_TOKEN``.

    Args:
        name: The Hub id.
        kind: What it is.
        patterns: Glob patterns of the files to fetch.
        revision: Branch, tag or commit; ``None`` means the default branch.

    Raises:
        TransferError: If the Hub does not give it and the cache does not have it.
    """
    import huggingface_hub as hub  # here: it brings an HTTP library

    wanted: dict[str, Any] = {
        "repo_id": name,
        "repo_type": kind,
        "revision": revision,
        "allow_patterns": list(patterns),
    }
    # Any exception, here and below: which ones depends on the HTTP library that this version of
    # huggingface_hub uses.
    try:
        # snapshot_download asks the same first, but without a time limit
        repository: Any = hub.HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=TIMEOUT)
        report(f"fetching {_WORDS[kind]} {name} from {hub.constants.ENDPOINT}")
        folder = hub.snapshot_download(**wanted)
        return Snapshot(Path(folder), tuple(file.rfilename for file in repository.siblings or ()))
    except Exception as error:
        problem = error
    reason = reason_of(problem, revision)
    try:
        folder = hub.snapshot_download(**wanted, local_files_only=True)
    except Exception:
        if is_full(problem) or (isinstance(problem, OSError) and problem.filename):
            reason = "no space left on its disk" if is_full(problem) else one_line(problem)
            raise TransferError(
                f"the cache of the Hub, {hub.constants.HF_HUB_CACHE}, cannot be written ({reason}); make"
                " room, or set HF_HUB_CACHE to a folder that can"
            ) from problem
        raise TransferError(
            f"there is no {_WORDS[kind]} '{name}' here, and the Hub at {hub.constants.ENDPOINT} "
            f"did not give it: {reason}; download it where there is a network and give its folder"
        ) from problem
    report(f"{name}: the Hub did not give it ({reason}); the copy in the cache is used")
    return Snapshot(Path(folder), ())


def reason_of(error: Exception, revision: str | None) -> str:
    """Say in one line why the Hub did not do what it was asked, and what to type.

    Args:
        error: What the library raised.
        revision: The revision that was asked for.
    """
    import huggingface_hub as hub

    status = status_of(error)

    if isinstance(error, hub.errors.GatedRepoError):
        return "access to it is gated (accept its terms there, then type: hf auth login)"
    if status == 401 and hub.get_token():
        return "it does not know the token (of HF_TOKEN, or of the login; type: hf auth login)"
    if isinstance(error, hub.errors.RepositoryNotFoundError):
        return "it has nothing of that name, or it is private (then type: hf auth login)"
    if isinstance(error, hub.errors.RevisionNotFoundError):
        return f"it has no revision '{revision}'"
    if isinstance(error, hub.errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    if status == 403:
        return "the token may not do this (make one there that may, then type: hf auth login)"
    return one_line(error)


def status_of(error: BaseException) -> int | None:
    """Return the status of the answer that made the library fail, ``None`` where there was no answer."""
    found = getattr(getattr(error, "response", None), "status_code", None)
    return found if isinstance(found, int) else None
