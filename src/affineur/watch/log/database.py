"""Where a log is: a SQLite file, or a PostgreSQL database that many endpoints share."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, func, inspect, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from affineur.errors import AffineurError, MissingExtraError, ParameterError, one_line
from affineur.progress import report
from affineur.watch.log import schema
from affineur.watch.log.mounts import network_file_system

#: Seconds to wait for another process that writes, and for a server that does not answer.
_WAIT = 5
_EXPECTED = "expected a file such as watch.db, or postgresql://USER@HOST/DATABASE"
#: The lock under which one process at a time makes or changes tables in PostgreSQL.
_LOCK = 0x41666669
_POSTGRES = ("postgresql", "postgres", "postgresql+psycopg")


class Database:
    """A log's database, its tables up to date.

    Args:
        where: A file, or the URL of a PostgreSQL database.
        writing: Whether it may be made, and its tables be changed; otherwise it must be there.

    Attributes:
        path: Its file, where it is one.
        shown: What to call it, without a password.

    Raises:
        ParameterError: If it cannot be opened, is no log, or one of a newer schema.
        MissingExtraError: If the driver is not installed.
    """

    def __init__(self, where: str | os.PathLike[str], *, writing: bool = True) -> None:
        self.path, self._url = _parse(os.fspath(where))
        self.shown = str(self.path) if self.path else self._url.set(query={}).render_as_string()
        if self.path:
            self._prepare_file(self.path, writing)
        with self.errors("log"):
            # The second is for what must be on the disk when it is said to be.
            self._engine, self._durable = self._connected("NORMAL"), self._connected("FULL")
            try:
                with self.write() if writing else self.read() as connection:
                    self._check(connection, writing)
            except BaseException:
                self.close()
                raise

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[Connection]:
        """Give a transaction that writes, alone in SQLite.

        Args:
            durable: Whether it must survive a power failure once it has ended; what is not so survives the
                end of the process.
        """
        with (self._durable if durable else self._engine).begin() as connection:
            if not self.path and not durable:
                connection.execute(text("SET LOCAL synchronous_commit = off"))
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a transaction that reads, and keeps nobody from writing."""
        with self._engine.connect().execution_options(reading=True) as connection:
            yield connection

    def reserve(self, connection: Connection, count: int) -> int:
        """Return the first of so many ids of texts in a row that nobody else gets."""
        if self.path:  # the transaction is the only one that writes
            row = connection.execute(
                text("SELECT seq FROM sqlite_sequence WHERE name = :name"), {"name": schema.TEXTS.name}
            ).first()
            return 1 + (0 if row is None else int(row[0]))
        # A block at once: setval moves the sequence on under a lock that whoever reserves holds.
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK + 1})
        sequence = func.pg_get_serial_sequence(schema.TEXTS.name, "id")
        first = int(connection.scalar(select(func.nextval(sequence))) or 1)
        if count > 1:
            connection.execute(select(func.setval(sequence, first + count - 1)))
        return first

    def erase(self) -> bool:
        """Let nothing of what was deleted stay in the file; return whether that is so.

        It is not while somebody reads what was there before, and never known of PostgreSQL, whose VACUUM
        decides.
        """
        if not self.path:
            return False
        # Pages are overwritten (secure_delete); the file beside still holds what they were.
        connection = self._durable.raw_connection()
        try:
            for _ in range(10 * _WAIT):
                cursor = connection.cursor()
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                busy = cursor.fetchone()
                cursor.close()
                if busy is not None and not busy[0]:
                    return True
                time.sleep(0.1)
        finally:
            connection.close()
        return False

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()
        self._durable.dispose()

    @contextmanager
    def errors(self, parameter: str | None = None) -> Iterator[None]:
        """Make what the database complains of one line.

        Args:
            parameter: At fault, where one is.

        Raises:
            ParameterError: In its place.
        """
        try:
            yield
        except DBAPIError as error:
            raise ParameterError(f"{self.shown}: {complaint(error)}", parameter) from None
        except SQLAlchemyError as error:
            raise ParameterError(f"{self.shown}: {one_line(error)}", parameter) from None
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "psycopg":
                raise
            raise MissingExtraError("a log in PostgreSQL", "watch") from None

    def _connected(self, synchronous: str) -> Engine:
        if self.path:
            engine = create_engine(self._url, connect_args={"timeout": _WAIT, "check_same_thread": False})
            event.listen(engine, "connect", _Pragmas(synchronous))
            event.listen(engine, "begin", _begin)
            return engine
        return create_engine(
            self._url, connect_args={"connect_timeout": _WAIT, "application_name": "affineur"}, pool_size=2
        )

    def _prepare_file(self, path: Path, writing: bool) -> None:
        if path.is_dir():
            raise ParameterError(f"{path} is a folder, {_EXPECTED}", "log")
        if not path.exists():
            if not writing:
                raise ParameterError(f"{path} is not there, {_EXPECTED}", "log")
            try:  # only its owner may read it; what SQLite puts beside it gets the same rights
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
            except OSError as error:
                raise ParameterError(f"{path} cannot be written ({error.strerror})", "log") from None
        if (kind := network_file_system(path)) is not None:
            report(
                f"warning: {path} is on a network drive ({kind}), where SQLite loses rows or stands still; "
                "name a file on this machine's own disk, or postgresql://…"
            )

    def _check(self, connection: Connection, writing: bool) -> None:
        if not writing:
            version = schema.version_of(connection)
            schema.refuse_newer(version, self.shown)
            if version == 0:
                raise ParameterError(f"{self.shown} is no log: it has no {schema.META.name}", "log")
            return
        if not self.path:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        elif schema.version_of(connection) == 0 and (others := inspect(connection).get_table_names()):
            raise ParameterError(
                f"{self.shown} is the database of something else (it has a table '{min(others)}'); "
                "name another file",
                "log",
            )
        schema.migrate(connection, self.shown)


def complaint(error: BaseException) -> str:
    """Return what a database complains of, in one line and without what was written."""
    if isinstance(error, DBAPIError):
        error = error.orig or error
    return one_line(str(error).partition("\nDETAIL:")[0])


def is_passing(error: Exception) -> bool:
    """Say whether the same may be written later: a full disk, a lock, a server that is away."""
    return isinstance(error, OSError | AffineurError) or (
        isinstance(error, DBAPIError)
        and (error.connection_invalidated or type(error).__name__ in ("OperationalError", "InterfaceError"))
    )


def _parse(where: str) -> tuple[Path | None, URL]:
    scheme, colon, rest = where.partition("://")
    if not colon:
        if not where:
            raise ParameterError(f"log is empty, {_EXPECTED}", "log")
        return Path(where), URL.create("sqlite", database=where)
    if scheme == "sqlite":
        path = rest.removeprefix("/")
        return Path(path), URL.create("sqlite", database=path)
    if scheme not in _POSTGRES:
        raise ParameterError(f"log is of the kind '{scheme}', {_EXPECTED}", "log")
    try:
        return None, make_url(f"postgresql+psycopg://{rest}")
    except (ArgumentError, ValueError):
        raise ParameterError(f"log is no URL of a database, {_EXPECTED}", "log") from None


class _Pragmas:
    """Sets up a connection to SQLite.

    Args:
        synchronous: ``NORMAL``, or ``FULL`` for what must survive a power failure.
    """

    def __init__(self, synchronous: str) -> None:
        self._synchronous = synchronous

    def __call__(self, connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions are begun by :func:`_begin`
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={self._synchronous}",
            "secure_delete=ON",  # what is forgotten is overwritten
            "journal_size_limit=67108864",
        ):
            connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get("reading")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
