"""Which file of a folder is which split, by its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from affineur.errors import DataError

#: The splits, and what others call them; ``testa`` and ``testb`` are those of CoNLL-2003.
SPLITS = {
    "train": ("train", "training"),
    "dev": ("dev", "valid", "validation", "val", "devel", "development", "testa"),
    "test": ("test", "testb"),
}


def split_files(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Find the files of a folder that are its splits.

    ``train.SUFFIX`` is one, then ``eng.train``, then ``fr-ud-train.SUFFIX``; dev and test alike.

    Args:
        folder: The folder.
        suffixes: The suffixes of data, of several files of one name the first is taken.

    Raises:
        DataError: If two files may be the same split.
    """
    names = sorted(each.name for each in folder.iterdir() if each.is_file())
    found = {}
    for split, aliases in SPLITS.items():
        some = [f"{alias}{suffix}" for alias in aliases for suffix in suffixes if f"{alias}{suffix}" in names]
        some = some[:1] or _ending(names, aliases, suffixes)
        if len(some) > 1:
            raise DataError(
                f"{' and '.join(some)} may both be {split}; name one file, or make a folder of each", folder
            )
        if some:
            found[split] = folder / some[0]
    return found


def _ending(names: Sequence[str], aliases: Sequence[str], suffixes: Sequence[str]) -> list[str]:
    either = "|".join(aliases)
    endings = "|".join(map(re.escape, suffixes))
    for pattern in (rf".+\.(?:{either})", rf".+[-_.](?:{either})(?:{endings})"):
        if some := [name for name in names if re.fullmatch(pattern, name, re.IGNORECASE)]:
            return some
    return []
