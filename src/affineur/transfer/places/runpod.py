"""Network volumes of RunPod, by their S3 service.

https://docs.runpod.io/storage/s3-api: a data center is a region, written in capitals, with an address of its
own; the volume's id is the bucket.
"""

from __future__ import annotations

import os
import re
from typing import Any, ClassVar
from urllib.parse import urlsplit

from affineur.errors import ParameterError, TransferError
from affineur.transfer.places.buckets.connect import configured, connect, parts_of, session
from affineur.transfer.places.buckets.faults import Service
from affineur.transfer.places.buckets.remote import Bucket
from affineur.transfer.places.core.place import Access, Place, Remote

_KEYS = (
    "RunPod gives S3 keys under Settings, 'S3 API Keys', of its console: an access key that begins with "
    "user_ and a secret that begins with rps_, which are not the RunPod API key"
)
_CENTER = re.compile(r"[A-Z]{2,3}-[A-Z]{2}-\d+")  # us-east-1 of somebody's AWS profile is none
_ADDRESS = re.compile(r"s3api-([a-z0-9-]+)\.runpod\.io")
#: Those with an S3 service in November 2026, for messages: others are tried all the same.
_CENTERS = (
    "EU-CZ-1 EU-RO-1 EUR-IS-1 EUR-NO-1 US-CA-2 US-GA-2 US-IL-1 US-KS-2 US-MD-1 US-MO-1 US-MO-2 US-NC-1 "
    "US-NC-2 US-NE-1 US-WA-1"
)


class RunPod(Place):
    """A folder of a network volume."""

    prefixes: ClassVar[tuple[str, ...]] = ("runpod:",)
    form: ClassVar[str] = "runpod:VOLUME/FOLDER"
    summary: ClassVar[str] = "a network volume of RunPod, without a pod"
    options: ClassVar[tuple[str, ...]] = ("endpoint", "region", "profile")

    def open(self, reference: str, access: Access) -> Remote:
        """Find credentials and the data center; the service is not asked yet."""
        volume, folder = parts_of(reference, self.prefixes[0], self.form)
        where = reference.rstrip("/")
        service = Service(where, volume, "network volume", "", "", _KEYS)
        opened = session(where, access.profile)
        endpoint = access.endpoint or configured(opened, where)
        if (
            access.region
            and not access.endpoint
            and _ADDRESS.fullmatch(urlsplit(endpoint or "").hostname or "")
        ):
            endpoint = None  # that of another data center, perhaps: what was typed says more
        center = _center(access.region, endpoint, opened, where)
        endpoint = endpoint or f"https://s3api-{center.lower()}.runpod.io/"
        return Bucket(service, folder, connect(opened, service, Access(endpoint, center, access.profile)))


def _center(given: str | None, endpoint: str | None, opened: Any, where: str) -> str:
    """Find the data center: what was typed, the address, the configured region, the pod we are in."""
    if given is not None:
        center = given.upper()
        if not _CENTER.fullmatch(center) and endpoint is None:
            raise ParameterError(
                f"region='{given}' is no data center of RunPod, expected one such as {_CENTERS}", "region"
            )
        return center
    named = _ADDRESS.fullmatch((urlsplit(endpoint or "").hostname or "").lower())
    if named:
        return named[1].upper()
    # RUNPOD_DC_ID is set in every pod
    for found in (opened.region_name, os.environ.get("RUNPOD_DC_ID")):
        if found and _CENTER.fullmatch(found.upper()):
            return str(found).upper()
    if endpoint is not None:
        return str(opened.region_name or "EU-RO-1").upper()
    raise TransferError(
        f"{where}: the data center of the volume is not known, looked at region, AWS_REGION, "
        f"AWS_DEFAULT_REGION, the region of profile '{opened.profile_name}' and RUNPOD_DC_ID; "
        f"give region, one of {_CENTERS}"
    )


PLACE = RunPod()
