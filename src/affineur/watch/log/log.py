"""A log that is written: by an endpoint, by ``annotate``, or from Python."""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, func, insert, select, update

from affineur.entities import Entity, LabeledPiece, types_of, with_prefix
from affineur.errors import ParameterError
from affineur.progress import report
from affineur.runtime import EngineTagger, Evidence, Predicted, PredictOptions
from affineur.watch.log import forgetting, labels, schema, tally
from affineur.watch.log.database import Database, complaint
from affineur.watch.log.forgetting import Summary
from affineur.watch.log.heard import Answered
from affineur.watch.log.keys import LogKeys
from affineur.watch.log.rows import Entry, ModelFacts, entry
from affineur.watch.log.writer import Writer

__all__ = ["Log", "Summary"]

#: Days after which texts are deleted, and after which another key hashes, where nobody says otherwise.
DAYS, KEY_DAYS = 90, 90
#: Seconds by which the clock may be off from one hour to the next before nothing is deleted by it.
_JUMP = 3600.0
#: Seconds that the end waits for what is not written yet, and a label for the text that it is of.
_END, _LABEL = 10.0, 1.0
_LOOK = 0.02


class Log:
    """A production log: one row a text, one a mention, and no text unless a share is asked for.

    It never keeps anybody waiting: rows are written a moment later by a thread of its own, and what the
    database does not take in time is dropped and counted. It is an ``AnswerListener`` of an endpoint.

    Args:
        where: A file (SQLite), or the URL of a PostgreSQL database, ``postgresql://USER@HOST/DATABASE``.
        key: The file of the keys of its hashes, made where it is missing; by default beside a SQLite file,
            with ``.key`` added to its name.
        days: Days after which texts are deleted.
        key_days: Days after which another key hashes; those before are kept to find what they hashed.
        text_share: Share of the texts that are kept in clear, in [0, 1].
        source: Who writes: ``serve``, ``annotate``, ``python``.
        tell: Is told what goes wrong later, in one line; by default progress is.

    Raises:
        ParameterError: If it cannot be opened or its key cannot be read, it is one of a newer schema, or a
            number is out of range.
        MissingExtraError: If the packages that it needs are not installed.
    """

    def __init__(
        self,
        where: str | os.PathLike[str],
        *,
        key: str | os.PathLike[str] | None = None,
        days: int = DAYS,
        key_days: int = KEY_DAYS,
        text_share: float = 0.0,
        source: str = "python",
        tell: Callable[[str], None] = report,
    ) -> None:
        for name, number in (("days", days), ("key_days", key_days)):
            if number < 1:
                raise ParameterError(f"{name}={number} is impossible, expected at least 1", name)
        if not 0 <= text_share <= 1:
            raise ParameterError(f"text_share={text_share:g} is impossible, expected 0 to 1", "text_share")
        self._database = Database(where)
        try:
            self.keys = LogKeys(key_file(self._database, key), key_days)
            self._open(days, text_share, source, tell)
        except BaseException:
            self._database.close()
            raise

    def _open(self, days: int, text_share: float, source: str, tell: Callable[[str], None]) -> None:
        """Begin a run in the database."""
        self.days, self.text_share = days, text_share
        self._tell = tell
        self._models: dict[ModelFacts, int] = {}
        self._recorded = Counter[str]()
        self._swept = (time.time(), time.monotonic())
        with self._database.errors("log"):
            with self._database.write() as connection:
                self._account(connection)
                self._run = self._begin(connection, source)
            self._tally = tally.Tally(self.keys.path, self._run)
            with self._database.read() as connection:
                newest = connection.scalar(select(func.max(schema.TEXTS.c.time)))
            if newest is not None and newest >= self._cutoff:  # else the clock may be wrong: an hour later
                self._sweep()
        self._writer = Writer(self._write, tell, self._tend)

    # ---- what is heard ----

    def announce(self, texts: int) -> None:
        """Count texts that are answered and not heard of yet, so that none is lost uncounted."""
        self._tally.add(texts)

    def __call__(self, answered: Answered, /) -> None:
        """Hear of a request that an endpoint has answered; see :meth:`announce`."""
        model = ModelFacts(answered.model.sha256, _types(answered.model.labels))
        self._hear(
            model,
            answered.texts,
            answered.results,
            answered.evidence(),
            answered.options,
            answered.seconds,
            wait=False,
        )

    def listen_to(self, tagger: EngineTagger, digest: str, *, wait: bool = True) -> None:
        """Log all raw texts that a model predicts from now on.

        Args:
            tagger: The model.
            digest: Of its weights, configuration and tokenizer.
            wait: Whether it waits where it is faster than the log; otherwise what is too much is dropped.
        """
        tagger.listener = partial(self._hear_predicted, ModelFacts(digest, _types(tagger.labels)), wait)

    def _hear_predicted(self, model: ModelFacts, wait: bool, predicted: Predicted) -> None:
        self._tally.add(len(predicted.texts))
        self._hear(
            model,
            predicted.texts,
            predicted.results,
            predicted.evidence,
            predicted.options,
            predicted.seconds / len(predicted.texts),
            wait=wait,
        )

    def _hear(
        self,
        model: ModelFacts,
        texts: Sequence[str],
        results: Sequence[Sequence[Entity | LabeledPiece]],
        evidence: Sequence[Evidence],
        options: PredictOptions,
        latency: float,
        *,
        wait: bool,
    ) -> None:
        now, key = time.time(), self.keys.current
        self._writer.put(
            [
                entry(
                    text,
                    found,
                    about,
                    model=model,
                    options=options,
                    latency=latency,
                    time=now,
                    key=key,
                    share=self.text_share,
                )
                for text, found, about in zip(texts, results, evidence, strict=True)
            ],
            wait=wait,
        )

    # ---- what is said of it ----

    @property
    def shown(self) -> str:
        """What to call it, without a password."""
        return self._database.shown

    @property
    def written(self) -> int:
        """Texts that this process has written."""
        return self._writer.written

    @property
    def waiting(self) -> int:
        """Texts that wait to be written."""
        return self._writer.waiting

    @property
    def dropped(self) -> Mapping[str, int]:
        """Texts that are not in the log, by reason (:data:`~affineur.watch.log.writer.REASONS`)."""
        return self._writer.dropped

    def summary(self) -> Summary:
        """Say what is in the log."""
        self.flush()
        with self._database.errors():
            return forgetting.summary(self._database)

    def label(
        self,
        mentions: Sequence[Mapping[str, Any]],
        *,
        text: str | None = None,
        hash: str | None = None,
        source: str = "python",
    ) -> str:
        """Keep what is right for a text: all of its mentions. It is on the disk when this returns.

        Args:
            mentions: Each with ``type``, ``start`` and ``end``.
            text: The text, of which only the hash is looked for.
            hash: Or the hash that stands for it.
            source: Who says so.

        Returns:
            The hash.

        Raises:
            ParameterError: If the text is not in the log, an offset is outside of it, mentions overlap, or
                the model lacks a type.
        """
        hashes = labels.hashes(self.keys.all, text, hash)
        try:
            return self._label(hashes, mentions, source)
        except labels.UnknownText:
            self._await_answers(_LABEL)  # it may have been answered just now
            return self._label(hashes, mentions, source)

    def _label(self, hashes: Sequence[str], mentions: Sequence[Mapping[str, Any]], source: str) -> str:
        with self._database.errors(), self._database.write(durable=True) as connection:
            return labels.add(connection, hashes, mentions, source)

    def _await_answers(self, seconds: float) -> None:
        """Wait until all that was answered until now is written, or dropped, for so many seconds at most."""
        answered, end = self._tally.count, time.monotonic() + seconds
        while self.written + self._writer.dropped.total() < answered and time.monotonic() < end:
            time.sleep(_LOOK)
            self.flush(_LOOK)

    def forget(self, *, text: str | None = None, hash: str | None = None, before: float | None = None) -> int:
        """Delete what is known of a text, or of all older ones, labels included; return of how many.

        Args:
            text: The text, by all keys.
            hash: Or the hash that stands for it.
            before: Or a time, in seconds UTC.
        """
        self.flush()
        with self._database.errors():
            hashes = None if text is None and hash is None else labels.hashes(self.keys.all, text, hash)
            return forgetting.forget(self._database, hashes=hashes, before=before)

    # ---- its end ----

    def flush(self, seconds: float = _END) -> bool:
        """Wait until what was heard is written, for so many seconds at most; return whether it is."""
        return self._writer.flush(seconds)

    def close(self, seconds: float = _END) -> None:
        """Write what was heard, for so many seconds at most, and close it."""
        self._writer.close(seconds)
        try:
            with self._database.write() as connection:
                self._record(connection, ended=True)
            self._tally.close()
        except Exception as error:  # what it could not say, the next one says by the tally
            self._tell(f"the log cannot be ended ({complaint(error)})")
        self._database.close()

    def __enter__(self) -> Self:
        """Return the log."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    # ---- writing ----

    def _write(self, entries: Sequence[Entry]) -> None:
        texts, mentions, samples = [], [], []
        models = dict(self._models)
        with self._database.write() as connection:
            first = self._database.reserve(connection, len(entries))
            for number, each in enumerate(entries, start=first):
                if each.model not in models:
                    models[each.model] = _model_id(connection, each.model)
                texts.append({**each.text, "id": number, "run_id": self._run, "model_id": models[each.model]})
                mentions += [{**mention, "text_id": number} for mention in each.mentions]
                if each.sample is not None:
                    samples.append({"text_id": number, "text": each.sample})
            for table, rows in (
                (schema.TEXTS, texts),
                (schema.MENTIONS, mentions),
                (schema.SAMPLES, samples),
            ):
                if rows:
                    connection.execute(insert(table), rows)
            recorded = self._record(connection, more=len(entries))
        self._models, self._recorded = models, recorded

    def _begin(self, connection: Connection, source: str) -> int:
        now = time.time()
        row = {
            "source": source,
            "host": socket.gethostname()[:255],
            "pid": os.getpid(),
            "started": now,
            "last": now,
            "written": 0,
            "dropped": 0,
        }
        made = connection.execute(insert(schema.RUNS).values(row)).inserted_primary_key
        assert made is not None
        return int(made[0])

    def _record(self, connection: Connection, more: int = 0, *, ended: bool = False) -> Counter[str]:
        """Write how much was written and dropped until now; return the latter."""
        now, dropped = time.time(), Counter(self._writer.dropped)
        if ended and (missing := self._tally.count - self._writer.written - dropped.total()) > 0:
            dropped["unheard"] += missing  # more came than could be heard of
        if new := dropped - self._recorded:
            connection.execute(
                insert(schema.DROPS),
                [
                    {"run_id": self._run, "time": now, "reason": reason, "texts": texts}
                    for reason, texts in new.items()
                ],
            )
        values = {"last": now, "written": self._writer.written + more, "dropped": dropped.total()}
        connection.execute(
            update(schema.RUNS)
            .where(schema.RUNS.c.id == self._run)
            .values(values | ({"ended": now} if ended else {}))
        )
        return dropped

    def _account(self, connection: Connection) -> None:
        """Count what processes that were killed had not written yet."""
        runs = schema.RUNS.c
        for number, answered in tally.of_the_dead(self.keys.path):
            run = connection.execute(
                select(runs.written, runs.dropped).where(runs.id == number, runs.ended.is_(None))
            ).first()
            if run is None:
                continue
            now, lost = time.time(), max(0, answered - run.written - run.dropped)
            if lost:
                row = {"run_id": number, "time": now, "reason": "killed", "texts": lost}
                connection.execute(insert(schema.DROPS).values(row))
                self._tell(f"the log lacks {lost} of {answered} texts of a process that was killed")
            values = {"ended": runs.last, "dropped": run.dropped + lost}
            connection.execute(update(schema.RUNS).where(runs.id == number).values(values))

    # ---- what is old ----

    @property
    def _cutoff(self) -> float:
        return time.time() - self.days * 86_400

    def _tend(self) -> None:
        """Delete what is too old, and let another key hash where this one is."""
        self.keys.rotate()
        before, self._swept = self._swept, (time.time(), time.monotonic())
        jump = (self._swept[0] - before[0]) - (self._swept[1] - before[1])
        if abs(jump) > _JUMP:
            self._tell(f"the clock has moved by {jump:+.0f} seconds: nothing is deleted by it for an hour")
            return
        self._sweep()

    def _sweep(self) -> None:
        if done := forgetting.forget(self._database, before=self._cutoff):
            self._tell(f"{done} texts older than {self.days} days are deleted from the log")


def key_file(database: Database, key: str | os.PathLike[str] | None) -> Path:
    """Return the file of keys of a log.

    Raises:
        ParameterError: If it has to be named.
    """
    if key is not None:
        return Path(key)
    if database.path is None:
        raise ParameterError(
            "a log in PostgreSQL needs a file for the key of its hashes; name one, such as watch.key",
            "log_key",
        )
    return database.path.with_name(f"{database.path.name}.key")


def _types(labels: Sequence[str]) -> tuple[str, ...]:
    return types_of(with_prefix(label) for label in labels)


def _model_id(connection: Connection, model: ModelFacts) -> int:
    """Return the number of a model in the log; another process may be adding it too."""
    wanted = select(schema.MODELS.c.id).where(schema.MODELS.c.digest == model.digest)
    if (found := connection.scalar(wanted)) is None:
        # Nobody else does meanwhile: SQLite has one writer, and in PostgreSQL who reserves ids holds a lock.
        row = {"digest": model.digest, "types": json.dumps(model.types)}
        made = connection.execute(insert(schema.MODELS).values(row)).inserted_primary_key
        assert made is not None
        return int(made[0])
    return int(found)
