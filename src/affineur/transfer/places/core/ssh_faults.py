"""What ``ssh`` and SFTP servers say when something is wrong, told with what to type next."""

from __future__ import annotations

import re

from affineur.errors import TransferError
from affineur.transfer.places.core.place import Passing, Unreachable
from affineur.transfer.places.core.ssh import NO_SUCH_FILE, PERMISSION_DENIED, Refused

RUNPOD = (
    "RunPod's proxied SSH has neither SFTP nor SCP; that needs a pod with a public IP and TCP port 22 "
    "exposed (Connect, SSH over exposed TCP), as in sftp://root@IP:PORT/workspace"
)


def unreachable(where: str, said: str, reached: bool) -> TransferError:
    """Say why there is no connection, and what to type.

    Args:
        where: What was to be reached.
        said: What ``ssh`` wrote before it ended.
        reached: Whether it has been reached before.
    """
    if found := re.search(r"Host key for (\S+) has changed", said):
        file = re.search(r"Offending .*? key in (\S+?):\d+", said)
        return TransferError(
            f"{where}: the host key of {found[1]} has changed since it was written to "
            f"{file[1] if file else 'known_hosts'}; somebody may be in between, or the machine is new: "
            f"ask who runs it, then type: ssh-keygen -R '{found[1]}'{f' -f {file[1]}' if file else ''}, "
            "and ssh to it once"
        )
    if found := re.search(r"No (\S+) host key is known for (\S+)", said):
        host, _, port = found[2].strip("[").partition("]:")
        return TransferError(
            f"{where}: the host key of {found[2]} is not in known_hosts, and an unknown one is never "
            f"accepted; connect once and compare the fingerprint (type: ssh{f' -p {port}' * bool(port)} "
            f"{host}), or type: ssh-keyscan{f' -p {port}' * bool(port)} {host} >> ~/.ssh/known_hosts"
        )
    if "Host key verification failed" in said:
        return TransferError(
            f"{where}: a host key on the way could not be verified ({last_line(said)}); type: ssh HOST once "
            "for each jump host, and compare the fingerprint"
        )
    if found := re.search(r"Permission denied \(([\w,-]*)\)|Too many authentication failures", said):
        return TransferError(
            f"{where}: no key was accepted (looked in the ssh agent, ~/.ssh/config and ~/.ssh/id_*; the "
            f"server takes {found[1] or 'no more attempts'}); type: ssh-add KEY, or ssh-copy-id HOST"
        )
    if "subsystem request failed" in said:
        return TransferError(f"{where}: the server gives no SFTP; have it enabled there ({RUNPOD})")
    if re.search(r"Name or service not known|nodename nor servname|No address associated", said):
        return Unreachable(
            f"{where}: there is no such host ({last_line(said)}); check the name, or give it a HostName in "
            "~/.ssh/config"
        )
    busy = re.search(r"Temporary failure|kex_exchange|banner exchange|Connection (?:closed|reset)", said)
    if reached or busy:
        return Passing(f"{where}: no connection ({last_line(said)})")
    return Unreachable(
        f"{where}: no connection ({last_line(said)}); check the address and the port, and type: ssh HOST"
    )


def refusal(what: str, error: Refused) -> TransferError:
    """Say what a server refused, and what to look at."""
    if error.code == PERMISSION_DENIED:
        return TransferError(
            f"{what}: permission denied; check who owns it and its folder (type there: ls -ld FOLDER)"
        )
    if error.code == NO_SUCH_FILE:
        return TransferError(f"{what}: not there, or a part of its path is no folder")
    return TransferError(f"{what}: the server refused ({error})")


def last_line(said: str) -> str:
    """Return the last line of what ``ssh`` wrote."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "it was closed without a word"
