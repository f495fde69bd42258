"""A real OpenSSH server on loopback that speaks SFTP and nothing else, run as the current user."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from .site import Site, flip

#: Where Debian has it; not on the PATH of a plain user.
SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
#: Why there is no server here, or ``None``.
MISSING = None if SSHD and shutil.which("ssh") else "OpenSSH's client and server are not installed"


@dataclass
class SftpServer:
    """A server that runs.

    Args:
        home: Where paths relative to the home begin.
        port: Where it listens, on 127.0.0.1.
        ssh_config: Configuration of a client that knows it as ``pod``, and has its key.
        known_hosts: The keys of hosts that client knows.
        process: The server.
    """

    home: Path
    port: int
    ssh_config: Path
    known_hosts: Path
    process: subprocess.Popen[bytes]

    def reference(self, path: str | Path) -> str:
        """Write the reference of a folder on it."""
        return f"sftp://pod/{str(path).lstrip('/')}"

    def sessions(self) -> list[int]:
        """List the processes that serve connections, those that listen left out."""
        listed = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
        ).stdout
        parents = dict(map(int, line.split()) for line in listed.splitlines())  # type: ignore[misc]
        return [pid for pid in parents if self.process.pid in _ancestors(pid, parents)]

    def drop(self) -> int:
        """Break every connection, as a network does; return how many processes served them."""
        found = self.sessions()
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)


def _ancestors(pid: int, parents: dict[int, int]) -> set[int]:
    found: set[int] = set()
    while (pid := parents.get(pid, 0)) and pid not in found:
        found.add(pid)
    return found


def make_key(path: Path) -> Path:
    """Write a key without a passphrase; its public half goes beside it."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    return path


@contextmanager
def sftp_server(
    folder: Path, *, subsystem: bool = True, read_only: bool = False, command: str | None = None
) -> Iterator[SftpServer]:
    """Start one, and stop it at the end with all that it serves.

    Args:
        folder: Empty folder for its keys, its configuration, its log and its home.
        subsystem: Whether it has SFTP; else it has nothing, as proxied SSH.
        read_only: Whether it refuses to write.
        command: What it runs in place of SFTP.
    """
    assert SSHD
    folder.mkdir(exist_ok=True)
    if os.geteuid() == 0:  # a server of root's keeps its unprivileged half there; others have no such half
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    folder.chmod(0o755)
    home = folder / "home"
    home.mkdir()
    host_key, key = make_key(folder / "host_key"), make_key(folder / "id")
    (folder / "authorized_keys").write_text((folder / "id.pub").read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = f"-d {home}{' -R' if read_only else ''}"
    lines = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {host_key}",
        "PidFile none",
        f"AuthorizedKeysFile {folder / 'authorized_keys'}",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin yes",
    ]
    if subsystem:
        lines += [
            f"Subsystem sftp internal-sftp {flags}",
            f"ForceCommand {command or f'internal-sftp {flags}'}",
        ]
    config = folder / "sshd_config"
    config.write_text("".join(f"{line}\n" for line in lines))
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {' '.join((folder / 'host_key.pub').read_text().split()[:2])}\n")
    client = folder / "ssh_config"
    client.write_text(
        "Host pod\n  HostName 127.0.0.1\n"
        f"Host pod 127.0.0.1\n  Port {port}\n  IdentityFile {key}\n  IdentitiesOnly yes\n"
        f"  IdentityAgent none\n  UserKnownHostsFile {known}\n  GlobalKnownHostsFile /dev/null\n"
    )
    log = (folder / "sshd.log").open("wb")
    process = subprocess.Popen(
        [SSHD, "-D", "-e", "-f", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    server = SftpServer(home, port, client, known, process)
    try:
        _wait(server, folder / "sshd.log")
        yield server
    finally:
        server.drop()
        process.kill()
        process.wait()
        log.close()


def _wait(server: SftpServer, log: Path) -> None:
    for _ in range(200):
        assert server.process.poll() is None, log.read_text()
        try:
            with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
                connection.recv(4)  # "SSH-"
            return
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise AssertionError(log.read_text())


@contextmanager
def site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Give a folder of an SSH server to the tests of what every place promises."""
    if MISSING:
        pytest.skip(MISSING)
    with sftp_server(folder / "server") as server:
        monkeypatch.setenv("AFFINEUR_SSH_CONFIG", str(server.ssh_config))
        reference = server.reference(server.home / "models" / "ner")
        yield Site(reference, reference, lambda name: flip(server.home / "models" / "ner" / name))
