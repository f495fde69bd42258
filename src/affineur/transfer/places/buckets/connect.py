"""How an S3 service is reached: credentials and addresses from where its users keep them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from affineur.errors import ParameterError, TransferError, one_line
from affineur.transfer.hub import need
from affineur.transfer.places.buckets.faults import Service
from affineur.transfer.places.core.place import Access, shown

#: Seconds for a connection and for sending a piece, and without a byte of an answer.
CONNECT_TIMEOUT, READ_TIMEOUT = 20.0, 120.0
#: Seconds that CompleteMultipartUpload has: RunPod puts large files together slowly, and asks for as much.
COMPLETE_TIMEOUT = 7200.0
#: Where a region is not said; S3 itself sends on to the right one.
DEFAULT_REGION = "us-east-1"
_AWS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")

#: Makes a client whose answers may take so many seconds.
Connect = Callable[[float], Any]


def parts_of(reference: str, prefix: str, form: str) -> tuple[str, str]:
    """Split a reference into its bucket and its folder, which may be empty.

    Raises:
        TransferError: If it has no bucket, or its folder is none.
    """
    bucket, _, folder = reference.removeprefix(prefix).partition("/")
    folder = folder.strip("/")
    if not bucket or any(sign in bucket for sign in "@:?#\\ "):
        raise TransferError(f"'{shown(reference)}' is not complete, expected {form}")
    if folder and ({"", ".", ".."} & set(folder.split("/")) or set(folder) & set("\\\0")):
        raise TransferError(
            f"'{shown(reference)}' has no usable folder, expected {form}, without '..' and '//'"
        )
    return bucket, folder


def session(where: str, profile: str | None) -> Any:
    """Open boto3's session of a profile.

    Raises:
        ParameterError: If there is no such profile.
        MissingExtraError: If boto3 is not installed.
    """
    boto3, faults = need("boto3", where), need("botocore.exceptions", where)
    try:
        opened = boto3.Session(profile_name=profile)
        opened._session.get_scoped_config()  # looks for the profile that AWS_PROFILE names
        return opened
    except faults.ProfileNotFound:
        raise _no_profile(where, profile or os.environ.get("AWS_PROFILE", "")) from None
    except faults.BotoCoreError as error:
        raise TransferError(
            f"{where}: the configuration in ~/.aws is not usable ({one_line(error)})"
        ) from None


def _no_profile(where: str, profile: str) -> ParameterError:
    files = " and ".join(_files())
    return ParameterError(
        f"{where}: there is no profile '{profile}' in {files}; type: aws configure --profile {profile}",
        "profile",
    )


def _files() -> tuple[str, str]:
    return (
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials",
        os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config",
    )


def configured(opened: Any, where: str) -> str | None:
    """Return the address that the environment or the profile names, as boto3 finds it.

    Raises:
        TransferError: If it is none.
    """
    faults = need("botocore.exceptions", where)
    try:
        address = str(opened.client("s3", region_name=DEFAULT_REGION).meta.endpoint_url)
    except (faults.BotoCoreError, ValueError) as error:
        raise _misconfigured(where, one_line(error)) from None
    return None if _of_amazon(address) else address


def connect(opened: Any, service: Service, access: Access) -> Connect:
    """Find credentials and the address; nothing is asked of the service.

    Args:
        opened: The session of the profile in ``access``.
        service: What messages say; its endpoint, region and secrets are filled in.
        access: Address and region, where the environment and the profile are not to say them.

    Raises:
        ParameterError: If the address is none.
        TransferError: If there are no credentials, or something in them is not usable.
    """
    config, faults = need("botocore.config", service.where), need("botocore.exceptions", service.where)
    endpoint = access.endpoint
    if endpoint is not None and urlsplit(endpoint).scheme not in ("http", "https"):
        raise ParameterError(
            f"endpoint='{_shown(endpoint)}' is no address, expected https://HOST or http://HOST:PORT",
            "endpoint",
        )
    region = access.region or opened.region_name or DEFAULT_REGION
    try:
        found = opened.get_credentials()
        secret = found.get_frozen_credentials() if found else None
        style = _style(opened)
    except faults.BotoCoreError as error:
        raise TransferError(
            f"{service.where}: the credentials are not usable ({one_line(error)}); {_type(service, opened)}"
        ) from None
    if secret is None:
        # as everywhere in boto3: where a profile is named, the environment is not looked at
        environment = (
            "" if access.profile else "in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), "
        )
        raise TransferError(
            f"{service.where}: no credentials, looked {environment}for profile '{opened.profile_name}' in "
            f"{' and '.join(_files())}, and for a role of this machine; {_type(service, opened)}"
        )
    # a key of a few letters is that of a test, and part of common words
    keys = (secret.secret_key, secret.token, secret.access_key)
    service.secrets = tuple(each for each in keys if each and len(each) >= 8)

    def client(timeout: float, path: bool) -> Any:
        options: dict[str, Any] = {"s3": {"addressing_style": "path"}} if path else {}
        return opened.client(
            "s3",
            region_name=region,
            endpoint_url=endpoint,
            config=config.Config(
                connect_timeout=CONNECT_TIMEOUT,
                read_timeout=timeout,
                retries={"total_max_attempts": 1},  # `patiently` tries again, with what has arrived in mind
                max_pool_connections=32,
                # since 1.36 botocore adds checksums in trailers, which other services than S3 do not read
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                tcp_keepalive=True,
                **options,
            ),
        )

    def made(timeout: float, path: bool) -> Any:
        try:
            return client(timeout, path)
        except (faults.BotoCoreError, ValueError) as error:
            raise _misconfigured(service.where, service.clean(one_line(error))) from None

    address = str(made(READ_TIMEOUT, False).meta.endpoint_url)
    service.endpoint, service.region = _shown(address), region
    # most services but S3 itself have no host name for each bucket
    path = style is None and not _of_amazon(address)
    return lambda timeout: made(timeout, path)


def _of_amazon(address: str) -> bool:
    return (urlsplit(address).hostname or "").endswith(_AWS)


def _misconfigured(where: str, reason: str) -> TransferError:
    return TransferError(
        f"{where}: S3 cannot be reached as it is configured ({reason}); check endpoint and region, "
        "AWS_ENDPOINT_URL, and the profile"
    )


def _style(opened: Any) -> str | None:
    """Return the way of naming buckets that the profile asks for."""
    said = opened._session.get_scoped_config().get("s3")
    style = said.get("addressing_style") if isinstance(said, dict) else None
    return style if style in ("path", "virtual") else None


def _type(service: Service, opened: Any) -> str:
    profile = "" if opened.profile_name == "default" else f" --profile {opened.profile_name}"
    return f"type: aws configure{profile}, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. {service.keys}"


def _shown(address: str) -> str:
    """Return an address without a name and password in it, and without a query."""
    bare = urlsplit(address)
    return bare._replace(netloc=bare.netloc.rpartition("@")[2], query="", fragment="").geturl().rstrip("/")
