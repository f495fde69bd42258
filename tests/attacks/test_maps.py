"""Issue 19, number 16: the map of a redaction is its owner's alone, and is not lost."""

from __future__ import annotations

import io
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from affineur import restore
from affineur.artifact import new_file, private_log
from affineur.cli.main import main
from affineur.errors import AffineurError, DataError
from affineur.runtime import annotation

from .standin import PATH, command, load

TEXT = "Jean Morvan vit à Nîmes.\r\nSigné : JEAN MORVAN, née Élodie\u2028;\n"


@pytest.fixture(autouse=True)
def _by_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("affineur.api.model.load", load)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((PATH, *sys.path)))


def predict(*words: str | Path) -> int:
    return main(["predict", "./MODEL", *map(str, words), "-q"])


def test_a_link_at_a_name_that_was_foretold_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("keep")
    target = tmp_path / "map.jsonl"
    (tmp_path / f".map.jsonl.tmp-{os.getpid()}").symlink_to(victim)  # the name it once had
    assert predict("Jean Morvan dort", "--redact", "--redact-map", target) == 0
    assert victim.read_text() == "keep"
    assert target.stat().st_mode & 0o777 == 0o600
    (tmp_path / ".other.jsonl.lock").symlink_to(victim)
    assert predict("Jean Morvan dort", "--redact", "--redact-map", tmp_path / "other.jsonl") == 1
    assert victim.read_text() == "keep"
    assert not (tmp_path / "other.jsonl").exists()
    (tmp_path / ".told.json.tmp-told").symlink_to(victim)
    monkeypatch.setattr(secrets, "token_hex", lambda _: "told")
    with pytest.raises(AffineurError), new_file(tmp_path / "told.json"):
        pass
    assert victim.read_text() == "keep"


def test_no_byte_is_written_where_others_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with private_log(tmp_path / "map"):
            assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600]
    finally:
        os.umask(before)


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_as_the_map_is_refused(exists: bool, tmp_path: Path) -> None:
    victim, link = tmp_path / "victim", tmp_path / "map.jsonl"
    if exists:
        victim.write_text("keep")
    link.symlink_to(victim)
    assert predict("Jean Morvan dort", "--redact", "--redact-map", link) == 1
    assert victim.exists() == exists
    assert not exists or victim.read_text() == "keep"


def test_what_is_there_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "map").write_text("theirs")
    with pytest.raises(AffineurError, match="cannot be written"), private_log(tmp_path / "map"):
        pass
    assert (tmp_path / "map").read_text() == "theirs"


def test_a_disk_that_fills_leaves_whole_lines_for_what_was_printed(tmp_path: Path) -> None:
    limited = ["prlimit", "--fsize=5000", *command("--redact", "--redact-map", "map.jsonl")]
    given = b"Jean Morvan dort\n" * 500
    ended = subprocess.run(limited, input=given, capture_output=True, cwd=tmp_path, timeout=60, check=False)
    assert ended.returncode == 1
    rows = (tmp_path / "map.jsonl").read_text("utf-8").splitlines()
    assert 0 < len(rows) == ended.stdout.count(b"\n") < 500
    assert [len(json.loads(row)["map"]) for row in rows] == [1] * len(rows)
    assert f"map.jsonl has the map of the first {len(rows)} texts".encode() in ended.stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_whatever_ends_it_the_map_stays(name: str, tmp_path: Path) -> None:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    target = tmp_path / "map.jsonl"
    words = command("--redact", "--redact-map", "map.jsonl")
    with subprocess.Popen(words, cwd=tmp_path, **pipes) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(b"Jean Morvan dort\n")
            process.stdin.flush()
            give_up = time.monotonic() + 30
            while not (target.exists() and target.stat().st_size) and time.monotonic() < give_up:
                time.sleep(0.02)
            process.send_signal(getattr(signal, name))
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert len(target.read_text("utf-8").splitlines()) == 1
    if name != "SIGKILL":
        assert process.returncode == 130
        assert b"interrupted; map.jsonl has the map of the first text" in err.replace(b"1 text", b"text")
        assert [path.name for path in tmp_path.iterdir()] == ["map.jsonl"]
    assert predict("Jean Morvan dort", "--redact", "--redact-map", target) == 1  # names what was left
    assert len(target.read_text("utf-8").splitlines()) == 1


@pytest.mark.parametrize("name", ["-", "b/", ""])
def test_a_map_needs_the_name_of_a_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert predict("Jean Morvan dort", "--redact", "--redact-map", name) == 1
    assert "names no file" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_text_file_with_nul_is_refused_with_its_line(tmp_path: Path) -> None:
    source = tmp_path / "texts.txt"
    source.write_bytes(b"Bon\nJean\0dort\n")
    with pytest.raises(DataError, match="UTF-16") as error:
        list(annotation._rows(source, False))
    assert ":2" in str(error.value)


def test_of_two_processes_one_is_refused_before_it_gives_a_text_away(tmp_path: Path) -> None:
    words = ("--redact", "--redact-map", str(tmp_path / "map.jsonl"))
    pipes: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "cwd": tmp_path,
    }
    two = [subprocess.Popen(command(*words), **pipes) for _ in range(2)]
    ended = []
    try:
        give_up = time.monotonic() + 30
        while not ended and time.monotonic() < give_up:
            time.sleep(0.05)
            ended = [each for each in two if each.poll() is not None]  # the other waits for its input
        assert len(ended) == 1, "both write the same map"
        (first,) = ended
        out, err = first.communicate()
        assert first.returncode == 1
        assert b"another process is making" in err
        assert not out
        (second,) = (each for each in two if each is not first)
        out, _ = second.communicate(b"Jean Morvan dort\n", timeout=60)
    finally:
        for each in two:
            each.kill()
            each.wait()
    assert (second.returncode, out) == (0, b"[PER] dort\n")
    assert len((tmp_path / "map.jsonl").read_text("utf-8").splitlines()) == 1


@pytest.mark.parametrize("json_file", ["all.json", pytest.param("-", marks=pytest.mark.slow)])
def test_a_reader_that_leaves_costs_neither_map_nor_json(json_file: str, tmp_path: Path) -> None:
    many = 1200
    words = ["--redact=pseudonym", "--redact-map", "map.jsonl", "--json", json_file]
    with subprocess.Popen(
        command(*words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        _, err = process.communicate(b"Jean Morvan dort\n" * many, timeout=60)
    assert process.returncode == 1
    assert b"standard output took only a part" in err
    rows = (tmp_path / "map.jsonl").read_text("utf-8").splitlines()
    assert [len(json.loads(row)["map"]) for row in rows] == [1] * many
    if json_file != "-":
        assert len(json.loads((tmp_path / json_file).read_text("utf-8"))) == many


@pytest.mark.parametrize("end", ["\n", ""])
def test_the_map_leads_back_to_the_byte(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = f"\ufeff{TEXT.removesuffix(chr(10))}{end}"
    target = tmp_path / "map.jsonl"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given.encode()), encoding="ascii"))
    assert predict("--document", "--redact=pseudonym", "--redact-map", target) == 0
    out = capsys.readouterr().out
    assert "morvan" not in out.casefold()
    [row] = map(json.loads, target.read_text("utf-8").splitlines())
    assert restore(out, [tuple(each.values()) for each in row["map"]]) == given
