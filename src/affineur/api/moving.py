"""Moving artifacts and data between this disk and everywhere else."""

from __future__ import annotations

import os
from pathlib import Path

from affineur.api.model import Model
from affineur.transfer.places.core.place import Access, Publication, Pushed


def pull(
    reference: str,
    *,
    out: str | os.PathLike[str],
    endpoint: str | None = None,
    region: str | None = None,
    profile: str | None = None,
) -> Path:
    """Copy a folder from elsewhere to this disk, every byte checked, all of it or nothing.

    What is interrupted goes on where it was when it is called again. Credentials come from where the place's
    own tools take them: environment, profiles, agents, logins.

    Args:
        reference: Where it is: ``s3://BUCKET/FOLDER``, ``runpod:VOLUME/FOLDER``, ``sftp://USER@HOST/FOLDER``,
            ``https://HOST/FOLDER``, ``hub:OWNER/NAME@REVISION`` …
        out: The folder to make; what an earlier call put there is replaced.
        endpoint: Address of the service, where its usual configuration does not say so.
        region: Region, or data center.
        profile: Section of the usual configuration files.

    Returns:
        The folder.

    Raises:
        TransferError: If a file does not come, or has another digest than was said.
        ModelError: If what came is a model that cannot be used.
        ParameterError: If ``out`` holds something that Affineur did not write, or an option says nothing to
            the place.
    """
    from affineur.transfer.pull import pull as fetch_folder

    return fetch_folder(reference, Path(out), access=Access(endpoint, region, profile))


def push(
    model: str | os.PathLike[str] | Model,
    reference: str,
    *,
    endpoint: str | None = None,
    region: str | None = None,
    profile: str | None = None,
    private: bool = False,
    pull_request: bool = False,
    revision: str | None = None,
    tag: str | None = None,
    license: str | None = None,
    message: str | None = None,
) -> Pushed:
    """Send an artifact elsewhere: only what changed; readers see the old version or the new one, whole.

    Args:
        model: A model, or a folder with a model or with data; its digests are checked first.
        reference: Where to, as for :func:`pull`.
        endpoint: Address of the service, where its usual configuration does not say so.
        region: Region, or data center.
        profile: Section of the usual configuration files.
        private: Whether only those with access see it, where it is new (Hub).
        pull_request: Whether it is proposed, and not put in place (Hub).
        revision: Branch that is written to (Hub).
        tag: Name of the version (Hub).
        license: License it is given, such as ``cc-by-nc-sa-4.0`` (Hub).
        message: What changed, in one line (Hub).

    Returns:
        Where it is, ``.sent`` and ``.kept``.

    Raises:
        ModelError: If a file is not the one its manifest names.
        TransferError: If it cannot be written there, or something else lies there already.
        ParameterError: If there is no such place, or it has no use for an option.
    """
    from affineur.transfer.push import push as send_folder

    folder = model.path if isinstance(model, Model) else Path(model)
    said = Publication(private, pull_request, revision, tag, license, message)
    return send_folder(folder, reference, access=Access(endpoint, region, profile), publication=said)
