"""The command ``serve`` before it serves: names, ports, limits, what is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from affineur.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--also", "teacher"], "--also teacher is not NAME=MODEL"),
        (["--also", "ner=sample"], "the name ner is taken"),
        (["--name", "a/b"], "'a/b' is no name for a model"),
        (["--name", "x" * 65], "is no name for a model"),
        (["--port", "-1"], "--port -1 is impossible"),
        (["--health-port", "65536"], "--health-port 65536 is impossible"),
        (["--max-inputs", "0"], "--max-inputs 0 is impossible"),
        (
            ["--max-inputs", "20", "--max-waiting", "10"],
            "--max-inputs 20 texts in a request, but only --max-waiting 10 may wait",
        ),
        (["--timeout", "nan"], "--timeout nan is impossible"),
        (["--drain", "-1"], "--drain -1 is impossible, expected 0 to 86400"),
        (["--threads", "0"], "--threads 0 is impossible"),
        (["--batch-wait", "-1"], "--batch-wait -1 is impossible, expected 0 to 60000"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["serve", "sample", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("variable", "told"), [("PORT", "http"), ("PORT", "²"), ("PORT_HEALTH", "80a"), ("PORT", "70000")]
)
def test_ports_from_the_environment_are_ports(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variable: str, told: str
) -> None:
    monkeypatch.setenv(variable, told)
    assert main(["serve", "sample"]) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert told in err


@pytest.mark.parametrize("variable", ["PORT", "PORT_HEALTH"])
def test_a_blank_variable_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    monkeypatch.setenv(variable, "")
    assert (
        main(["serve", str(tmp_path / "missing"), *([] if variable == "PORT" else ["--port", "70000"])]) == 1
    )
    assert variable not in capsys.readouterr().err


@pytest.mark.parametrize(
    "missing", ["fastapi", "fastapi_offline", "uvicorn", "httptools", "prometheus_client", "starlette"]
)
def test_without_the_extra_the_line_says_what_to_install(missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; from affineur.cli.main import main; "
        "sys.exit(main(['serve', 'sample']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "affineur[serve]" in done.stderr


def test_keys_are_made_without_the_extra(tmp_path: object) -> None:
    code = (
        "import sys; sys.modules['fastapi'] = sys.modules['uvicorn'] = None; "
        "from affineur.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "key", f"{tmp_path}/keys", "a"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
