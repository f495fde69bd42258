"""What goes wrong between us and an S3 service, each as one line."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from affineur.errors import TransferError, one_line
from affineur.transfer.hub import need
from affineur.transfer.places.core.place import Passing, Unreachable


class Refused(TransferError):
    """An answer that says no, and will again.

    Args:
        message: What it means.
        status: The HTTP status.
        code: What the service calls it, such as ``NoSuchKey``; the status where there is no body.
        location: Where it points to instead. It may hold a signature, so it is never shown.
    """

    def __init__(self, message: str, status: int, code: str, location: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.location = status, code, location


@dataclass
class Service:
    """What messages say of a service.

    Args:
        where: The reference that was typed.
        bucket: The bucket.
        kind: What its users call it.
        endpoint: Its address, without what is secret in it.
        region: Region requests are signed for.
        keys: Where its users find a key.
        secrets: What must never be shown.
        reached: Whether it has ever answered.
    """

    where: str
    bucket: str
    kind: str
    endpoint: str
    region: str
    keys: str
    secrets: tuple[str, ...] = field(default=(), repr=False)
    reached: bool = False

    def explain(self, error: Exception, asked: str) -> TransferError:
        """Make the error of this library for one of botocore.

        Args:
            error: What botocore raised.
            asked: The operation, such as ``PutObject``.
        """
        meant = self._meant(error, asked)
        meant.args = (self.clean(str(meant)),)
        return meant

    def clean(self, text: str) -> str:
        """Return a text without what must not be shown: a service may repeat what it was sent."""
        for secret in self.secrets:
            text = text.replace(secret, "…")
        return text

    def _meant(self, error: Exception, asked: str) -> TransferError:
        faults = need("botocore.exceptions", self.where)
        parsers = need("botocore.parsers", self.where)
        if isinstance(error, faults.ClientError):
            self.reached = True
            return self._answer(error.response, asked)
        if isinstance(error, faults.EndpointConnectionError) and not self.reached and (why := _absent(error)):
            return Unreachable(
                f"{self.where}: there is no {why} {self.endpoint}; check endpoint (or AWS_ENDPOINT_URL and "
                "the endpoint_url of the profile) and the network"
            )
        if isinstance(error, faults.SSLError):
            return TransferError(
                f"{self.where}: {self.endpoint} has no certificate that is trusted here "
                f"({one_line(error)}); for one of your own set AWS_CA_BUNDLE to its file"
            )
        if isinstance(error, (faults.NoCredentialsError, faults.CredentialRetrievalError)):
            return TransferError(f"{self.where}: credentials could not be had ({one_line(error)})")
        if isinstance(
            error,
            (
                parsers.ResponseParserError,
                faults.ConnectionError,
                faults.HTTPClientError,
                faults.IncompleteReadError,
                OSError,
            ),
        ):
            return Passing(f"{self.where}: the connection to {self.endpoint} broke ({type(error).__name__})")
        return TransferError(f"{self.where}: {asked} cannot be asked of {self.endpoint} ({one_line(error)})")

    def _answer(self, response: dict[str, Any], asked: str) -> TransferError:
        meta, said = response.get("ResponseMetadata", {}), response.get("Error", {})
        status, headers = int(meta.get("HTTPStatusCode", 0)), meta.get("HTTPHeaders", {})
        code = str(said.get("Code") or status)
        if _passes(status, code):
            return Passing(f"{self.where}: {self.endpoint} answered {_word(code, status)} to {asked}")
        text = self._meaning(code, status, said, headers, asked)
        return Refused(f"{self.where}: {text}", status, code, headers.get("location"))

    def _meaning(
        self, code: str, status: int, said: dict[str, Any], headers: dict[str, str], asked: str
    ) -> str:
        named = said.get("Region") or headers.get("x-amz-bucket-region")
        if code == "NoSuchBucket":
            return (
                f"there is no {self.kind} '{self.bucket}' at {self.endpoint} (region {self.region}); check "
                "its name, and endpoint and region"
            )
        if code in _ELSEWHERE or (status == 301 and "location" not in headers):
            region = f"region {named}" if named else "another region"
            return (
                f"the {self.kind} '{self.bucket}' is in {region}, and was asked for in {self.region} "
                f"at {self.endpoint}; give its region, or set AWS_REGION"
            )
        if code in _BAD_KEYS:
            return (
                f"the credentials were refused by {self.endpoint} ({code}); check AWS_ACCESS_KEY_ID and "
                f"AWS_SECRET_ACCESS_KEY, or the profile they come from. {self.keys}"
            )
        if code == "RequestTimeTooSkewed":
            return f"{self.endpoint} says that the clock of this machine is wrong; set it"
        if code in ("AccessDenied", "AllAccessDisabled", "Forbidden") or status == 403:
            return (
                f"access was denied to {asked} by {self.endpoint}; the credentials are known there and "
                f"may not do this: give them the right, or use others (profile). {self.keys}"
            )
        if code in ("NoSuchKey", "404"):
            return f"it is not there (asked of {self.endpoint})"
        if status == 507 or "quota" in code.lower() or "Space" in code:
            return f"there is no space left for it ({code}); remove something there, or make it larger"
        more = one_line(ValueError(said.get("Message") or "no reason given"))
        return (
            f"{self.endpoint} answered {_word(code, status)} to {asked} ({more}); check that "
            "endpoint is the address of an S3 service"
        )


_ELSEWHERE = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")
_BAD_KEYS = (
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "ExpiredToken",
    "TokenRefreshRequired",
    "InvalidClientTokenId",
)
# BadDigest and IncompleteBody: what arrived is not what was sent, so it is sent again
_PASSING = (
    "SlowDown",
    "InternalError",
    "ServiceUnavailable",
    "RequestTimeout",
    "RequestTimeoutException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "BadDigest",
    "IncompleteBody",
    "XAmzContentSHA256Mismatch",
    "OperationAborted",
)


def _passes(status: int, code: str) -> bool:
    return code in _PASSING or status in (408, 429) or (status >= 500 and status not in (501, 505, 507))


def _word(code: str, status: int) -> str:
    return str(status) if code == str(status) else f"{status} {code}"


def _absent(error: BaseException) -> str:
    """Say what is not there, host or service, as urllib3 tells by its own errors around the system's."""
    for each in _causes(error):
        if isinstance(each, socket.gaierror) or type(each).__name__ == "NameResolutionError":
            return "host of"
        if isinstance(each, ConnectionRefusedError):
            return "service at"
    return ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        each = waiting.pop()
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        kept = getattr(each, "kwargs", None)
        waiting += [each.__cause__, each.__context__, getattr(each, "reason", None)]
        waiting.append(kept.get("error") if isinstance(kept, dict) else None)
