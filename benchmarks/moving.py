"""Artifacts moved under kills and failures, as fast as plain clients, never half to be seen; all on loopback.

``kills``: an artifact is pushed and pulled by processes that are killed −9 at random moments while requests
fail (SFTP: while connections break), until the last ends it. What went over the wire beyond the artifact is
held against one part per stream for each kill and each failure; memory is that of the process (``VmHWM``)
above what it had before it opened the place (``VmRSS``); what came is compared to the byte. ``speed``:
against ``scp``, boto3's own transfer with parts and threads as many, the ``aws`` command where it is
installed, and ``curl``, in rounds that take turns. Ours checks every digest, which they do not. Imports, and
looking for garbage among what they made, are not counted, but for ``aws``, where the time of both is that of
the whole process. ``moments``: pushes of a second
version, killed at moments spread evenly over their steps, every other a little later, in the midst of what
follows; after each a reader pulls, and the same push is ended.

Exit status 1 where a bar is missed.

    python benchmarks/moving.py [kills speed moments] [--place http s3 …] [--size MB] [--kills 20]
    [--failing 0.05] [--rounds 5] [--moments 30]
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from affineur.artifact import describe_machine, file_digest
from affineur.cli.main import guarded
from affineur.errors import AffineurError
from affineur.transfer.places.core.place import PART, opened
from affineur.transfer.pull import pull
from affineur.transfer.push import push
from moving_places import BUCKET, PLACES, There, running

HERE = Path(__file__).parents[1]
SIZES = {"kills": 500, "speed": 200, "moments": 24}  # MB
SLOWEST, MOST_MEMORY = 0.8, 150  # of the plain client; MB
BIG, SMALL = "weights.dat", ("labels.dat", "sub/words.dat", "sub/note.txt")

# Prints what it has in memory, moves, and prints how long that took and the most it had.
_MOVE = """
import gc, re, sys, time
from pathlib import Path
from affineur.errors import AffineurError
from affineur.transfer.places.core.place import opened
from affineur.transfer.pull import pull
from affineur.transfer.push import push

def memory(name):
    return re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]

way, reference, folder, warm = sys.argv[1:]
print(memory("VmRSS"), flush=True)
try:
    if warm == "warm":  # so that the libraries are loaded
        import filelock
        with opened(reference) as remote:
            remote.stat("none")
        gc.collect()
        gc.freeze()
    start = time.perf_counter()
    pull(reference, Path(folder)) if way == "pull" else push(Path(folder), reference)
    print(time.perf_counter() - start, memory("VmHWM"), flush=True)
except AffineurError as error:
    sys.exit(str(error))
"""

# boto3 with parts and threads as ours.
_BOTO3 = """
import gc, os, sys, time
import boto3
from boto3.s3.transfer import TransferConfig

way, bucket, key, file, part, threads = sys.argv[1:]
given = dict(multipart_threshold=int(part), multipart_chunksize=int(part), max_concurrency=int(threads))
client = boto3.client("s3")
gc.collect()
gc.freeze()
start = time.perf_counter()
if way == "push":
    client.upload_file(file, bucket, key, Config=TransferConfig(**given))
else:
    client.download_file(bucket, key, file, Config=TransferConfig(**given))
print(time.perf_counter() - start)
"""

# Pushes, and kills itself so many seconds after so many steps; prints how many there were where it ends.
_STEPS = """
import os, signal, sys, threading
from pathlib import Path
from affineur.errors import AffineurError
from affineur.transfer.places.core.place import PLACES
from affineur.transfer.push import push

left, later, taken = int(sys.argv[3]), float(sys.argv[4]), 0
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)

def step():
    global taken
    taken += 1
    if taken == left:
        threading.Timer(later, kill).start() if later else kill()

def stepping(call):
    def called(*given):
        step()
        made = call(*given)
        step()
        return made
    return called

def watched(remote):
    send = remote.send
    def sending(name, file, sha256, moved):
        def moving(count):
            step()
            moved(count)
        send(name, file, sha256, moving)
    remote.send = sending
    for name in ("stat", "get", "holds", "send", "put", "remove"):
        setattr(remote, name, stepping(getattr(remote, name)))
    return remote

for kind in {type(each) for each in PLACES.all().values()}:
    kind.open = lambda self, *given, _open=kind.open: watched(_open(self, *given))
try:
    push(Path(sys.argv[1]), sys.argv[2])
except AffineurError as error:
    sys.exit(str(error))
print(taken)
sys.stdout.flush()
os._exit(0)  # a kill that would come later than the end is none
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", help=f"some of {', '.join(SIZES)}; all without")
    parser.add_argument("--place", nargs="+", choices=PLACES, default=PLACES, help="all without")
    parser.add_argument("--size", type=float, help=f"MB of the artifact; without, {SIZES}")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--failing", type=float, default=0.05, help="share of requests that fail")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--moments", type=int, default=30)
    parser.add_argument("--seed", type=int, default=13)
    args = parser.parse_args()
    return guarded(lambda: moving(args), "moving.py", quiet=True)


def moving(args: argparse.Namespace) -> int:
    """Measure and print; 1 where a bar is missed."""
    if wrong := set(args.what) - set(SIZES):
        raise AffineurError(f"'{wrong.pop()}' is nothing that is measured, expected some of {list(SIZES)}")
    os.environ |= {"PYTHONPATH": str(HERE / "src")}
    print(describe_machine())
    missed = []
    for what in args.what or SIZES:
        size = int(1e6 * (args.size or SIZES[what]))
        measure: Callable[..., list[str]] = {"kills": kills, "speed": speed, "moments": moments}[what]
        print(f"\n{what}, {size / 1e6:g} MB")
        for place in args.place:
            shm = Path("/dev/shm")
            room = shm.is_dir() and shutil.disk_usage(shm).free > 12 * size
            with tempfile.TemporaryDirectory(prefix="moving-", dir=shm if room else None) as name:
                tempfile.tempdir = name  # moto's files too
                try:
                    missed += measure(args, place, Path(name), size)
                finally:
                    tempfile.tempdir = None
    print("\n" + ("\n".join(f"MISSED: {each}" for each in missed) or "every bar holds"))
    return int(bool(missed))


# ------------------------------------------------------------------ kills


def kills(args: argparse.Namespace, place: str, folder: Path, size: int) -> list[str]:
    """Push and pull under kills; return the bars that are missed."""
    if place == "file":
        return []
    ours, target, missed = artifact(folder / "ours", size), folder / "target", []
    with running(place, folder, failing=args.failing) as there:
        ways = ["push", "pull"] if there.reference == there.filled else ["pull"]
        if ways == ["pull"]:
            push(ours, there.filled)
        for way in ways:
            found = _killed(there, way, ours if way == "push" else target, size, args)
            with opened(there.reference) as remote:
                streams = remote.streams
            most = (found.kills * streams + found.failed) * PART
            print(
                f"{place} {way}: {found.kills} kills, {found.failed} failures, {found.beyond / 1e6:.1f} MB "
                f"beyond the size ({found.beyond / max(1, found.kills) / PART:.2f} parts of {PART >> 20} MiB "
                f"a kill, failures among them; at most {streams} a kill and one a failure), "
                f"{found.memory / 1e6:.0f} MB of memory above the start",
                flush=True,
            )
            if found.kills < args.kills:
                missed.append(f"{place} {way}: it ended before kill {found.kills + 1}; give it a larger size")
            if found.beyond > most:
                missed.append(f"{place} {way}: {found.beyond:,} bytes beyond the size, at most {most:,}")
            if found.memory > MOST_MEMORY * 1e6:
                missed.append(f"{place} {way}: {found.memory / 1e6:.0f} MB of memory, at most {MOST_MEMORY}")
    same = digests(target) == digests(ours)
    print(f"{place}: {'every byte is' if same else 'NOT every byte is'} what was sent", flush=True)
    return [*missed, *([] if same else [f"{place}: what came is not what was sent"])]


@dataclass
class _Found:
    """What was seen: kills made, requests that failed, bytes beyond the size, bytes of memory."""

    kills: int = 0
    failed: int = 0
    beyond: int = 0
    memory: int = 0


def _killed(there: There, way: str, folder: Path, size: int, args: argparse.Namespace) -> _Found:
    """Kill one process after another, after random numbers of bytes, and let the last one end it."""
    relay = there.relay
    assert relay is not None

    def moved() -> int:
        return relay.up if way == "push" else relay.down

    chance, found = random.Random(args.seed), _Found()
    # Kills come a little late: those of the last are before nine tenths
    marks = [0, *sorted(chance.randrange(size * 9 // 10) for _ in range(args.kills))]
    steps = [after - before for before, after in pairwise(marks)]
    began, failed = moved(), there.failed()
    for step in [*steps, None]:
        command = [sys.executable, "-c", _MOVE, way, there.reference, str(folder), "cold"]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert child.stdout is not None
        start = int(child.stdout.readline() or 0)
        aim = None if step is None else moved() + step
        while aim is not None and moved() < aim and child.poll() is None:
            time.sleep(0.001)
        most = _most(child.pid)
        if aim is not None:
            child.send_signal(signal.SIGKILL)
        out, err = child.communicate()
        if child.returncode == -signal.SIGKILL:
            found.kills += 1
        elif child.returncode:
            raise AffineurError(f"{there.reference}, {way}: {err.strip()[-500:]}")
        else:
            most = int(out.split()[-1])
        found.memory = max(found.memory, 1024 * (most - start))
        if child.returncode == 0:
            break
    found.failed, found.beyond = there.failed() - failed, moved() - began - size
    return found


def _most(process: int) -> int:
    """Return the most memory a process had, in KiB; 0 where it has ended."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0


# ------------------------------------------------------------------ speed


@dataclass
class _Race:
    """Ours and a plain client, each a call that gives seconds; whether the bar is held against it."""

    name: str
    ours: Callable[[], float]
    theirs: Callable[[], float]
    bar: bool = True


def speed(args: argparse.Namespace, place: str, folder: Path, size: int) -> list[str]:
    """Race against plain clients; return the bars that are missed."""
    if place not in ("http", "s3", "sftp"):
        return []
    ours, missed = artifact(folder / "ours", size, ()), []
    with running(place, folder, direct=True) as there:
        for race in _races(place, there, ours, folder / "target"):
            ratios, rates = [], []
            for turn in range(args.rounds):
                order = (race.ours, race.theirs) if turn % 2 == 0 else (race.theirs, race.ours)
                seconds = {}
                for each in order:
                    there.clear()
                    push(ours, there.filled)
                    gc.collect()
                    with _no_collections():
                        seconds[each] = each()
                ratios.append(seconds[race.theirs] / seconds[race.ours])
                rates.append([size / 1e6 / seconds[each] for each in (race.ours, race.theirs)])
            mine, theirs = (statistics.median(each) for each in zip(*rates, strict=True))
            middle = statistics.median(ratios)
            print(
                f"{race.name}: {middle:.2f} × ({min(ratios):.2f}–{max(ratios):.2f}), "
                f"{mine:.0f} and {theirs:.0f} MB/s",
                flush=True,
            )
            if race.bar and middle < SLOWEST:
                missed.append(f"{race.name}: {middle:.2f} ×, at least {SLOWEST}")
    return missed


@contextmanager
def _no_collections() -> Iterator[None]:
    """Have Python collect no garbage: the servers are in this process, and stop for as long as it takes."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _races(place: str, there: There, ours: Path, target: Path) -> list[_Race]:
    """List what is raced; what ``there`` holds is pushed before each turn."""
    file, copy = ours / BIG, target.with_name("copy.dat")
    fresh = f"{there.reference}/fresh"

    def pulling(whole: bool = False) -> float:
        shutil.rmtree(target, ignore_errors=True)
        return _timed(
            [sys.executable, "-c", _MOVE, "pull", there.reference, str(target), "cold" if whole else "warm"],
            whole,
        )

    def pushing(whole: bool = False) -> float:
        return _timed(
            [sys.executable, "-c", _MOVE, "push", fresh, str(ours), "cold" if whole else "warm"], whole
        )

    def plain(*command: str | Path, whole: bool = True) -> Callable[[], float]:
        def run() -> float:
            copy.unlink(missing_ok=True)
            return _timed(list(map(str, command)), whole)

        return run

    if place == "http":
        curl = f"curl -sS -f -o {copy} {there.plain}/{BIG}"
        return [
            _Race("http pull, curl", pulling, plain(*curl.split())),
            _Race(
                "http pull, curl and openssl dgst -sha256",
                pulling,
                plain("sh", "-c", f"{curl} && openssl dgst -sha256 {copy}"),
                False,
            ),
        ]
    if place == "sftp":
        scp = ("scp", "-q", "-F", there.server.ssh_config)
        return [
            _Race("sftp push, scp", pushing, plain(*scp, file, f"pod:{there.plain}/plain.dat")),
            _Race("sftp pull, scp", pulling, plain(*scp, f"pod:{there.plain}/{BIG}", copy)),
        ]
    with opened(there.reference) as remote:
        streams = str(remote.streams)
    boto3 = (sys.executable, "-c", _BOTO3)
    key, there_now = "there/plain.dat", f"there/{BIG}"
    races = [
        _Race(
            "s3 push, boto3",
            pushing,
            plain(*boto3, "push", BUCKET, key, file, str(PART), streams, whole=False),
            bar=not shutil.which("aws"),  # which is what a user types; this is told beside it
        ),
        _Race(
            "s3 pull, boto3",
            pulling,
            plain(*boto3, "pull", BUCKET, there_now, copy, str(PART), streams, whole=False),
        ),
    ]
    if shutil.which("aws"):
        aws = ("aws", "--no-progress", "--only-show-errors", "s3", "cp")
        races += [
            _Race("s3 push, aws s3 cp", partial(pushing, True), plain(*aws, file, f"s3://{BUCKET}/{key}")),
            _Race(
                "s3 pull, aws s3 cp", partial(pulling, True), plain(*aws, f"s3://{BUCKET}/{there_now}", copy)
            ),
        ]
    return races


def _timed(command: Sequence[str], whole: bool) -> float:
    """Run a command, and return its seconds: of the whole process, or as it prints them on its last line."""
    start = time.perf_counter()
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.perf_counter() - start
    if run.returncode:
        raise AffineurError(f"{' '.join(command)[-300:]} fails: {run.stderr.strip()[-500:]}")
    return took if whole else float(run.stdout.splitlines()[-1].split()[0])


# ------------------------------------------------------------------ moments


def moments(args: argparse.Namespace, place: str, folder: Path, size: int) -> list[str]:
    """Kill pushes of a new version, each at a later moment, and read; return the bars that are missed."""
    chance, seen, wrong = random.Random(args.seed), {"old": 0, "new": 0, "the end": 0}, []
    if place == "http":
        return []
    ours = artifact(folder / "ours", size)
    with running(place, folder) as there:
        push(ours, there.reference)
        _renew(ours, size)
        steps = int(_step(there, ours, 0, 0.0).stdout)
        old = digests(ours)
        for turn in range(args.moments):
            _renew(ours, size)
            new = digests(ours)
            after, later = (
                1 + turn * (steps - 1) // max(1, args.moments - 1),
                chance.uniform(0, 0.02) * (1 - turn % 2),
            )
            run = _step(there, ours, after, later)
            seen["the end"] += run.returncode == 0
            found = _read(there, folder / "reader")
            which = "old" if found == old else "new" if found == new else ""
            if which:
                seen[which] += 1
            else:
                wrong.append(f"{place}: killed after step {after} of {steps}, a reader gets neither version")
            push(ours, there.reference)
            if _read(there, folder / "reader") != new:
                wrong.append(f"{place}: killed after step {after} of {steps}, the same push does not end it")
            old = new
    print(
        f"{place}: {args.moments} moments over {steps} steps: {seen['old']} × the old version, "
        f"{seen['new']} × the new one, {len(wrong)} × neither; {seen['the end']} ended before their kill",
        flush=True,
    )
    return wrong


def _step(there: There, ours: Path, after: int, later: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _STEPS, str(ours), there.reference, str(after), str(later)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode not in (0, -signal.SIGKILL):
        raise AffineurError(f"{there.reference}, push: {run.stderr.strip()[-500:]}")
    return run


def _read(there: There, target: Path) -> dict[str, str]:
    shutil.rmtree(target, ignore_errors=True)
    pull(there.reference, target)
    return digests(target)


# ------------------------------------------------------------------ artifacts


def artifact(folder: Path, size: int, small: Sequence[str] = SMALL) -> Path:
    """Make a folder of one large file of random bytes, and a few small ones."""
    for name in small:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{name}\n")
    folder.mkdir(exist_ok=True)
    _renew(folder, size)
    return folder


def _renew(folder: Path, size: int) -> None:
    """Change the large file, and the first of the small ones where there are some."""
    with (folder / BIG).open("wb") as file:
        for start in range(0, size, 1 << 20):
            file.write(os.urandom(min(1 << 20, size - start)))
    if (folder / SMALL[0]).exists():
        (folder / SMALL[0]).write_bytes(os.urandom(99))


def digests(folder: Path) -> dict[str, str]:
    """Return the digest of each file, those that Affineur leaves as its trace left out."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in paths}


if __name__ == "__main__":
    sys.exit(main())
