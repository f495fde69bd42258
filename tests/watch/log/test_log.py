"""A log, in SQLite and in PostgreSQL: what is in it, what is not, and what it survives."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from affineur.errors import ParameterError
from affineur.progress import listening
from affineur.watch.log import Log, forgetting, mounts, schema, writer
from affineur.watch.log import log as module
from affineur.watch.log.database import Database
from affineur.watch.log.keys import read_log_keys

from .conftest import Answer, Held, answer, rows

TEXTS = ("Marie Duval habite Mâcon", "Élodie Morvan travaille à Nanterre", "Jean dort")
Opened = Callable[..., Log]


# ---- what is in it ----


def test_a_row_a_text_and_a_row_a_mention(where: str, opened: Opened) -> None:
    log, before = opened(where), time.time()
    answer(log, *TEXTS)
    columns = "time, characters, words, pieces, unknown_pieces, latency, strategy, context, confidence"
    texts = rows(log, "ner_texts", f"{columns}, begin_mass", "id")
    assert len(texts) == 3
    when, *rest, mass = texts[1]
    assert before <= when <= time.time()
    assert rest == [len(TEXTS[1]), 3, 5, 1, 0.02, "word", "sentence", 0.9]
    assert json.loads(mass) == {"LOC": 0.25, "PER": 1.5}
    mentions = rows(log, "ner_mentions", 'number, type, start, "end", score, probabilities, before, after')
    assert mentions == [(0, "PER", 0, 5, 0.75, "[0.75]", 0.0, 0.125)] * 3
    assert rows(log, "ner_models", "digest, types") == [("a" * 64, '["LOC", "PER"]')]
    assert [run[0] for run in rows(log, "ner_runs", "written")] == [3]
    assert (log.written, log.waiting, sum(log.dropped.values())) == (3, 0, 0)


def test_no_word_of_a_text_is_anywhere_in_its_files(tmp_path: Path, opened: Opened) -> None:
    log = opened(str(tmp_path / "watch.db"))
    for number in range(200):
        answer(log, *(f"{text} {number}" for text in TEXTS))
    log.label([{"type": "PER", "start": 0, "end": 5}], text=f"{TEXTS[0]} 7")
    assert log.flush()
    words = {word for text in TEXTS for word in re.findall(r"\w{4,}", text)}
    for closed in (False, True):
        if closed:
            log.close()
        files = [path for path in tmp_path.iterdir() if path.is_file()]
        assert {"watch.db", "watch.key"} <= {path.name for path in files}
        assert closed or "watch.db-wal" in {path.name for path in files}
        kept = b"".join(path.read_bytes() for path in files)
        assert b"PER" in kept
        for word in words:
            for encoding in ("utf-8", "utf-16-le", "latin-1"):
                assert word.encode(encoding) not in kept
                assert word.lower().encode(encoding) not in kept


def test_a_share_of_texts_is_kept_in_clear_the_same_ones_each_time(where: str, opened: Opened) -> None:
    log = opened(where, text_share=0.25)
    texts = [f"Texte {number}" for number in range(400)]
    answer(log, *texts)
    kept = [text for (text,) in rows(log, "ner_samples", "text")]
    assert set(kept) < set(texts)
    assert 60 < len(kept) < 140
    answer(log, *texts)
    assert sorted(rows(log, "ner_samples", "text")) == sorted([(text,) for text in kept] * 2)
    odd = opened(where, text_share=1.0)
    answer(odd, "\0\ud800 é")  # neither is text to PostgreSQL
    assert rows(odd, "ner_samples", "text", "text_id DESC")[0] == ("�? é",)


def test_a_hash_is_of_its_text_and_of_its_key_alone(where: str, opened: Opened, tmp_path: Path) -> None:
    log = opened(where)
    answer(log, TEXTS[0], TEXTS[0], TEXTS[1])
    first, again, other = (found for (found,) in rows(log, "ner_texts", "hash", "id"))
    assert first == again != other
    another = opened(where, key=tmp_path / "another.key")
    answer(another, TEXTS[0])
    assert first not in [found for (found,) in rows(another, "ner_texts", "hash", "id DESC")[:1]]
    assert stat.S_IMODE((tmp_path / "watch.key").stat().st_mode) == 0o600


# ---- labels ----


def test_a_label_is_on_the_disk_when_it_is_taken(where: str, opened: Opened) -> None:
    log = opened(where)
    answer(log, *TEXTS)
    mentions = [{"type": "LOC", "start": 19, "end": 24}, {"type": "PER", "start": 0, "end": 11}]
    hashed = log.label(mentions, text=TEXTS[0], source="feedback")
    assert log.label([], hash=hashed) == hashed
    assert rows(log, "ner_labels", "text_id, source, mentions") == [
        (1, "feedback", '[["PER", 0, 11], ["LOC", 19, 24]]'),
        (1, "python", "[]"),
    ]
    pragma = "PRAGMA synchronous" if log._database.path else "SHOW synchronous_commit"
    lasting, quick = (2, 1) if log._database.path else ("on", "off")
    for durable, expected in ((True, lasting), (False, quick)):
        with log._database.write(durable=durable) as connection:
            assert connection.exec_driver_sql(pragma).scalar() == expected


@pytest.mark.parametrize(
    ("mentions", "said"),
    [
        ([{"type": "PERS", "start": 0, "end": 5}], "no type 'PERS', expected LOC, PER; did you mean 'PER'?"),
        ([{"type": "PER", "start": 3, "end": 99}], "outside of a text of 24 characters"),
        ([{"type": "PER", "start": -1, "end": 3}], "outside of a text"),
        ([{"type": "PER", "start": 5, "end": 5}], "outside of a text"),
        ([{"type": "PER", "start": True, "end": 5}], "outside of a text"),
        ([{"type": "PER", "start": 0}], r"mentions\[0\] is not a mention"),
        (
            [{"type": "PER", "start": 0, "end": 5}, {"type": "LOC", "start": 4, "end": 9}],
            "overlap at character 4",
        ),
    ],
)
def test_a_label_that_cannot_be_is_refused(
    tmp_path: Path, opened: Opened, mentions: list[dict[str, Any]], said: str
) -> None:
    log = opened(str(tmp_path / "watch.db"))
    answer(log, TEXTS[0])
    with pytest.raises(ParameterError, match=said):
        log.label(mentions, text=TEXTS[0])
    assert rows(log, "ner_labels") == []


def test_a_text_that_the_log_lacks_gets_no_label(tmp_path: Path, opened: Opened) -> None:
    log = opened(str(tmp_path / "watch.db"))
    answer(log, TEXTS[0])
    for wanted in ({"text": "never sent"}, {"hash": "0" * 32}):
        with pytest.raises(LookupError, match="the log has no such text"):
            log.label([], **wanted)
    for wrong in ({"hash": "zz"}, {}, {"text": "a", "hash": "0" * 32}):
        with pytest.raises(ParameterError, match="hash"):
            log.label([], **wrong)


# ---- forgetting ----


def test_a_text_is_forgotten_with_all_that_belongs_to_it(where: str, opened: Opened) -> None:
    log = opened(where, text_share=1.0)
    answer(log, *TEXTS, TEXTS[0])
    hashed = log.label([], text=TEXTS[0])
    log.label([], text=TEXTS[1])
    assert log.forget(text=TEXTS[0]) == 2
    assert log.forget(hash=hashed) == 0
    assert rows(log, "ner_texts", "id") == [(2,), (3,)]
    assert rows(log, "ner_mentions", "text_id") == [(2,), (3,)]
    assert rows(log, "ner_labels", "text_id") == [(2,)]
    assert rows(log, "ner_samples", "text", "text_id") == [(TEXTS[1],), (TEXTS[2],)]
    answer(log, TEXTS[0])  # no number is given twice
    assert rows(log, "ner_texts", "id") == [(2,), (3,), (5,)]
    if log._database.path:
        assert log.forget(text=TEXTS[1]) == 1
        kept = b"".join(path.read_bytes() for path in Path(where).parent.glob("watch.db*"))
        assert TEXTS[0].encode() in kept  # it came again
        assert TEXTS[1].encode() not in kept
        assert b"Nanterre" not in kept


def test_what_is_old_is_forgotten_many_at_a_time(
    where: str, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "_TOGETHER", 2)
    log = opened(where)
    answer(log, *TEXTS, "a", "b")
    assert log.flush()
    now = time.time()
    answer(log, "Kept here")
    assert log.forget(before=now) == 5
    assert rows(log, "ner_texts", "characters") == [(9,)]
    with pytest.raises(ParameterError, match="a text, a hash or a date"):
        log.forget()


def test_texts_older_than_the_days_are_deleted_unless_the_clock_has_jumped(
    where: str, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    log = opened(where, days=10, tell=told.append)
    answer(log, *TEXTS)
    assert log.flush()
    plain = time.time
    monkeypatch.setattr(module.time, "time", lambda: plain() + 11 * 86_400)
    log._tend()
    assert len(rows(log, "ner_texts")) == 3
    assert told == ["the clock has moved by +950400 seconds: nothing is deleted by it for an hour"]
    answer(log, TEXTS[0])
    assert log.flush()
    log._tend()  # an hour later the clock is still the same
    assert len(rows(log, "ner_texts")) == 1
    assert told[1:] == ["3 texts older than 10 days are deleted from the log"]
    log.close()
    opened(where, days=10)  # at start, by the clock of rows that are newer
    monkeypatch.setattr(module.time, "time", lambda: plain() + 99 * 86_400)
    late = opened(where, days=10)
    assert len(rows(late, "ner_texts")) == 1  # all of it looks old: the clock is given an hour
    late._tend()
    assert rows(late, "ner_texts") == []


def test_rows_are_in_the_order_they_came_whatever_the_clock_says(
    where: str, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, plain = opened(where), time.time
    for number, hours in enumerate((0, 5, -5)):
        monkeypatch.setattr(module.time, "time", lambda hours=hours: plain() + 3600 * hours)
        answer(log, "x" * (5 + number))
        assert log.flush()
    assert rows(log, "ner_texts", "characters", "id") == [(5,), (6,), (7,)]


# ---- keys ----


def test_a_key_that_is_too_old_is_followed_by_another_and_still_finds(
    where: str, opened: Opened, tmp_path: Path
) -> None:
    log = opened(where, key_days=30)
    answer(log, TEXTS[0])
    assert log.flush()
    old, _ = log.keys.current, log.close()
    path = tmp_path / "watch.key"
    path.write_text(f"{old.secret.hex()} {old.made - 31 * 86_400}\n")
    again = opened(where, key_days=30)
    answer(again, TEXTS[0])
    keys = read_log_keys(path)
    assert len(keys) == 2
    assert [key for (key,) in rows(again, "ner_texts", "key", "id")] == [old.id, keys[1].id]
    assert len({found for (found,) in rows(again, "ner_texts", "hash", "id")}) == 2
    assert again.forget(text=TEXTS[0]) == 2
    assert not again.keys.rotate()


@pytest.mark.parametrize("content", [b"nonsense\n", b"\xff", b"ab 12\n"])
def test_a_file_that_holds_no_keys_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "k").write_bytes(content)
    with pytest.raises(ParameterError, match=r"k(:1)? is no (file of keys|key), expected a file of keys"):
        Log(tmp_path / "watch.db", key=tmp_path / "k")


def test_keys_that_others_can_read_are_told_of(tmp_path: Path) -> None:
    told: list[str] = []
    Log(tmp_path / "watch.db").close()
    (tmp_path / "watch.db.key").chmod(0o644)
    with listening(lambda what, *_: told.append(what)):
        Log(tmp_path / "watch.db").close()
    assert told == [
        f"{tmp_path}/watch.db.key has the keys of a log and can be read by others; type: chmod 600 "
        f"{tmp_path}/watch.db.key"
    ]


# ---- the writer ----


def test_nobody_waits_and_what_has_no_room_is_dropped_and_counted(
    tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MOST_ROWS", 20)
    log = opened(str(tmp_path / "watch.db"))
    held = Held(log, monkeypatch)
    answer(log, "First text")
    assert held.entered.wait(30)
    start = time.monotonic()
    for number in range(50):
        answer(log, f"Text {number}")
    assert time.monotonic() - start < 5
    assert log.dropped == {"slow": 50 - 9}  # two rows each, and two that are being written
    assert log.waiting == 9
    held.go()
    assert len(rows(log, "ner_texts")) == 10
    answer(log, "Last text")
    assert rows(log, "ner_drops", "reason, texts") == [("slow", 41)]
    assert rows(log, "ner_runs", "written, dropped") == [(11, 41)]


def test_whoever_has_time_waits_for_room(
    tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MOST_ROWS", 20)
    log = opened(str(tmp_path / "watch.db"))
    told = Answer([f"Text {number}" for number in range(60)])
    model = module.ModelFacts("b" * 64, ("PER",))
    log._hear(model, told.texts, told.results, told.evidence(), told.options, 0.1, wait=True)
    assert len(rows(log, "ner_texts")) == 60
    assert not log.dropped


def test_a_full_disk_stops_no_answer_and_what_it_costs_is_counted(
    tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MOST_ROWS", 200)
    monkeypatch.setattr(writer, "_AGAIN_MOST", 0.2)
    told: list[str] = []
    log = opened(str(tmp_path / "watch.db"), tell=told.append)
    answer(log, *TEXTS)
    assert log.flush()
    plain, most = log._database.write, [0]

    @contextmanager
    def limited(**options: Any) -> Iterator[Any]:
        with plain(**options) as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count={most[0]}")  # at least what there is
            yield connection

    most[0] = 1
    monkeypatch.setattr(log._database, "write", limited)
    answer(log, *(f"{TEXTS[0]} {number}" for number in range(60)))  # more than the pages there are take
    end = time.monotonic() + 20
    while not log._writer.failing:
        assert time.monotonic() < end
        time.sleep(0.01)
    answer(log, *(f"{TEXTS[1]} {number}" for number in range(60)))
    assert set(log.dropped) == {"failing"}
    assert told == ["the log takes nothing (database or disk is full); answers go on"]
    before = log.written
    most[0] = 1_000_000_000
    assert log.flush(20)
    assert log.written > before
    answer(log, TEXTS[0])
    assert rows(log, "ner_drops", "reason, texts", "id")[-1][0] == "failing"
    assert sum(texts for _, texts in rows(log, "ner_drops", "reason, texts")) == log.dropped["failing"]


def test_a_lock_that_another_program_holds_only_delays(
    tmp_path: Path, opened: Opened, monkeypatch: Any
) -> None:
    import sqlite3

    monkeypatch.setattr("affineur.watch.log.database._WAIT", 0)
    log = opened(str(tmp_path / "watch.db"))
    other = sqlite3.connect(tmp_path / "watch.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    answer(log, *TEXTS)
    assert not log.flush(0.4)
    other.execute("ROLLBACK")
    other.close()
    assert log.flush(20)
    assert log.written == 3
    assert not log.dropped


def test_a_row_that_is_refused_takes_no_other_with_it(where: str, opened: Opened) -> None:
    told: list[str] = []
    log = opened(where, tell=told.append)
    log(Answer(TEXTS, seconds=0.1))
    log(Answer(["poison"], seconds=None))  # type: ignore[arg-type]
    log(Answer(TEXTS, seconds=0.1))
    assert len(rows(log, "ner_texts")) == 6
    assert log.dropped == {"refused": 1}
    assert len(told) == 1
    assert told[0].startswith("the log refuses a text (")
    assert "\n" not in told[0]


def test_what_is_heard_after_the_end_is_dropped(tmp_path: Path) -> None:
    log = Log(tmp_path / "watch.db")
    log.close()
    log(Answer(TEXTS))
    assert log.dropped == {"ended": 3}


# ---- several, and after the end ----


def test_two_processes_write_one_log(where: str, opened: Opened) -> None:
    logs = [opened(where), opened(where)]
    threads = [
        threading.Thread(target=lambda log=log: [answer(log, f"Text {n}", "Other") for n in range(150)])
        for log in logs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(log.flush() for log in logs)
    found = rows(logs[0], "ner_texts", "id, run_id", "id")
    assert [number for number, _ in found] == list(range(1, 601))
    assert {run: sum(each == run for _, each in found) for run in (1, 2)} == {1: 300, 2: 300}
    assert len(rows(logs[0], "ner_models")) == 1
    assert len(rows(logs[0], "ner_mentions")) == 600
    assert not logs[0].dropped
    assert not logs[1].dropped


def test_what_a_killed_process_had_not_written_is_counted(where: str, opened: Opened, tmp_path: Path) -> None:
    code = (
        "import os, sys, time\nfrom affineur.watch import Log\nfrom watch.log.conftest import answer\n"
        "log = Log(sys.argv[1], key=sys.argv[2])\nanswer(log, *('abcdef',) * 7)\nassert log.flush()\n"
        "log._writer._write = lambda _: time.sleep(60)\nanswer(log, *('abcdef',) * 5)\nlog.announce(2)\n"
        "os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", code, where, str(tmp_path / "watch.key")]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{Path(__file__).parents[2]}:{os.environ.get('PYTHONPATH', '')}",
    }
    alive = opened(where)
    assert subprocess.run(command, env=environment, check=False).returncode == -9
    assert len(list(tmp_path.glob(".watch.key.run-*"))) == 2
    told: list[str] = []
    log = opened(where, tell=told.append)
    assert told == ["the log lacks 7 of 14 texts of a process that was killed"]
    assert rows(log, "ner_drops", "run_id, reason, texts") == [(2, "killed", 7)]
    assert rows(log, "ner_runs", "written, dropped, ended IS NULL", "id")[1] == (7, 7, False)
    opened(where)  # counted once
    assert len(rows(log, "ner_drops")) == 1
    answer(alive, *TEXTS)
    assert alive.summary().texts == 10
    alive.close()
    log.close()
    assert len(list(tmp_path.glob(".watch.key.run-*"))) == 1


def test_the_end_writes_what_was_heard(where: str, tmp_path: Path, opened: Opened) -> None:
    with Log(where, key=tmp_path / "watch.key") as log:
        log.announce(4)  # one that is never heard of
        log(Answer(TEXTS))
    log = opened(where)
    summary = log.summary()
    assert (summary.texts, summary.mentions, summary.labels, summary.samples) == (3, 3, 0, 0)
    assert summary.dropped == {"unheard": 1}
    assert rows(log, "ner_runs", "ended IS NULL", "id") == [(False,), (True,)]


# ---- where it is ----


def test_a_log_of_a_newer_schema_is_refused_and_an_older_one_brought_up_to_date(
    where: str, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened(where)
    answer(log, *TEXTS)
    log.close()

    def second(connection: Any) -> None:
        connection.exec_driver_sql("ALTER TABLE ner_texts ADD COLUMN language VARCHAR(8)")

    with monkeypatch.context() as newer:
        newer.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, second))
        migrated = opened(where)
        answer(migrated, TEXTS[0])
        assert rows(migrated, "ner_texts", "characters, language", "id") == [
            *((len(text), None) for text in TEXTS),
            (len(TEXTS[0]), None),
        ]
        assert migrated.summary().schema == 2
        migrated.close()
    for writing in (True, False):
        with pytest.raises(ParameterError, match="a log of schema 2, written by a newer Affineur") as refused:
            Database(where, writing=writing)
        assert "\n" not in str(refused.value)


def test_what_is_no_log_is_refused_and_left_alone(tmp_path: Path) -> None:
    import sqlite3

    other, text = tmp_path / "other.db", tmp_path / "text.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE users (name)")
    connection.close()
    text.write_text("not a database at all, but a letter\n" * 20)
    for path, said in (
        (other, r"database of something else \(it has a table 'users'\)"),
        (text, "file is not a database"),
        (tmp_path, "is a folder, expected a file"),
        (tmp_path / "no" / "watch.db", "cannot be written"),
        ("mysql://a", "of the kind 'mysql', expected a file"),
        ("", "log is empty"),
    ):
        with pytest.raises(ParameterError, match=said):
            Log(path)
    with pytest.raises(ParameterError, match=r"is no log: it has no ner_meta"):
        Database(other, writing=False)
    with pytest.raises(ParameterError, match="is not there"):
        Database(tmp_path / "missing.db", writing=False)
    assert not (tmp_path / "missing.db").exists()
    with sqlite3.connect(other) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("users",)]
    connection.close()


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(ParameterError, match="Connection refused") as refused:
        Log("postgresql://me:secret@127.0.0.1:1/db?password=hidden", key=tmp_path / "k")
    assert "secret" not in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_a_log_in_postgres_asks_for_its_file_of_keys(postgres: str) -> None:
    with pytest.raises(ParameterError, match="needs a file for the key"):
        Log(postgres.format("postgres"))


def test_a_file_on_a_network_drive_is_warned_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mountinfo"
    shared = tmp_path / "with space"
    shared.mkdir()
    told: list[str] = []
    monkeypatch.setattr(mounts, "MOUNTS", table)
    place = str(shared).replace(" ", r"\040")
    for kind, warned in (("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("ext4", False)):
        table.write_text(
            "22 1 8:1 / / rw,relatime - ext4 /dev/root rw\n"
            f"40 22 0:50 / {place} rw shared:1 - {kind} host:/a rw\n"
        )
        told.clear()
        with listening(lambda what, *_: told.append(what)):
            Log(shared / f"{kind}.db").close()
            Log(tmp_path / f"{kind}.db").close()
        assert [f"{kind}.db is on a network drive ({kind})" in what for what in told] == [True] * warned


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    with Log(tmp_path / "watch.db") as log:
        answer(log, *TEXTS)
        assert log.flush()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}
    assert {"watch.db", "watch.db-wal", "watch.db-shm", "watch.db.key"} <= set(modes)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"days": 0}, "days=0 is impossible"),
        ({"key_days": -1}, "key_days=-1 is impossible"),
        ({"text_share": 1.5}, "text_share=1.5 is impossible, expected 0 to 1"),
    ],
)
def test_an_impossible_option_is_refused_before_anything_is_made(
    tmp_path: Path, option: dict[str, Any], said: str
) -> None:
    with pytest.raises(ParameterError, match=said):
        Log(tmp_path / "watch.db", **option)
    assert list(tmp_path.iterdir()) == []
