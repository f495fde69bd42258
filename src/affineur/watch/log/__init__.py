"""The production log: what was found in which text, and never the text.

- :mod:`~affineur.watch.log.log`: the log, as an endpoint, ``annotate`` and Python write it;
- :mod:`~affineur.watch.log.writer`: the queue before the database: bounded, it never keeps anybody waiting;
- :mod:`~affineur.watch.log.rows`: what is kept of a text;
- :mod:`~affineur.watch.log.database`: SQLite or PostgreSQL;
- :mod:`~affineur.watch.log.schema`: the tables, and how those of an older version become them;
- :mod:`~affineur.watch.log.keys`: the keys of the hashes that stand for texts.
"""

from importlib.util import find_spec

from affineur.errors import MissingExtraError

if find_spec("sqlalchemy") is None:
    raise MissingExtraError("a log", "watch")

from affineur.watch.log.log import Log, Summary

__all__ = ["Log", "Summary"]
