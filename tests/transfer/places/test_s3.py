"""Each promise against moto's S3, and against what RunPod and Hugging Face make of it."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from affineur.errors import AffineurError, MissingExtraError, ParameterError, TransferError
from affineur.progress import listening
from affineur.transfer.places.buckets import connect, digests
from affineur.transfer.places.buckets.digests import part_size
from affineur.transfer.places.buckets.remote import Bucket
from affineur.transfer.places.core.place import PART as USUAL
from affineur.transfer.places.core.place import PLACES, Access, Conflict, Passing, Small, opened
from affineur.transfer.places.core.retry import patiently

from .conftest import BUCKET
from .s3_server import KEY, SECRET, Answer, HuggingFace, Proxy, Rules, RunPod, certified, proxied, refusal

PART = 64 << 10
KINDS = ("s3", "runpod", "hugging-face")

pytestmark = pytest.mark.usefixtures("s3_credentials", "impatient")


class File(NamedTuple):
    path: Path
    data: bytes
    sha256: str


class There(NamedTuple):
    """A folder of a service, and the proxy before it."""

    remote: Bucket
    proxy: Proxy
    reference: str
    access: Access

    def again(self) -> Bucket:
        return bucket(self.reference, self.access)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bucket, "part", PART)


@pytest.fixture(params=KINDS)
def there(request: pytest.FixtureRequest, s3_upstream: str) -> Iterator[There]:
    rules: dict[str, Rules] = {"s3": Rules(), "runpod": RunPod(1 << 20), "hugging-face": HuggingFace()}
    with proxied(s3_upstream, rules[request.param]) as proxy:
        yield from at(proxy, "runpod:" if request.param == "runpod" else "s3://")


@pytest.fixture
def plain(s3_upstream: str) -> Iterator[There]:
    """S3 as it is, where services do not differ."""
    with proxied(s3_upstream) as proxy:
        yield from at(proxy, "s3://")


def at(proxy: Proxy, prefix: str) -> Iterator[There]:
    reference = f"{prefix}{BUCKET}/{uuid.uuid4().hex[:12]}/student"
    access = Access(endpoint=proxy.url, region="EU-RO-1" if prefix == "runpod:" else None)
    with bucket(reference, access) as remote:
        yield There(remote, proxy, reference, access)


def bucket(reference: str, access: Access) -> Bucket:
    remote = opened(reference, access)
    assert isinstance(remote, Bucket)
    return remote


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., File]:
    def make(size: int = 10 * PART + 17, seed: int = 1, name: str = "model.safetensors") -> File:
        data = random.Random(seed).randbytes(size)
        path = tmp_path / name
        path.write_bytes(data)
        return File(path, data, hashlib.sha256(data).hexdigest())

    return make


def send(remote: Bucket, name: str, file: File) -> list[int]:
    """Send as a push does, and return what was told."""
    told: list[int] = []
    most = 0

    def once() -> None:
        nonlocal most
        most = max(most, sum(told))
        told.clear()
        remote.send(name, file.path, file.sha256, told.append)

    patiently(once, name, lambda: max(most, sum(told)))
    assert sum(told) == len(file.data)
    return told


def nothing(moved: int) -> None:
    pass


def read(remote: Bucket, name: str, size: int) -> bytes:
    """Read as a pull does: on from where it broke."""
    data = bytearray()

    def more() -> None:
        for chunk in remote.read(name, len(data), size):
            assert len(chunk) <= 1 << 20
            data.extend(chunk)

    patiently(more, name, lambda: len(data))
    return bytes(data)


def test_both_are_found_by_how_a_reference_begins() -> None:
    assert {PLACES.get(name).prefixes[0] for name in ("s3", "runpod")} == {"s3://", "runpod:"}


def test_what_is_sent_comes_back(there: There, file: Callable[..., File]) -> None:
    sizes = (0, 1, PART, PART + 1, 5 * PART, 3 * PART + 5)
    for size in sizes:
        given = file(size)
        name = f"{size}.bin"
        assert there.remote.stat(name) is None
        send(there.remote, name, given)
        stat = there.remote.stat(name)
        assert stat is not None
        assert stat.size == size
        assert read(there.remote, name, size) == given.data
        assert b"".join(there.remote.read(name, 0, None)) == given.data
    assert sorted(there.remote.names()) == sorted(f"{size}.bin" for size in sizes)
    assert there.proxy.received == sum(sizes)
    assert "DeleteObjects" not in there.proxy.asked


def test_any_part_of_a_file_is_read(there: There, file: Callable[..., File]) -> None:
    given = file()
    size = len(given.data)
    send(there.remote, "versions/1/é #1.bin", given)
    for start, stop in (
        (0, 1),
        (5, 5),
        (7, PART),
        (PART, size),
        (size - 1, None),
        (size, None),
        (9, size + 9),
    ):
        part = b"".join(there.remote.read("versions/1/é #1.bin", start, stop))
        assert part == given.data[start:stop]
    assert list(there.remote.names()) == ["versions/1/é #1.bin"]


def test_a_service_without_ranges_is_read_all_the_same(plain: There, file: Callable[..., File]) -> None:
    given = file(3000)
    plain.proxy.answers["GetObject"] = Answer(200, given.data)
    assert b"".join(plain.remote.read("x", 1000, 1500)) == given.data[1000:1500]


def test_only_what_changed_is_sent(there: There, file: Callable[..., File]) -> None:
    given = file()
    send(there.remote, "m", given)
    there.proxy.received = 0
    with there.again() as later:
        kept = later.holds("m", len(given.data), given.sha256)
        assert kept == (not isinstance(there.proxy.rules, HuggingFace))  # which keeps no metadata
        assert not later.holds("m", len(given.data) + 1, given.sha256)
        assert not later.holds("m", len(given.data), "0" * 64)
        assert not later.holds("n", len(given.data), given.sha256)
        assert send(later, "m", given) == [len(given.data)]
        assert there.proxy.received == 0
        other = file(seed=2)
        send(later, "m", other)
        assert there.proxy.received == len(other.data)
        assert read(later, "m", len(other.data)) == other.data


def test_nobody_sees_a_file_before_it_is_whole(there: There, file: Callable[..., File]) -> None:
    given = file()
    seen: list[object] = []

    def look(moved: int) -> None:
        seen.extend([there.remote.stat("m"), *there.remote.names()])

    there.remote.send("m", given.path, given.sha256, look)
    assert set(seen) == {None}
    assert there.remote.stat("m") is not None


def test_progress_is_told_part_by_part(there: There, file: Callable[..., File]) -> None:
    told = send(there.remote, "m", file())
    assert len(told) >= 11
    assert max(told) == PART


@pytest.mark.parametrize("conditions", ["of the service", "refused", "ignored"])
def test_a_small_file_is_replaced_if_it_is_what_was_seen(s3_upstream: str, conditions: str) -> None:
    rules = Rules() if conditions == "of the service" else RunPod(conditions=conditions)
    with proxied(s3_upstream, rules) as proxy:
        for there in at(proxy, "s3://"):
            remote, name = there.remote, "affineur.files.json"
            assert remote.get(name) is None
            remote.put(name, b"1", None)
            first = remote.get(name)
            assert first is not None
            assert first.data == b"1"
            with pytest.raises(Conflict, match=r"somebody else has written affineur.files.json"):
                remote.put(name, b"2", None)
            remote.put(name, b"2", first)
            with pytest.raises(Conflict):
                remote.put(name, b"3", first)
            remote.put(name, b"2", first)  # as after an answer that was lost
            remote.remove([name])
            with pytest.raises(Conflict):
                remote.put(name, b"3", first)
            assert remote.get(name) is None


def test_two_at_once_do_not_both_replace_a_small_file(plain: There) -> None:
    """The condition is the service's: that both read the same before they write does no harm."""
    plain.remote.put("i", b"0", None)
    seen = plain.remote.get("i")

    def put(data: bytes) -> bytes | None:
        try:
            plain.remote.put("i", data, seen)
        except Conflict:
            return None
        return data

    with ThreadPoolExecutor(8) as pool:
        won = [data for data in pool.map(put, [b"%d" % n for n in range(1, 9)]) if data]
    assert len(won) == 1
    assert plain.remote.get("i") == Small(won[0], hashlib.md5(won[0]).hexdigest())


def test_a_lost_answer_is_no_conflict(there: There) -> None:
    there.proxy.lost = ["PutObject"]
    patiently(lambda: there.remote.put("i", b"1", None), "i")
    seen = there.remote.get("i")
    there.proxy.lost = ["PutObject"]
    patiently(lambda: there.remote.put("i", b"2", seen), "i")
    found = there.remote.get("i")
    assert found is not None
    assert found.data == b"2"


def test_files_are_removed_one_by_one(there: There) -> None:
    for name in "abc":
        there.remote.put(name, b"1", None)
    there.remote.remove(["a", "b", "never there"])
    assert list(there.remote.names()) == ["c"]
    assert there.proxy.count("DeleteObject") == 3


def test_requests_that_fail_are_asked_again(there: There, file: Callable[..., File]) -> None:
    given = file(40 * PART + 1)
    there.proxy.failing = 0.1
    send(there.remote, "m", given)
    parts = there.proxy.count("UploadPart")
    assert there.proxy.received <= len(given.data) + (parts - 41) * PART  # those that failed, and no other
    assert read(there.remote, "m", len(given.data)) == given.data
    assert sorted(patiently(lambda: list(there.remote.names()), "names")) == ["m"]
    patiently(lambda: there.remote.put("i", b"1", None), "i")
    patiently(lambda: there.remote.remove(["m"]), "m")


def test_a_burst_of_bad_gateways_passes(there: There, file: Callable[..., File]) -> None:
    given = file()
    there.proxy.bad_gateways = 8
    with pytest.raises(Passing, match="answered 502"):
        there.remote.send("m", given.path, given.sha256, nothing)
    send(there.remote, "m", given)


def test_a_service_that_stays_away_is_given_up(plain: There, file: Callable[..., File]) -> None:
    plain.proxy.bad_gateways = 10_000
    with pytest.raises(TransferError, match=r"502.*given up after 10 attempts"):
        send(plain.remote, "m", file())


def test_a_read_that_breaks_goes_on(there: There, file: Callable[..., File]) -> None:
    given = file()
    send(there.remote, "m", given)
    there.proxy.cut = 3
    with pytest.raises(Passing, match=r"broke|early"):
        list(there.remote.read("m", 0, None))
    assert read(there.remote, "m", len(given.data)) == given.data


def test_what_arrives_damaged_is_sent_again(there: There, file: Callable[..., File]) -> None:
    given, small = file(), file(100, name="small")
    there.proxy.damaged = 2
    send(there.remote, "m", given)
    assert read(there.remote, "m", len(given.data)) == given.data
    there.proxy.damaged = 1
    with pytest.raises(Passing, match="is not what was sent"):
        there.remote.send("s", small.path, small.sha256, nothing)
    assert there.remote.stat("s") is None
    send(there.remote, "s", small)
    assert read(there.remote, "s", 100) == small.data


@pytest.mark.parametrize("lost", ["CompleteMultipartUpload", "CreateMultipartUpload", "UploadPart"])
def test_a_lost_answer_costs_at_most_one_part(there: There, file: Callable[..., File], lost: str) -> None:
    given = file()
    there.proxy.lost = [lost]
    send(there.remote, "m", given)
    # a part whose answer was lost is found in the list
    assert there.proxy.received == len(given.data)
    assert read(there.remote, "m", len(given.data)) == given.data


def test_a_slow_end_is_waited_for(s3_upstream: str, file: Callable[..., File]) -> None:
    rules = RunPod()
    rules.complete_after = 0.4
    with proxied(s3_upstream, rules) as proxy:
        for there in at(proxy, "runpod:"):
            # as RunPod's is slower than what other requests are given
            there.remote._client.close()
            there.remote._client = there.remote._connect(0.2)
            send(there.remote, "m", file())
            assert proxy.count("CompleteMultipartUpload") == 1


def test_a_slow_line_is_no_broken_one(
    s3_upstream: str, file: Callable[..., File], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent in one call to the system has the time of a connection for all of it: botocore cuts it."""
    monkeypatch.setattr(connect, "CONNECT_TIMEOUT", 0.5)
    part = 16 << 20  # more than the buffers of both ends hold
    monkeypatch.setattr(Bucket, "part", part)
    with proxied(s3_upstream) as proxy:
        for there in at(proxy, "s3://"):
            proxy.slowly = 0.008
            send(there.remote, "m", file(2 * part))
            assert proxy.count("UploadPart") == 2


CHILD = """
import json, resource, sys
from pathlib import Path
from affineur.transfer.places.buckets.remote import Bucket
from affineur.transfer.places.core.place import PART, Access, opened
from affineur.transfer.places.core.retry import patiently

given = json.loads(sys.argv[1])
Bucket.part = given["part"]
memory = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with opened(given["reference"], Access(endpoint=given["endpoint"], region=given["region"])) as remote:
    for name, file, sha256 in given["files"]:
        before, told = memory(), [0]
        patiently(lambda: remote.send(name, Path(file), sha256, told.append), name, lambda: sum(told))
        sent = memory()
        for chunk in remote.read(name, 0, None):
            pass
    print(json.dumps({"told": sum(told), "sending": sent - before, "reading": memory() - before}))
"""


def child(there: There, files: list[tuple[str, File]], part: int = PART) -> subprocess.Popen[str]:
    given: dict[str, Any] = {
        "reference": there.reference,
        "endpoint": there.access.endpoint,
        "region": there.access.region,
        "part": part,
        "files": [(name, str(file.path), file.sha256) for name, file in files],
    }
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps(given)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("there", "kills"),
    [("runpod", 2), *(pytest.param(kind, 20, marks=pytest.mark.slow) for kind in KINDS)],
    indirect=["there"],
)
def test_a_push_that_is_killed_sends_at_most_one_part_a_stream_again(
    there: There, file: Callable[..., File], kills: int
) -> None:
    given = file(16 * (kills + 2) * PART + 3)
    step, threads = len(given.data) // (kills + 2), there.remote.streams
    there.proxy.slowly = 0.02
    for kill in range(1, kills + 1):
        running = child(there, [("m", given)])
        aim = there.proxy.received + step
        while there.proxy.received < aim and running.poll() is None:
            time.sleep(0.005)
        running.send_signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
        running.communicate()
        assert there.remote.stat("m") is None
        assert there.proxy.received >= kill * step
    there.proxy.slowly = 0
    running = child(there, [("m", given)])
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert json.loads(out)["told"] == len(given.data)
    assert there.proxy.received - len(given.data) <= kills * threads * PART
    assert there.proxy.count("CreateMultipartUpload") == 1
    assert read(there.remote, "m", len(given.data)) == given.data


def test_memory_is_that_of_a_few_parts(plain: There, file: Callable[..., File]) -> None:
    part, large = 1 << 20, 40 << 20
    running = child(plain, [("s", file(100, name="small")), ("m", file(large))], part)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    grown = json.loads(out)
    assert grown["told"] == large
    assert grown["reading"] * 1024 < 24 << 20  # measured: some 10 MiB, most of it buffers


def test_another_machine_goes_on_too(
    there: There, file: Callable[..., File], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The note of what is under way is in the cache of the first: the service is asked."""
    given = file()
    stop_after(there, given, 4)
    sent = there.proxy.received
    monkeypatch.setenv("AFFINEUR_CACHE", str(tmp_path / "another"))
    with there.again() as later:
        told = send(later, "m", given)
    assert told[0] >= 4 * PART
    assert there.proxy.received <= sent + len(given.data) - told[0]
    assert there.proxy.count("CreateMultipartUpload") == 1
    assert read(there.remote, "m", len(given.data)) == given.data


def test_a_cache_that_cannot_be_written_is_no_hindrance(
    plain: There, file: Callable[..., File], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AFFINEUR_CACHE", str(tmp_path / "file"))
    given = file()
    stop_after(plain, given, 4)
    assert send(plain.remote, "m", given)[0] >= 0
    assert plain.proxy.count("CreateMultipartUpload") == 1


def test_where_uploads_may_not_be_listed_the_note_is_enough(plain: There, file: Callable[..., File]) -> None:
    given = file()
    for operation in ("ListMultipartUploads", "ListParts"):
        plain.proxy.answers[operation] = refusal(403, "AccessDenied")
    plain.proxy.answers["UploadPart"] = Answer(502)
    with pytest.raises(Passing):
        plain.remote.send("m", given.path, given.sha256, nothing)
    del plain.proxy.answers["UploadPart"]
    stop_after(plain, given, 4)
    with plain.again() as later:
        assert send(later, "m", given)[0] >= 4 * PART
    assert plain.proxy.count("CreateMultipartUpload") == 1
    assert read(plain.remote, "m", len(given.data)) == given.data


def test_the_upload_of_another_file_is_not_gone_on_with(plain: There, file: Callable[..., File]) -> None:
    """Not even where both begin alike, as two trainings of one model do."""
    old = file()
    stop_after(plain, old, 1)
    upload = plain.remote.ask("list_multipart_uploads", Prefix=plain.remote.key("m"))["Uploads"][0]
    parts = plain.remote.ask("list_parts", Key=plain.remote.key("m"), UploadId=upload["UploadId"])["Parts"]
    last = max(part["PartNumber"] for part in parts)
    data = old.data[: last * PART] + b"other" * (len(old.data) // 5)
    old.path.write_bytes(data[: len(old.data)])
    new = File(old.path, data[: len(old.data)], hashlib.sha256(data[: len(old.data)]).hexdigest())
    send(plain.remote, "m", new)
    assert plain.remote.holds("m", len(new.data), new.sha256)
    assert not plain.remote.holds("m", len(old.data), old.sha256)
    assert read(plain.remote, "m", len(new.data)) == new.data


def test_an_upload_that_was_cleared_away_is_begun_anew(there: There, file: Callable[..., File]) -> None:
    given = file()
    stop_after(there, given, 4)
    upload = there.remote.ask("list_multipart_uploads", Prefix=there.remote.key("m"))["Uploads"][0]
    there.remote.ask("abort_multipart_upload", Key=there.remote.key("m"), UploadId=upload["UploadId"])
    send(there.remote, "m", given)
    assert read(there.remote, "m", len(given.data)) == given.data


def stop_after(there: There, file: File, parts: int) -> None:
    """Send a few parts and stop."""

    class Stopped(Exception):
        pass

    told: list[int] = []

    def stop(moved: int) -> None:
        told.append(moved)
        if sum(told) >= parts * PART:
            raise Stopped

    with pytest.raises(Stopped):
        there.remote.send("m", file.path, file.sha256, stop)
    there.remote.workers().close()
    for thread in there.remote.workers()._threads:  # what they send now arrives
        thread.join()
    there.remote._workers = None


def test_many_files_at_once(there: There, tmp_path: Path, file: Callable[..., File]) -> None:
    files = [file(n * PART // 2 + n, n, f"{n}.bin") for n in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda given: send(there.remote, f"x/{given.path.name}", given), files))
        back = list(pool.map(lambda g: read(there.remote, f"x/{g.path.name}", len(g.data)), files))
    assert back == [given.data for given in files]
    assert len(list(there.remote.names())) == 12


def test_a_list_is_read_page_by_page(there: There) -> None:
    for number in range(5):
        there.remote.put(f"a/{number}", b"", None)
    with pytest.MonkeyPatch.context() as patch:
        ask = Bucket.ask

        def two(self: Bucket, operation: str, **given: Any) -> dict[str, Any]:
            return ask(self, operation, **given | ({"MaxKeys": 2} if "list_objects" in operation else {}))

        patch.setattr(Bucket, "ask", two)
        assert sorted(there.remote.names()) == [f"a/{number}" for number in range(5)]


def test_the_same_page_twice_is_an_error_and_no_loop(s3_upstream: str) -> None:
    with proxied(s3_upstream, RunPod(listing=3)) as proxy:
        for there in at(proxy, "runpod:"):
            for number in range(7):
                there.remote.put(str(number), b"", None)
            proxy.asked.clear()
            with pytest.raises(Passing, match="the same page came twice"):
                list(there.remote.names())
            assert proxy.count("ListObjectsV2") == 2


def test_where_listing_is_denied_a_missing_file_is_missing(plain: There) -> None:
    plain.proxy.answers["HeadObject"] = Answer(403)
    plain.proxy.answers["ListObjectsV2"] = refusal(403, "AccessDenied")
    assert plain.remote.stat("m") is None
    with pytest.raises(TransferError, match="access was denied to ListObjectsV2"):
        list(plain.remote.names())


def test_where_it_may_list_a_denied_file_is_an_error(plain: There) -> None:
    plain.proxy.answers["HeadObject"] = Answer(403)
    with pytest.raises(TransferError, match=r"access was denied to HeadObject .* use others \(profile\)"):
        plain.remote.stat("m")


def test_a_redirect_gets_no_credentials(s3_upstream: str, file: Callable[..., File]) -> None:
    rules = HuggingFace()
    with proxied(s3_upstream, rules) as proxy:
        for there in at(proxy, "s3://"):
            given = file()
            send(there.remote, "m", given)
            assert read(there.remote, "m", len(given.data)) == given.data
            assert rules.secrets_at_edge == []
            proxy.answers["GetObject"] = Answer(
                302, headers={"location": "ftp://somewhere/?Signature=s3cret"}
            )
            with pytest.raises(TransferError, match="not secure") as caught:
                list(there.remote.read("m", 0, None))
            assert "s3cret" not in str(caught.value)


ANSWERS = {
    "NoSuchBucket": (404, "there is no bucket 'models' at http://.*check its name"),
    "PermanentRedirect": (301, "is in another region, and was asked for in us-east-1.*set AWS_REGION"),
    "AccessDenied": (403, "access was denied to PutObject"),
    "InvalidAccessKeyId": (403, "credentials were refused .*check AWS_ACCESS_KEY_ID"),
    "SignatureDoesNotMatch": (403, "credentials were refused"),
    "ExpiredToken": (400, r"credentials were refused .*\(ExpiredToken\)"),
    "RequestTimeTooSkewed": (403, "the clock of this machine is wrong"),
    "QuotaExceeded": (507, "no space left"),
    "MethodNotAllowed": (405, "answered 405 MethodNotAllowed to PutObject .*address of an S3 service"),
    "EntityTooLarge": (400, "answered 400 EntityTooLarge"),
}


@pytest.mark.parametrize("code", ANSWERS)
def test_a_refusal_is_one_line_that_says_what_to_do(
    plain: There, file: Callable[..., File], code: str
) -> None:
    status, expected = ANSWERS[code]
    given = file(100)
    plain.proxy.answers["PutObject"] = refusal(status, code)
    with pytest.raises(TransferError, match=expected) as caught:
        plain.remote.send("m", given.path, given.sha256, nothing)
    assert_line(caught.value, plain.remote.where)


def test_the_right_region_is_named(plain: There) -> None:
    plain.proxy.answers["GetObject"] = refusal(
        400, "AuthorizationHeaderMalformed", "<Region>eu-west-3</Region>"
    )
    with pytest.raises(TransferError, match="is in region eu-west-3, and was asked for in us-east-1"):
        list(plain.remote.read("m", 0, None))


def test_a_bucket_that_is_not_there(s3_upstream: str, file: Callable[..., File]) -> None:
    given = file(100)
    with bucket("s3://nothing-here/x", Access(endpoint=s3_upstream)) as remote:
        assert remote.stat("m") is None
        for call in (
            lambda: list(remote.names()),
            lambda: remote.put("i", b"1", None),
            lambda: remote.send("m", given.path, given.sha256, nothing),
        ):
            with pytest.raises(TransferError, match="there is no bucket 'nothing-here'"):
                call()


def test_a_file_that_is_not_there(there: There) -> None:
    with pytest.raises(TransferError, match="m is not there"):
        list(there.remote.read("m", 0, None))


@pytest.mark.parametrize(
    ("endpoint", "missing"), [("http://127.0.0.1:9", "service at"), ("http://s3.invalid", "host of")]
)
def test_an_address_of_nothing_is_told_at_once(endpoint: str, missing: str) -> None:
    with bucket("s3://models/x", Access(endpoint=endpoint)) as remote:
        with pytest.raises(TransferError, match=f"no {missing} {endpoint}; check endpoint") as caught:
            remote.stat("m")
        assert not isinstance(caught.value, Passing)


@pytest.mark.parametrize(
    "reference", ["s3://", "s3:///x", "s3://me:pw@bucket/x", "s3://b/../x", "s3://b/a//x", "s3://b/a\\x"]
)
def test_a_reference_must_be_complete(reference: str) -> None:
    with pytest.raises(TransferError, match="expected s3://BUCKET/FOLDER"):
        opened(reference)


def test_an_endpoint_must_be_an_address() -> None:
    with pytest.raises(ParameterError, match="endpoint='minio:9000' is no address") as caught:
        opened("s3://models/x", Access(endpoint="minio:9000"))
    assert caught.value.parameter == "endpoint"


def test_without_credentials_it_says_where_it_looked(
    monkeypatch: pytest.MonkeyPatch, s3_credentials: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(TransferError) as caught:
        opened("s3://models/x")
    line = assert_line(caught.value, "s3://models/x")
    for each in ("AWS_ACCESS_KEY_ID", f"{s3_credentials}/credentials", "'default'", "type: aws configure"):
        assert each in line


def test_half_of_the_credentials_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(TransferError, match=r"credentials are not usable .*AWS_SECRET_ACCESS_KEY") as caught:
        opened("s3://models/x")
    assert_line(caught.value, "s3://models/x")


def test_a_profile_gives_everything(
    monkeypatch: pytest.MonkeyPatch, s3_credentials: Path, s3_upstream: str
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(
        ParameterError, match=r"no profile 'work' in .*aws configure --profile work"
    ) as caught:
        opened("s3://models/x", Access(profile="work"))
    assert caught.value.parameter == "profile"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_PROFILE", "gone")
        for reference in ("s3://models/x", "runpod:models/x"):
            with pytest.raises(ParameterError, match="there is no profile 'gone' in"):
                opened(reference)
    (s3_credentials / "credentials").write_text(
        f"[work]\naws_access_key_id={KEY}\naws_secret_access_key={SECRET}\n"
    )
    (s3_credentials / "config").write_text(
        f"[profile work]\nregion=eu-west-3\nendpoint_url={s3_upstream}\ns3 =\n  addressing_style = virtual\n"
    )
    for access in (Access(profile="work"), Access()):
        with bucket("s3://models/x", access) as remote:
            assert (remote.service.endpoint, remote.service.region) == (s3_upstream, "eu-west-3")
            assert remote._client.meta.config.s3["addressing_style"] == "virtual"
        monkeypatch.setenv("AWS_PROFILE", "work")


def test_buckets_are_named_in_the_path_except_at_amazon(
    monkeypatch: pytest.MonkeyPatch, s3_upstream: str
) -> None:
    with bucket("s3://models/x", Access(region="eu-west-3")) as remote:
        assert remote.service.endpoint == "https://s3.eu-west-3.amazonaws.com"
        assert (remote._client.meta.config.s3 or {}).get("addressing_style") != "path"
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "https://minio.example")
        with bucket("s3://models/x", Access()) as remote:
            assert remote.service.endpoint == "https://minio.example"
            assert remote._client.meta.config.s3["addressing_style"] == "path"
        monkeypatch.delenv(name)


def test_an_address_that_is_none_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "minio:9000")
    for reference in ("s3://models/x", "runpod:models/x"):
        with pytest.raises(TransferError, match=r"cannot be reached as it is configured .*AWS_ENDPOINT_URL"):
            opened(reference)


def test_an_endpoint_is_shown_without_its_password(plain: There) -> None:
    endpoint = plain.proxy.url.replace("http://", "http://me:pass-word@")
    with bucket("s3://models/x", Access(endpoint=endpoint)) as remote:
        assert remote.service.endpoint == plain.proxy.url


def test_secrets_are_in_no_message(
    there: There,
    file: Callable[..., File],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    said: list[str] = []
    given = file()
    caplog.set_level("INFO")
    with listening(lambda what, *_: said.append(what)):
        there.proxy.failing = 0.2
        send(there.remote, "m", given)
        there.proxy.failing = 0
        there.remote.put("i", b"1", None)
        for operation, answer in (
            ("GetObject", refusal(403, "SignatureDoesNotMatch", f"<AWSAccessKeyId>{KEY}</AWSAccessKeyId>")),
            ("HeadObject", Answer(403)),
            ("ListObjectsV2", refusal(400, f"Odd{SECRET}")),
            ("PutObject", Answer(405, f"<html>{SECRET}</html>".encode())),
        ):
            there.proxy.answers[operation] = answer
        for call in (
            lambda: list(there.remote.read("m", 0, None)),
            lambda: there.remote.stat("m"),
            lambda: list(there.remote.names()),
            lambda: there.remote.ask("put_object", Key="x", Body=b""),
        ):
            with pytest.raises(AffineurError) as caught:
                call()
            said.append(f"{caught.value} {caught.value.__cause__}")
    with pytest.raises(AffineurError) as caught:
        opened(there.reference, Access(region=SECRET * 9, endpoint=there.access.endpoint))
    said += [str(caught.value), caplog.text, *capfd.readouterr(), repr(there.remote.service)]
    said += [path.read_text() for path in Path(os.environ["AFFINEUR_CACHE"]).rglob("*.jsonl")]
    said += [path.name for path in tmp_path.rglob("*")]
    everything = "\n".join(said)
    assert "trying again" in everything
    for secret in (KEY, SECRET):
        assert secret not in everything


def test_a_certificate_must_be_trusted(
    s3_upstream: str, file: Callable[..., File], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, certificate = certified(tmp_path)
    rules = HuggingFace()
    with proxied(s3_upstream, rules, tls) as proxy:
        for there in at(proxy, "s3://"):
            with pytest.raises(TransferError, match=r"no certificate that is trusted here .*AWS_CA_BUNDLE"):
                there.remote.stat("m")
            monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
            given = file()
            with there.again() as trusting:
                send(trusting, "m", given)
                assert read(trusting, "m", len(given.data)) == given.data
                away = Answer(302, headers={"location": proxy.url.replace("https", "http")})
                proxy.answers["GetObject"] = away
                with pytest.raises(TransferError, match="points to an address that is not secure"):
                    list(trusting.read("m", 0, None))


def test_without_boto3_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtraError, match=r"s3://models/x needs .*pip install 'affineur\[transfer\]'"):
        opened("s3://models/x")


def test_one_that_is_removed_while_it_is_read_is_not_there(plain: There) -> None:
    plain.remote.put("i", b"1", None)
    plain.proxy.answers["GetObject"] = refusal(404, "NoSuchKey")
    assert plain.remote.get("i") is None


@pytest.mark.parametrize(
    ("size", "part"),
    [
        (1, 8 << 20),
        (10_000 * (8 << 20), 8 << 20),
        (10_000 * (8 << 20) + 1, 9 << 20),
        (4_000_000_000_000, 382 << 20),
    ],
)
def test_parts_grow_with_the_file(size: int, part: int) -> None:
    assert part_size(size, USUAL, "m") == part
    assert -(-size // part) <= digests.PARTS


def test_a_file_can_be_too_large() -> None:
    with pytest.raises(TransferError, match="m has 5,500,000,000,000 bytes, expected at most"):
        part_size(5_500_000_000_000, USUAL, "m")


def test_a_file_that_shrinks_on_the_way_is_noticed(plain: There, file: Callable[..., File]) -> None:
    given = file()

    def shrink(moved: int) -> None:
        given.path.write_bytes(b"")

    with pytest.raises(TransferError, match="has changed while it was sent"):
        plain.remote.send("m", given.path, given.sha256, shrink)
    assert plain.remote.stat("m") is None


def assert_line(error: AffineurError, where: str) -> str:
    line = str(error)
    assert line.startswith(where)
    assert "\n" not in line
    assert not {"--endpoint", "--region", "--profile "} & {*line.split()} - {"--profile"}
    assert SECRET not in line
    return line
