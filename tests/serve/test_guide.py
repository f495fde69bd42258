"""``docs/serving.md`` tells the truth: its examples are what a server answers, its tables what the code
holds.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from affineur.cli.main import build_parser, main
from affineur.engines.support.onnx_tagger import BUDGET_PER_THREAD
from affineur.serve.app import paths
from affineur.serve.exchange import _MOST_VALUES
from affineur.serve.metrics import Metrics
from affineur.serve.parameters import Parameters
from affineur.serve.problems import ERROR_TYPES, STATUS

from .held import logged

GUIDE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text("utf-8")
#: Commands with what the guide shows as their answer, which may be nothing.
EXAMPLES = [
    (command, answer)
    for block in re.findall(r"```console\n(.*?)```", GUIDE, re.DOTALL)
    for command, answer in re.findall(r"^\$ (curl .*)\n((?:[^$\n].*\n)?)", block, re.MULTILINE)
]
#: Entries that differ from one answer to the next.
_EVERY_TIME = ("delayTime", "executionTime")
pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the examples are curl's")


@contextmanager
def serving(*words: str, cwd: Path) -> Iterator[str]:
    """Run ``affineur serve`` in a process of its own; its address."""
    command = [sys.executable, "-m", "affineur", "serve", *words, "--port", "0"]
    server = subprocess.Popen(command, cwd=cwd, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        said = ""
        while "ready in" not in said:
            line = server.stderr.readline()
            assert line, said
            said += line
        yield said.partition('"url": "')[2].partition('"')[0]
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    finally:
        server.kill()
        server.wait()
        server.stderr.close()


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving("sample", cwd=tmp_path_factory.mktemp("sample")) as url:
        yield url


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The guide's file of keys, and the keys by the names that its examples have for them."""
    folder = tmp_path_factory.mktemp("guarded")
    found = {}
    for name, words in (("KEY", ["web"]), ("ADMIN", ["ops", "--admin"])):
        done = subprocess.run(
            [sys.executable, "-m", "affineur", "key", "keys.txt", *words],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        found[name] = done.stdout.strip()
    return folder, found


@pytest.fixture(scope="module")
def guarded(keys: tuple[Path, dict[str, str]], shared_onnx: Path, shared_int8: Path) -> Iterator[str]:
    folder, _ = keys
    for name, model in (("student_11L_int8", shared_int8), ("student_11L_int8_v2", shared_onnx)):
        shutil.copytree(model, folder / name)
    limits = ["--max-inputs", "3", "--max-characters", "500", "--max-body", "5000"]
    with serving(
        "student_11L_int8",
        "--key-file",
        "keys.txt",
        "--also",
        "other=student_11L_int8_v2",
        *limits,
        cwd=folder,
    ) as url:
        yield url


def ask(command: str, url: str, **variables: str) -> str:
    done = subprocess.run(
        ["bash", "-c", command.replace("http://127.0.0.1:8000", url)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def plain(value: Any) -> Any:
    """Leave out what differs every time, and read what is JSON inside of strings."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items() if name not in _EVERY_TIME}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, str) and value.startswith("[{"):
        return plain(json.loads(value))
    return pytest.approx(value, abs=0.006) if isinstance(value, float) else value


@pytest.mark.parametrize(("command", "answer"), [each for each in EXAMPLES if "Bearer" not in each[0]])
def test_an_example_is_answered_as_shown(sample: str, command: str, answer: str) -> None:
    assert answer.strip(), "the guide shows no answer"
    assert plain(json.loads(answer)) == plain(json.loads(ask(command, sample)))


def test_the_examples_with_keys_work(guarded: str, keys: tuple[Path, dict[str, str]]) -> None:
    with_keys = [command for command, _ in EXAMPLES if "Bearer" in command]
    assert len(with_keys) == 2
    found, reloaded = (json.loads(ask(command, guarded, **keys[1])) for command in with_keys)
    assert isinstance(found, list)
    assert (reloaded["model"]["folder"], reloaded["model"]["version"]) == ("student_11L_int8_v2", 2)


def status_of(url: str, path: str, body: str | None = None, key: str | None = None) -> tuple[int, Any]:
    words = [
        "curl",
        "-s",
        "-w",
        "\n%{http_code}",
        f"{url}{path}",
        *([] if body is None else ["--data-binary", body]),
    ]
    words += [] if key is None else ["-H", f"Authorization: Bearer {key}"]
    text, _, status = subprocess.run(words, capture_output=True, text=True, check=True).stdout.rpartition(
        "\n"
    )
    return int(status), text


def rows(after: str) -> list[list[str]]:
    """The rows of the first table after some words."""
    table = re.search(r"\|---.*\n((?:\|.*\n)+)", GUIDE[GUIDE.index(after) :])
    assert table is not None
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table[1].splitlines()]


def test_the_table_of_errors_is_complete_and_true(guarded: str, keys: tuple[Path, dict[str, str]]) -> None:
    assert {(kind.strip("`"), int(status)) for status, kind, _ in rows("Every error has")} == {
        (ERROR_TYPES[kind], status) for kind, status in STATUS.items()
    }
    key, admin = keys[1]["KEY"], keys[1]["ADMIN"]
    tried = {
        "empty": [("/predict", ""), ("/predict", '{"inputs": ""}'), ("/predict", '{"inputs": []}')],
        "not_found": [
            ("/nowhere", None),
            ("/predict?model=x", '{"inputs": "a"}'),
            ("/v2/models/x", None),
            ("/v2/models/ner/versions/9/infer", "{}"),
        ],
        "method_not_allowed": [("/predict", None)],
        "too_large": [
            ("/predict", json.dumps({"inputs": inputs})) for inputs in (["a"] * 4, "a" * 501, "a" * 5000)
        ],
        "validation": [
            ("/predict", '{"inputs": 3}'),
            ("/predict", "{"),
            ("/predict", '{"inputs": "a", "parameters": {"redact_map": true}}'),
        ],
    }
    for kind, requests in tried.items():
        for path, body in requests:
            status, text = status_of(guarded, path, body, key)
            assert (status, json.loads(text)["error_type"]) == (STATUS[kind], ERROR_TYPES[kind]), (
                path,
                body,
                text,
            )
    assert status_of(guarded, "/v2/models/ner/infer", "{}", key)[0] == 400
    job = status_of(guarded, "/runsync", '{"input": {"inputs": 3}}', key)
    assert (job[0], json.loads(job[1])["status"]) == (200, "FAILED")
    assert (
        status_of(guarded, "/predict", '{"inputs": "a"}')[0]
        == status_of(guarded, "/predict", '{"inputs": "a"}', key + "x")[0]
        == 401
    )
    assert status_of(guarded, "/admin/reload", "{}", key)[0] == 403
    refused = status_of(guarded, "/admin/reload", '{"model": "nothing"}', admin)
    assert refused[0] == 424
    assert "still serves" in refused[1]


def test_what_asks_for_a_key(guarded: str, sample: str) -> None:
    assert (
        "everything asks for a key but the health routes, `/ping`, `/ui`, `/docs` and `/openapi.json`"
        in GUIDE
    )
    without = paths().health | paths().open
    assert {path for path in without if "health" not in path} == {"/ping", "/ui", "/docs", "/openapi.json"}
    for path in without:
        assert status_of(guarded, path)[0] == 200, path
    for path in ("/metrics", "/info", "/v2", "/v2/models/ner"):
        assert status_of(guarded, path)[0] == 401, path
    assert status_of(sample, "/admin/reload", "{}")[0] == 404  # no key file, no route


def test_the_table_of_routes_is_complete(sample: str) -> None:
    told = {
        path
        for name, _ in rows("## Routes")
        for path in re.findall(r"[/…][^`, ]*", re.sub(r"\?model=NAME", "", name))
    }
    told = {
        re.sub("NAME", "{name}", path).replace("VERSION", "{version}").replace("…", "/v2/models/{name}")
        for path in told
    }
    known = set(json.loads(status_of(sample, "/openapi.json")[1])["paths"])
    assert told == known | {"/ui", "/docs", "/openapi.json", "/feedback"}  # the last with a log alone


def test_limits_and_parameters_are_those_of_the_code() -> None:
    parser = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    options = {
        option: action
        for command in ("quantize", "serve", "key", "probe-endpoint")
        for action in parser.choices[command]._actions
        for option in action.option_strings
    }
    for name, default, _ in rows("## Limits"):
        known = _MOST_VALUES if name == "values in a body" else options[name.strip("`")].default
        assert float(default.split()[0]) == known
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", GUIDE)) <= set(options)
    assert f"({options['--batch-wait'].default:g} ms)" in re.sub(r"`--batch-wait` ", "", GUIDE)
    assert f"({BUDGET_PER_THREAD} for each thread" in GUIDE
    assert {name.strip("`") for name, _ in rows("`parameters`, all optional")} == set(Parameters.model_fields)


def test_the_table_of_metrics_is_complete() -> None:
    told = {
        name.strip("`"): (kind, tuple(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels, _ in rows("## Metrics")
    }
    # What a log counts is in its own page, and comes from the log.
    collectors: list[Any] = [c for c in Metrics()._registry._collector_to_names if hasattr(c, "_type")]
    names = {each: f"{each._name}_total" if each._type == "counter" else each._name for each in collectors}
    assert told == {names[each]: (each._type, each._labelnames) for each in collectors}


def test_a_missing_key_file_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with logged():  # serving sets the log up, which must not stay so
        assert main(["serve", "sample", "--key-file", str(tmp_path / "none"), "--port", "0"]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) <= 2
