"""The reference file of a watch: what labeled sentences told of one model, and no word of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from affineur.artifact import REFERENCE, write_json
from affineur.artifact.reading import WRONG, read_json
from affineur.entities import Scheme
from affineur.errors import DataError, ModelError, one_line
from affineur.watch.calibration import Isotonic, Logistic, calibrator_of
from affineur.watch.features import Features
from affineur.watch.signals import FloatArray
from affineur.watch.style import Style

FORMAT, VERSION = "affineur watch reference", 1
_SHOWN = 12  # digits of a digest, as people compare them


@dataclass(frozen=True)
class Shift:
    """What became of the reference when it was spoiled on purpose.

    Args:
        counts: True positives, predicted and gold mentions of each type, shape ``(types, 3)``.
        estimated: The same as they were estimated without labels.
        distance: How far its commonest words then are from the reference's.
    """

    counts: FloatArray
    estimated: FloatArray
    distance: float


@dataclass(frozen=True)
class Reference:
    """What a watch knows of a model.

    Args:
        model: Digest of the model's weights, configuration and tokenizer.
        model_name: What it was called.
        data: Digest of the reference set.
        data_name: What it was called.
        sentences: Its sentences.
        words: Its words.
        scheme: The scheme that mentions are compared in.
        types: The types that are estimated.
        method: The calibrator of mentions that foretold best.
        losses: Log loss of each on sentences it was not fitted on.
        mentions: The probability that a mention found is exactly right.
        begins: The probability that a gold mention begins at a word.
        elsewhere: Gold mentions of each type for each word where nothing says so.
        covariance: Of the parameters of both calibrators, the mentions' first.
        dispersion: How many times the variance of independent mentions the errors of documents have.
        counts: True positives, predicted and gold mentions of each type, shape ``(types, 3)``.
        shifts: The reference spoiled on purpose, by the kind of damage.
        style: Its commonest words.
        limit: How far the words of some text may be from them.
        features: How its sentences look otherwise.
    """

    model: str
    model_name: str
    data: str
    data_name: str
    sentences: int
    words: int
    scheme: Scheme
    types: tuple[str, ...]
    method: str
    losses: Mapping[str, float]
    mentions: Logistic | Isotonic
    begins: Logistic
    elsewhere: FloatArray
    covariance: FloatArray
    dispersion: float
    counts: FloatArray
    shifts: Mapping[str, Shift]
    style: Style
    limit: float
    features: Features

    @property
    def f1(self) -> float:
        """F1 of the model on the reference set."""
        found, predicted, gold = self.counts.sum(axis=0)
        return float(2 * found / (predicted + gold))

    def write(self, path: Path) -> None:
        """Write it, all of it or nothing.

        Raises:
            AffineurError: If the disk is full or not writable; what was there is unchanged.
        """
        style = asdict(self.style)
        write_json(
            path,
            {
                "format": FORMAT,
                "version": VERSION,
                "model": {"sha256": self.model, "name": self.model_name},
                "data": {
                    "sha256": self.data,
                    "name": self.data_name,
                    "sentences": self.sentences,
                    "words": self.words,
                },
                "scheme": str(self.scheme),
                "types": list(self.types),
                "f1": self.f1,
                "method": self.method,
                "log_loss": dict(self.losses),
                "mentions": self.mentions.as_dict(),
                "begins": self.begins.as_dict(),
                "elsewhere": self.elsewhere.tolist(),
                "covariance": self.covariance.tolist(),
                "dispersion": self.dispersion,
                "counts": self.counts.tolist(),
                "shifts": {
                    name: {
                        "counts": shift.counts.tolist(),
                        "estimated": shift.estimated.tolist(),
                        "distance": shift.distance,
                    }
                    for name, shift in self.shifts.items()
                },
                "style": {
                    name: value.tolist() if isinstance(value, np.ndarray) else value
                    for name, value in style.items()
                },
                "limit": self.limit,
                "features": self.features.as_dict(),
            },
        )


def read_reference(path: Path, model: str | None = None) -> Reference:
    """Read a reference file.

    Args:
        path: The file.
        model: Digest of the model that is to be watched; ``None`` for any.

    Raises:
        DataError: If it is not there, damaged, from a newer Affineur, or no reference file.
        ModelError: If it was made of another model.
    """
    if not path.is_file():
        raise DataError(
            "no such file; make it from labeled text with: affineur watch fit MODEL --data DATA, or name"
            " another (reference)",
            path,
            parameter="reference",
        )
    try:
        said = read_json(path)
    except (OSError, *WRONG) as error:
        raise _damaged(path, error) from None
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise DataError(
            "this is not what affineur watch fit writes; name another file (reference), or make one: "
            "affineur watch fit MODEL --data DATA",
            path,
            parameter="reference",
        )
    if isinstance(version := said.get("version"), int) and version > VERSION:
        raise DataError(
            f"it has version {version}, this Affineur reads up to {VERSION}; upgrade it: "
            "pip install -U affineur",
            path,
        )
    try:
        found = _reference(said)
    except WRONG as error:
        raise _damaged(path, error) from None
    if model is not None and found.model != model:
        raise ModelError(
            f"{path} was made of another model ({found.model_name}, sha256 {found.model[:_SHOWN]}…; this one"
            f" is {model[:_SHOWN]}…), and says nothing of this one; fit it again: "
            "affineur watch fit MODEL --data DATA"
        )
    return found


def reference_path(folder: Path) -> Path:
    """Return where the reference file of a model is by default: beside its other files."""
    return folder / REFERENCE


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"what affineur watch fit wrote is damaged here ({one_line(error)}); fit it again: "
        "affineur watch fit MODEL --data DATA",
        path,
    )


def _reference(said: Mapping[str, Any]) -> Reference:
    types = tuple(map(str, said["types"]))
    kinds = len(types)
    mentions, begins = calibrator_of(said["mentions"]), calibrator_of(said["begins"])
    if not isinstance(begins, Logistic):
        raise ValueError("the calibrator of begins is a step function")
    size = mentions.size + begins.size
    style = said["style"]
    common = len(style["words"])
    return Reference(
        model=str(said["model"]["sha256"]),
        model_name=str(said["model"]["name"]),
        data=str(said["data"]["sha256"]),
        data_name=str(said["data"]["name"]),
        sentences=int(said["data"]["sentences"]),
        words=int(said["data"]["words"]),
        scheme=Scheme(said["scheme"]),
        types=types,
        method=str(said["method"]),
        losses={str(name): float(value) for name, value in said["log_loss"].items()},
        mentions=mentions,
        begins=begins,
        elsewhere=_array(said["elsewhere"], kinds),
        covariance=_array(said["covariance"], size, size),
        dispersion=float(said["dispersion"]),
        counts=_array(said["counts"], kinds, 3),
        shifts={
            str(name): Shift(
                _array(each["counts"], kinds, 3), _array(each["estimated"], kinds, 3), float(each["distance"])
            )
            for name, each in said["shifts"].items()
        },
        style=Style(
            tuple(map(str, style["words"])),
            _array(style["lengths"], common).astype(np.int64),
            _array(style["counts"], common),
            float(style["share"]),
            float(style["chance"]),
            float(style["spread"]),
        ),
        limit=float(said["limit"]),
        features=Features.of(said["features"]),
    )


def _array(value: Any, *shape: int) -> FloatArray:
    found = np.array(value, dtype=np.float64)
    if found.shape != shape or not np.isfinite(found).all():
        raise ValueError(f"a table of shape {found.shape} where {shape} was expected")
    return found
