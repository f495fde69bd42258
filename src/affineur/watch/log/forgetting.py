"""What is in a log, and taking out of it what must not be there any more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, delete, func, select

from affineur.errors import ParameterError
from affineur.watch.log import schema
from affineur.watch.log.database import Database

#: Texts that are deleted in one transaction: others write between two.
_TOGETHER = 1000


@dataclass(frozen=True, slots=True)
class Summary:
    """What is in a log.

    Args:
        log: What it is called.
        schema: Version of its tables.
        texts: Texts.
        mentions: Mentions found in them.
        labels: Labels of texts.
        samples: Texts in clear.
        first: Time of the earliest text, in seconds UTC.
        last: Time of the latest.
        models: Digests of the models that answered, and the types that each knows.
        dropped: Texts that were answered and are not here, by reason.
        running: Processes that write now, or ended without a word.
    """

    log: str
    schema: int
    texts: int
    mentions: int
    labels: int
    samples: int
    first: float | None
    last: float | None
    models: dict[str, list[str]]
    dropped: dict[str, int]
    running: int


def summary(database: Database) -> Summary:
    """Say what is in a log."""
    with database.read() as connection:

        def count(table: Table) -> int:
            return int(connection.scalar(select(func.count()).select_from(table)) or 0)

        times = schema.TEXTS.c.time
        first, last = connection.execute(select(func.min(times), func.max(times))).one()
        models = connection.execute(select(schema.MODELS.c.digest, schema.MODELS.c.types)).all()
        drops = schema.DROPS.c
        dropped = connection.execute(
            select(drops.reason, func.sum(drops.texts)).group_by(drops.reason).order_by(drops.reason)
        ).all()
        unended = select(func.count()).where(schema.RUNS.c.ended.is_(None))
        return Summary(
            database.shown,
            schema.version_of(connection),
            count(schema.TEXTS),
            count(schema.MENTIONS),
            count(schema.LABELS),
            count(schema.SAMPLES),
            first,
            last,
            {digest: json.loads(types) for digest, types in models},
            {reason: int(texts) for reason, texts in dropped},
            int(connection.scalar(unended) or 0),
        )


def forget(database: Database, *, hashes: Sequence[str] | None = None, before: float | None = None) -> int:
    """Delete texts with all that belongs to them: mentions, labels, what is in clear.

    In SQLite nothing of it stays in the file, nor in the one beside it.

    Args:
        database: The log.
        hashes: Which stand for the texts.
        before: Or the time before which they were answered, in seconds UTC.

    Returns:
        How many texts.

    Raises:
        ParameterError: If nothing, or both are asked for.
    """
    if (hashes is None) == (before is None):
        raise ParameterError("expected a text, a hash or a date, and one of them")
    texts = schema.TEXTS.c
    which: ColumnElement[bool] = texts.time < before if hashes is None else texts.hash.in_(hashes)
    done = 0
    while True:
        with database.write(durable=True) as connection:
            ids = connection.scalars(select(texts.id).where(which).limit(_TOGETHER)).all()
            for table in (schema.MENTIONS, schema.SAMPLES, schema.LABELS):
                connection.execute(delete(table).where(table.c.text_id.in_(ids)))
            connection.execute(delete(schema.TEXTS).where(texts.id.in_(ids)))
        done += len(ids)
        if len(ids) < _TOGETHER:
            break
    if done:
        database.erase()
    return done
