"""The French models of the distribution ``affineur-fr``, by the names that are typed for them.

They have a license of their own (CC BY-NC-SA 4.0), so they are not in the wheel of Affineur (Apache-2.0).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from affineur.errors import MissingExtraError, ModelError

#: The model to compress, and the one that is used where none is named.
TEACHER, DEFAULT = "sample", "sample-int8"
#: Every model of ``affineur-fr``.
MODELS = (TEACHER, DEFAULT)
#: What ``affineur_fr.FORMAT`` must be: which models there are, and what is in their folders.
_FORMAT = 1


def model(name: str) -> Path:
    """Return the folder of a model of ``affineur-fr``.

    Args:
        name: One of :data:`MODELS`.

    Raises:
        MissingExtraError: If ``affineur-fr`` is not installed.
        ModelError: If it is older or newer than this Affineur wants, or damaged.
    """
    try:
        import affineur_fr
    except ModuleNotFoundError as error:
        if error.name != "affineur_fr":
            raise
        raise MissingExtraError(f"the model '{name}'", "fr") from None
    found = getattr(affineur_fr, "FORMAT", 0)
    if found != _FORMAT:
        older = found < _FORMAT
        raise ModelError(
            f"the model '{name}' is in affineur-fr, which is here in format {found}, and this Affineur wants"
            f" {_FORMAT}; upgrade {'it' if older else 'Affineur'}: pip install -U"
            f" {'affineur-fr' if older else 'affineur'}"
        )
    folder = affineur_fr.folder(name)
    if not folder.is_dir():
        raise ModelError(
            f"the model '{name}' is missing from affineur-fr, expected the folder {folder}; install it anew:"
            " pip install --force-reinstall affineur-fr"
        )
    return folder


def is_packaged(folder: Path) -> bool:
    """Say whether a folder is one of the models of ``affineur-fr``, which are nobody's to change."""
    spec = find_spec("affineur_fr")
    if spec is None or spec.origin is None:
        return False
    home = Path(spec.origin).resolve().parent
    return folder.resolve() in [home / name for name in MODELS]
