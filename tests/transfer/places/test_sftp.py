"""Folders reached by SSH, against a real OpenSSH server."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from affineur.errors import TransferError
from affineur.transfer.places.core.place import Conflict, Passing, Remote, Small, opened
from affineur.transfer.places.core.retry import patiently

from .sftp_server import MISSING, SftpServer, make_key, sftp_server

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

MIB = 1 << 20
Changed = Callable[[str, str], None]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    with sftp_server(tmp_path_factory.mktemp("sftp") / "server") as running:
        yield running


@pytest.fixture
def there(server: SftpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the server that no other test uses."""
    monkeypatch.setenv("AFFINEUR_SSH_CONFIG", str(server.ssh_config))
    return tmp_path / "there"


@pytest.fixture
def remote(server: SftpServer, there: Path) -> Iterator[Remote]:
    with opened(server.reference(there)) as folder:
        yield folder


@pytest.fixture
def changed(server: SftpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Changed:
    """Changes the client's configuration."""

    def change(old: str, new: str) -> None:
        text = server.ssh_config.read_text()
        assert old in text
        (tmp_path / "config").write_text(text.replace(old, new))
        monkeypatch.setenv("AFFINEUR_SSH_CONFIG", str(tmp_path / "config"))

    return change


def write(path: Path, size: int, seed: bytes = b"a") -> str:
    data = hashlib.shake_256(seed).digest(min(size, MIB)) * (size // MIB + 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data[:size])
    return hashlib.sha256(data[:size]).hexdigest()


def nothing(_: int) -> None:
    pass


def reason(reference: str) -> str:
    """What is said when a folder is asked for a file; one line."""
    with pytest.raises(TransferError) as caught, opened(reference) as folder:
        folder.stat("config.json")
    assert not isinstance(caught.value, Passing)
    said = str(caught.value)
    assert "\n" not in said
    return said


# ---------------------------------------------------------------------- reading


def test_reads_parts_of_a_file(remote: Remote, there: Path) -> None:
    write(there / "model.bin", 9 * MIB + 17)
    whole = (there / "model.bin").read_bytes()

    found = remote.stat("model.bin")

    assert found is not None
    assert found.size == len(whole)
    for start, stop in (
        (0, None),
        (0, 1),
        (5, 3 * MIB + 1),
        (8 * MIB, None),
        (MIB, MIB),
        (9 * MIB, 99 * MIB),
    ):
        chunks = list(remote.read("model.bin", start, stop))
        assert b"".join(chunks) == whole[start:stop]
        assert all(0 < len(chunk) <= MIB for chunk in chunks)


def test_a_reader_that_stops_early_keeps_its_connection(
    server: SftpServer, remote: Remote, there: Path
) -> None:
    write(there / "model.bin", 9 * MIB)
    before = set(server.sessions())
    for _ in range(3):
        part = remote.read("model.bin", 0, None)
        assert next(part)
        part.close()  # type: ignore[attr-defined]
        assert remote.stat("model.bin")
    first = set(server.sessions()) - before
    assert remote.stat("model.bin")
    assert set(server.sessions()) - before == first


def test_what_is_not_there(remote: Remote) -> None:
    assert remote.stat("config.json") is None
    assert remote.get("a/config.json") is None
    assert list(remote.names()) == []
    assert not remote.holds("config.json", 1, "0" * 64)
    remote.remove(["config.json", "a/b"])
    with pytest.raises(TransferError, match=r"there/config\.json: not there"):
        list(remote.read("config.json", 0, None))


def test_odd_names(server: SftpServer, there: Path, tmp_path: Path) -> None:
    folder = there / "été 100% #1 ?x"
    names = [
        "a b.txt",
        "œuvre/é.json",
        "-l",
        "'quote\".bin",
        "*",
        "new\nline",
        "deep/er/and/deeper",
        ".hidden",
    ]
    reference = server.reference(str(folder).replace("%", "%25").replace(" ", "%20"))
    with opened(reference) as remote:
        for name in names:
            digest = write(tmp_path / "file", 10, name.encode())
            remote.send(name, tmp_path / "file", digest, nothing)
            assert (folder / name).read_bytes() == (tmp_path / "file").read_bytes()
            assert b"".join(remote.read(name, 0, None)) == (tmp_path / "file").read_bytes()
        assert sorted(remote.names()) == sorted(names)


def test_links_are_read_and_never_walked(remote: Remote, there: Path) -> None:
    write(there / "blobs/x", 3)
    (there / "config.json").symlink_to("blobs/x")
    (there / "loop").symlink_to(".")
    (there / "gone").symlink_to("nowhere")
    assert sorted(remote.names()) == ["blobs/x", "config.json"]


def test_many_files_are_listed_page_by_page(remote: Remote, there: Path) -> None:
    there.mkdir()
    for number in range(1500):
        (there / f"{number}.json").touch()
    assert len(set(remote.names())) == 1500


def test_a_folder_in_the_home(server: SftpServer, there: Path) -> None:
    with opened("sftp://pod/~/models/é") as remote:
        remote.put("a", b"x", None)
    assert (server.home / "models/é/a").read_bytes() == b"x"
    with opened("sftp://pod/~") as remote:
        assert "models/é/a" in list(remote.names())


# ---------------------------------------------------------------------- writing


def test_a_file_that_was_sent_is_held(remote: Remote, there: Path, tmp_path: Path) -> None:
    for size in (0, 5, 20 * MIB):  # a small one is read again, a large one has a mark
        digest = write(tmp_path / "file", size)
        told: list[int] = []
        remote.send(f"a/b/{size}", tmp_path / "file", digest, told.append)
        assert sum(told) == size
        assert (there / f"a/b/{size}").read_bytes() == (tmp_path / "file").read_bytes()
        assert (there / f"a/b/{size}").stat().st_mode & 0o777 == 0o644
        assert remote.holds(f"a/b/{size}", size, digest)
        assert not remote.holds(f"a/b/{size}", size, "0" * 64)
        assert not remote.holds(f"a/b/{size}", size + 1, digest)
    assert sorted(remote.names()) == ["a/b/0", "a/b/20971520", "a/b/5"]
    remote.remove(["a/b/0", "a/b/5", "a/b/20971520"])
    assert list((there / "a/b").iterdir()) == []


def test_another_file_of_the_same_size_is_not_held(remote: Remote, there: Path, tmp_path: Path) -> None:
    first, second = write(tmp_path / "1", 20 * MIB, b"1"), write(tmp_path / "2", 20 * MIB, b"2")
    remote.send("model", tmp_path / "1", first, nothing)
    remote.send("model", tmp_path / "2", second, nothing)
    assert not remote.holds("model", 20 * MIB, first)
    assert remote.holds("model", 20 * MIB, second)
    write(there / "model", 20 * MIB, b"3")  # somebody else
    os.utime(there / "model", (1, 1))
    assert not remote.holds("model", 20 * MIB, second)


def test_a_part_that_is_not_the_beginning_is_not_gone_on_with(
    remote: Remote, there: Path, tmp_path: Path
) -> None:
    digest = write(tmp_path / "file", 6 * MIB)
    part = there / f".model.{digest[:12]}.01234567.part"
    for wrong in (bytes(2 * MIB), bytes(7 * MIB)):
        there.mkdir(exist_ok=True)
        part.write_bytes(wrong)
        told: list[int] = []
        remote.send("model", tmp_path / "file", digest, told.append)
        assert told[0] == 0
        assert (there / "model").read_bytes() == (tmp_path / "file").read_bytes()
        assert [each.name for each in there.iterdir()] == ["model"]


CHILD = """
    import sys
    from pathlib import Path
    from affineur.transfer.places.core.place import opened

    reference, file, digest = sys.argv[1:]

    def moved(count):
        print(count, flush=True)

    with opened(reference) as remote:
        remote.send("a/model.bin", Path(file), digest, moved)
"""


def test_sending_goes_on_after_a_kill(server: SftpServer, there: Path, tmp_path: Path) -> None:
    size, chunk = 32 * MIB, 8 * MIB
    digest = write(tmp_path / "file", size)
    (tmp_path / "child.py").write_text(textwrap.dedent(CHILD))
    command = [
        sys.executable,
        str(tmp_path / "child.py"),
        server.reference(there),
        str(tmp_path / "file"),
        digest,
    ]
    reached = 0
    for kill_after in (4 * MIB, 12 * MIB, 20 * MIB):
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert child.stdout
        done = int(child.stdout.readline())
        assert done >= reached  # what the last one was told is there, nothing of it is sent again
        while done < kill_after:
            done += int(child.stdout.readline())
        os.kill(child.pid, signal.SIGKILL)
        done += sum(map(int, child.stdout.read().split()))
        child.wait()
        child.stdout.close()
        reached = done
        assert not (there / "a/model.bin").exists() or reached == size

    told: list[int] = []
    with opened(server.reference(there)) as remote:
        remote.send("a/model.bin", tmp_path / "file", digest, told.append)

    assert told[0] >= reached
    assert told[0] > chunk
    assert sum(told) == size
    assert (there / "a/model.bin").read_bytes() == (tmp_path / "file").read_bytes()
    assert [each.name for each in (there / "a").iterdir() if each.suffix == ".part"] == []


def test_sending_goes_on_after_the_connection_was_lost(
    server: SftpServer, remote: Remote, there: Path, tmp_path: Path
) -> None:
    size = 24 * MIB
    digest = write(tmp_path / "file", size)
    told: list[int] = []

    def breaking(count: int) -> None:
        told.append(count)
        if sum(told) > 10 * MIB:
            server.drop()

    with pytest.raises(Passing, match="the connection was lost"):
        remote.send("model.bin", tmp_path / "file", digest, breaking)
    again: list[int] = []
    remote.send("model.bin", tmp_path / "file", digest, again.append)

    assert again[0] >= sum(told)
    assert sum(again) == size
    assert (there / "model.bin").read_bytes() == (tmp_path / "file").read_bytes()


def test_reading_goes_on_after_the_connection_was_lost(
    server: SftpServer, remote: Remote, there: Path
) -> None:
    write(there / "model.bin", 64 * MIB)
    part = remote.read("model.bin", 0, None)
    next(part)
    server.drop()
    with pytest.raises(Passing, match="the connection was lost"):
        list(part)
    assert len(b"".join(remote.read("model.bin", 0, MIB))) == MIB


def test_several_threads_send_and_read_at_once(remote: Remote, there: Path, tmp_path: Path) -> None:
    digests = [write(tmp_path / str(number), 3 * MIB, bytes([number])) for number in range(4)]
    failed: list[BaseException] = []

    def both(number: int) -> None:
        try:
            for name in (f"same/folders/{number}", "same/file"):
                source = number if name != "same/file" else 0
                file, digest = tmp_path / str(source), digests[source]
                patiently(partial(remote.send, name, file, digest, nothing), name)
                data = b"".join(remote.read(name, 0, None))
                assert data == (tmp_path / str(source)).read_bytes()
        except BaseException as error:  # told below, in the test's own thread
            failed.append(error)

    threads = [threading.Thread(target=both, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(list(remote.names())) == 5


def test_put_is_conditional(remote: Remote, there: Path) -> None:
    remote.put("index.json", b"one", None)
    first = remote.get("index.json")
    assert first == Small(b"one")
    remote.put("index.json", b"two", first)
    with pytest.raises(Conflict, match="changed by somebody else"):
        remote.put("index.json", b"three", first)
    with pytest.raises(Conflict):
        remote.put("index.json", b"three", None)
    remote.put("index.json", b"two", first)  # said again: its answer may have been lost
    assert [each.name for each in there.iterdir()] == ["index.json"]
    (there / "index.json").unlink()
    with pytest.raises(Conflict):
        remote.put("index.json", b"three", Small(b"two"))
    assert list(there.iterdir()) == []


def test_of_two_who_make_the_same_file_one_is_told(server: SftpServer, there: Path) -> None:
    written: list[bytes] = []
    refused: list[bytes] = []
    barrier = threading.Barrier(4)

    def make(data: bytes) -> None:
        with opened(server.reference(there)) as remote:
            remote.stat("index.json")
            barrier.wait()
            try:
                remote.put("index.json", data, None)
            except Conflict:
                refused.append(data)
            else:
                written.append(data)

    threads = [threading.Thread(target=make, args=(bytes([number]),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 3
    assert written == [(there / "index.json").read_bytes()]


def test_a_reader_sees_the_old_content_or_the_new(server: SftpServer, remote: Remote, there: Path) -> None:
    contents = [bytes([65 + number]) * 200_000 for number in range(20)]
    remote.put("index.json", contents[0], None)
    seen: list[bytes] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            seen.append((there / "index.json").read_bytes())

    reader = threading.Thread(target=look)
    reader.start()
    for old, new in pairwise(contents):
        remote.put("index.json", new, Small(old))
    stop.set()
    reader.join()
    assert set(seen) <= set(contents)
    assert len(set(seen)) > 1


# ---------------------------------------------------------------------- ways there


def test_through_another_machine(server: SftpServer, there: Path, tmp_path: Path, changed: Changed) -> None:
    text = server.ssh_config.read_text()
    changed("Host pod\n", "Host behind\n  ProxyJump pod\n  HostName 127.0.0.1\nHost pod\n")
    (tmp_path / "config").write_text(
        (tmp_path / "config").read_text().replace("Host pod 127", "Host pod behind 127")
    )
    assert "behind" not in text
    before = set(server.sessions())
    with opened(f"sftp://behind{there}") as remote:
        remote.put("index.json", b"x", None)
        assert remote.get("index.json") == Small(b"x")
        assert len(set(server.sessions()) - before) > 2


def test_with_a_key_of_the_agent(
    server: SftpServer, there: Path, tmp_path: Path, changed: Changed, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = tmp_path.parent / "a"  # a path of at most 100 characters
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            assert agent.poll() is None
            time.sleep(0.01)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        key = server.ssh_config.parent / "id"
        subprocess.run(["ssh-add", "-q", str(key)], check=True, capture_output=True)
        changed(f"  IdentityFile {key}\n  IdentitiesOnly yes\n  IdentityAgent none\n", "")
        with opened("sftp://pod/~/") as remote:
            assert remote.stat("nothing") is None
    finally:
        agent.terminate()
        agent.wait()


# ---------------------------------------------------------------------- refusals


def test_a_host_key_that_changed(server: SftpServer, tmp_path: Path, changed: Changed) -> None:
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text().split()
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{server.port} {' '.join(other[:2])}\n")
    changed(str(server.known_hosts), str(known))
    said = reason("sftp://pod/x")
    assert f"the host key of [127.0.0.1]:{server.port} has changed" in said
    assert f"ssh-keygen -R '[127.0.0.1]:{server.port}' -f {known}" in said


@pytest.mark.parametrize("checking", ["yes", "no", "accept-new"])
def test_an_unknown_host_is_never_accepted(
    server: SftpServer, tmp_path: Path, changed: Changed, checking: str
) -> None:
    known = tmp_path / "known"
    changed(str(server.known_hosts), f"{known}\n  StrictHostKeyChecking {checking}")
    said = reason("sftp://pod/x")
    assert f"the host key of [127.0.0.1]:{server.port} is not in known_hosts" in said
    assert f"ssh-keyscan -p {server.port} 127.0.0.1 >> ~/.ssh/known_hosts" in said
    assert not known.exists()


def test_a_wrong_key(server: SftpServer, tmp_path: Path, changed: Changed) -> None:
    make_key(tmp_path / "other")
    changed(str(server.ssh_config.parent / "id"), str(tmp_path / "other"))
    said = reason("sftp://pod/x")
    assert "no key was accepted (looked in the ssh agent, ~/.ssh/config and ~/.ssh/id_*" in said
    assert "the server takes publickey" in said


def test_a_key_with_a_passphrase_is_not_asked_for(
    server: SftpServer, tmp_path: Path, changed: Changed
) -> None:
    key = tmp_path / "locked"
    key.write_bytes((server.ssh_config.parent / "id").read_bytes())
    key.chmod(0o600)
    subprocess.run(
        ["ssh-keygen", "-q", "-p", "-N", "s3cret-phrase", "-f", str(key)], check=True, capture_output=True
    )
    changed(str(server.ssh_config.parent / "id"), str(key))
    assert "ssh-add KEY" in reason("sftp://pod/x")


def test_a_server_without_sftp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sftp_server(tmp_path / "server", subsystem=False) as server:
        monkeypatch.setenv("AFFINEUR_SSH_CONFIG", str(server.ssh_config))
        assert "the server gives no SFTP; have it enabled there (RunPod's proxied SSH" in reason(
            "sftp://pod/x"
        )


def test_a_server_that_talks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sftp_server(tmp_path / "server", command="echo Welcome to the pod") as server:
        monkeypatch.setenv("AFFINEUR_SSH_CONFIG", str(server.ssh_config))
        assert "was answered with 'Welcome to the pod' and not with SFTP" in reason("sftp://pod/x")


def test_a_server_that_is_only_read_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sftp_server(tmp_path / "server", read_only=True) as server:
        monkeypatch.setenv("AFFINEUR_SSH_CONFIG", str(server.ssh_config))
        write(server.home / "file", 5)
        with opened("sftp://pod/~/") as remote:
            assert b"".join(remote.read("file", 0, None)) == (server.home / "file").read_bytes()
            with pytest.raises(
                TransferError, match=r"sftp://pod/~/new/file: permission denied; check who owns"
            ):
                remote.send("new/file", server.home / "file", "0" * 64, nothing)
            with pytest.raises(TransferError, match="permission denied"):
                remote.put("index.json", b"x", None)
            with pytest.raises(TransferError, match="permission denied"):
                remote.remove(["file"])


def test_nobody_answers(there: Path) -> None:
    assert "no connection (" in reason("sftp://127.0.0.1:1/x")
    assert "there is no such host (" in reason("sftp://nowhere.invalid/x")


@pytest.mark.parametrize(
    "reference",
    [
        "sftp://",
        "sftp://pod",
        "sftp://pod/",
        "sftp:///x",
        "sftp://pod:0/x",
        "sftp://pod:99999/x",
        "sftp://-oProxyCommand=x/y",
        "sftp://-l@pod/x",
        "sftp://a b@pod/x",
        "sftp://$(id)@pod/x",
        "sftp://pod;id/x",
        "sftp://@pod/x",
        "sftp://pod/%00",
    ],
)
def test_references_that_are_none(reference: str) -> None:
    with pytest.raises(TransferError, match="is no folder on a machine, expected sftp://USER@HOST"):
        opened(reference)


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("sftp://root@1.2.3.4:2222/a%20b/", ["-p", "2222", "-l", "root", "-s", "--", "1.2.3.4", "sftp"]),
        ("sftp://me%40corp@host/x", ["-l", "me@corp", "-s", "--", "host", "sftp"]),
        ("sftp://[::1]:22/x", ["-p", "22", "-s", "--", "::1", "sftp"]),
        ("sftp://[fe80::1]/x", ["-s", "--", "fe80::1", "sftp"]),
    ],
)
def test_references(reference: str, parts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AFFINEUR_SSH_CONFIG", raising=False)
    assert opened(reference)._command[-len(parts) :] == parts  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "reference", ["sftp://me:s3cret@pod/x", "sftp://me:s3/cret@pod/x", "sftp://:s3cret@pod/x"]
)
def test_a_password_is_refused_and_not_repeated(reference: str) -> None:
    with pytest.raises(TransferError) as caught:
        opened(reference)
    assert "s3" not in str(caught.value)


def test_proxied_runpod() -> None:
    with pytest.raises(TransferError, match="neither SFTP nor SCP; that needs a pod with a public IP"):
        opened("sftp://abc-123@ssh.runpod.io/workspace")


def test_no_ssh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TransferError, match="needs the program ssh, which is not on the PATH"):
        opened("sftp://pod/x")


def test_a_full_disk(server: SftpServer, there: Path, tmp_path: Path) -> None:
    there.mkdir()
    small = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(there)]
    if os.geteuid() != 0 or subprocess.run(small, capture_output=True, check=False).returncode:
        pytest.skip("needs to mount a tiny file system, which only root may")
    try:
        digest = write(tmp_path / "file", 6 * MIB)
        with opened(server.reference(there)) as remote:
            with pytest.raises(TransferError, match=r"there/model: the disk there is full \(.* bytes free"):
                remote.send("model", tmp_path / "file", digest, nothing)
            assert remote.stat("model") is None
            remote.remove(["model"])  # what was sent of it goes, too
            remote.put("index.json", b"x", None)
            assert list(remote.names()) == ["index.json"]
    finally:
        subprocess.run(["umount", "-l", str(there)], check=True)


def test_nothing_is_left_running(server: SftpServer, there: Path) -> None:
    before = set(server.sessions())
    with opened(server.reference(there)) as remote:
        remote.stat("x")
        assert set(server.sessions()) - before
    for _ in range(100):
        if not set(server.sessions()) - before:
            break
        time.sleep(0.05)
    assert not set(server.sessions()) - before
