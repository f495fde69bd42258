"""A folder of a bucket, read and written by boto3's client: the only one that can go on with an upload.

obstore (0.12) and s3fs begin a multipart upload again after the process that sent it has ended; neither takes
the id of one. boto3's own ``upload_file`` does not either, its client does.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urljoin, urlsplit
from urllib.request import Request, urlopen

from affineur.errors import TransferError
from affineur.transfer.places.buckets.connect import COMPLETE_TIMEOUT, READ_TIMEOUT, Connect
from affineur.transfer.places.buckets.digests import (
    Head,
    content_md5,
    content_of,
    described,
    differ,
    head_of,
    md5,
    same,
)
from affineur.transfer.places.buckets.faults import Refused, Service
from affineur.transfer.places.buckets.upload import Upload
from affineur.transfer.places.core.place import Conflict, Moved, Passing, Remote, Small, Stat, whole
from affineur.transfer.workers import Workers

_CHUNK = 1 << 20
#: Where RunPod keeps parts of unfinished uploads.
_HIDDEN = ".s3compat_uploads/"
# What a service answers that has no conditional writes
_UNCONDITIONAL = ("NotImplemented", "InvalidArgument", "InvalidRequest", "501")


class Bucket(Remote):
    """A folder of a bucket.

    Args:
        service: What messages say.
        folder: The folder; empty for the whole bucket.
        connect: Makes a client.

    Attributes:
        part: Bytes of a part, and of the largest file sent in one request.
    """

    lists = True

    def __init__(self, service: Service, folder: str, connect: Connect) -> None:
        self.where, self.service, self._folder = service.where, service, folder
        self._connect, self._client = connect, connect(READ_TIMEOUT)
        self._lock = threading.Lock()
        self._slow: Any = None
        self._workers: Workers | None = None

    def stat(self, name: str) -> Stat | None:
        """Ask for a file; ``None`` where it is not there, or where nobody may know whether it is."""
        head = self.head(self.key(name))
        return None if head is None else Stat(head.size, version=head.etag)

    def read(self, name: str, start: int, stop: int | None) -> Iterator[bytes]:
        """Read a part of a file."""
        if stop is not None and stop <= start:
            return
        span = (
            {}
            if start == 0 and stop is None
            else {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"}
        )
        try:
            body, headers = self._open(self.key(name), span)
        except Refused as refused:
            if refused.status == 416:  # it ends before
                return
            if refused.status == 404 and refused.code != "NoSuchBucket":
                text = f"{self.where}: {name} is not there; give a folder that holds it"
                raise Refused(text, 404, refused.code) from None
            raise
        # a service without ranges sends all of it
        skip = start if start and "content-range" not in headers else 0
        wanted = None if stop is None else stop - start
        try:
            for chunk in self._chunks(body, headers):
                if skip >= len(chunk):
                    skip -= len(chunk)
                    continue
                given = chunk[skip:] if wanted is None else chunk[skip : skip + wanted]
                skip = 0
                yield given
                if wanted is not None:
                    wanted -= len(given)
                    if not wanted:
                        return
        finally:
            body.close()

    def names(self) -> Iterator[str]:
        """List its files."""
        prefix = f"{self._folder}/" if self._folder else ""
        seen: set[str] = set()
        more: dict[str, str] = {}
        while True:
            page = self.ask("list_objects_v2", Prefix=prefix, **more)
            for each in page.get("Contents", ()):
                name = str(each["Key"]).removeprefix(prefix)
                if name and not name.endswith("/") and not name.startswith(_HIDDEN):
                    yield name
            token = page.get("NextContinuationToken")
            if not page.get("IsTruncated") or not token:
                return
            if token in seen:  # while RunPod computes digests of files that came to the volume otherwise
                raise Passing(
                    f"{self.where}: the list cannot be read on, the same page came twice; the service may "
                    "still be computing digests of new files there"
                )
            seen.add(token)
            more = {"ContinuationToken": token}

    def get(self, name: str) -> Small | None:
        """Read a small file whole."""
        head = self.head(self.key(name))
        if head is None:
            return None
        # The version is asked for first: if another is written before we read, putting it back is a conflict
        try:
            return Small(whole(self.read(name, 0, None), f"{self.where}/{name}"), head.etag)
        except Refused as refused:
            if refused.status == 404:  # removed since
                return None
            raise

    def put(self, name: str, data: bytes, seen: Small | None) -> None:
        """Write a small file if it is still what was seen."""
        key = self.key(name)
        now = self.get(name)  # some services ignore conditions without a word
        if now is not None and now.data == data:  # an answer was lost, not the file
            return
        if (now and now.data) != (seen and seen.data):
            raise self._conflict(name)
        version = {"IfNoneMatch": "*"} if now is None else {"IfMatch": f'"{now.version}"'}
        given = {"Key": key, "Body": data, "ContentMD5": content_md5(md5(data))}
        try:
            self.ask("put_object", **given, **version)
        except Refused as refused:
            if refused.code in _UNCONDITIONAL or refused.status == 501:
                self.ask("put_object", **given)
            elif refused.status in (409, 412) or (now is not None and refused.status == 404):
                now = self.get(name)
                if now is None or now.data != data:
                    raise self._conflict(name) from None
            else:
                raise

    def holds(self, name: str, size: int, sha256: str) -> bool:
        """Say whether a file of this size was sent with this digest."""
        head = self.head(self.key(name))
        return head is not None and (head.size, head.sha256) == (size, sha256)

    def send(self, name: str, file: Path, sha256: str, moved: Moved) -> None:
        """Write a file, in parts where it is large."""
        key, size = self.key(name), file.stat().st_size
        head = self.head(key)
        if head is not None and same(head, file, sha256, self.part):
            Upload(self, key, file, sha256).forget()
            moved(size)
        elif size > self.part:
            Upload(self, key, file, sha256).send(moved)
        else:
            data = file.read_bytes()
            digest = md5(data)
            answer = self.ask(
                "put_object", Key=key, Body=data, ContentMD5=content_md5(digest), **described(sha256)
            )
            self.check(key, size, content_of(answer), digest, sha256)
            moved(size)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, one by one: not every service removes several at once."""
        for name in names:
            try:
                self.ask("delete_object", Key=self.key(name))
            except Refused as refused:
                if refused.status != 404 or refused.code == "NoSuchBucket":
                    raise

    def close(self) -> None:
        """Close connections."""
        with self._lock:
            if self._workers is not None:
                self._workers.close()
            for client in (self._client, self._slow):
                if client is not None:
                    client.close()

    def key(self, name: str) -> str:
        """Return what a file is called in the bucket."""
        return f"{self._folder}/{name}" if self._folder else name

    def ask(self, operation: str, **given: Any) -> dict[str, Any]:
        """Ask something of the service.

        Args:
            operation: Method of boto3's client.
            **given: What it is given, beside the bucket.

        Raises:
            Passing: If it may be answered later.
            Refused: If the answer is no.
            TransferError: If there is none.
        """
        client = self._patient() if operation == "complete_multipart_upload" else self._client
        try:
            answer: dict[str, Any] = getattr(client, operation)(Bucket=self.service.bucket, **given)
        except Exception as error:  # botocore's are many, and some are urllib3's
            asked = "".join(word.capitalize() for word in operation.split("_"))
            raise self.service.explain(error, asked) from None
        self.service.reached = True
        return answer

    def head(self, key: str) -> Head | None:
        """Ask for an object; ``None`` where it is not there.

        Without the right to list, the answer for a file that is not there is that access is denied: then it
        counts as absent, and whoever needs it is told when reading it is denied.
        """
        try:
            answer = self.ask("head_object", Key=key)
        except Refused as refused:
            if refused.status == 404:
                return None
            try:  # an answer to HEAD has no reason in it; the same to GET has
                self.ask("list_objects_v2", Prefix=key, MaxKeys=1)
            except Refused as reason:
                if reason.code == "AccessDenied" and refused.status == 403:
                    return None
                raise reason from None
            raise refused from None
        return head_of(answer)

    def check(self, key: str, size: int, content: str, expected: str, sha256: str) -> None:
        """Check what arrived; what is not what was sent is removed.

        Args:
            key: The object.
            size: Bytes it must have.
            content: What the service said of its content, in an ETag; empty where it did not.
            expected: What that ought to be; empty where it is not known.
            sha256: The digest it was sent with.

        Raises:
            Passing: If it is not what was sent.
        """
        head = self.head(key)
        # another digest: an upload that was begun for another version of the file, and found by its name
        if (
            head is None
            or head.size != size
            or head.sha256 not in ("", sha256)
            or differ(content or head.content, expected)
        ):
            self.ask("delete_object", Key=key)
            raise Passing(f"{self.where}: what arrived as {key} is not what was sent, and was removed")

    def workers(self) -> Workers:
        """Return the threads that send parts: as many for all files, so that memory is bounded."""
        with self._lock:
            if self._workers is None:
                self._workers = Workers(self.streams)
            return self._workers

    def _patient(self) -> Any:
        with self._lock:
            if self._slow is None:
                self._slow = self._connect(COMPLETE_TIMEOUT)
            return self._slow

    def _conflict(self, name: str) -> Conflict:
        return Conflict(f"{self.where}: somebody else has written {name} in the meantime; push again")

    def _open(self, key: str, span: dict[str, str]) -> tuple[Any, dict[str, str]]:
        try:
            answer = self.ask("get_object", Key=key, **span)
        except Refused as refused:
            if refused.location is None or refused.status not in (302, 303, 307, 308):
                raise
            return self._follow(refused.location, span)
        return answer["Body"], dict(answer["ResponseMetadata"]["HTTPHeaders"])

    def _follow(self, location: str, span: dict[str, str]) -> tuple[Any, dict[str, str]]:
        """Read where the service points to, without our credentials; its address may be a secret itself."""
        url = urljoin(f"{self.service.endpoint}/", location)
        secure = self.service.endpoint.startswith("https:")
        if urlsplit(url).scheme not in (("https",) if secure else ("http", "https")):
            raise TransferError(
                f"{self.where}: {self.service.endpoint} points to an address that is not secure"
            )
        try:
            # the same certificates as botocore's, where the environment names some
            trusted = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE") or None
            context = ssl.create_default_context(cafile=trusted) if url.startswith("https:") else None
            body = urlopen(Request(url, headers=span), timeout=READ_TIMEOUT, context=context)
        except HTTPError as error:
            text = f"{self.where}: where {self.service.endpoint} points to, the answer was {error.code}"
            error.close()
            if error.code in (408, 429) or error.code >= 500:
                raise Passing(text) from None
            raise Refused(text, error.code, str(error.code)) from None
        except (OSError, HTTPException) as error:
            raise self._broke(error) from None
        return body, {name.lower(): value for name, value in body.headers.items()}

    def _chunks(self, body: Any, headers: dict[str, str]) -> Iterator[bytes]:
        left = int(headers["content-length"]) if "content-length" in headers else None
        while True:
            try:
                chunk = body.read(_CHUNK)
            except Exception as error:  # urllib3's, botocore's, http.client's and the system's
                raise self._broke(error) from None
            if not chunk:
                break
            left = None if left is None else left - len(chunk)
            yield chunk
        if left:
            raise Passing(f"{self.where}: the connection ended {left} bytes early")

    def _broke(self, error: BaseException) -> Passing:
        return Passing(
            f"{self.where}: the connection to {self.service.endpoint} broke ({type(error).__name__})"
        )
