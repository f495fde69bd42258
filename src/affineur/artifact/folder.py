"""A model folder, looked at without torch: what it is, whether it is whole, what its labels are."""

from __future__ import annotations

import hashlib
import os
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from affineur.artifact.formats.core.format import FORMATS, Format, format_in
from affineur.artifact.published import ONNX
from affineur.artifact.reading import WRONG, read_json
from affineur.artifact.soundness import check_pieces, check_sizes, check_tensors
from affineur.artifact.tensors import Tensor, without_weights
from affineur.entities import LabelError, understand, with_prefix
from affineur.errors import ModelError, brief, one_line
from affineur.progress import report

_HEAD = "ForTokenClassification"
CONFIG = "config.json"
#: What was pruned, beside a pruned model: a model without it was not pruned by us.
PRUNING_INFO = "pruning_info.json"
#: Any of these makes a tokenizer …
_VOCABULARIES = (
    "tokenizer.json",
    "sentencepiece.bpe.model",
    "spm.model",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "tokenizer.model",
)
#: … these say how it is used …
_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
#: … and all of them belong to it where they are there.
TOKENIZER_FILES = (*_VOCABULARIES, "merges.txt", *_SETTINGS)

#: A path, and what tells the file there from what it was.
_Key = tuple[str, tuple[int, ...]]
_DIGESTS: dict[_Key, str] = {}
_REMEMBERED = 16_384
_BLOCK = 1 << 22  # bytes
_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder that ``AutoModelForTokenClassification.from_pretrained`` can load.

    Args:
        path: The folder.
        config: Its ``config.json``.
        labels: Labels in the order of the classifier's outputs, as the tags that are meant: ``B_PER`` is
            ``B-PER`` here.
    """

    path: Path
    config: dict[str, Any]
    labels: tuple[str, ...]

    @property
    def format(self) -> Format:
        """How its weights are stored."""
        return format_in(self.path, self.config)

    @property
    def kind(self) -> str:
        """What holds its weights: ``transformers`` (safetensors), ``packed``, or the kind of a graph."""
        return self.format.kind

    @property
    def is_graph(self) -> bool:
        """Whether it is a graph for one engine: run as it is, and never trained, pruned or packed."""
        return self.format.is_graph

    @property
    def layers(self) -> int:
        """Number of encoder layers."""
        found = self.config.get("num_hidden_layers") or self.config.get("n_layers")
        return found if isinstance(found, int) else 0

    @property
    def size_bytes(self) -> int:
        """Bytes of the weight files on disk."""
        return sum(file.stat().st_size for file in self.weight_files())

    def weight_files(self) -> list[Path]:
        """List the files with its weights, in order.

        Raises:
            ModelError: If there is none, naming the pickles that are there instead; or one is missing.
        """
        files = self.format.weight_files(self.path)
        if not files:
            raise without_weights(self.path)
        return files

    def tensors(self) -> list[Tensor]:
        """List its tensors, by name; of a graph none (see ``exported``)."""
        return self.format.tensors(self.path)

    def digest(self) -> str:
        """Return the sha256 over what decides its outputs.

        Weights (a configuration to train from has none), configuration, tokenizer.
        """
        weights = self.format.weight_files(self.path)
        beside = [self.path / name for name in ("config.json", *TOKENIZER_FILES)]
        named = [(self.format.named(file), file) for file in weights]
        named += [(file.name, file) for file in beside if file.is_file()]
        whole = hashlib.sha256()
        for name, file in named:
            whole.update(f"{name} {file_digest(file)}\n".encode())
        return whole.hexdigest()


def has_weights(folder: Path) -> bool:
    """Say whether a folder holds weights we read, and not a configuration alone."""
    return any(each.weight_files(folder) for each in FORMATS.all().values())


def open_folder(path: Path | str) -> ModelFolder:
    """Look at a model folder and check that it is usable; once, as long as none of its files changes.

    Raises:
        ModelError: If it is missing, has no token-classification head, no safetensors weights, damaged
            weights, no tokenizer, or labels that do not fit the classifier.
    """
    path = Path(path)
    if not path.is_dir():
        raise ModelError(f"{path} is {'a file' if path.is_file() else 'not there'}, expected a model folder")
    path = _with_config(path)
    return _opened(path, folder_state(path))


def _with_config(path: Path) -> Path:
    """Return the folder of a model: beside its graphs, in the one above, or below, as others lay it out.

    Raises:
        ModelError: If neither has a configuration, or what was named is not what would be run.
    """
    if (path / CONFIG).is_file():
        return path
    above, below = path.absolute().parent, path / ONNX
    if path.absolute().name == ONNX and (above / CONFIG).is_file():
        if FORMATS.get("dense").weight_files(above):
            raise ModelError(
                f"{path} has graphs and no {CONFIG}; of {above}, the safetensors are used and not the "
                f"graphs. To run a graph, put it into a folder with {CONFIG} and tokenizer.json of the model"
            )
        return above
    if (below / CONFIG).is_file():
        return below
    read_config(path)  # says so, without looking at whatever else is in there
    return path


@lru_cache(maxsize=64)
def _opened(path: Path, _state: State) -> ModelFolder:
    """Open a folder; ``_state`` makes the cache forget it when a file of it changes."""
    config = read_config(path)
    if not is_token_classifier(config):
        found = config.get("architectures") or "none named"
        found = ", ".join(map(str, found)) if isinstance(found, list) else found
        raise ModelError(
            f"{path} has no token-classification head (architecture: {found}, expected …{_HEAD}); "
            "train one with: affineur train"
        )
    check_sizes(config, path)
    labels = labels_of(config, path)
    if "O" not in labels:
        raise ModelError(
            f"{path} has the labels {', '.join(labels)}, none of them O; "
            "name them in config.json's id2label, as in O, I-PER, I-LOC"
        )
    folder = ModelFolder(path, config, labels)
    listed = folder.tensors()
    folder.format.check(folder, listed)
    if not folder.is_graph:
        check_tensors(config, labels, listed, path)
    require_tokenizer(path)
    check_pieces(config, path)
    return folder


#: The files right in a folder, or where the Hub has graphs: the name of each, and what the system says of it.
State = tuple[tuple[str, tuple[int, ...]], ...]


def folder_state(path: Path) -> State:
    """Take down what the system says of the files with weights; equal as long as none of them changes."""
    graphs = path / ONNX
    files = [*path.iterdir(), *(graphs.iterdir() if graphs.is_dir() else ())]
    return tuple(sorted((str(f.relative_to(path)), file_state(f.stat())) for f in files if f.is_file()))


def file_state(status: os.stat_result) -> tuple[int, ...]:
    """Take down what tells a file from what it was: device, number, size, times of content and of inode."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def require_tokenizer(path: Path) -> None:
    """Check that a folder has a tokenizer; without one transformers would make one up.

    Raises:
        ModelError: If it has none, or its settings are damaged.
    """
    if not any((path / name).is_file() for name in _VOCABULARIES):
        raise ModelError(f"{path} has no tokenizer (expected tokenizer.json)")
    for name in _SETTINGS:
        if (path / name).is_file():
            _read_object(path / name)


def read_config(path: Path) -> dict[str, Any]:
    """Read the ``config.json`` of a model folder.

    Raises:
        ModelError: If it is missing or damaged.
    """
    file = path / "config.json"
    if not file.is_file():
        raise ModelError(f"{path} has no config.json, expected a model folder written by save_pretrained")
    return _read_object(file)


def _read_object(file: Path) -> dict[str, Any]:
    try:
        found = read_json(file)
    except PermissionError as error:
        raise ModelError(f"{file} cannot be read ({error.strerror})") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} is not valid JSON ({one_line(error)})") from None
    if not isinstance(found, dict):
        raise ModelError(f"{file} is not a JSON object")
    return found


def is_token_classifier(config: dict[str, Any]) -> bool:
    """Say whether a configuration names a token-classification head."""
    named = config.get("architectures")
    return isinstance(named, list) and any(str(name).endswith(_HEAD) for name in named)


def labels_of(config: dict[str, Any], path: Path) -> tuple[str, ...]:
    """Read the labels of a configuration, in the order of the classifier's outputs, as the tags they mean.

    A type without a prefix stays as it is (see :func:`~affineur.entities.with_prefix`).

    Raises:
        ModelError: If it does not name one label for each output, two have the same, or one cannot be
            understood.
    """
    try:
        written = config["id2label"]
        named = {int(number): label for number, label in written.items()}
        given = tuple(named[i] for i in range(len(written)))
        if not all(isinstance(label, str) for label in given):
            raise TypeError
        if config.get("num_labels", len(given)) != len(given):  # which transformers would go by
            raise ValueError
    except WRONG:
        raise ModelError(
            f"{path}/config.json has no usable id2label, expected one label per output, numbered from 0, and "
            "num_labels, where it is named, as many"
        ) from None
    return _as_tags(given, path)


def _as_tags(given: tuple[str, ...], path: Path) -> tuple[str, ...]:
    """Read labels in whatever usual spelling; what is unusual is said."""
    try:
        meant = understand(given, of_model=True)
    except LabelError as error:
        wrong = str(error).partition(";")[0]  # what follows is for data
        raise ModelError(
            f"{path} has the labels {', '.join(map(brief, given))}: {wrong}; rename them in its "
            "config.json's id2label, as in O, B-PER, I-PER"
        ) from None
    tags = tuple(label if with_prefix(label) == meant.tags[label] else meant.tags[label] for label in given)
    if twice := [tag for i, tag in enumerate(tags) if tag in tags[:i]]:
        alike = [label for label, tag in zip(given, tags, strict=True) if tag == twice[0]]
        raise ModelError(
            f"{path} has {len(alike)} outputs that mean {twice[0]} ({', '.join(alike)}), expected each once; "
            "rename them in its config.json's id2label"
        )
    if meant.notes:
        _say_labels(path, meant.notes)
    return tags


@lru_cache(maxsize=64)  # once is enough
def _say_labels(path: Path, notes: tuple[str, ...]) -> None:
    report(f"{path}: of its labels {'; '.join(notes)}")


def file_digest(file: Path) -> str:
    """Return the sha256 of a file, remembered as long as it is the same file, unchanged."""
    known = _key(file)
    digest = _DIGESTS.get(known)
    if digest is None:
        digest = _digest(file)
        _remember(known, digest)
    return digest


def _digest(file: Path) -> str:
    # In blocks larger than those of hashlib.file_digest: after each, a thread waits for its turn
    digest, block = hashlib.sha256(), memoryview(bytearray(min(_BLOCK, file.stat().st_size + 1)))
    with file.open("rb", buffering=0) as stream:
        while count := stream.readinto(block):
            digest.update(block[:count])
    return digest.hexdigest()


def remember_digest(file: Path, digest: str) -> None:
    """Let :func:`file_digest` know the sha256 of a file, from whoever has just digested all its bytes.

    Args:
        file: The file; it has all its bytes.
        digest: Its sha256, in hexadecimal digits.
    """
    _remember(_key(file), digest)


def _key(file: Path) -> _Key:
    return os.fspath(file.absolute()), file_state(file.stat())


def _remember(known: _Key, digest: str) -> None:
    with _LOCK:
        _DIGESTS[known] = digest
        while len(_DIGESTS) > _REMEMBERED:
            del _DIGESTS[next(iter(_DIGESTS))]
