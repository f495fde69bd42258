"""What an S3 service says of the content of an object, and what it ought to say."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from affineur.errors import TransferError

#: The most parts S3 takes, and the largest that RunPod takes.
PARTS, LARGEST = 10_000, 500_000_000
_MIB = 1 << 20
_SHA256 = "sha256"  # what our metadata is called; Hugging Face's buckets keep none


class Head(NamedTuple):
    """What a service says of an object.

    Args:
        size: Its bytes.
        etag: Its version.
        sha256: The digest it was sent with; empty where there was none, or the service keeps none.
        content: Its ETag where that is made of MD5 digests, empty where it is not.
    """

    size: int
    etag: str
    sha256: str
    content: str


def head_of(answer: Mapping[str, Any]) -> Head:
    """Read the answer to HeadObject."""
    return Head(
        int(answer.get("ContentLength", 0)),
        etag_of(answer),
        str(answer.get("Metadata", {}).get(_SHA256, "")),
        content_of(answer),
    )


def described(sha256: str) -> dict[str, Any]:
    """Return what is said of a file when it is sent."""
    return {"Metadata": {_SHA256: sha256}}


def etag_of(answer: Mapping[str, Any]) -> str:
    """Return the ETag of an answer, without quotes."""
    return str(answer.get("ETag", "")).strip('"')


def content_of(answer: Mapping[str, Any]) -> str:
    """Return the ETag of an answer where it is made of MD5 digests; empty where it is not.

    That of an object encrypted with a key of KMS, or with one the client gave, looks like it and is not.
    """
    if str(answer.get("ServerSideEncryption", "")).startswith("aws:kms") or "SSECustomerAlgorithm" in answer:
        return ""
    etag = etag_of(answer).lower()
    digits = etag.partition("-")[0]
    return etag if len(digits) == 32 and not set(digits) - set("0123456789abcdef") else ""


def differ(found: str, expected: str) -> bool:
    """Say whether two ETags of the same kind say different things; those of two kinds say nothing."""
    return bool(found and expected) and ("-" in found) == ("-" in expected) and found != expected


def md5(data: bytes) -> str:
    """Return the MD5 digest of some bytes."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def content_md5(digest: str) -> str:
    """Return the header that makes a service check what arrives, for an MD5 digest."""
    return base64.b64encode(bytes.fromhex(digest)).decode()


def composite(etags: Mapping[int, str]) -> str:
    """Return the usual ETag of an object made of parts; empty where theirs are no MD5 digests."""
    try:
        whole = b"".join(bytes.fromhex(etags[number]) for number in sorted(etags))
    except ValueError:
        return ""
    return f"{md5(whole)}-{len(etags)}"


def part_size(size: int, smallest: int, name: str) -> int:
    """Return how large the parts of a file are.

    Raises:
        TransferError: If it is larger than all parts together can be.
    """
    needed = -(-size // PARTS)
    part = smallest if needed <= smallest else -(-needed // _MIB) * _MIB
    if part > LARGEST:
        raise TransferError(f"{name} has {size:,} bytes, expected at most {PARTS * LARGEST:,}")
    return part


def same(head: Head, file: Path, sha256: str, part: int) -> bool:
    """Say whether an object is this file, by the digest it was sent with, else by its ETag.

    Args:
        head: The object.
        file: The file.
        sha256: Its digest.
        part: Bytes of the parts it is sent in.
    """
    size = file.stat().st_size
    if head.size != size:
        return False
    if head.sha256:
        return head.sha256 == sha256
    if not head.content:
        return False
    with file.open("rb") as opened:
        if "-" not in head.content:
            return hashlib.file_digest(opened, _new_md5).hexdigest() == head.content
        length = part_size(size, part, str(file))
        if head.content.partition("-")[2] != str(-(-size // length)):
            return False
        parts = iter(lambda: opened.read(length), b"")
        return composite({number: md5(data) for number, data in enumerate(parts, 1)}) == head.content


def _new_md5() -> Any:
    return hashlib.md5(usedforsecurity=False)
