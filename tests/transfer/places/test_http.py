from __future__ import annotations

import datetime
import filecmp
import ipaddress
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from affineur.errors import ParameterError, TransferError
from affineur.progress import listening
from affineur.transfer.places.core import retry
from affineur.transfer.places.core.place import PART, Access, Passing, Remote, Small, Stat, opened, place_of
from affineur.transfer.places.core.retry import patiently
from affineur.transfer.places.http import PLACE
from affineur.transfer.push import push

from .http_server import Faults, HttpServer, basic, serving
from .test_promises import KILLED, run

DATA = os.urandom(3_000_000)
SECRET = "pa/ss word"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    here = tmp_path / "folder"
    (here / "sub").mkdir(parents=True)
    (here / "model.safetensors").write_bytes(DATA)
    (here / "sub" / "à note.txt").write_text("listed", "utf-8")
    (here / "empty").write_bytes(b"")
    return here


@pytest.fixture
def server(folder: Path) -> Iterator[HttpServer]:
    with serving(folder) as here:
        yield here


@pytest.fixture
def remote(server: HttpServer) -> Iterator[Remote]:
    with opened(server.url) as here:
        yield here


def whole(remote: Remote, name: str = "model.safetensors", start: int = 0, stop: int | None = None) -> bytes:
    return b"".join(remote.read(name, start, stop))


def told(remote: Remote, name: str = "model.safetensors") -> tuple[int | None, bool]:
    stat = remote.stat(name)
    assert stat is not None
    return stat.size, stat.ranges


def test_both_prefixes_are_one_place() -> None:
    assert place_of("https://host/folder") is place_of("http://host/folder") is PLACE
    with pytest.raises(ParameterError, match=r"region says nothing to https://HOST/FOLDER"):
        opened("https://host/folder", Access(region="fr"))


def test_files_are_told_of_and_read(remote: Remote, server: HttpServer) -> None:
    assert told(remote) == (len(DATA), True)
    assert remote.stat("empty") == Stat(0)
    assert remote.stat("nothing") is None
    assert whole(remote) == DATA
    assert whole(remote, "empty") == b""
    assert whole(remote, "sub/à note.txt") == b"listed"
    assert all(len(chunk) <= 1 << 20 for chunk in remote.read("model.safetensors", 0, None))
    assert {each["accept-encoding"] for each in server.headers} == {"identity"}


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 1), (1, 2), (0, len(DATA)), (2_999_999, 3_000_000), (700_000, 2_100_001), (5, None), (5, 5)],
)
@pytest.mark.parametrize(
    "faults",
    [
        Faults(),
        Faults(ranges=False),
        Faults(length=False),
        Faults(ranges=False, length=False),
        Faults(most=300_001),
        Faults(etag=False),
    ],
    ids=["parts", "no parts", "chunks", "chunks and no parts", "less than asked", "no version"],
)
def test_parts(start: int, stop: int | None, faults: Faults, server: HttpServer, remote: Remote) -> None:
    server.faults = faults
    assert told(remote) == (len(DATA) if faults.length or faults.ranges else None, faults.ranges)
    assert whole(remote, start=start, stop=stop) == DATA[start:stop]


def test_past_the_end(remote: Remote) -> None:
    assert whole(remote, start=len(DATA)) == b""
    assert whole(remote, start=len(DATA) - 2, stop=len(DATA) + 9) == DATA[-2:]


@pytest.mark.parametrize("status", [403, 405, 501])
def test_head_is_refused(status: int, server: HttpServer, remote: Remote) -> None:
    server.faults.head = status
    assert told(remote) == (len(DATA), True)
    assert remote.stat("empty") == Stat(0)
    assert [each.partition(" ")[0] for each in server.requests] == ["HEAD", "GET", "GET"]
    assert remote.stat("nothing") is None
    server.faults.ranges = False
    assert told(remote) == (len(DATA), False)


def test_ranges_that_are_not_announced_are_found(server: HttpServer, remote: Remote) -> None:
    server.faults.says_ranges = False
    assert told(remote) == (len(DATA), True)
    assert told(remote) == (len(DATA), True)
    assert [each.partition(" ")[0] for each in server.requests] == ["HEAD", "GET", "HEAD"]


def test_a_small_file(remote: Remote, server: HttpServer) -> None:
    small = remote.get("sub/à note.txt")
    assert isinstance(small, Small)
    assert small.data == b"listed"
    assert small.version.startswith('"')
    assert remote.get("nothing") is None
    assert len(server.requests) == 2


def test_it_is_only_read_from(remote: Remote, folder: Path) -> None:
    assert not remote.lists
    assert not PLACE.writes
    for write in (
        lambda: remote.put("a", b"", None),
        lambda: remote.remove(["a"]),
        lambda: remote.send("a", folder / "empty", "0" * 64, lambda _: None),
    ):
        with pytest.raises(TransferError, match="is only read from"):
            write()
    with pytest.raises(TransferError, match="cannot be listed"):
        next(remote.names())


def test_a_cut_body_says_how_far_it_came(server: HttpServer, remote: Remote) -> None:
    server.faults.cut_after = 1_000_000
    with pytest.raises(Passing, match=r"model\.safetensors was cut off after 1000000 of 3000000 bytes$"):
        whole(remote)
    with pytest.raises(Passing, match=r"was cut off after 1000000 of 1999990 bytes$"):
        whole(remote, start=10, stop=2_000_000)
    server.faults.length = False
    with pytest.raises(Passing, match=r"was cut off after \d+ bytes"):
        whole(remote)
    server.faults.cut_after = 0
    assert whole(remote) == DATA  # what was cut is not kept


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass(status: int, server: HttpServer, remote: Remote) -> None:
    server.faults.burst, server.faults.status, server.faults.retry_after = 3, status, "7"
    for ask in (lambda: remote.stat("empty"), lambda: whole(remote), lambda: remote.get("empty")):
        with pytest.raises(Passing, match=f"was answered with {status} [A-Z]") as caught:
            ask()
        assert caught.value.after == 7.0
    assert remote.stat("empty") == Stat(0)


@pytest.mark.parametrize("status", [400, 403, 404, 409, 451, 501])
def test_what_will_not_pass(status: int, server: HttpServer, remote: Remote) -> None:
    server.faults.burst, server.faults.status = 1, status
    with pytest.raises(TransferError, match=f"was answered with {status} .*; check the address$") as caught:
        whole(remote)
    assert not isinstance(caught.value, Passing)


def test_a_server_that_asks_for_patience(
    server: HttpServer, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(retry.time, "sleep", waits.append)
    server.faults.burst, server.faults.retry_after = 2, "3600"
    assert patiently(lambda: remote.stat("empty"), "empty") == Stat(0)
    assert waits == [60.0, 60.0]
    server.faults.burst, server.faults.retry_after = 1, "Fri, 31 Dec 1999 23:59:59 GMT"
    assert patiently(lambda: remote.stat("empty"), "empty") == Stat(0)
    assert waits[2] < 1


def test_many_threads_and_many_failures(
    server: HttpServer, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = time.sleep
    monkeypatch.setattr(retry.time, "sleep", lambda seconds: pause(seconds / 1000))
    server.faults.failing = 0.3
    part = 50_000

    def fetch(start: int) -> bytes:
        got = bytearray()

        def go_on() -> None:
            for chunk in remote.read("model.safetensors", start + len(got), min(len(DATA), start + part)):
                got.extend(chunk)

        patiently(go_on, "model.safetensors", lambda: len(got))
        return bytes(got)

    with ThreadPoolExecutor(8) as threads:
        assert b"".join(threads.map(fetch, range(0, len(DATA), part))) == DATA
    assert server.failed > 5


def test_a_connection_is_kept(server: HttpServer, remote: Remote) -> None:
    for _ in range(5):
        remote.stat("model.safetensors")
        whole(remote, start=1, stop=9)
        remote.get("nothing")
    assert server.connections == 1


def test_a_connection_that_was_closed_meanwhile(folder: Path) -> None:
    with serving(folder) as server, opened(server.url) as remote:
        remote.stat("empty")
        server.hang_up()
        assert remote.stat("empty") == Stat(0)
        assert server.connections == 2


def test_a_file_that_changes_while_it_is_read(folder: Path, server: HttpServer, remote: Remote) -> None:
    before = remote.stat("model.safetensors")
    assert whole(remote, stop=9) == DATA[:9]
    (folder / "model.safetensors").write_bytes(DATA[::-1])
    os.utime(folder / "model.safetensors", (1, 1))
    with pytest.raises(TransferError, match="changed while it was being read"):
        whole(remote, start=9)
    assert server.headers[-1]["if-range"].startswith('"')
    after = remote.stat("model.safetensors")  # asked again, the new one is read
    assert before is not None
    assert after is not None
    assert before.version != after.version
    assert whole(remote) == DATA[::-1]


def test_compressed_bodies_are_refused(server: HttpServer, remote: Remote) -> None:
    server.faults.encoding = "gzip"
    for ask in (lambda: remote.stat("empty"), lambda: whole(remote), lambda: remote.get("empty")):
        with pytest.raises(TransferError, match=r"comes compressed \(gzip\)"):
            ask()


def test_redirects(folder: Path, server: HttpServer) -> None:
    with serving(folder, host="localhost") as other, opened(f"{server.url}?token=abc") as remote:
        server.faults.redirect = other.url
        assert told(remote) == (len(DATA), True)
        assert whole(remote, start=3, stop=99) == DATA[3:99]
        assert other.requests[-1] == "GET /folder/model.safetensors bytes=3-98"
        other.faults.redirect = server.url
        with pytest.raises(TransferError, match="points elsewhere more than 10 times") as caught:
            whole(remote)
        assert "abc" not in str(caught.value)
        for wrong, said in (
            ("ftp://h", "no web server"),
            ("http://[h", "not a URL"),
            ("http://h:x", "not a URL"),
        ):
            server.faults.redirect = wrong
            with pytest.raises(TransferError, match=said):
                whole(remote)


def test_a_password_goes_to_its_host_alone(folder: Path, server: HttpServer) -> None:
    url = server.url.replace("http://", "http://user:pa%2Fss%20word@")
    server.faults.password = f"user:{SECRET}"
    with serving(folder) as other, opened(url) as remote:
        assert remote.where == server.url
        assert whole(remote) == DATA
        server.faults.password = ""
        server.faults.redirect = other.url
        assert whole(remote) == DATA
        assert server.headers[-1]["authorization"] == basic(f"user:{SECRET}")
        assert "authorization" not in other.headers[-1]


def test_passwords_of_the_netrc_file(server: HttpServer, tmp_path: Path) -> None:
    server.faults.password = "user:secret"
    with opened(server.url) as remote, pytest.raises(TransferError, match=r"netrc; write there: machine 127"):
        whole(remote)
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password secret\n", "utf-8")
    with opened(server.url) as remote:
        assert whole(remote) == DATA
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password other\n", "utf-8")
    with opened(server.url) as remote, pytest.raises(TransferError, match="password were refused"):
        whole(remote)
    (tmp_path / "netrc").write_text("\nmachine 127.0.0.1 login user passwd hidden\n", "utf-8")
    told: list[str] = []
    with listening(lambda what, *_: told.append(what)):
        opened(server.url).close()
    assert len(told) == 1
    assert "line 2 cannot be read" in told[0]
    assert "hidden" not in told[0]


def test_no_secret_in_any_message(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    url = server.url.replace("http://", "http://user:hush@") + "?X-Amz-Signature=hush"
    messages = []
    with opened(url) as remote:
        messages.append(remote.where)
        for status in (401, 404, 500):
            server.faults.burst, server.faults.status = 1, status
            with pytest.raises(TransferError) as caught:
                whole(remote)
            messages.append(str(caught.value))
        server.faults.cut_after = 5
        with pytest.raises(TransferError) as caught:
            whole(remote)
        messages.append(str(caught.value))
        server.faults.encoding = "gzip"
        with pytest.raises(TransferError) as caught:
            whole(remote)
        messages.append(str(caught.value))
        assert all(line.split()[1].endswith("safetensors") for line in server.requests)
    with opened("http://user:hush@127.0.0.1:9/?sig=hush") as remote:
        with pytest.raises(TransferError, match="refused") as caught:
            remote.stat("a")
        messages.append(str(caught.value))
    for wrong in (
        "user:hush/x@host/",
        "user:hush@[bad/",
        "user:hush@/",
        "/a",
        "user:hush@ho st/",
        "hush@h:0/",
    ):
        with pytest.raises(TransferError, match="is not a URL") as caught:
            opened(f"http://{wrong}")
        messages.append(str(caught.value))
    monkeypatch.setenv("http_proxy", "socks5://user:hush@host:1")
    with opened(url) as remote, pytest.raises(TransferError, match="http_proxy is set to") as caught:
        remote.stat("a")
    messages.append(str(caught.value))
    assert not [each for each in messages if "hush" in each or "user" in each.split(": ")[0] or "\n" in each]


def test_a_server_that_is_not_there() -> None:
    for url in ("http://127.0.0.1:9/m", "http://no-such-host.invalid/m"):
        with opened(url) as remote, pytest.raises(TransferError, match="could not be fetched") as caught:
            remote.stat("a")
        assert not isinstance(caught.value, Passing)


def test_a_server_that_goes_away(folder: Path) -> None:
    with serving(folder) as server:
        remote = opened(server.url)
        remote.stat("empty")
    with pytest.raises(Passing, match="refused"):
        remote.stat("empty")
    remote.close()


def test_a_silent_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("affineur.transfer.places.http._TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/m"
        with opened(url) as remote, pytest.raises(Passing, match="timed out"):
            remote.stat("a")


def test_something_that_does_not_speak_http(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(999)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{other.getsockname()[1]}/m"
        with opened(url) as remote, pytest.raises(TransferError, match=r"not be fetched .*SSH-2") as caught:
            remote.stat("a")
        thread.join()
        assert not isinstance(caught.value, Passing)


def test_the_proxy_of_the_environment(
    folder: Path, server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server stands in for a proxy: it is asked for a host that is not there."""
    proxy = server.url.replace("http://", "http://user:hush@").removesuffix("/folder")
    monkeypatch.setenv("http_proxy", proxy)
    with opened("http://far.invalid/folder") as remote:
        assert whole(remote, "sub/à note.txt") == b"listed"
    assert server.headers[-1]["host"] == "far.invalid"
    assert server.headers[-1]["proxy-authorization"] == basic("user:hush")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with opened(server.url) as remote:
        assert whole(remote, "sub/à note.txt") == b"listed"
    assert "proxy-authorization" not in server.headers[-1]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that signs itself, and its key."""
    pytest.importorskip("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return file


def test_https(folder: Path, certificate: Path, server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(folder, certificate=certificate) as secure:
        with opened(secure.url) as remote:
            with pytest.raises(TransferError, match=r"certificate of 127\.0\.0\.1 is not trusted") as caught:
                remote.stat("empty")
            assert "\n" not in str(caught.value)
            assert not isinstance(caught.value, Passing)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with opened(secure.url) as remote:
            assert told(remote) == (len(DATA), True)
            assert whole(remote, start=7) == DATA[7:]
            secure.faults.redirect = server.url
            with pytest.raises(TransferError, match="points from HTTPS to HTTP"):
                whole(remote)
        with opened(server.url.replace("http:", "https:")) as remote:
            with pytest.raises(TransferError, match="could not be fetched") as caught:
                remote.stat("empty")
            assert not isinstance(caught.value, Passing)


def test_https_through_a_proxy(folder: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tunnel is asked for, with the proxy's password; the server's own goes through it alone."""
    seen: list[bytes] = []

    def relay(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def tunnel() -> None:
        client, _ = proxy.accept()
        with (
            client,
            socket.create_connection(("127.0.0.1", int(secure.url.split(":")[2].split("/")[0]))) as far,
        ):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            seen.append(head)
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=relay, args=(far, client))
            back.start()
            relay(client, far)
            back.join()

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving(folder, certificate=certificate) as secure, socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("https_proxy", f"http://one:two@127.0.0.1:{proxy.getsockname()[1]}")
        thread = threading.Thread(target=tunnel)
        thread.start()
        with opened(secure.url.replace("https://", "https://user:hush@")) as remote:
            assert whole(remote) == DATA
        thread.join()
    assert seen[0].startswith(b"CONNECT 127.0.0.1:")
    assert basic("one:two").encode() in seen[0]
    assert basic("user:hush").encode() not in seen[0]
    assert secure.headers[0]["authorization"] == basic("user:hush")
    assert "proxy-authorization" not in secure.headers[0]


@pytest.mark.slow
def test_a_pull_under_kills_and_failures(tmp_path: Path) -> None:
    """500 MB, a kill every 23 MB, one request in twenty failing: at most a part is sent again for each."""
    ours, there, target = tmp_path / "ours", tmp_path / "there", tmp_path / "target"
    (ours / "sub").mkdir(parents=True)
    with (ours / "weights.dat").open("wb") as file:
        for _ in range(500):
            file.write(os.urandom(1_000_000))
    (ours / "sub" / "note.txt").write_text("last", "utf-8")
    push(ours, there.as_uri())
    kills = 0
    with serving(there, Faults(failing=0.05)) as server:
        while not target.exists():
            ended = run(KILLED, 23_000_000 if kills < 20 else 1 << 40, "pull", server.url, target)
            assert ended.returncode in (0, -9), ended.stderr
            kills += ended.returncode == -9
        assert kills == 20
        assert server.failed > 0
        assert server.bytes_sent < 500_000_000 + (kills + server.failed) * PART
    for name in ("weights.dat", "sub/note.txt"):
        assert filecmp.cmp(ours / name, target / name, shallow=False)
