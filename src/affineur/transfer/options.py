"""How labeled text is to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from affineur.entities import Scheme
from affineur.errors import ParameterError


@dataclass(frozen=True, slots=True)
class DataOptions:
    """How labeled text is to be read.

    Args:
        word_column: Column of the word, from 0 (negative counts from the right), or its name; ``None`` to
            find it.
        tag_column: Column of the tag, likewise.
        scheme: The tagging scheme, or ``None`` to recognize it.
        tag_names: Names of integer tags, in their order, where the data does not name them or names them
            wrongly.
        label_map: From types to new types; a type mapped to ``O`` disappears.
        dev_share: Share of train held out where there is no dev; 0 holds nothing out.
        format: Name of the format (see :mod:`affineur.transfer.formats`), or ``None`` to look into the file.

    Raises:
        ParameterError: If ``dev_share`` is outside 0 to 0.5.
    """

    word_column: int | str | None = None
    tag_column: int | str | None = None
    scheme: Scheme | None = None
    tag_names: tuple[str, ...] | None = None
    label_map: Mapping[str, str] | None = None
    dev_share: float = 0.05
    format: str | None = None

    @property
    def columns(self) -> tuple[int | str | None, int | str | None]:
        """The columns of the words and of the tags."""
        return self.word_column, self.tag_column

    def __post_init__(self) -> None:
        if not 0 <= self.dev_share <= 0.5:
            raise ParameterError(f"dev_share={self.dev_share} is impossible, expected 0 to 0.5", "dev_share")
