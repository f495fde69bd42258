"""Finding labeled text: which splits a reference has and how each is opened, nothing being read yet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from affineur import sample
from affineur.artifact.card.names import is_id
from affineur.artifact.writing import is_full
from affineur.entities import Corpus
from affineur.errors import AffineurError, DataError, TransferError, one_line
from affineur.transfer.cache import fetched, is_elsewhere
from affineur.transfer.formats.core.format import folder_format, open_data, suffixes
from affineur.transfer.formats.core.names import SPLITS, split_files
from affineur.transfer.hub import PREFIX, need, repository, snapshot
from affineur.transfer.options import DataOptions
from affineur.transfer.places.core.place import home_of, refuse_unknown, shown
from affineur.transfer.tables import SUFFIXES, WHAT, open_table, saved_table, to_corpus

#: The key of a source that is not divided into splits.
WHOLE = "*"
_HUB_PATTERNS = ("*.parquet", "*.jsonl", "*.json", "README.md", "dataset_infos.json")

#: Opens one split.
Open = Callable[[], Corpus]


def find_sources(reference: str | Path, options: DataOptions) -> dict[str, Open]:
    """Find the splits of a reference, by our names; a Hub id is fetched.

    Args:
        reference: What the user typed.
        options: How it will be read.

    Raises:
        DataError: If nothing like labeled text is there.
        TransferError: If it is a Hub id and the Hub does not give it.
        ParameterError: If it is at a place that is not known.
        MissingExtraError: If finding it takes a package that is not installed.
    """
    text = os.fspath(reference)
    if is_elsewhere(text):
        sources = find_sources(fetched(text), options)
        return {split: partial(_named, opened, shown(text), split) for split, opened in sources.items()}
    path = home_of(text)
    if path.is_file():
        return {WHOLE: partial(open_data, path, options)}
    if text == "sample" and not path.is_dir():
        return {
            split: partial(_named, opened, text, split)
            for split, opened in _folder(sample.data(), text, DataOptions()).items()
        }
    if path.is_dir():
        return _folder(path, text, options)
    refuse_unknown(text)
    name, revision = repository(text)
    # data/test.conll has the form of an id, but is a file that is not there
    if not is_id(name) or path.suffix.lower() in (*suffixes(), ".csv"):
        raise DataError("no such file or folder, and not a Hub id such as owner/name", path)
    found = snapshot(name, "dataset", _HUB_PATTERNS, revision)
    return _data_set(found.folder, name, options)


@contextmanager
def text_file(reference: str | Path) -> Iterator[Path]:
    """Give a file of text on this disk; one at another place is fetched.

    What is said of it in errors names what the user typed, and not where in the cache it lies.

    Args:
        reference: A path, or a file at a place (``s3://…``, ``sftp://…``, ``https://…``).

    Raises:
        DataError: If it is a data set of the Hub, which is no file.
        TransferError: If it cannot be fetched, and has not been before.
        ParameterError: If it is at a place that is not known.
    """
    text = os.fspath(reference)
    if not is_elsewhere(text):
        if text.startswith(PREFIX) and not Path(text).exists():
            raise DataError(
                "a data set of the Hub is no file, expected one of text: download it, or give the https:// "
                "address of the file",
                text,
            )
        yield Path(text)
        return
    path = fetched(text)
    try:
        yield path
    except AffineurError as error:
        error.args = (str(error).replace(str(path), shown(text)),)
        raise


def _named(opened: Open, reference: str, split: str) -> Corpus:
    """Call data by what the user typed, and not by where on this disk it lies."""
    return replace(opened(), name=reference if split == WHOLE else f"{reference}/{split}")


def _folder(folder: Path, name: str, options: DataOptions) -> dict[str, Open]:
    whole = folder_format(folder, options.format)
    if whole is not None:
        return {WHOLE: partial(whole.open, folder, options)}
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        return _saved(folder, name, options)
    files = split_files(folder, suffixes())
    if files and not _is_data_set(folder, files.values()):
        return {split: partial(open_data, path, options) for split, path in files.items()}
    return _data_set(folder, name, options)


def _is_data_set(folder: Path, files: Iterable[Path]) -> bool:
    """Say whether ``datasets`` is asked: Parquet may lie in parts, README.md may name columns."""
    found = {path.suffix.lower() for path in files}
    described = (folder / "README.md").is_file() or (folder / "dataset_infos.json").is_file()
    return ".parquet" in found or (described and bool(found.intersection(SUFFIXES)))


def _saved(folder: Path, name: str, options: DataOptions) -> dict[str, Open]:
    datasets = need("datasets", WHAT)
    try:
        loaded = datasets.load_from_disk(str(folder))
    except Exception as error:  # whatever a damaged folder makes of datasets, json and pyarrow
        raise DataError(f"not a folder that save_to_disk wrote ({one_line(error)})", folder) from None
    parts = _by_split(name, loaded.items()) if isinstance(loaded, dict) else {WHOLE: loaded}
    return {
        split: partial(
            _tables,
            f"{name} ({split})" if split in SPLITS else name,
            [partial(saved_table, folder, part)],
            options,
        )
        for split, part in parts.items()
    }


def _data_set(folder: Path, name: str, options: DataOptions) -> dict[str, Open]:
    """Let ``datasets`` say which file belongs to which split and what ``README.md`` says of the columns.

    It runs no script.
    """
    datasets = need("datasets", WHAT)
    try:
        with TemporaryDirectory() as scratch:
            builder = datasets.load_dataset_builder(str(folder.absolute()), cache_dir=scratch)
    except Exception as error:  # several configurations, no data, a README.md that is not YAML: it says which
        if is_full(error):
            raise TransferError(
                f"no space left on the disk of temporary files, {gettempdir()}, while reading {folder}; make"
                " room, or set TMPDIR to a folder on another disk"
            ) from error
        raise DataError(
            f"no data set was recognized in {folder} ({one_line(error)}); expected train, dev and test as "
            ".conll, .jsonl or .parquet: give the folder of one configuration, or a file",
            name,
        ) from None
    files = _by_split(name, builder.config.data_files.items())
    features = builder.info.features.to_dict() if builder.info.features else {}
    for path in map(Path, (file for found in files.values() for file in found)):
        if path.suffix.lower() not in SUFFIXES:
            raise DataError(
                f"found {path.name}, expected {', '.join(SUFFIXES)} or train/dev/test.conll", folder
            )
    return {
        split: partial(
            _tables,
            f"{name} ({split})",
            [partial(open_table, Path(file), features) for file in found],
            options,
        )
        for split, found in files.items()
    }


def _tables(name: str, tables: Iterable[Callable[[], Any]], options: DataOptions) -> Corpus:
    opened = [open_() for open_ in tables]
    return to_corpus(name, opened, options.scheme, options.tag_names, options.columns)


def _by_split(name: str, items: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """Give splits our names; those that are none of ours are left out."""
    named = {str(theirs): value for theirs, value in items}
    ours = {split: named[alias] for split, aliases in SPLITS.items() for alias in aliases if alias in named}
    if not ours:
        raise DataError(f"found the splits {', '.join(named) or 'none'}; expected train, dev and test", name)
    return ours
