"""Logs in SQLite and in a PostgreSQL of the tests' own, and what is written into them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from affineur.entities import Entity
from affineur.runtime import Evidence, MentionEvidence, PredictOptions

pytest.importorskip("sqlalchemy", reason="the extra watch is not installed")

from affineur.watch.log import Log


@dataclass(frozen=True)
class Model:
    """What an endpoint tells of a model."""

    sha256: str = "a" * 64
    labels: tuple[str, ...] = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


@dataclass(frozen=True)
class Answer:
    """What an endpoint tells of an answer, with a person at the beginning of each text."""

    texts: Sequence[str]
    model: Model = field(default_factory=Model)
    seconds: float = 0.02
    options: PredictOptions = field(default_factory=PredictOptions)

    @property
    def results(self) -> list[list[Entity]]:
        return [[Entity("PER", text[:5], 0, 5, 0.75)] for text in self.texts]

    @property
    def evidence(self) -> Callable[[], list[Evidence]]:
        mention = MentionEvidence((0.75,), 0.0, 0.125)
        about = [Evidence(3, 5, 1, 0.9, {"LOC": 0.25, "PER": 1.5}, [mention]) for _ in self.texts]
        return lambda: about


def answer(log: Log, *texts: str, **told: Any) -> None:
    """Let a log hear of texts as an endpoint does."""
    log.announce(len(texts))
    log(Answer(texts, **told))


class Held:
    """Lets nothing be written until :meth:`go`."""

    def __init__(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        self._go, self.entered = threading.Event(), threading.Event()
        write = log._writer._write

        def wait(entries: Any) -> None:
            self.entered.set()
            assert self._go.wait(30)
            write(entries)

        monkeypatch.setattr(log._writer, "_write", wait)

    def go(self) -> None:
        self._go.set()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a server that is there for the tests alone."""
    pytest.importorskip("psycopg", reason="the extra watch is not installed")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    program = shutil.which("pg_ctl") or (str(found[-1]) if found else None)
    if program is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    as_user: list[str] = []
    if os.geteuid() == 0:  # it does not run as root
        if (
            shutil.which("runuser") is None
            or subprocess.run(["id", "postgres"], capture_output=True).returncode
        ):
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # a short path: that of a socket may be 107 bytes
    if as_user:
        shutil.chown(folder, "postgres")

    def run(name: str, *arguments: str) -> None:
        command = [*as_user, str(Path(program).with_name(name)), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd="/")

    data = str(folder / "data")
    run("initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync")
    options = f"-c listen_addresses= -c fsync=off -k {folder}"
    run("pg_ctl", "-D", data, "-o", options, "-w", "-l", str(folder / "log"), "start")
    try:
        yield f"postgresql:///{{}}?host={folder}&user=postgres"
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a log may be: a file, and a database of a server."""
    if request.param == "sqlite":
        return str(tmp_path / "watch.db")
    import psycopg

    url, name = request.getfixturevalue("postgres"), f"log_{uuid.uuid4().hex}"
    with psycopg.connect(url.format("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
    return str(url.format(name))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Log]]:
    """Open logs, all with one file of keys, and close them at the end."""
    with ExitStack() as stack:

        def open_log(where: str, **options: Any) -> Log:
            options = {"key": tmp_path / "watch.key", "tell": lambda _: None, **options}
            return stack.enter_context(Log(where, **options))

        yield open_log


def rows(log: Log, table: str, columns: str = "*", order: str = "1") -> list[tuple[Any, ...]]:
    """Read rows of a log as anybody would."""
    from sqlalchemy import text

    assert log.flush()
    with log._database.read() as connection:
        found = connection.execute(text(f"SELECT {columns} FROM {table} ORDER BY {order}"))
        return [tuple(row) for row in found]
