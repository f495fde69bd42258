"""Two checkouts of Affineur against each other, offline and through the endpoint: does a change cost speed?

Each round starts both afresh, in an order that changes; ratios are the second's (the checkout this file is
in) to the first's, with their median and range. The same model folder is given to both.

    python benchmarks/against.py OTHER_CHECKOUT MODEL [--rounds 7] [--seconds 6] [--clients 64]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from affineur.artifact import describe_machine
from affineur.cli.main import guarded
from affineur.errors import AffineurError
from affineur.transfer import load_corpus
from load import closed, free_port, until_ready

HERE = Path(__file__).parents[1]
_SENTENCES = 512

# Runs in either checkout, so it may use only what both have.
_OFFLINE = """
import json, sys, time
import affineur
model = affineur.load(sys.argv[1])
words = json.load(open(sys.argv[2]))
model.tag(words[:64])
end, done, start = time.perf_counter() + float(sys.argv[3]), 0, time.perf_counter()
while time.perf_counter() < end:
    model.tag(words)
    done += len(words)
print(done / (time.perf_counter() - start))
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "other", type=Path, help="another checkout of Affineur, measured with this environment's libraries"
    )
    parser.add_argument(
        "model", type=Path, help="a model folder that both can load, in eight bits for example"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--clients", type=int, default=64)
    args = parser.parse_args()
    return guarded(lambda: against(args), "against.py", quiet=True)


def against(args: argparse.Namespace) -> int:
    """Measure and print."""
    sides = (args.other.resolve(), HERE)
    if missing := [side for side in sides if not (side / "src" / "affineur").is_dir()]:
        raise AffineurError(f"{missing[0]} is no checkout of Affineur: there is no src/affineur in it")
    model = args.model.resolve()
    sentences = [list(s.words) for s in load_corpus("sample", "test").spread(_SENTENCES)]
    words = Path(os.environ.get("TMPDIR", "/tmp")) / f"against-{os.getpid()}.json"
    words.write_text(json.dumps(sentences))
    texts = [" ".join(sentence) for sentence in sentences]
    print(
        f"{describe_machine()}\n{len(sentences)} sentences, {args.rounds} rounds of {args.seconds:g} s, in"
        " turn\n"
    )
    found: dict[str, list[float]] = {"offline": [], "endpoint": []}
    try:
        for turn in range(args.rounds):
            for what, measure in (
                ("offline", lambda side: _offline(side, model, words, args.seconds)),
                ("endpoint", lambda side: _endpoint(side, model, texts, args.clients, args.seconds)),
            ):
                order = sides if turn % 2 == 0 else sides[::-1]
                rate = {side: measure(side) for side in order}
                found[what].append(rate[sides[1]] / rate[sides[0]])
                print(f"round {turn + 1}, {what}: {found[what][-1]:.3f} ×", flush=True)
    finally:
        words.unlink(missing_ok=True)
    print()
    for what, ratios in found.items():
        print(f"{what}: {statistics.median(ratios):.3f} × ({min(ratios):.3f}–{max(ratios):.3f})")
    return 0


def _environment(side: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(side / "src"), "HF_HUB_OFFLINE": "1"}


def _offline(side: Path, model: Path, words: Path, seconds: float) -> float:
    """Return sentences a second of a fresh process."""
    command = [sys.executable, "-c", _OFFLINE, str(model), str(words), str(seconds)]
    run = subprocess.run(command, env=_environment(side), capture_output=True, text=True, check=False)
    if run.returncode:
        raise AffineurError(f"{side} fails: {run.stderr.strip().splitlines()[-1:]}")
    return float(run.stdout)


def _endpoint(side: Path, model: Path, texts: list[str], clients: int, seconds: float) -> float:
    """Return answers a second of a fresh endpoint, in a closed loop."""
    port = free_port()
    command = [sys.executable, "-m", "affineur", "serve", str(model), "--port", str(port), "-q"]
    process = subprocess.Popen(
        command, env=_environment(side), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"
        until_ready(process, f"{url}/health/ready")
        closed(f"{url}/predict", texts, clients, min(2.0, seconds))
        return closed(f"{url}/predict", texts, clients, seconds).rate
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
