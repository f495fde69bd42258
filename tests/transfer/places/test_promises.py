"""What every place promises, each against a real server: resume, verify, atomic, only what changed, bounded
memory, progress. Where a place cannot keep one, its test is skipped with the reason, or shows what does hold.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from affineur.artifact import MANIFEST
from affineur.errors import AffineurError
from affineur.progress import listening
from affineur.transfer import pull as pulling
from affineur.transfer.places.core.place import PART, Access, Remote
from affineur.transfer.pull import pull
from affineur.transfer.push import push

from .site import Site, flip

#: Module and context manager of each; a place whose module is not there is skipped.
SITES = {
    "folder": "",
    "http": "http_server.site",
    "http without parts": "http_server.site_without_parts",
    "s3": "s3_server.site",
    "runpod": "s3_server.site_of_runpod",
    "hf buckets": "s3_server.site_of_hugging_face",
    "sftp": "sftp_server.site",
    "hub": "hub_server.site",
}
#: What takes long is tried at one place of a kind; at the others it is left to ``make test-slow``.
ALIKE = ("s3", "hf buckets", "http without parts", "sftp")
#: The official client warns of how it uploads itself.
MARKS = {"hub": [pytest.mark.filterwarnings("ignore:Use 'content=")]}


def _sites(*slow: str) -> list[ParameterSet]:
    marks = {each: [*MARKS.get(each, []), *([pytest.mark.slow] if each in slow else [])] for each in SITES}
    return [pytest.param(each, marks=marks[each]) for each in SITES]


long = pytest.mark.parametrize("site", _sites(*ALIKE), indirect=True)
#: Of the Hub, ``test_hub.py`` tries the like by default.
longer = pytest.mark.parametrize("site", _sites(*ALIKE, "hub"), indirect=True)
SIZE = 2 * PART + 3_000_000
ROOT = Path(__file__).parents[3]
WEIGHTS, NOTE = "weights.dat", "sub/note.txt"

#: Read by a process that is to kill itself: after so many bytes of a pull, before so many steps of a push; of
#: one by the Hub's client also after so many bytes, or before its commit.
KILLED = """
import os, signal, sys
from pathlib import Path
from affineur.errors import AffineurError
from affineur.transfer.pull import pull
from affineur.transfer.places.core.place import PLACES, Place, Remote
from affineur.transfer.push import push

left = int(sys.argv[1])

def spend(count):
    global left
    left -= count
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

def step(call):
    def stepping(*given, **named):
        spend(1)
        made = call(*given, **named)
        spend(1)
        return made
    return stepping

def watch(remote):
    read, send = remote.read, remote.send
    def reading(*given):
        for chunk in read(*given):
            yield chunk
            if sys.argv[2] == "pull":
                spend(len(chunk))
    def sending(name, file, sha256, moved):
        def moving(count):
            moved(count)
            spend(1)
        send(name, file, sha256, moving)
    remote.read = reading
    if sys.argv[2] == "push":
        remote.send = step(sending)
        remote.put, remote.remove = step(remote.put), step(remote.remove)
    return remote

if sys.argv[2] != "pull" and sys.argv[3].startswith("hub:"):  # the official client sends it, by requests
    from huggingface_hub.utils import get_session
    client = get_session()
    plain = client.send
    def asking(request, **named):
        if sys.argv[2] == "commit" and "/commit/" in str(request.url):
            spend(left + 1)
        stream = request.stream
        class Stepping(type(stream)):
            def __init__(self):
                self.sent = 0
            def __iter__(self):
                for chunk in stream:
                    yield chunk
                    before, self.sent = self.sent, self.sent + len(chunk)
                    if sys.argv[2] == "bytes":
                        spend(len(chunk))
                    elif sys.argv[2] == "push":
                        spend((self.sent >> 22) - (before >> 22))
        request.stream = Stepping()
        return plain(request, **named)
    client.send = step(asking) if sys.argv[2] == "push" else asking
for kind in {type(each) for each in PLACES.all().values()}:
    kind.open = lambda self, *given, _open=kind.open: watch(_open(self, *given))
try:
    if sys.argv[2] == "pull":
        pull(sys.argv[3], Path(sys.argv[4]))
    else:
        push(Path(sys.argv[4]), sys.argv[3])
except AffineurError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""

#: Gives KiB. Not by getrusage, whose maximum is that of the process before as well, which was large.
MEASURED = """
import re, sys
from pathlib import Path
from affineur.transfer.places.core.place import opened
from affineur.transfer.pull import pull
from affineur.transfer.push import push

def most():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

way, reference, folder = sys.argv[1:]
with opened(reference) as remote:  # so that the libraries are loaded
    list(remote.read("sub/note.txt", 0, None))
before = most()
pull(reference, Path(folder)) if way == "pull" else push(Path(folder), reference)
print(most() - before)
"""


@contextmanager
def _folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    yield Site(folder.as_uri(), folder.as_uri(), lambda name: flip(folder / name))


def _maker(given: str) -> Callable[[Path, pytest.MonkeyPatch], AbstractContextManager[Site]]:
    if not given:
        return _folder
    module, _, name = given.partition(".")
    if find_spec(f"{__package__}.{module}") is None:
        pytest.skip(f"there is no {module} yet")
    made = getattr(import_module(f"{__package__}.{module}"), name, None)
    if made is None:
        pytest.skip(f"{module} has no {name} yet")
    return made  # type: ignore[no-any-return]


@pytest.fixture(params=_sites())
def site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    there = tmp_path / "there"
    there.mkdir()
    with _maker(SITES[request.param])(there, monkeypatch) as here:
        yield here


@pytest.fixture
def ours(tmp_path: Path, site: Site) -> Path:
    """A folder in which one file has several parts, and one is small."""
    folder = tmp_path / "ours"
    (folder / "sub").mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(os.urandom(SIZE))
    (folder / NOTE).write_text("first", "utf-8")
    site.seal(folder)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def run(code: str, *arguments: str | int | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=100,
    )


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Count the bytes that a pull in this process reads of files."""
    counts: list[int] = []
    plain = pulling.opened

    def opened(reference: str, access: Access | None = None) -> Remote:
        remote = plain(reference, access)
        read = remote.read

        def reading(name: str, start: int, stop: int | None) -> Iterator[bytes]:
            for chunk in read(name, start, stop):
                counts.append(len(chunk))
                yield chunk

        remote.read = reading  # type: ignore[method-assign]
        return remote

    with monkeypatch.context() as patch:
        patch.setattr(pulling, "opened", opened)
        yield counts


def test_resume(site: Site, ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pull that is killed goes on where it was; until it is whole, the folder that was there stays."""
    target = tmp_path / "target"
    push(ours, site.filled)
    before, came = SIZE // 2, 0
    killed = run(KILLED, before, "pull", site.reference, target)
    assert killed.returncode == -9, killed.stderr
    assert not target.exists()
    with counting(monkeypatch) as counts:
        pull(site.reference, target)
    came = sum(counts)
    assert files(target) == files(ours)
    if site.parts:
        assert before + came <= SIZE + len("first") + PART


def test_verify(site: Site, ours: Path, tmp_path: Path) -> None:
    """A byte that is another is found, and named by its file; what was there stays."""
    target = tmp_path / "target"
    push(ours, site.filled)
    site.damage(WEIGHTS)
    with pytest.raises(AffineurError, match=rf"{WEIGHTS} .*sha256"):
        pull(site.reference, target)
    assert not target.exists()


def test_only_what_changed(site: Site, ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "target"
    push(ours, site.filled)
    pull(site.reference, target)
    (ours / NOTE).write_text("second", "utf-8")
    site.seal(ours)
    before = site.received() if site.received else 0
    sent = push(ours, site.filled).sent
    if site.received:
        assert site.received() - before < PART
    if site.knows:
        assert sorted({*sent} - {MANIFEST}) == [NOTE]
    with counting(monkeypatch) as counts:
        pull(site.reference, target)
    assert sum(counts) < PART
    assert files(target) == files(ours)
    assert not site.knows or push(ours, site.filled).sent == ()


@longer
def test_a_push_that_is_killed_goes_on(site: Site, ours: Path, tmp_path: Path) -> None:
    """The Hub's client sends a file anew that was under way, and none that had arrived whole."""
    if not site.writes:
        pytest.skip("it is only read from")
    if site.ours:
        pytest.skip("it goes on inside a file: the tests of its own module count the parts sent again")
    assert site.received
    for moment, count, sent in (("bytes", SIZE // 2, SIZE), ("commit", 0, SIZE), ("push", 999, 0)):
        before = site.received()
        ended = run(KILLED, count, moment, site.reference, ours)
        assert ended.returncode == (0 if moment == "push" else -9), ended.stderr
        came = site.received() - before
        assert 0 < came < sent if moment == "bytes" else came == sent
    pull(site.reference, tmp_path / "target")
    assert files(tmp_path / "target") == files(ours)


@longer
def test_atomic(site: Site, ours: Path, tmp_path: Path) -> None:
    """A push that is killed at any step leaves the old version or the new one, and the next one ends it."""
    if not site.writes:
        pytest.skip("it is only read from")
    push(ours, site.filled)
    old = files(ours)
    (ours / NOTE).write_text("second", "utf-8")
    (ours / WEIGHTS).write_bytes(os.urandom(PART + 9))
    site.seal(ours)
    new = files(ours)
    seen = []
    for steps in (0, 1, 2, 4, 7, 11, 16, 21, 99):
        ended = run(KILLED, steps, "push", site.reference, ours)
        assert ended.returncode in (0, -9), ended.stderr
        target = tmp_path / f"after-{steps}"
        pull(site.reference, target)
        found = files(target)
        assert found in (old, new)
        seen.append(found == new)
        if ended.returncode == 0:
            break
    assert seen == sorted(seen)
    assert seen[0] is False
    assert seen[-1] is True


@longer
def test_a_first_push_shows_nothing_before_it_is_whole(site: Site, ours: Path, tmp_path: Path) -> None:
    if not site.writes:
        pytest.skip("it is only read from")
    for steps in (1, 3, 5):
        assert run(KILLED, steps, "push", site.reference, ours).returncode == -9
        with pytest.raises(
            AffineurError, match=r"is not there yet|nothing is there|has nothing of that name"
        ):
            pull(site.reference, tmp_path / "target")
    push(ours, site.filled)
    pull(site.reference, tmp_path / "target")
    assert files(tmp_path / "target") == files(ours)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is told by Linux alone")
@long
def test_bounded_memory(site: Site, ours: Path, tmp_path: Path) -> None:
    (ours / WEIGHTS).write_bytes(b"small")
    site.seal(ours)
    push(ours, site.filled)
    with (ours / WEIGHTS).open("wb") as file:
        file.truncate(112 << 20)
    site.seal(ours)
    for way, reference, folder in (
        ("push", site.filled, ours),
        ("pull", site.reference, tmp_path / "target"),
    ):
        done = run(MEASURED, way, reference, folder)
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) < 80 << 10, way


def progress_of(move: Callable[[], object]) -> tuple[list[tuple[int, int | None]], list[str]]:
    """Return what was told of MB, and everything else that was told."""
    told: list[tuple[int, int | None]] = []
    said: list[str] = []

    def listen(what: str, done: int | None, total: int | None) -> None:
        if done is not None and "MB" in what:
            told.append((done, total))
        else:
            said.append(what)

    with listening(listen):
        move()
    return told, said


def test_progress_of_a_push(site: Site, ours: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The Hub's client shows a bar of its own for a large file; ours says how many files are sent."""
    told, said = progress_of(lambda: push(ours, site.filled))
    if site.ours:
        assert told == sorted(told)
        assert told[-1] == (round(SIZE / 1e6), round(SIZE / 1e6))
    else:
        assert told == []
        assert said[-1] == f"sending 3 of 3 files to {site.reference}"
        assert re.search(rf"{WEIGHTS}: 100%.*MB/s", capfd.readouterr().err)


def test_progress_of_a_pull(site: Site, ours: Path, tmp_path: Path) -> None:
    push(ours, site.filled)
    told, _ = progress_of(lambda: pull(site.reference, tmp_path / "target"))
    assert told == sorted(told)
    assert told[-1] == (round(SIZE / 1e6), round(SIZE / 1e6))
