"""A tiny model, a web server of a folder, and a Hub of our own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from safetensors.numpy import save_file

from affineur.artifact import Manifest, write_manifest

ROOT = Path(__file__).parents[2]
LABELS = ("O", "I-LOC", "I-PER")


def build_model(folder: Path) -> Path:
    """Write a folder that open_folder accepts; no model could be smaller."""
    folder.mkdir(parents=True)
    config = {
        "architectures": ["CamembertForTokenClassification"],
        "id2label": dict(enumerate(LABELS)),
        "num_hidden_layers": 1,
    }
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    (folder / "tokenizer.json").write_text("{}", "utf-8")
    save_file({"classifier.weight": np.ones((3, 4), np.float32)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return build_model(tmp_path / "model")


def sealed(folder: Path) -> Path:
    """Write the manifest of a folder as it is now."""
    write_manifest(folder, Manifest("transformers", "train"))
    return folder


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return sealed(build_model(tmp_path / "artifact"))


class Server:
    """A server in a thread; ``answer`` gets a path and returns status, headers, body, or ``None`` for 404."""

    def __init__(self, answer: Callable[[str], tuple[int, dict[str, str], bytes] | None]) -> None:
        self.requests: list[str] = []
        seen = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = unquote(urlsplit(self.path).path)
                seen.append(f"{self.command} {path}")
                status, headers, body = answer(path) or (404, {"X-Error-Code": "RepoNotFound"}, b"no")
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def serving(answer: Callable[[str], tuple[int, dict[str, str], bytes] | None]) -> Iterator[Server]:
    server = Server(answer)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def serve_folder() -> Iterator[Callable[..., Server]]:
    """Serve a folder below ``/m``; ``change(name, status, headers, body)`` may falsify an answer."""
    servers: list[Server] = []

    def start(folder: Path, change: Callable[..., tuple[int, dict[str, str], bytes]] | None = None) -> Server:
        def answer(path: str) -> tuple[int, dict[str, str], bytes] | None:
            name = path.removeprefix("/m/")
            if not (folder / name).is_file():
                return None
            reply = (200, {}, (folder / name).read_bytes())
            return change(name, *reply) if change else reply

        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@contextmanager
def hub(repositories: dict[str, Path]) -> Iterator[Server]:
    """Mimic the Hub's API for folders, named as in ``models/owner/name`` and ``datasets/owner/name``."""
    commits = {name: hashlib.sha1(name.encode()).hexdigest() for name in repositories}

    def answer(path: str) -> tuple[int, dict[str, str], bytes] | None:
        for name, folder in repositories.items():
            files = {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file()}
            api, resolve = f"/api/{name}", f"/{name.removeprefix('models/')}/resolve/{commits[name]}/"
            if path.startswith(f"{api}/tree/{commits[name]}"):
                tree = [
                    {"type": "file", "path": n, "size": p.stat().st_size, "oid": _digest(p)}
                    for n, p in files.items()
                ]
                return 200, {"Content-Type": "application/json"}, json.dumps(tree).encode()
            if path in (api, f"{api}/revision/main", f"{api}/revision/{commits[name]}"):
                info = {
                    "id": name.partition("/")[2],
                    "sha": commits[name],
                    "siblings": [{"rfilename": n} for n in files],
                }
                return 200, {"Content-Type": "application/json"}, json.dumps(info).encode()
            if path.startswith(f"{api}/revision/"):
                return 404, {"X-Error-Code": "RevisionNotFound"}, b""
            if path.startswith(resolve) and path.removeprefix(resolve) in files:
                file = files[path.removeprefix(resolve)]
                return 200, {"ETag": f'"{_digest(file)}"', "X-Repo-Commit": commits[name]}, file.read_bytes()
        return (403, {"X-Error-Code": "GatedRepo"}, b"") if "gated" in path else None

    with serving(answer) as server:
        yield server


def _digest(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


def run(code: str, home: Path, endpoint: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code where huggingface_hub reads its environment afresh, warnings being errors and AffineurErrors
    one line.
    """
    wrapped = "from affineur.errors import AffineurError\ntry:\n" + "".join(
        f"    {line}\n" for line in code.strip().splitlines()
    )
    wrapped += "except AffineurError as error:\n    print(type(error).__name__, error)\n"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    here = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "PYTHONPATH": str(ROOT / "src"),
        "HF_HUB_DISABLE_XET": "1",
    }
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", wrapped],
        env=clean | here | environment,
        capture_output=True,
        text=True,
        timeout=30,
        cwd=home.parent,
    )
