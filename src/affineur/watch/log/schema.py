"""The tables of a log, and the steps that bring one of an older version up to date.

Times are seconds UTC. What orders rows is their ``id``: a clock may jump.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    inspect,
    select,
    update,
)

from affineur.errors import ParameterError

METADATA = MetaData()
_ID = BigInteger().with_variant(Integer, "sqlite")

#: Facts of the log itself: ``schema``, its version.
META = Table(
    "ner_meta",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)
#: Models that answered.
MODELS = Table(
    "ner_models",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("types", Text, nullable=False),  # JSON
    sqlite_autoincrement=True,
)
#: Processes that have written so many texts until ``last``, and dropped others; ``ended`` where they said so.
RUNS = Table(
    "ner_runs",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("source", String(16), nullable=False),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started", Double, nullable=False),
    Column("last", Double, nullable=False),
    Column("ended", Double),
    Column("written", BigInteger, nullable=False),
    Column("dropped", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
#: One row a text that was answered.
TEXTS = Table(
    "ner_texts",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("run_id", BigInteger, nullable=False),
    Column("model_id", BigInteger, nullable=False),
    Column("time", Double, nullable=False),
    Column("key", String(8), nullable=False),
    Column("hash", String(32), nullable=False),
    Column("characters", Integer, nullable=False),
    Column("words", Integer, nullable=False),
    Column("pieces", Integer, nullable=False),
    Column("unknown_pieces", Integer, nullable=False),
    Column("latency", Double, nullable=False),
    Column("strategy", String(16), nullable=False),
    Column("context", String(16), nullable=False),
    Column("threshold", Double, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("begin_mass", Text, nullable=False),  # JSON
    Index("ner_texts_by_hash", "hash"),
    Index("ner_texts_by_time", "time"),
    sqlite_autoincrement=True,
)
#: One row a mention that was found in one.
MENTIONS = Table(
    "ner_mentions",
    METADATA,
    Column("text_id", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("score", Double, nullable=False),
    Column("probabilities", Text, nullable=False),  # JSON
    Column("before", Double, nullable=False),
    Column("after", Double, nullable=False),
    sqlite_with_rowid=False,
)
#: Texts in clear, of the share that is asked for.
SAMPLES = Table(
    "ner_samples",
    METADATA,
    Column("text_id", BigInteger, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
)
#: What somebody says is in a text: all of its mentions, as JSON of ``[type, start, end]``.
LABELS = Table(
    "ner_labels",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("text_id", BigInteger, nullable=False),
    Column("time", Double, nullable=False),
    Column("source", String(64), nullable=False),
    Column("probability", Double),  # of having been chosen for labeling, where somebody chose
    Column("mentions", Text, nullable=False),
    Index("ner_labels_by_text", "text_id"),
    sqlite_autoincrement=True,
)
#: Texts that were answered and are not here, and why.
DROPS = Table(
    "ner_drops",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("run_id", BigInteger, nullable=False),
    Column("time", Double, nullable=False),
    Column("reason", String(16), nullable=False),
    Column("texts", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)


def _first(connection: Connection) -> None:
    METADATA.create_all(connection)


#: Each brings a log to the version that is its place here, from 1; none is ever changed or taken out.
MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_first,)


def version_of(connection: Connection) -> int:
    """Return the version of a log's tables; 0 where there are none."""
    if not inspect(connection).has_table(META.name):
        return 0
    found = connection.scalar(select(META.c.value).where(META.c.name == "schema"))
    return int(found) if found is not None and found.isdigit() else 0


def migrate(connection: Connection, shown: str) -> None:
    """Bring the tables of a log up to date, in the transaction of a connection.

    Args:
        connection: To the log.
        shown: What to call it in an error.

    Raises:
        ParameterError: If they are of a version that is not known here.
    """
    version, newest = version_of(connection), len(MIGRATIONS)
    refuse_newer(version, shown)
    for step in MIGRATIONS[version:]:
        step(connection)
    if version == 0:
        connection.execute(META.insert(), {"name": "schema", "value": str(newest)})
    elif version < newest:
        connection.execute(update(META).where(META.c.name == "schema").values(value=str(newest)))


def refuse_newer(version: int, shown: str) -> None:
    """Refuse a log that a newer Affineur has written.

    Raises:
        ParameterError: If its version is not known here.
    """
    if version > len(MIGRATIONS):
        raise ParameterError(
            f"{shown} is a log of schema {version}, written by a newer Affineur; this one knows up to "
            f"{len(MIGRATIONS)}: type pip install -U affineur, or name another log",
            "log",
        )
