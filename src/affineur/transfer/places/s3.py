"""Any S3 service: S3 itself, MinIO, Ceph, R2, Hugging Face's Storage Buckets."""

from __future__ import annotations

from typing import ClassVar

from affineur.transfer.places.buckets.connect import connect, parts_of, session
from affineur.transfer.places.buckets.faults import Service
from affineur.transfer.places.buckets.remote import Bucket
from affineur.transfer.places.core.place import Access, Place, Remote


class S3(Place):
    """A folder of a bucket."""

    prefixes: ClassVar[tuple[str, ...]] = ("s3://",)
    form: ClassVar[str] = "s3://BUCKET/FOLDER"
    summary: ClassVar[str] = "a bucket of S3, or of any service that speaks it"
    options: ClassVar[tuple[str, ...]] = ("endpoint", "region", "profile")

    def open(self, reference: str, access: Access) -> Remote:
        """Find credentials and the address; the service is not asked yet."""
        bucket, folder = parts_of(reference, self.prefixes[0], self.form)
        where = reference.rstrip("/")
        service = Service(where, bucket, "bucket", "", "", "Keys come from the console of the service")
        opened = session(where, access.profile)
        return Bucket(service, folder, connect(opened, service, access))


PLACE = S3()
