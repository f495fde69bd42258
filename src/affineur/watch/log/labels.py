"""What people say is in a text: checked against what the log knows of it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, insert, select

from affineur.errors import ParameterError, brief, did_you_mean
from affineur.watch.log import schema
from affineur.watch.log.keys import LogKey

_HASH = re.compile(r"[0-9a-f]{32}")


class UnknownText(ParameterError, LookupError):
    """A text that is not in the log."""


def hashes(keys: Sequence[LogKey], text: str | None, hash: str | None) -> list[str]:
    """Return what may stand for a text, by the newest key first.

    Args:
        keys: Keys that have hashed, the newest last.
        text: The text.
        hash: Or what stands for it.

    Raises:
        ParameterError: If both or none are given, or the hash is none.
    """
    if (text is None) == (hash is None):
        raise ParameterError("expected the text or its hash, and not both", "hash")
    if text is not None:
        return [key.hash(text)[0] for key in reversed(keys)]
    if not isinstance(hash, str) or _HASH.fullmatch(hash) is None:
        raise ParameterError(f"hash={brief(hash)} is no hash, expected 32 hexadecimal digits", "hash")
    return [hash]


def add(
    connection: Connection, hashes: Sequence[str], mentions: Sequence[Mapping[str, Any]], source: str
) -> str:
    """Keep the mentions of a text, all of them.

    Args:
        connection: To the log, in a transaction that lasts.
        hashes: What may stand for the text.
        mentions: Each with ``type``, ``start`` and ``end``.
        source: Who says so.

    Returns:
        What stands for it.

    Raises:
        UnknownText: If the text is not in the log.
        ParameterError: If a mention cannot be in it.
    """
    texts, models = schema.TEXTS.c, schema.MODELS.c
    row = connection.execute(
        select(texts.id, texts.hash, texts.characters, models.types)
        .join_from(schema.TEXTS, schema.MODELS, texts.model_id == models.id)
        .where(texts.hash.in_(hashes))
        .order_by(texts.id.desc())
        .limit(1)
    ).first()
    if row is None:
        raise UnknownText(
            "the log has no such text: it was never answered, is too old, or was dropped; send the hash that "
            "the log has, or the very text that was answered",
            "hash",
        )
    checked = _checked(mentions, row.characters, json.loads(row.types))
    connection.execute(
        insert(schema.LABELS).values(
            text_id=row.id, time=time.time(), source=source[:64], mentions=json.dumps(checked)
        )
    )
    return str(row.hash)


def _checked(
    mentions: Sequence[Mapping[str, Any]], characters: int, types: Sequence[str]
) -> list[tuple[str, int, int]]:
    found = []
    for place, each in enumerate(mentions):
        where = f"mentions[{place}]"
        if not isinstance(each, Mapping) or {*each} != {"type", "start", "end"}:
            raise ParameterError(f"{where} is not a mention, expected type, start and end", "mentions")
        kind, start, end = each["type"], each["start"], each["end"]
        if kind not in types:
            near = did_you_mean(str(kind)[:40], types)
            raise ParameterError(
                f"{where}: the model has no type {brief(kind, 40)}, expected {', '.join(types)}{near}",
                "mentions",
            )
        if not (type(start) is type(end) is int and 0 <= start < end <= characters):
            raise ParameterError(
                f"{where}: from {brief(start, 20)} to {brief(end, 20)} is outside of a text of {characters} "
                "characters",
                "mentions",
            )
        found.append((str(kind), start, end))
    found.sort(key=lambda mention: mention[1:])
    for (_, _, end), (_, start, after) in pairwise(found):
        if start < end:
            raise ParameterError(f"two mentions overlap at character {start} (to {after})", "mentions")
    return found
