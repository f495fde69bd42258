"""Issue 19, numbers 17 to 19 and 21: odd values in each field of a file, odd words typed."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from affineur.artifact import describe, open_folder, read_manifest, verify
from affineur.artifact.exported import EXPORT_INFO, read_export_info
from affineur.cli.main import build_parser, guarded, main
from affineur.errors import AffineurError
from affineur.measure.bars import read_bars, read_endpoint_bars
from affineur.pipeline.recipe import read_recipe
from affineur.pipeline.search_recipe import read_search_recipe

ROOT = Path(__file__).parents[2]
ODD: list[Any] = [
    *(None, True, -1, 0, 10**300, 1e308, "", "a\nb\0", "²"),
    *([], [None], [[]], {}, {"": None}, {"a": [1]}, "x" * 100_000),
]


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every field, and the first item of each list."""
    items = (
        value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    )
    for key, inside in items:
        yield (*at, key)
        yield from places(inside, (*at, key))


def with_odd(value: Any) -> Iterator[Any]:
    """The value again with one field made odd."""
    for place in places(value):
        for odd in ODD:
            made = json.loads(json.dumps(value))
            inside = made
            for key in place[:-1]:
                inside = inside[key]
            inside[place[-1]] = odd
            yield made


def is_one_line(read: Callable[[], object]) -> bool:
    """Whether reading ends well, or in an error that tells the file; any other exception passes through."""
    try:
        read()
    except AffineurError as error:
        return not str(error)
    return True


def read_all(folder: Path) -> None:
    found = open_folder(folder)
    read_manifest(folder)
    if (folder / EXPORT_INFO).is_file():
        read_export_info(folder)
    describe(found)


@pytest.mark.parametrize(
    "name", ["config.json", "export_info.json", pytest.param("affineur.json", marks=pytest.mark.slow)]
)
def test_odd_values_in_files_of_an_artifact(tmp_path: Path, shared_int8: Path, name: str) -> None:
    folder = shutil.copytree(shared_int8, tmp_path / "m")
    right = json.loads((folder / name).read_text())
    if name == "config.json":
        right.pop("id2label", None)  # which label2id says again
    ended = []
    for odd in with_odd(right):
        (folder / name).write_text(json.dumps(odd))
        ended.append(is_one_line(lambda: read_all(folder)))
        if name == "affineur.json":
            ended.append(is_one_line(lambda: verify(folder)))
    assert not all(ended)


@pytest.mark.parametrize(
    ("file", "read"),
    [
        ("recipes/guide.yaml", read_recipe),
        ("recipes/search.yaml", read_search_recipe),
        ("bars/guide.yaml", read_bars),
        ("bars/endpoint.yaml", read_endpoint_bars),
    ],
)
def test_odd_values_in_recipes_and_bars(tmp_path: Path, file: str, read: Callable[[Path], object]) -> None:
    target, ended = tmp_path / "odd.yaml", []
    for odd in with_odd(yaml.safe_load((ROOT / file).read_text())):
        target.write_text(json.dumps(odd))  # which is YAML too, and written faster
        ended.append(is_one_line(lambda: read(target)))
    assert not all(ended)


BOMB = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))


@pytest.mark.parametrize("words", [["run"], ["search"], ["check", "sample", "--data", "sample", "--bars"]])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB, "aliases stand for"),
        (f"name: {{x: {'[' * 5000}{']' * 5000}}}", "deep"),
        ("min_f1: 0.5\nmin_f1: 0.1\n", "'min_f1' is there twice"),
        ("steps:\n- prune: {sparsity: 0.5, sparsity: 0.6}\n", "'sparsity' is there twice"),
        (f"min_f1: {'9' * 5000}\n", "5,000 characters"),
        ("? [a]\n: 1\n", "unhashable|key"),
    ],
)
def test_recipes_and_bars_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], text: str, told: str
) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    assert main([*words, str(file)]) == 1
    said = capsys.readouterr().err
    assert any(each in said for each in told.split("|")), said
    assert "recipe.yaml" in said
    assert said.count("\n") == 1
    assert len(said) < 500


NOBODY = "~no-user-has-this-name/x"


@pytest.mark.parametrize(
    "words",
    [
        ["info", NOBODY],
        ["verify", NOBODY],
        ["predict", NOBODY, "Marie"],
        ["annotate", "sample", NOBODY, "-o", "o.conll"],
        ["evaluate", "sample", "--data", NOBODY],
        ["evaluate", NOBODY, "--data", "sample"],
        ["compare", NOBODY, "--data", "sample"],
        ["check", "sample", "--data", "sample", "--bars", NOBODY],
        ["run", NOBODY],
        ["search", NOBODY, "--data", NOBODY],
        ["prune", NOBODY, "-o", "o"],
        ["train", NOBODY, "--data", "sample", "-o", "o"],
        ["serve", NOBODY, "--port", "0"],
        ["serve", "sample", "--port", "0", "--key-file", NOBODY],
        ["pull", NOBODY, "-o", "o"],
        ["push", NOBODY, "hub:a/b"],
    ],
    ids=" ".join,
)
def test_a_home_of_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = main(words)
    except SystemExit as error:
        status = int(str(error.code))
    assert status in (1, 2)
    said = capsys.readouterr().err
    assert "affineur: " in said
    assert "no-user-has-this-name" in said
    assert not list(tmp_path.iterdir())


def test_what_goes_on_is_said_of_what_goes_on_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    goes_on = set()
    parsers = next(each for each in build_parser()._actions if isinstance(each, argparse._SubParsersAction))
    for name in parsers.choices:
        assert guarded(interrupted, f"affineur {name}") == 130
        said = capsys.readouterr().err
        assert said.startswith("affineur: interrupted")
        assert said.count("\n") == 1
        if "the same command goes on" in said:
            goes_on.add(name)
    assert {"run", "search", "train", "pull", "push"} <= goes_on
    assert not {"predict", "annotate", "info", "serve", "key", "restore", "evaluate", "compare"} & goes_on


def test_errors_are_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.yaml").write_text(f"name: n\nteacher: sample\nsteps:\n- {'x' * 100_000}: {{}}\n")
    assert main(["run", str(tmp_path / "r.yaml")]) == 1
    assert len(capsys.readouterr().err) < 5000
