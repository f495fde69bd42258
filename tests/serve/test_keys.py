"""Keys: shown once, kept as digests, and what is said of files that are none."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from affineur.cli.main import main
from affineur.errors import ParameterError
from affineur.progress import listening
from affineur.serve import keys
from affineur.serve.keys import Key, add_key, find_key, read_keys, warn_if_open


def test_the_file_holds_a_digest_and_never_the_key(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    key = add_key(path, "clinic")
    assert path.read_text() == f"clinic sha256:{hashlib.sha256(key.encode()).hexdigest()}\n"
    assert len(key) >= 43  # 256 bits
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_keys(path) == (Key("clinic", hashlib.sha256(key.encode()).hexdigest(), False),)


def test_several_keys_comments_and_a_last_line_without_its_end(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("# keys of the clinic\n")
    first = add_key(path, "a")
    path.write_text(path.read_text().rstrip("\n"))
    second = add_key(path, "b", admin=True)
    known = read_keys(path)
    assert [(key.name, key.admin) for key in known] == [("a", False), ("b", True)]
    assert find_key(f"Bearer {first}", known) == known[0]
    assert find_key(f"bearer  {second}", known) == known[1]


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer nonsense", "Basic {}", "{}", "Bearer {}x", "Bearer \xff\x00é"],
)
def test_anything_else_is_no_key(tmp_path: Path, header: str | None) -> None:
    key = add_key(tmp_path / "keys", "a")
    assert find_key(header and header.replace("{}", key), read_keys(tmp_path / "keys")) is None


def test_every_key_is_compared_whole_in_constant_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys"
    shown = [add_key(path, name) for name in "abc"]
    compared: list[str] = []
    plain = keys.hmac.compare_digest

    def compare(a: str, b: str) -> bool:
        compared.append(a)
        return plain(a, b)

    monkeypatch.setattr(keys.hmac, "compare_digest", compare)
    for header in (*(f"Bearer {key}" for key in shown), "Bearer no", None):
        compared.clear()
        find_key(header, read_keys(path))
        assert compared == [key.digest for key in read_keys(path)]


def test_a_file_that_anybody_may_read_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    add_key(path, "a")
    said: list[str] = []
    with listening(lambda what, *_: said.append(what)):
        warn_if_open(path)
        path.chmod(0o640)  # as Kubernetes gives a secret to a user without rights
        warn_if_open(path)
        path.chmod(0o644)
        warn_if_open(path)
    assert said == [f"{path} can be read by anybody; type: chmod 600 {path}"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no key; make one with: affineur key"),
        (b"# nothing\n", "holds no key"),
        (b"a sha256:12\n", r":1: expected NAME sha256:DIGEST \[admin\]"),
        (b"\na sha256:" + b"0" * 64 + b" root\n", ":2: expected NAME"),
        (b"\xff\xfe", "is not text"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_file_of_keys_is_said_in_one_line(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ParameterError, match=message) as raised:
        read_keys(path)
    assert "\n" not in str(raised.value)


def test_the_command_shows_the_key_once(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "keys"
    assert main(["key", str(path), "clinic", "--admin"]) == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(r"[\w-]{43}\n", out)
    assert out.strip() not in err + path.read_text()
    assert find_key(f"Bearer {out.strip()}", read_keys(path)) == read_keys(path)[0]
    assert read_keys(path)[0].admin


@pytest.mark.parametrize(
    ("name", "message"),
    [("clinic", "has a key of the name clinic"), ("a b", "is no name for a key"), ("", "is no name")],
)
def test_a_name_that_cannot_be_is_refused_and_nothing_written(
    tmp_path: Path, capsys: Any, name: str, message: str
) -> None:
    path = tmp_path / "keys"
    add_key(path, "clinic")
    before = path.read_bytes()
    assert main(["key", str(path), name]) == 1
    out, err = capsys.readouterr()
    assert (out, path.read_bytes()) == ("", before)
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_path_that_cannot_be_written_is_said_in_one_line(tmp_path: Path, capsys: Any) -> None:
    for path in (tmp_path, tmp_path / "missing" / "keys"):
        assert main(["key", str(path), "a"]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert str(path) in err
        assert len(err.splitlines()) == 1


def test_a_file_of_something_else_is_not_added_to(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "notes"
    path.write_text("my notes\n")
    assert main(["key", str(path), "a"]) == 1
    assert path.read_text() == "my notes\n"
    assert "notes:1: expected NAME" in capsys.readouterr().err


def test_a_file_without_a_key_admits_nobody_once_there_was_one(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    key = add_key(path, "a")
    path.write_text("")
    keys = read_keys(path, empty=True)
    assert keys, "no key at all would mean that nobody needs one"
    for shown in (f"Bearer {key}", "Bearer ", "Bearer", None, "Bearer nobody"):
        assert find_key(shown, keys) is None
