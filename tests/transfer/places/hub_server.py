"""A Hub on loopback: as much of its API as the official client asks for; a commit is a folder.

Large files go the way of Git LFS: the client asks what to upload, uploads it without its token to an address
it is given, has it verified, and names it in the commit. They are read back from another host, the CDN.
"""

from __future__ import annotations

import base64
import codecs
import fnmatch
import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from affineur.artifact import MANIFEST, Manifest, write_manifest

from .site import Site, flip

WRITER, READER = "hf_" + "w" * 34, "hf_" + "r" * 34
ATTRIBUTES = "*.safetensors filter=lfs diff=lfs merge=lfs -text\n*.onnx filter=lfs diff=lfs merge=lfs -text\n"


@dataclass
class Repository:
    """A repository: folders named by commit, and what points to them.

    Args:
        folder: Where the commits lie.
        private: Whether a token is needed to read it.
        gated: Whether it is there and given to nobody.
        refs: Commits of branches and pull requests, by name.
        tags: Commits of tags.
        large: Files of each commit that are kept by LFS.
    """

    folder: Path
    private: bool = False
    gated: bool = False
    refs: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    large: dict[str, set[str]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, parent: str | None, changes: Mapping[str, bytes | Path | None], said: str) -> str:
        """Add a commit; ``None`` takes a file away, a path is where LFS keeps it."""
        number = len(list(self.folder.iterdir())) if self.folder.is_dir() else 0
        sha = hashlib.sha1(f"{self.folder} {number}".encode()).hexdigest()
        building = self.folder / sha
        if parent:
            shutil.copytree(self.folder / parent, building, symlinks=True)
        building.mkdir(parents=True, exist_ok=True)
        for name, data in changes.items():
            (building / name).parent.mkdir(parents=True, exist_ok=True)
            (building / name).unlink(missing_ok=True)
            if isinstance(data, Path):
                (building / name).symlink_to(data)
            elif data is not None:
                (building / name).write_bytes(data)
        self.large[sha] = {name for name, path in _found(building).items() if path.is_symlink()}
        self.messages.append(said)
        return sha

    def find(self, revision: str) -> str | None:
        """Return the commit of a revision."""
        known = {**self.tags, **self.refs}
        return known.get(revision) or (revision if revision in self.large else None)

    def paths(self, revision: str) -> dict[str, Path]:
        """Return where the files of a revision lie; a large one is a link to what its digest names."""
        return _found(self.folder / (self.find(revision) or "none"))

    def files(self, revision: str) -> dict[str, bytes]:
        """Return what a revision holds."""
        return {name: path.read_bytes() for name, path in self.paths(revision).items()}


def _found(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


class Hub:
    """The server's state, and what a test may look at or get in the way of.

    Args:
        root: Where repositories and large files lie.
    """

    def __init__(self, root: Path) -> None:
        self.lock = threading.RLock()
        self.url = self.cdn = ""
        self.clear(root)

    def clear(self, root: Path) -> None:
        """Forget everything, and lay what comes elsewhere."""
        self.root = root
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.leaked: list[str] = []  # requests to the CDN that carried a token
        self.uploads: list[str] = []
        self.received = 0  # bytes of large files that came, those of uploads that broke off included
        self.underway = 0  # requests that have begun and not ended
        self.ranges: list[str] = []
        #: Called before each request with ``"METHOD /path"``; a status that it returns is the answer.
        self.before: Callable[[str], int | None] = lambda _: None
        self.page = 3

    def add(self, name: str, files: dict[str, bytes], **more: Any) -> Repository:
        """Add a repository with one commit."""
        made = self.repositories[name] = Repository(self.root / name, **more)
        held = {
            name: self.store(data) if _is_large(ATTRIBUTES, name, b"") else data
            for name, data in files.items()
        }
        made.refs["main"] = made.commit(
            None, {".gitattributes": ATTRIBUTES.encode(), **held}, "initial commit"
        )
        return made

    def store(self, data: bytes) -> Path:
        """Keep a large file."""
        place = self.root / "lfs" / hashlib.sha256(data).hexdigest()
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        return place

    def stored(self, oid: str) -> Path | None:
        """Return where a large file lies."""
        place = self.root / "lfs" / oid
        return place if place.is_file() else None


class Answer(Exception):
    """An answer, raised from wherever it is known."""

    def __init__(self, status: int, body: Any = b"", code: str | None = None, **headers: str) -> None:
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if not isinstance(body, bytes):
            self.headers["Content-Type"] = "application/json"
        if code:
            self.headers |= {"X-Error-Code": code, "X-Error-Message": code}


def _is_large(attributes: str, name: str, sample: bytes) -> bool:
    """Say whether LFS keeps a file: one whose name says so, or that does not begin as text."""
    patterns = [line.split()[0] for line in attributes.splitlines() if "filter=lfs" in line]
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)  # it may end within a character
    except UnicodeDecodeError:
        return True
    return b"\0" in sample or any(fnmatch.fnmatch(Path(name).name, pattern) for pattern in patterns)


def _part(path: Path, asked: str | None) -> Answer:
    found, size = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or ""), path.stat().st_size
    if not found:
        return Answer(200, path.read_bytes(), Accept_Ranges="bytes")
    start, stop = int(found[1]), int(found[2] or size - 1) + 1
    if start >= size:
        return Answer(416)
    stop = min(stop, size)
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(stop - start)
    return Answer(206, data, Content_Range=f"bytes {start}-{stop - 1}/{size}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    is_cdn = False

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        with self.hub.lock:
            self.hub.underway += 1
        try:
            self.ask()
        finally:
            with self.hub.lock:
                self.hub.underway -= 1

    def ask(self) -> None:
        """Read a request, and answer it."""
        length = int(self.headers.get("Content-Length") or 0)
        chunked = "chunked" in (self.headers.get("Transfer-Encoding") or "")
        self.data = b"".join(self._chunks()) if chunked else self.rfile.read(length)
        path = urlsplit(self.path).path
        self.query = parse_qs(urlsplit(self.path).query)
        line = f"{self.command} {unquote(path)}"
        try:
            self.hub.requests.append(line)
            if status := self.hub.before(line):
                raise Answer(status, b"")
            with self.hub.lock:
                self.answer_cdn(path) if self.is_cdn else self.answer(path)
            raise Answer(404, b"", "EntryNotFound")
        except Answer as answer:
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    # ---- the CDN: large files, by addresses that need no token

    def answer_cdn(self, path: str) -> None:
        if self.headers.get("Authorization"):
            self.hub.leaked.append(f"{self.command} {path}")
        oid = path.rpartition("/")[2]
        if self.command == "PUT":
            self.hub.uploads.append(oid)
            self.hub.received += len(self.data)
            if hashlib.sha256(self.data).hexdigest() != oid:
                raise Answer(400, b"not that content")
            self.hub.store(self.data)
            raise Answer(200)
        kept = self.hub.stored(oid)
        if kept is not None:
            self.hub.ranges.append(self.headers.get("Range") or "whole")
            raise _part(kept, self.headers.get("Range"))

    # ---- the Hub

    def token(self, write: bool = False) -> bool:
        """Say whether who asks may; what token nobody has is an error."""
        given = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if given and given not in (READER, WRITER):
            raise Answer(401, b"", X_Error_Message="Invalid credentials in Authorization header")
        return given == WRITER or (bool(given) and not write)

    def repository(self, name: str, write: bool = False) -> Repository:
        allowed, found = self.token(write), self.hub.repositories.get(name)
        if found is None or (found.private and not self.token()):
            raise Answer(401 if not self.headers.get("Authorization") else 404, b"", "RepoNotFound")
        if found.gated:
            raise Answer(403, b"", "GatedRepo")
        if write and not allowed:
            raise Answer(403, {"error": "Forbidden"}, X_Error_Message="you have no write access")
        return found

    def commit_of(self, repository: Repository, revision: str) -> str:
        found = repository.find(unquote(revision))
        if found is None:
            raise Answer(404, b"", "RevisionNotFound")
        return found

    def answer(self, path: str) -> None:
        for pattern, method in _ROUTES:
            if found := re.fullmatch(pattern, path):
                getattr(self, method)(*found.groups())

    def create(self) -> None:
        said = json.loads(self.data)
        name = f"{said.get('organization') or 'me'}/{said['name']}"
        url = f"{self.hub.url}/{name}"
        if not self.token(write=True) or not name.startswith("me/"):
            raise Answer(403, {"error": "no rights"}, X_Error_Message="You don't have the rights")
        if name in self.hub.repositories:
            raise Answer(409, {"error": "You already created this model repo", "url": url})
        private = said.get("visibility") == "private" or bool(said.get("private"))
        self.hub.add(name, {}, private=private)
        raise Answer(200, {"url": url, "name": name})

    def validate(self) -> None:
        said = json.loads(self.data)["content"]
        errors = [{"message": '"license" must be a known one'}] if "license: nonsense" in said else []
        raise Answer(400 if errors else 200, {"errors": errors, "warnings": []})

    def info(self, name: str, revision: str = "main") -> None:
        repository = self.repository(name)
        commit = self.commit_of(repository, revision)
        siblings = [{"rfilename": each} for each in repository.paths(commit)]
        raise Answer(
            200,
            {"id": name, "sha": commit, "private": repository.private, "siblings": siblings, "tags": []},
        )

    def refs(self, name: str) -> None:
        repository = self.repository(name)

        def named(kind: str, refs: dict[str, str]) -> list[dict[str, str]]:
            return [{"name": n, "ref": f"refs/{kind}/{n}", "targetCommit": c} for n, c in refs.items()]

        branches = {n: c for n, c in repository.refs.items() if not n.startswith("refs/")}
        raise Answer(
            200,
            {"branches": named("heads", branches), "tags": named("tags", repository.tags), "converts": []},
        )

    def tree(self, name: str, revision: str) -> None:
        repository = self.repository(name)
        commit = self.commit_of(repository, revision)
        entries: list[dict[str, Any]] = []
        for each, path in repository.paths(commit).items():
            size = path.stat().st_size
            entry = {"type": "file", "path": each, "size": size}
            if each in repository.large[commit]:
                sha256 = path.readlink().name
                entry |= {
                    "oid": _blob(sha256.encode()),
                    "lfs": {"oid": sha256, "size": size, "pointerSize": 130},
                }
            else:
                entry["oid"] = _blob(path.read_bytes())
            entries.append(entry)
        entries += [{"type": "directory", "path": "onnx", "oid": "0" * 40}] * any(
            e["path"].startswith("onnx/") for e in entries
        )
        start = int(self.query.get("cursor", ["0"])[0])
        stop = start + self.hub.page
        address = f"{self.hub.url}{urlsplit(self.path).path}?recursive=true&cursor={stop}"
        more = {"Link": f'<{address}>; rel="next"'} if stop < len(entries) else {}
        raise Answer(200, entries[start:stop], **more)

    def preupload(self, name: str, revision: str) -> None:
        pull = "create_pr" in self.query
        repository = self.repository(name, write=not pull)
        held = repository.paths(self.commit_of(repository, revision)).get(".gitattributes")
        attributes = held.read_text() if held else ""

        def is_large(said: dict[str, Any]) -> bool:
            return _is_large(attributes, said["path"], base64.b64decode(said["sample"]))

        files = [
            {
                "path": each["path"],
                "uploadMode": "lfs" if is_large(each) else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for each in json.loads(self.data)["files"]
        ]
        raise Answer(200, {"files": files})

    def batch(self, name: str) -> None:
        self.repository(name)
        objects: list[dict[str, Any]] = []
        for each in json.loads(self.data)["objects"]:
            found: dict[str, Any] = {"oid": each["oid"], "size": each["size"]}
            if self.hub.stored(each["oid"]) is None:
                upload = {"href": f"{self.hub.cdn}/upload/{each['oid']}"}
                found["actions"] = {"upload": upload, "verify": {"href": f"{self.hub.url}/verify"}}
            objects.append(found)
        raise Answer(200, {"transfer": "basic", "objects": objects})

    def verify(self) -> None:
        said = json.loads(self.data)
        kept = self.hub.stored(said["oid"])
        raise Answer(200 if kept is not None and kept.stat().st_size == said["size"] else 400, {})

    def commit(self, name: str, revision: str) -> None:
        pull = "create_pr" in self.query
        repository = self.repository(name, write=not pull)
        head = self.commit_of(repository, revision)
        lines = [json.loads(line) for line in self.data.splitlines()]
        header = lines[0]["value"]
        parent = header.get("parentCommit", head)
        if parent != head and not pull:
            raise Answer(412, {"error": "A commit has happened since. Please refresh and try again."})
        changes: dict[str, bytes | Path | None] = {}
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                changes[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                changes[value["path"]] = kept = self.hub.stored(value["oid"])
                if kept is None:
                    raise Answer(400, {"error": "LFS object is missing"})
            else:
                changes[value["path"]] = None
        commit = repository.commit(parent, changes, header["summary"])
        number = 1 + sum(ref.startswith("refs/pr/") for ref in repository.refs)
        repository.refs[f"refs/pr/{number}" if pull else unquote(revision)] = commit
        address = f"{self.hub.url}/{name}"
        raise Answer(
            200,
            {
                "commitUrl": f"{address}/commit/{commit}",
                "commitOid": commit,
                "pullRequestUrl": f"{address}/discussions/{number}",
            },
        )

    def tag(self, name: str, revision: str) -> None:
        repository = self.repository(name, write=True)
        tag = json.loads(self.data)["tag"]
        if tag in repository.tags:
            raise Answer(409, {"error": "Tag exists"})
        repository.tags[tag] = self.commit_of(repository, revision)
        raise Answer(200, {})

    def branch(self, name: str, branch: str) -> None:
        repository = self.repository(name, write=True)
        if unquote(branch) in repository.refs:
            raise Answer(409, {"error": "Reference exists"})
        start = (json.loads(self.data) if self.data else {}).get("startingPoint", "main")
        repository.refs[unquote(branch)] = self.commit_of(repository, start)
        raise Answer(200, {})

    def resolve(self, name: str, revision: str, file: str) -> None:
        repository = self.repository(name)
        commit = self.commit_of(repository, revision)
        path = repository.paths(commit).get(unquote(file))
        if path is None:
            raise Answer(404, b"", "EntryNotFound")
        if unquote(file) not in repository.large[commit]:
            found = _part(path, self.headers.get("Range"))
            found.headers |= {"ETag": f'"{_blob(path.read_bytes())}"', "X-Repo-Commit": commit}
            raise found
        sha256, size = path.readlink().name, str(path.stat().st_size)
        linked = {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": size, "X-Repo-Commit": commit}
        raise Answer(302, b"", Location=f"{self.hub.cdn}/read/{sha256}", **linked)


def _blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


_NAME = r"([^/]+/[^/]+)"
_ROUTES = (
    (r"/api/repos/create", "create"),
    (r"/api/validate-yaml", "validate"),
    (r"/api/models/([^/]+)", "info"),
    (rf"/api/models/{_NAME}", "info"),
    (rf"/api/models/{_NAME}/revision/([^/]+)", "info"),
    (rf"/api/models/{_NAME}/refs", "refs"),
    (rf"/api/models/{_NAME}/tree/([^/]+)", "tree"),
    (rf"/api/models/{_NAME}/preupload/([^/]+)", "preupload"),
    (rf"/api/models/{_NAME}/commit/([^/]+)", "commit"),
    (rf"/api/models/{_NAME}/tag/([^/]+)", "tag"),
    (rf"/api/models/{_NAME}/branch/([^/]+)", "branch"),
    (rf"/{_NAME}\.git/info/lfs/objects/batch", "batch"),
    (r"/verify", "verify"),
    (rf"/{_NAME}/resolve/([^/]+)/(.+)", "resolve"),
)


@contextmanager
def hub_server(root: Path) -> Iterator[Hub]:
    """Run a Hub and its CDN in threads."""
    hub, servers, threads = Hub(root), [], []
    for is_cdn in (False, True):
        handler = type("Handler", (_Handler,), {"hub": hub, "is_cdn": is_cdn})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        servers.append(server)
        threads.append(thread)
    # two hosts by name: some versions of the client take another port for the same host
    hub.url, hub.cdn = (
        f"http://{host}:{server.server_port}"
        for host, server in zip(("127.0.0.1", "localhost"), servers, strict=True)
    )
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


@contextmanager
def site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Give a repository to the tests of what every place promises.

    The official client reads where the Hub is when it is imported: here it is told again.
    """
    import huggingface_hub
    from huggingface_hub import constants

    with hub_server(folder / "served") as hub:
        said = {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(folder / "home"),
            "HF_HUB_DISABLE_XET": "1",  # there is no such storage here: what is large goes by LFS
            "HF_TOKEN": WRITER,
        }
        for name in [name for name in os.environ if name.startswith("HF_")]:
            monkeypatch.delenv(name)
        for name, value in said.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

        def damage(name: str) -> None:
            repository = hub.repositories["me/model"]
            flip(repository.paths("main")[name].resolve())

        def received() -> int:
            while hub.underway:  # what a client that was killed had sent is read to its end
                time.sleep(0.01)
            return hub.received

        try:
            yield Site(
                "hub:me/model",
                "hub:me/model",
                damage,
                received=received,
                seal=_seal,
                ours=False,
            )
        finally:
            huggingface_hub.close_session()


def _seal(folder: Path) -> None:
    """Make an artifact of a folder: of a repository only files that a manifest names are read."""
    (folder / MANIFEST).unlink(missing_ok=True)
    write_manifest(folder, Manifest("files", "export"))
