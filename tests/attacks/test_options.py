"""Numbers of the command line that no machine can mean (issue 19, number 11): each is one line and exit 1, or
wrong usage, before anything is loaded.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from affineur.cli import main as cli
from affineur.cli.numbers import Number
from affineur.engines.core.threads import check_threads, usable_threads
from affineur.errors import ParameterError
from affineur.serve.settings import LIMITS, Settings

PARSER, COMMANDS = cli._built()
NUMBERS = [
    (command, action)
    for command in COMMANDS._parsers
    for action in COMMANDS.actions(command)
    if isinstance(action.type, Number)
]


def test_every_number_of_every_command_has_bounds() -> None:
    plain = [
        f"{command} {action.option_strings}"
        for command in COMMANDS._parsers
        for action in COMMANDS.actions(command)
        if action.type in (int, float)
    ]
    assert plain == []
    assert len(NUMBERS) > 80
    for _, action in NUMBERS:
        assert isinstance(action.type, Number)
        assert -math.inf < action.type.least < action.type.most < math.inf
        for default in (action.default,) if isinstance(action.default, (int, float)) else ():
            action.type.check(action.dest, default)


@pytest.mark.parametrize("text", ["inf", "-inf", "nan", "1e400", "-1e308", "9" * 400, "-" + "9" * 400])
def test_what_is_not_finite_or_endless_is_one_line(text: str) -> None:
    for _, action in NUMBERS:
        assert isinstance(action.type, Number)
        with pytest.raises((ParameterError, argparse.ArgumentTypeError)) as raised:
            action.type.check(action.dest, action.type(text))
        assert len(str(raised.value)) < 120
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "²", "1" * 5000, "0x10", "one", "½", "1,5", "--"])
def test_what_is_no_number_is_wrong_usage(text: str) -> None:
    for _, action in NUMBERS:
        assert isinstance(action.type, Number)
        if action.type.kind is float and text == "1" * 5000:
            continue  # infinite, see above
        with pytest.raises(argparse.ArgumentTypeError) as raised:
            action.type(text)
        assert len(str(raised.value)) < 80


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--timeout=inf", "--timeout inf is impossible, expected a finite number, 0.001 to 86400"),
        ("--drain=-1", "--drain -1 is impossible, expected 0 to 86400"),
        ("--batch-wait=nan", "--batch-wait nan is impossible, expected a finite number, 0 to 60000"),
        ("--queue-seconds=1e300", "--queue-seconds 1e+300 is impossible, expected 0.001 to 86400"),
        ("--port=70000", "--port 70000 is impossible, expected 0 to 65535"),
        ("--health-port=-1", "--health-port -1 is impossible, expected 0 to 65535"),
        ("--max-tokens=0", "--max-tokens 0 is impossible, expected 1 to 1099511627776"),
        ("--threads=100000", "--threads 100000 is impossible, expected at most"),
        ("--threads=0", "--threads 0 is impossible, expected at least 1"),
    ],
)
def test_the_endpoint_says_so_before_it_loads(
    option: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["serve", "/nowhere", option]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith(f"affineur: {said}")
    assert "\n" not in error


@pytest.mark.parametrize("name", LIMITS)
def test_limits_of_the_library_are_finite(name: str) -> None:
    for value in (math.inf, -math.inf, math.nan, -1):
        with pytest.raises(ParameterError, match=f"^{name}=.* is impossible, expected "):
            Settings(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("told", ["²", "-1", "0", "1e3", "9" * 5000, "100000", "4,2", " "])
def test_threads_of_the_environment_that_cannot_be(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert 1 <= usable_threads() <= (os.cpu_count() or 1)


def test_threads_are_bounded_by_processors() -> None:
    check_threads(16)
    with pytest.raises(ParameterError, match="expected at most"):
        check_threads(100_000)


@pytest.mark.slow
def test_a_superscript_is_no_traceback(shared_int8: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "affineur.cli.main", "predict", str(shared_int8), "Marie vit à Paris."],
        env={**os.environ, "OMP_NUM_THREADS": "²"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
