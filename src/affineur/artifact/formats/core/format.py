"""A format of weights: what marks it in a folder, how its tensors are listed and checked, what is said of it.

Another package adds one by an entry point of the group ``affineur.formats`` that names an instance of
:class:`Format`; ours are the files of :mod:`affineur.artifact.formats`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from affineur.registry import Registry

if TYPE_CHECKING:
    from affineur.artifact.folder import ModelFolder
    from affineur.artifact.tensors import Tensor


class Format(ABC):
    """How the weights of a model folder are stored."""

    #: What ``affineur.json`` and ``info`` call it.
    kind: ClassVar[str]
    #: What it is, in a few words for people.
    summary: ClassVar[str]
    #: Whether it is a graph for one engine: run as it is, and no model that training or pruning starts from.
    is_graph: ClassVar[bool] = False
    #: Library that loads it, as the model card names it to the Hub.
    library: ClassVar[str] = "transformers"
    #: Extra of Affineur that brings what runs it; empty where the base install does.
    extra: ClassVar[str] = ""
    #: How the names of its own files begin, where they look like pickles and are none.
    prefixes: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def weight_files(self, folder: Path) -> list[Path]:
        """List the files with the weights, in order; none where the folder holds none of this format.

        They lie right in the folder, or in its folder ``onnx``: whether one has changed is not looked for any
        deeper.

        Raises:
            ModelError: If one of them is missing.
        """

    @abstractmethod
    def marks(self, folder: Path, config: Mapping[str, Any]) -> bool:
        """Say whether a folder with this ``config.json`` is stored so."""

    @abstractmethod
    def holds(self, name: str) -> bool:
        """Say whether a file of this name has weights in it."""

    def named(self, file: Path) -> str:
        """Name a file with weights as digests do: the same wherever it lies."""
        return file.name

    def tensors(self, folder: Path) -> list[Tensor]:
        """List the tensors of a folder, by name; none where nothing can be told of them.

        Raises:
            ModelError: If a file is damaged or cut short.
        """
        return []

    def check(self, folder: ModelFolder, tensors: Sequence[Tensor]) -> None:  # noqa: B027  # most have something to check, not all
        """Check that the files of a folder belong together.

        Args:
            folder: The folder.
            tensors: Its tensors, as :meth:`tensors` lists them.

        Raises:
            ModelError: If they do not.
        """


def _check(given: object) -> None:
    if not isinstance(given, Format):
        raise TypeError("it gives something that is no Format")


#: Every format there is.
FORMATS: Registry[Format] = Registry(
    "affineur.formats", "affineur.artifact.formats", "FORMAT", "format", _check
)


def format_in(folder: Path, config: Mapping[str, Any]) -> Format:
    """Say how the weights of a folder are stored; a configuration alone is a dense model without any."""
    return next((each for each in FORMATS.all().values() if each.marks(folder, config)), FORMATS.get("dense"))


def weights_among(kind: str, names: Iterable[str]) -> list[str]:
    """Pick the files with the weights among those of an artifact, by name.

    Args:
        kind: Its kind, as ``affineur.json`` has it.
        names: Its files.
    """
    known = [each for each in FORMATS.all().values() if each.kind == kind]
    return [name for name in names if any(each.holds(name) for each in known)]


def library_of(kind: str) -> str:
    """Name the library that loads a kind of artifact, as the Hub knows it."""
    return next((each.library for each in FORMATS.all().values() if each.kind == kind), Format.library)
