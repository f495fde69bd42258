"""Issue 19, number 16: the map of a redaction is its owner's alone, and is not lost."""

from __future__ import annotations

import io
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from affineur import restore
from affineur.artifact import new_file
from affineur.cli.main import main
from affineur.errors import AffineurError

from .standin import PATH, command, load

TEXT = "Jean Morvan vit à Nîmes.\r\nSigné : JEAN MORVAN, née Élodie\u2028;\n"


@pytest.fixture(autouse=True)
def _by_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("affineur.api.model.load", load)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((PATH, *sys.path)))


def predict(*words: str | Path) -> int:
    return main(["predict", "MODEL", *map(str, words), "-q"])


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
    monkeypatch.setattr(secrets, "token_hex", lambda _: "told")
    for link in (".other.jsonl.tmp-told", ".other.jsonl.lock"):
        (tmp_path / link).symlink_to(victim)
        assert predict("Jean Morvan dort", "--redact", "--redact-map", tmp_path / "other.jsonl") == 1
        assert victim.read_text() == "keep"
        assert not (tmp_path / "other.jsonl").exists()
        (tmp_path / link).unlink(missing_ok=True)


def test_no_byte_is_written_where_others_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with new_file(tmp_path / "map", mode=0o600, replace=False):
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


@pytest.mark.parametrize("links", [True, False])
def test_what_appears_meanwhile_is_kept_and_so_is_ours(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any, **more: Any) -> None:
        raise PermissionError("no hard links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "map"
    with new_file(target, replace=False) as file:
        file.write("first")
    assert target.read_text() == "first"
    target.unlink()

    def write() -> None:
        with new_file(target, replace=False) as file:
            file.write("ours")
            target.write_text("theirs")

    with pytest.raises(AffineurError, match="yours is") as error:
        write()
    assert target.read_text() == "theirs"
    assert Path(str(error.value).rpartition(" ")[2]).read_text() == "ours"


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
