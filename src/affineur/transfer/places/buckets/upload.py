"""A large file, sent in parts; what arrived before a process was killed is not sent again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import Future, as_completed
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affineur.artifact.reading import parse_json
from affineur.errors import TransferError
from affineur.transfer.cache import cache_folder
from affineur.transfer.places.buckets.digests import (
    composite,
    content_md5,
    content_of,
    described,
    etag_of,
    md5,
    part_size,
    same,
)
from affineur.transfer.places.buckets.faults import Refused
from affineur.transfer.places.core.place import Moved, Passing

if TYPE_CHECKING:
    from affineur.transfer.places.buckets.remote import Bucket

#: Unfinished uploads of the same name that are looked at.
_CANDIDATES = 3


class Upload:
    """One file on its way.

    Which upload it is and which parts have arrived is written to a small file in the cache. Where that is
    lost, the service is asked for unfinished uploads of this name, and one is gone on with if each of its
    parts has the digest of ours.

    Args:
        remote: Where it goes.
        key: What it is called there.
        file: The file.
        sha256: Its digest.
    """

    def __init__(self, remote: Bucket, key: str, file: Path, sha256: str) -> None:
        self._remote, self._key, self._file, self._sha256 = remote, key, file, sha256
        self._size = file.stat().st_size
        self._part = part_size(self._size, remote.part, str(file))
        service = remote.service
        known = "\n".join((service.endpoint, service.bucket, key, sha256, str(self._part)))
        self._journal = _folder() / f"{hashlib.sha256(known.encode()).hexdigest()[:32]}.jsonl"

    def send(self, moved: Moved) -> None:
        """Send the parts that are not there yet, put them together, and check the result.

        Raises:
            Passing: If something failed that may not fail again; the next call goes on.
        """
        upload, done = self._find()
        moved(sum(self._length(number) for number in done))
        for number, etag in self._rest(upload, done):
            done[number] = etag
            moved(self._length(number))
        self._complete(upload, done)

    def forget(self) -> None:
        """Remove what is known of it: it is over."""
        with suppress(OSError):  # it is not there, or could not be written
            self._journal.unlink()

    def _rest(self, upload: str, done: dict[int, str]) -> Iterator[tuple[int, str]]:
        workers = self._remote.workers()
        waiting: dict[Future[str], int] = {
            workers.submit(self._send_part, upload, number): number
            for number in range(1, self._count + 1)
            if number not in done
        }
        failed: Exception | None = None
        try:
            for future in as_completed(waiting):
                if future.cancelled():
                    continue
                error = future.exception()
                if error is None:
                    yield waiting[future], future.result()
                elif isinstance(error, Exception):
                    # the worse of two is told: trying again does not help it
                    failed = error if failed is None or isinstance(failed, Passing) else failed
                    for each in waiting:  # those under way arrive, and count
                        each.cancel()
                else:
                    raise error
        finally:
            for each in waiting:
                each.cancel()
        if isinstance(failed, Refused) and failed.code == "NoSuchUpload":
            self.forget()
            raise Passing(f"{self._remote.where}: the unfinished upload is no longer there")
        if failed is not None:
            raise failed

    def _send_part(self, upload: str, number: int) -> str:
        """Send a part; it is read here, so that only as many are in memory as there are threads."""
        data = self._read(number)
        digest = md5(data)
        answer = self._remote.ask(
            "upload_part",
            Key=self._key,
            UploadId=upload,
            PartNumber=number,
            Body=data,
            ContentMD5=content_md5(digest),
        )
        if content_of(answer) not in ("", digest):
            raise Passing(f"{self._remote.where}: part {number} of {self._key} arrived damaged")
        given = etag_of(answer)
        self._note({"part": number, "etag": given})
        return given

    def _complete(self, upload: str, done: dict[int, str]) -> None:
        parts = [{"PartNumber": number, "ETag": f'"{etag}"'} for number, etag in sorted(done.items())]
        try:
            answer = self._remote.ask(
                "complete_multipart_upload",
                Key=self._key,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
            )
        except Refused as refused:
            if refused.code not in ("NoSuchUpload", "InvalidPart", "InvalidPartOrder"):
                raise
            self.forget()
            head = self._remote.head(self._key)  # the answer to an earlier request may have been lost
            if head is not None and same(head, self._file, self._sha256, self._remote.part):
                return
            if refused.code != "NoSuchUpload":
                self._abort(upload)
            raise Passing(f"{self._remote.where}: the parts of {self._key} are no longer there") from None
        self.forget()
        self._remote.check(self._key, self._size, content_of(answer), composite(done), self._sha256)

    def _abort(self, upload: str) -> None:
        try:
            self._remote.ask("abort_multipart_upload", Key=self._key, UploadId=upload)
        except TransferError:  # it costs space until the service clears it up, and nothing else
            return

    def _find(self) -> tuple[str, dict[int, str]]:
        """Find an unfinished upload and which of its parts are right, or begin one."""
        upload, noted = self._recall()
        if upload is not None:
            done = self._arrived(upload, noted)
            if done is not None:
                return upload, done
        for upload in self._unfinished():
            done = self._arrived(upload, None)
            if done:
                return self._begun(upload, done)
        answer = self._remote.ask("create_multipart_upload", Key=self._key, **described(self._sha256))
        return self._begun(str(answer["UploadId"]), {})

    def _begun(self, upload: str, done: dict[int, str]) -> tuple[str, dict[int, str]]:
        self.forget()
        self._note({"upload": upload})
        for number, etag in done.items():
            self._note({"part": number, "etag": etag})
        return upload, done

    def _arrived(self, upload: str, noted: dict[int, str] | None) -> dict[int, str] | None:
        """List the parts that are there and are ours.

        Args:
            upload: The upload.
            noted: What was noted of parts when they were sent; ``None`` for an upload that was found by its
                name, and is another file's if any part is not ours.

        Returns:
            ETags by number; ``None`` where there is no such upload, or it is another file's.
        """
        done: dict[int, str] = {}
        try:
            for part in self._list(upload):
                number, etag = int(part["PartNumber"]), str(part["ETag"]).strip('"')
                right = number <= self._count and int(part["Size"]) == self._length(number)
                if right and not (noted and noted.get(number) == etag):
                    right = etag == md5(self._read(number))
                if right:
                    done[number] = etag
                elif noted is None:
                    return None
        except Refused as refused:
            if noted is None or (refused.status == 404 and refused.code != "NoSuchBucket"):
                return None
            return dict(noted)  # parts may not be listed; the end tells whether they are there
        return done

    def _list(self, upload: str) -> Iterator[dict[str, Any]]:
        marker = 0
        while True:
            page = self._remote.ask("list_parts", Key=self._key, UploadId=upload, PartNumberMarker=marker)
            yield from page.get("Parts", ())
            following = int(page.get("NextPartNumberMarker") or 0)
            if not page.get("IsTruncated") or following <= marker:
                return
            marker = following

    def _unfinished(self) -> list[str]:
        try:
            answer = self._remote.ask("list_multipart_uploads", Prefix=self._key)
        except Refused:  # often not allowed, and never needed
            return []
        found = [each for each in answer.get("Uploads", ()) if each["Key"] == self._key]
        found.sort(key=lambda each: str(each.get("Initiated", "")), reverse=True)
        return [str(each["UploadId"]) for each in found[:_CANDIDATES]]

    def _recall(self) -> tuple[str | None, dict[int, str]]:
        upload: str | None = None
        noted: dict[int, str] = {}
        try:
            for line in self._journal.read_text("utf-8").splitlines():
                try:
                    note = parse_json(line)
                except ValueError:  # cut short by a kill
                    continue
                if "upload" in note:
                    upload, noted = str(note["upload"]), {}
                else:
                    noted[int(note["part"])] = str(note["etag"])
        except OSError:
            return None, {}
        return upload, noted

    def _note(self, note: dict[str, Any]) -> None:
        line = f"{json.dumps(note)}\n".encode()
        try:
            self._journal.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(handle, line)  # in one piece: several threads write
            finally:
                os.close(handle)
        except OSError:  # a cache that cannot be written costs a look at the service, no more
            return

    @property
    def _count(self) -> int:
        return -(-self._size // self._part)

    def _length(self, number: int) -> int:
        return min(self._part, self._size - (number - 1) * self._part)

    def _read(self, number: int) -> bytes:
        with self._file.open("rb") as file:
            file.seek((number - 1) * self._part)
            data = file.read(self._length(number))
        if len(data) != self._length(number):
            raise TransferError(f"{self._file} has changed while it was sent; push again")
        return data


def _folder() -> Path:
    """Return where it is noted what is under way."""
    return cache_folder() / "uploads"
