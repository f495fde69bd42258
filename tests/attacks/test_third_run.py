"""Issue 19, what a third hostile run found: tokenizers that panic, endless answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import threading
from pathlib import Path

import pytest

import affineur
from affineur.errors import ModelError
from affineur.probe import client
from affineur.probe.answers import _score


def test_a_tokenizer_that_panics_is_one_line(shared_int8: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(shared_int8, tmp_path / "model"))
    (folder / "affineur.json").unlink()
    spec = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    for part in spec["post_processor"]["single"]:
        if "SpecialToken" in part:
            part["SpecialToken"]["id"] = "zzz"
    (folder / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
    with pytest.raises(ModelError, match="tokenizer"):
        affineur.load(folder)


def test_an_integer_that_is_no_float_is_no_score() -> None:
    assert _score({"score": 10**400}) == -1.0
    assert client._number({"delayTime": 10**400}, "delayTime") is None


def test_an_answer_without_an_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_MOST_ANSWER", 1 << 20)
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with server:
            peer, _ = server.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
            with contextlib.suppress(OSError):  # it hangs up
                while True:
                    peer.sendall(b"x" * 65536)

    sending = threading.Thread(target=answer, daemon=True)
    sending.start()

    async def ask() -> client.Reply:
        async with client.connect(f"http://127.0.0.1:{server.getsockname()[1]}/predict", timeout=10) as found:
            return await found.ask("Marie")

    reply = asyncio.run(ask())
    assert reply.kind == "schema"
    assert "more than 1,048,576 bytes" in reply.said
    sending.join(5)
    assert not sending.is_alive()
