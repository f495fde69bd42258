"""Help, completion and ``-v``: every option is explained, and none is listed that does nothing."""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from affineur.cli.main import build_parser, main, spelled
from affineur.errors import AffineurError, ParameterError
from affineur.steps.core.step import STEPS

#: Where a device, a number of threads or a seed changes something.
DEVICE = (
    "demo run train distill recover search sweep "
    "evaluate compare benchmark check predict annotate probe-endpoint"
)
SEED = "demo run train distill recover search sweep"
NO_THREADS = "pack unpack cast info data key restore probe-endpoint pull push cache verify"
#: Commands of two words that compute nothing.
ONLY_READ = {"watch log", "watch forget"}


def commands() -> dict[str, argparse.ArgumentParser]:
    return dict(_commands(build_parser()))


def _commands(
    parser: argparse.ArgumentParser, family: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, each in action.choices.items():
                yield from list(_commands(each, f"{name} ")) or [(f"{family}{name}", each)]


NAMES = sorted(commands())


def options_of(command: str) -> set[str]:
    return {option for action in commands()[command]._actions for option in action.option_strings}


@pytest.mark.parametrize("command", NAMES)
def test_every_argument_is_explained(command: str) -> None:
    for action in commands()[command]._actions:
        assert action.help, (command, action.dest)
        shown = action.metavar or ""
        # A name that argparse makes up, such as MAX_DROP, says nothing of what is to be typed.
        if action.option_strings and action.nargs != 0 and not action.choices:
            assert shown or len(action.dest) <= len("device"), (command, action.option_strings)
        assert not action.help.endswith("."), (command, action.dest)


@pytest.mark.parametrize("command", NAMES)
def test_help_has_a_summary_and_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert f"  affineur {command} " in said or f"  affineur {command}\n" in said, "an example"
    assert "%(" not in said


def test_the_list_is_grouped_with_a_line_per_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    groups = [line for line in said.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert groups == ["options:", "make:", "measure:", "use:", "serve and watch:", "move and scale:"]
    for command in NAMES:
        [line] = [each for each in said.splitlines() if each.startswith(f"  {command} ")]
        assert len(line) <= 110
        assert not line.endswith(".")


def test_options_are_listed_only_where_they_change_something() -> None:
    assert {name for name in NAMES if "--device" in options_of(name)} == set(DEVICE.split())
    assert {name for name in NAMES if "--seed" in options_of(name)} == set(SEED.split())
    assert {name for name in NAMES if "--threads" not in options_of(name)} == set(
        NO_THREADS.split()
    ) | ONLY_READ
    assert all("--json" in options_of(name) for name in NAMES)


@pytest.mark.parametrize("name", STEPS.names())
def test_a_step_has_an_option_for_each_field(name: str) -> None:
    step = STEPS.get(name)
    fields = {f"--{(field.alias or key).replace('_', '-')}" for key, field in step.fields().items()}
    inputs = {f"--{known.name}" for known in step.inputs}
    assert fields | inputs <= options_of(name)


@pytest.mark.parametrize("command", DEVICE.split())
def test_a_gpu_that_is_not_there_is_an_error(
    command: str, shared_model, shared_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    model, data, out = str(shared_model("camembert")), ["--data", str(shared_corpus)], tmp_path / "out"
    (tmp_path / "bars.yaml").write_text("min_f1: 0\n")
    (tmp_path / "texts.txt").write_text("Marie vit à Paris.\n")
    (tmp_path / "recipe.yaml").write_text(
        f"name: x\nteacher: {model}\ndata: {shared_corpus}\nsteps: [prune]\n"
    )
    runs, made = ["--runs", str(out)], ["-o", str(out)]
    words = {
        "demo": runs,
        "run": [str(tmp_path / "recipe.yaml"), *runs],
        "sweep": [model, *data, *made, "--max-drop", "0.01"],
        "search": [model, *data, *made, "--front", str(tmp_path / "front")],
        "check": [model, *data, "--bars", str(tmp_path / "bars.yaml")],
        "predict": [model, "Marie"],
        "annotate": [model, str(tmp_path / "texts.txt"), *made],
        "probe-endpoint": ["http://127.0.0.1:9", "--agree-with", model],
        **{name: [model, *data] for name in ("evaluate", "compare", "benchmark")},
        **{name: [model, *data, *made] for name in ("train", "distill", "recover")},
    }
    assert main([command, *words[command], "--device", "cuda", "-q"]) == 1
    said = capsys.readouterr().err
    assert said == "affineur: --device cuda: no CUDA device on this machine; use cpu\n"
    assert not out.exists()
    assert not (tmp_path / "front").exists()


@pytest.mark.parametrize("command", ["run", "search", "sweep", "prune"])
def test_threads_are_set_for_the_work(
    command: str, shared_model, shared_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    told: list[int] = []

    def tell(number: int) -> None:
        told.append(number)
        raise AffineurError("that is enough")

    monkeypatch.setattr(torch, "set_num_threads", tell)
    model, data, made = str(shared_model("camembert")), str(shared_corpus), ["-o", str(tmp_path / "out")]
    (tmp_path / "recipe.yaml").write_text(f"name: x\nteacher: {model}\ndata: {data}\nsteps: [prune]\n")
    words = {
        "run": [str(tmp_path / "recipe.yaml"), "--runs", str(tmp_path / "runs")],
        "search": [model, "--data", data, *made],
        "sweep": [model, "--data", data, *made, "--max-drop", "0.01"],
        "prune": [model, *made],
    }
    assert main([command, *words[command], "--threads", "1", "-q"]) == 1
    assert told == [1]


@pytest.mark.parametrize(
    ("message", "parameter", "said"),
    [
        ("max_drop 2 is outside [0, 1)", None, "--max-drop 2 is outside [0, 1)"),
        ("sparsity=1.5 is impossible", "sparsity", "--sparsity 1.5 is impossible"),
        ("no device 'mps'", "device", "no --device 'mps'"),
        ("no pruning method 'wanda2'", "method", "no pruning method 'wanda2'"),
        ("no aggregation strategy 'x'", "strategy", "no aggregation strategy 'x'"),
        ("reconstruct=False is for ffn_width", "reconstruct", "--no-reconstruct is for --ffn-width"),
        ("method is what the method says", None, "method is what the method says"),
        ("name another folder as out", "out", "name another folder as -o"),
        ("/a/max_drop/b and max_drop.json stay", None, "/a/max_drop/b and max_drop.json stay"),
    ],
)
def test_parameters_are_spelled_as_options(message: str, parameter: str | None, said: str) -> None:
    given = {
        name: f"--{name.replace('_', '-')}"
        for name in ("max_drop", "sparsity", "device", "method", "strategy", "reconstruct", "ffn_width")
    } | {"out": "-o"}
    assert spelled(ParameterError(message, parameter), given) == said


def _completed(line: str, tmp_path: Path) -> list[str]:
    """Ask for completions as bash does."""
    pytest.importorskip("argcomplete")
    answer = tmp_path / "answer"
    environment = os.environ | {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line.encode())),
        "COMP_TYPE": "9",
    }
    done = subprocess.run(
        [sys.executable, "-m", "affineur"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return [word.strip() for word in answer.read_text().split("\n")]


def test_a_shell_is_told_what_may_come_next(tmp_path: Path) -> None:
    assert _completed("affineur pr", tmp_path) == ["prune", "predict", "probe-endpoint"]
    assert _completed("affineur prune sample --sp", tmp_path) == ["--sparsity"]


def test_verbose_shows_what_libraries_say_and_where_an_error_comes_from(
    shared_model, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRANSFORMERS_VERBOSITY", raising=False)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    words = ["predict", str(shared_model("camembert")), "Marie", "--threshold", "7"]
    assert main([*words, "-v"]) == 1
    logging.getLogger("some.library").info("a file was read")
    said = capsys.readouterr().err
    assert "Traceback (most recent call last)" in said
    assert "some.library: a file was read" in said
    assert "affineur: --threshold 7 is impossible" in said
    assert main(words) == 1
    assert capsys.readouterr().err == "affineur: --threshold 7 is impossible, expected 0 to 1\n"
