"""A format of labeled text: what it is called, how it is told from others, and how it is opened.

To add one, write one file in :mod:`affineur.transfer.formats` (or in another package, with an entry point of
the group ``affineur.data_formats``) that ends in ``FORMAT = YourFormat()``. The file's name is the format's
name, with hyphens for underscores. Everything else follows: ``--data`` and ``affineur data`` take it,
``--format`` names it, folders with ``train``, ``dev`` and ``test`` of its suffixes are found, and help and
documentation list it. There are two kinds:

- A format of *words and tags* is a :class:`DataFormat` whose ``open`` gives a
  :class:`~affineur.entities.Corpus`, by ``Corpus.scan``. Tags are given as they stand in the file: what they
  mean is decided for all formats at one place.
- A format of *texts and character spans* is a :class:`~affineur.transfer.formats.core.spans.SpanFormat`. It
  gives :class:`~affineur.transfer.formats.core.spans.SpanDocument` one after the other; words, tags and all
  checks are made of them by one function. JSON of any kind is read with
  :func:`~affineur.transfer.formats.core.records.json_records`.

Import libraries inside the methods: every format is imported to find out whose a file is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from affineur.entities import Corpus
from affineur.errors import DataError
from affineur.registry import Registry
from affineur.transfer.formats.core.head import Head
from affineur.transfer.options import DataOptions


class DataFormat(ABC):
    """How labeled text is stored."""

    #: What it is, in a few words for people, as the continuation of its name.
    summary: ClassVar[str]
    #: How the names of such files end, in lower case, the usual one first.
    suffixes: ClassVar[tuple[str, ...]]
    #: Whether it is asked after all others, and opens what has its suffix and is recognized by none: so its
    #: errors are those that are shown.
    general: ClassVar[bool] = False
    #: Whether such data is a folder, and not a file.
    folder: ClassVar[bool] = False

    @abstractmethod
    def recognize(self, path: Path, head: Head) -> bool:
        """Say whether a file (or folder) is in this format, whatever its name ends in.

        Args:
            path: Where it is.
            head: What it begins with; of a folder the names in it.
        """

    @abstractmethod
    def open(self, path: Path, options: DataOptions) -> Corpus:
        """Open a file (or folder), reading all of it once.

        Args:
            path: Where it is.
            options: How to read it.

        Raises:
            DataError: If it cannot be read, with file and line.
            MissingExtraError: If reading it takes a package that is not installed.
        """


def _check(given: object) -> None:
    if not isinstance(given, DataFormat):
        raise TypeError("it gives something that is no DataFormat")


#: Every format of labeled text there is.
DATA_FORMATS: Registry[DataFormat] = Registry(
    "affineur.data_formats", "affineur.transfer.formats", "FORMAT", "data format", _check
)


def find_format(path: Path, name: str | None = None) -> tuple[str, DataFormat]:
    """Say in which format a file or folder is: by looking into it, its suffix deciding between several.

    Args:
        path: Where it is.
        name: The format's name, where the user said it.

    Returns:
        The name of the format, and the format.

    Raises:
        ParameterError: If there is no format of that name.
        DataError: If it is not there, or its format is not recognized, or may be one of two.
    """
    if name is not None:
        return name, DATA_FORMATS.get(name, "format")
    head = Head.of(path)
    is_folder = path.is_dir()
    formats = [(key, each) for key, each in DATA_FORMATS.all().items() if each.folder is is_folder]
    found = [(key, each) for key, each in formats if each.recognize(path, head)]
    suffix = path.suffix.lower()
    for general in (False, True):
        some = [(key, each) for key, each in found if each.general is general]
        some = [(key, each) for key, each in some if suffix in each.suffixes] or some
        if len(some) > 1:
            either = " or ".join(key for key, _ in some)
            raise DataError(
                f"this may be {either}; say which, as in format={some[0][0]}", path, parameter="format"
            )
        if some:
            return some[0]
    owners = [(key, each) for key, each in formats if suffix in each.suffixes]
    owners = [(key, each) for key, each in owners if each.general] or owners
    if len(owners) == 1:
        return owners[0]
    raise DataError(
        f"no format of labeled text was recognized in it; expected one of {', '.join(DATA_FORMATS)}; say"
        " which, as in format=conll",
        path,
        parameter="format",
    )


def folder_format(path: Path, name: str | None = None) -> DataFormat | None:
    """Return the format whose data a folder is as a whole, or ``None`` where files in it are data.

    Args:
        path: The folder.
        name: The format's name, where the user said it.

    Raises:
        ParameterError: If there is no format of that name.
        DataError: If it may be in one of two.
    """
    if name is not None:
        given = DATA_FORMATS.get(name, "format")
        return given if given.folder and given.recognize(path, Head.of(path)) else None
    known = [each for each in DATA_FORMATS.all().values() if each.folder]
    head = Head.of(path) if known else None
    return find_format(path)[1] if head and any(each.recognize(path, head) for each in known) else None


def open_data(path: Path, options: DataOptions) -> Corpus:
    """Open a file or folder of labeled text in whatever format it is.

    Args:
        path: Where it is.
        options: How to read it.

    Raises:
        DataError: If it is not there, its format is not recognized, or it cannot be read.
        ParameterError: If there is no format of the name that ``options`` give.
        MissingExtraError: If reading it takes a package that is not installed.
    """
    if options.unlabeled and options.format is None and not path.is_dir():
        # Here: it reads records, as formats do.
        from affineur.transfer.formats.core.unlabeled import is_raw, read_text

        if is_raw(path, Head.of(path), suffixes()):
            return read_text(path)
    name, found = find_format(path, options.format)
    return replace(found.open(path, options), format=name)


def suffixes() -> tuple[str, ...]:
    """List the suffixes of all formats of files, in the order in which folders are looked through."""
    every: Iterable[DataFormat] = DATA_FORMATS.all().values()
    ordered = sorted((each for each in every if not each.folder), key=lambda each: not each.general)
    return tuple(dict.fromkeys(suffix for each in ordered for suffix in each.suffixes))
