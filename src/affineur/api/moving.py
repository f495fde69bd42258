"""Moving artifacts and data between this disk and everywhere else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from affineur.api.model import Model
from affineur.errors import ParameterError
from affineur.transfer.places.core.place import Access, Publication, Pushed


def pull(
    reference: str,
    *,
    out: str | os.PathLike[str],
    endpoint: str | None = None,
    region: str | None = None,
    profile: str | None = None,
    key: str | os.PathLike[str] | None = None,
    certificates: Sequence[str | os.PathLike[str]] = (),
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
        key: A PEM file with the public key that must have signed it.
        certificates: PEM files with root certificates, one of which must stand behind who signed it.

    Returns:
        The folder.

    Raises:
        TransferError: If a file does not come, or has another digest than was said.
        ModelError: If what came is a model that cannot be used, or is not signed as it must be.
        ParameterError: If ``out`` holds something that Affineur did not write, or an option says nothing to
            the place.
    """
    from affineur.transfer.pull import pull as fetch_folder

    def signed(folder: Path) -> None:
        from affineur.transfer.signing import check_signature

        check_signature(folder, None if key is None else Path(key), certificates=[*map(Path, certificates)])

    check = signed if key is not None or certificates else None
    return fetch_folder(reference, Path(out), access=Access(endpoint, region, profile), check=check)


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
    sbom: bool = False,
    sign: str | os.PathLike[str] | None = None,
    certificate: str | os.PathLike[str] | None = None,
    chain: Sequence[str | os.PathLike[str]] = (),
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
        sbom: Whether a bill of materials is written first, ``sbom.json``.
        sign: A PEM file with a private key, to sign it first; the signature, ``model.sig``, goes with it.
        certificate: A PEM file with a certificate of that key, by which others know whose it is.
        chain: PEM files with the certificates between that one and a root that others trust.

    Returns:
        Where it is, ``.sent`` and ``.kept``.

    Raises:
        ModelError: If a file is not the one its manifest names.
        TransferError: If it cannot be written there, or something else lies there already.
        ParameterError: If there is no such place, or it has no use for an option.
    """
    from affineur.transfer.push import push as send_folder

    folder = model.path if isinstance(model, Model) else Path(model)
    if sbom:
        from affineur.transfer.sbom import write_sbom

        write_sbom(folder)
    if sign is not None:
        from affineur.transfer.signing import sign as sign_folder

        shown = None if certificate is None else Path(certificate)
        sign_folder(folder, Path(sign), certificate=shown, chain=[*map(Path, chain)])
    elif certificate is not None or chain:
        raise ParameterError("certificate and chain are for signing; give the key too: sign", "sign")
    said = Publication(private, pull_request, revision, tag, license, message)
    return send_folder(folder, reference, access=Access(endpoint, region, profile), publication=said)
