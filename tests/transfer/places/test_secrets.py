"""No secret is shown, written or handed on: not in what is printed, not in a file, not in a command line."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from affineur.artifact import Manifest, write_manifest
from affineur.transfer.places.core.place import shown

from ..conftest import ROOT, build_model
from .http_server import Faults, serving
from .hub_server import READER, WRITER, hub_server
from .s3_server import KEY, SECRET, Rules, RunPod, moto_s3, only_these_credentials, proxied, refusal
from .sftp_server import MISSING, make_key, sftp_server

PASSWORD, SIGNATURE, TOKEN = "pass/word+of=nobody", "signature0of0nobody", "session+token/of=nobody"
PHRASE = "a phrase that nobody knows"

# Runs commands in one process, since libraries take seconds to import; each has an environment of its own.
# Takes down the command line of every process that is started, however short it lives.
WORKER = """
import json, os, sys
asking, started = os.fdopen(int(sys.argv[1]), "w"), open(sys.argv[2], "a")
asked, sys.stdin = sys.stdin, open(os.devnull)

def heard(event, given):
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"):
        print(given[:2], file=started, flush=True)

sys.addaudithook(heard)
from affineur.cli.main import main
from affineur.transfer.places.core import retry

retry._FIRST = 0.001
for line in asked:
    given = json.loads(line)
    os.environ.clear()
    os.environ.update(given["environment"])
    try:
        status = main(given["words"])
    except SystemExit as error:
        status = error.code
    sys.stdout.flush(), sys.stderr.flush()
    print(json.dumps(status), file=asking, flush=True)
"""


class Commands:
    """Commands of Affineur, and all that they leave.

    Args:
        folder: Where everything lies that they write.
        environment: What the process finds when it starts.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.said, self.started = folder / "said", folder / "started"
        self._always = {name: value for name, value in environment.items() if name.startswith("HF_")}
        reader, writer = os.pipe()
        with self.said.open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-c", WORKER, str(writer), str(self.started)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                pass_fds=[writer],
                text=True,
            )
        os.close(writer)
        self._answers = os.fdopen(reader)
        self.running: set[str] = set()
        self._end = threading.Event()
        self._watching = threading.Thread(target=self._watch)
        self._watching.start()

    def _watch(self) -> None:
        """Look at the command lines that everybody on the machine sees."""
        while not self._end.wait(0.1):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    self.running.add(file.read_bytes().decode(errors="replace"))

    def run(self, *words: str | Path, **environment: str) -> int:
        """Run one, and return its exit status."""
        assert self._process.stdin
        plain = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
        asked = {"words": [*map(str, words)], "environment": {**plain, **self._always, **environment}}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = self._answers.readline()
        assert answer, self.said.read_text()
        return int(json.loads(answer))

    def close(self) -> None:
        self._end.set()
        self._process.communicate()
        self._watching.join()
        self._answers.close()


@pytest.fixture(scope="module")
def hub_and_commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Commands]]:
    folder = tmp_path_factory.mktemp("commands")
    with hub_server(folder / "hub") as hub, ExitStack() as stack:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")} | {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(folder / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "PYTHONPATH": str(ROOT / "src"),
        }
        commands = Commands(folder, environment)
        stack.callback(commands.close)
        yield hub, commands


@pytest.fixture
def hub(hub_and_commands: tuple[Any, Commands], tmp_path: Path) -> Any:
    hub_and_commands[0].clear(tmp_path / "place" / "hub")
    return hub_and_commands[0]


@pytest.fixture
def commands(
    hub_and_commands: tuple[Any, Commands], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Commands:
    monkeypatch.setenv("AFFINEUR_CACHE", str(tmp_path / "cache"))
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name in ("said", "started"):
        file: Path = getattr(hub_and_commands[1], name)
        if file.exists():
            os.truncate(file, 0)
    hub_and_commands[1].running.clear()
    return hub_and_commands[1]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = build_model(tmp_path / "model")
    write_manifest(folder, Manifest("transformers", "train"))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "test.conll").write_text("Marie\tI-PER\nrit\tO\n\n")
    return folder


def forms(secret: str) -> set[bytes]:
    """A secret as it is, and as it is written in addresses, JSON, and headers."""
    coded = base64.b64encode(secret.encode()).decode().rstrip("=")
    return {form.encode() for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1], coded)}


def no_trace(commands: Commands, folder: Path, secrets: Sequence[str], *more: Callable[[], bytes]) -> None:
    """Look for secrets in all that commands said, wrote and started."""
    found = {str(file): file.read_bytes() for file in (commands.said, commands.started) if file.exists()}
    found["command lines"] = "\n".join(commands.running).encode()
    for path in folder.rglob("*"):
        found[f"the name of {path}"] = os.fsencode(path.name)
        if path.is_file() and not path.relative_to(folder).parts[0].startswith("secret"):
            found[str(path)] = path.read_bytes()
    found |= {f"place {number}": read() for number, read in enumerate(more)}
    assert len(found[str(commands.said)]) > 100
    for where, content in found.items():
        for secret in secrets:
            lines = [line for line in content.splitlines() if any(form in line for form in forms(secret))]
            assert not lines, f"{secret} is in {where}"


def go_through(
    commands: Commands, tmp_path: Path, place: str, model: Path, data: Path, pushed: str | None = None
) -> None:
    """Push, pull, use and list, with everything that can be said said."""
    told = ("-v", "--json", tmp_path / "told.json")
    for name, folder in (("model", model), ("data", data)):
        assert commands.run("push", folder, f"{pushed or place}/{name}", *told) == 0, (
            commands.said.read_text()
        )
    fetch_all(commands, tmp_path, f"{place}/model", f"{place}/data")


def fetch_all(commands: Commands, tmp_path: Path, model: str, data: str, **environment: str) -> None:
    for number, words in enumerate(
        (
            ("pull", model, "-o", tmp_path / "pulled"),
            ("pull", data, "-o", tmp_path / "pulled_data"),
            ("evaluate", "sample", "--data", data),
            ("cache",),
        )
    ):
        told = ("-v", "--json", tmp_path / f"told_{number}.json")
        assert commands.run(*words, *told, **environment) == 0, commands.said.read_text()
        assert (tmp_path / f"told_{number}.json").stat().st_size
    # it is no model that runs; what is said of that names its reference
    assert commands.run("evaluate", model, "--data", data, "-v", "--json", tmp_path / "not.json") == 1


def fails(commands: Commands, tmp_path: Path, reference: str, *words: str, **environment: str) -> None:
    for command in (
        ("pull", reference, "-o", tmp_path / "never"),
        ("evaluate", "sample", "--data", reference),
    ):
        if command[0] == "evaluate" and words:
            continue
        assert commands.run(*command, *words, "-v", **environment) == 1, commands.said.read_text()


@contextmanager
def bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rules: Rules, variable: str
) -> Iterator[tuple[Any, Callable[[], bytes]]]:
    import boto3

    (tmp_path / "home").mkdir()
    only_these_credentials(monkeypatch.setenv, monkeypatch.delenv, str(tmp_path / "home"))
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    with moto_s3("secrets") as upstream, proxied(upstream, rules) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        client = boto3.client("s3", endpoint_url=upstream, region_name="us-east-1")

        def content() -> bytes:
            listed = client.list_objects_v2(Bucket="secrets").get("Contents", [])
            found = [client.get_object(Bucket="secrets", Key=each["Key"]) for each in listed]
            assert found
            return b"".join(str(each["Metadata"]).encode() + each["Body"].read() for each in found)

        yield proxy, content
        client.close()


@pytest.mark.parametrize(
    ("place", "rules", "variable"),
    [("s3://secrets", Rules, "AWS_ENDPOINT_URL"), ("runpod:secrets", RunPod, "AWS_ENDPOINT_URL_S3")],
)
def test_a_bucket(
    place: str,
    rules: type[Rules],
    variable: str,
    commands: Commands,
    model: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if rules is RunPod:
        monkeypatch.setenv("AWS_REGION", "EU-RO-1")
    with bucket(tmp_path, monkeypatch, rules(), variable) as (proxy, content):
        if rules is RunPod:
            monkeypatch.setenv("AWS_REGION", "EU-RO-1")
        go_through(commands, tmp_path, place, model, data)
        fails(commands, tmp_path, f"{place.replace('secrets', 'absent')}/model")
        said = f"<Message>{KEY} {SECRET} {TOKEN}</Message>"  # some services repeat what they were sent
        for status, code in ((403, "SignatureDoesNotMatch"), (400, "AuthorizationHeaderMalformed")):
            proxy.answers["GetObject"] = proxy.answers["HeadObject"] = refusal(status, code, said)
            fails(commands, tmp_path, f"{place}/other")
        proxy.answers.clear()
        proxy.cut = 99
        assert commands.run("pull", f"{place}/data", "-o", tmp_path / "cut", "-v") == 1
        proxy.cut = 0
        fails(
            commands,
            tmp_path,
            f"{place}/other",
            **{variable: f"http://user:{quote(PASSWORD, safe='')}@127.0.0.1:1"},
        )
        fails(commands, tmp_path, f"{place.partition('secrets')[0]}{KEY}:{SECRET}@secrets/model")
        no_trace(commands, tmp_path, (KEY, SECRET, TOKEN, PASSWORD), content)


@pytest.mark.skipif(bool(MISSING), reason=str(MISSING))
def test_a_machine(
    commands: Commands, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").mkdir()
    with sftp_server(tmp_path / "secret" / "server") as server:
        monkeypatch.setenv("AFFINEUR_SSH_CONFIG", str(server.ssh_config))
        place = server.reference(server.home / "models")
        key = make_key(tmp_path / "secret" / "locked")
        subprocess.run(
            ["ssh-keygen", "-q", "-p", "-P", "", "-N", PHRASE, "-f", str(key)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        commands.running.clear()  # its maker was told the passphrase so
        go_through(commands, tmp_path, place, model, data)
        fails(commands, tmp_path, f"{place}/absent")
        fails(commands, tmp_path, place.replace("sftp://", f"sftp://user:{quote(PASSWORD, safe='')}@"))
        fails(commands, tmp_path, place.replace("sftp://", f"sftp://user:{PASSWORD}@"))
        locked = tmp_path / "secret" / "locked_config"
        locked.write_text(server.ssh_config.read_text().replace(str(tmp_path / "secret/server/id"), str(key)))
        fails(commands, tmp_path, f"{place}/model2", AFFINEUR_SSH_CONFIG=str(locked))
        lines = [
            line
            for name in (key, tmp_path / "secret/server/id")
            for line in name.read_text().splitlines()[1:-1]
        ]
        written = [path for path in server.home.rglob("*") if path.is_file()]
        assert written
        no_trace(
            commands,
            tmp_path,
            (PASSWORD, PHRASE, *lines[2:5]),
            lambda: b"".join(path.read_bytes() for path in written),
        )


@pytest.mark.parametrize("by", ["address", "signature", "netrc"])
def test_a_web_server(
    by: str, commands: Commands, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = "" if by == "signature" else f"somebody:{PASSWORD}"
    served = tmp_path / "place"
    for name, folder in (("model", model), ("data", data)):
        assert commands.run("push", folder, (served / name).as_uri()) == 0
    (tmp_path / "secret").mkdir()
    netrc = tmp_path / "secret" / "netrc"
    with serving(served, Faults(password=password)) as server:
        place, query = server.url, f"?X-Amz-Signature={SIGNATURE}&token={quote(TOKEN, safe='')}"
        if by == "address":
            place = place.replace("://", f"://somebody:{quote(PASSWORD, safe='')}@")
        if by == "netrc":
            netrc.write_text(f"machine 127.0.0.1 login somebody password {PASSWORD}\n")
            netrc.chmod(0o600)
            monkeypatch.setenv("NETRC", str(netrc))
        fetch_all(commands, tmp_path, f"{place}/model{query}", f"{place}/data{query}")
        fails(commands, tmp_path, f"{place}/absent{query}")
        fails(commands, tmp_path, f"{place.replace('somebody', 'nobody')}/absent{query}", NETRC="")
        server.faults.redirect = f"http://user:{quote(PASSWORD, safe='')}@127.0.0.1:1/there{query}&of="
        fails(commands, tmp_path, f"{place}/absent{query}")
        server.faults.redirect = ""
        server.faults.burst, server.faults.status = 10_000, 503
        fails(commands, tmp_path, f"{place}/absent{query}")
    fails(commands, tmp_path, f"{place}/absent{query}")
    fails(commands, tmp_path, f"http://somebody:{PASSWORD}@127.0.0.1/model{query}")
    fails(commands, tmp_path, f"ftp://somebody:{PASSWORD}@127.0.0.1/model{query}")
    no_trace(commands, tmp_path, (PASSWORD, SIGNATURE, TOKEN))


def test_the_hub(
    hub: Any, commands: Commands, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITER)
    told = ("-v", "--json", tmp_path / "told.json")
    assert commands.run("push", model, "hub:me/tiny", "--private", "--tag", "v1", *told) == 0, (
        commands.said.read_text()
    )
    assert commands.run("pull", "hub:me/tiny@v1", "-o", tmp_path / "pulled", *told, HF_TOKEN=READER) == 0
    assert commands.run("evaluate", "hub:me/tiny", "--data", data / "test.conll", *told) == 1
    assert commands.run("cache", *told) == 0
    fails(commands, tmp_path, "hub:me/absent")
    fails(commands, tmp_path, "hub:me/tiny", HF_TOKEN="hf_" + "x" * 34)
    assert commands.run("push", model, "hub:other/tiny", "-v", HF_TOKEN=READER) == 1
    hub.before = lambda _: 503
    fails(commands, tmp_path, "hub:me/tiny")
    hub.before = lambda _: None
    assert hub.leaked == []
    no_trace(commands, tmp_path, (WRITER, READER, "hf_" + "x" * 34))


def test_a_key_that_signs(commands: Commands, model: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    (tmp_path / "secret").mkdir()
    made = ec.generate_private_key(ec.SECP256R1())
    pem, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    locked = made.private_bytes(pem, kind, serialization.BestAvailableEncryption(PHRASE.encode()))
    key, public = tmp_path / "secret" / "key.pem", tmp_path / "public.pem"
    key.write_bytes(locked)
    public.write_bytes(made.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    place = (tmp_path / "place").as_uri()
    told = ("-v", "--json", tmp_path / "told.json")
    signed = ("push", model, place, "--sign", key, *told)
    assert commands.run(*signed) == 1
    assert commands.run(*signed, AFFINEUR_KEY_PASSPHRASE=f"{PHRASE} by heart") == 1
    assert commands.run(*signed, AFFINEUR_KEY_PASSPHRASE=PHRASE) == 0, commands.said.read_text()
    assert commands.run("pull", place, "-o", tmp_path / "pulled", "--verify-key", public, *told) == 0
    assert commands.run("verify", tmp_path / "pulled", "--verify-key", public, *told) == 0
    assert commands.run("verify", tmp_path / "pulled", "--verify-key", key, *told) == 1
    plain = made.private_bytes(pem, kind, serialization.NoEncryption()).decode()
    lines = [line for text in (locked.decode(), plain) for line in text.splitlines()[1:-1]]
    no_trace(commands, tmp_path, (PHRASE, *lines))


@pytest.mark.parametrize(
    ("reference", "seen"),
    [
        ("https://user:pw@host/folder?signature=x#part", "https://host/folder"),
        ("https://token@host:8080/folder", "https://host:8080/folder"),
        ("https://host/folder@v2", "https://host/folder@v2"),
        ("https://user:p?w@host/folder", "https://…"),
        ("https://user:p#w@host/folder", "https://…"),
        ("https://user:p/w@host/folder", "https://…"),
        ("HTTPS://user:p@w@host/folder", "HTTPS://host/folder"),
        ("s3://bucket/folder", "s3://bucket/folder"),
        ("s3://key:secret/with+sign@bucket/folder", "s3://…"),
        ("s3://key:secret@bucket/folder", "s3://bucket/folder"),
        ("runpod:key:secret@volume/folder", "runpod:volume/folder"),
        ("runpod:volume/folder", "runpod:volume/folder"),
        ("sftp://user@host:22/folder", "sftp://user@host:22/folder"),
        ("sftp://user:pw@host/folder", "sftp://user@host/folder"),
        ("sftp://user:p/w@host/folder", "sftp://…"),
        ("ftp://user:pw@host/folder", "ftp://host/folder"),
        ("another:https://user:pw@host/folder", "another:https://host/folder"),
        ("sftp://user@[::1]:22/folder", "sftp://user@[::1]:22/folder"),
        ("file:///folder/with?mark", "file:///folder/with?mark"),
        ("hub:owner/name@v1", "hub:owner/name@v1"),
        ("sample", "sample"),
        ("folder/with?mark", "folder/with?mark"),
    ],
)
def test_a_reference_as_it_is_shown(reference: str, seen: str) -> None:
    assert shown(reference) == seen
