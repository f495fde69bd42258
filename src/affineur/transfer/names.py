"""Which files of a model are fetched, by name."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable
from pathlib import Path, PurePosixPath

from affineur.artifact import CARD, MANIFEST, PRUNING_INFO, TOKENIZER_FILES, read_manifest
from affineur.artifact.formats.onnx import FORMAT
from affineur.artifact.published import GRAPH, find_name
from affineur.artifact.tensors import INDEX, WEIGHTS, is_pickle
from affineur.errors import ModelError

CONFIG = "config.json"

#: Files a model folder may have beside its configuration and its weights. The card says under which license
#: it comes.
OPTIONAL = (*TOKENIZER_FILES, CARD, PRUNING_INFO, "generation_config.json")

#: What is fetched of a Hub model, as glob patterns. A ``*`` also matches ``/`` there: a plain
#: ``*.safetensors`` would bring the weights of every checkpoint folder too.
MODEL_PATTERNS = (CONFIG, WEIGHTS, "model-*.safetensors", INDEX, MANIFEST, *OPTIONAL)


def graph_files(names: Container[str]) -> list[str]:
    """List the files of an ONNX graph in a repository; of two graphs the one in full precision.

    Args:
        names: The files of the repository.
    """
    if not find_name(GRAPH, names):
        return []
    return [found for name in FORMAT.files if (found := find_name(name, names))]


def manifest_files(folder: Path, source: str) -> list[str]:
    """List the files that a folder's manifest names; without a manifest there are none.

    Args:
        folder: Where ``affineur.json`` lies.
        source: Where it came from, for messages.

    Raises:
        ModelError: If the manifest is damaged, or names a pickle or a place outside the folder.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        return []
    return _checked(manifest.files, source, MANIFEST)


def shard_files(folder: Path, source: str) -> list[str]:
    """List the weight files that a folder's safetensors index names.

    Args:
        folder: Where the index lies.
        source: Where it came from, for messages.

    Raises:
        ModelError: If the index is damaged, or names a pickle or a place outside the folder.
    """
    try:
        shards = set(json.loads((folder / INDEX).read_text("utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{source}: {INDEX} is not a safetensors index") from None
    return _checked(sorted(shards, key=str), source, INDEX)


def _checked(names: Iterable[object], source: str, where: str) -> list[str]:
    checked = []
    for name in names:
        path = PurePosixPath(str(name))
        if (
            not isinstance(name, str)
            or path.is_absolute()
            or ".." in path.parts
            or not path.name
            or set(name) & set("\\\0:")
        ):
            raise ModelError(
                f"{source}: {where} names {name!r}, which lies outside the model's folder; nothing was kept"
            )
        if is_pickle(name):
            raise ModelError(
                f"{source}: {where} names {name}, a pickle, which can run code when it is read; "
                "nothing was kept"
            )
        checked.append(name)
    return checked
