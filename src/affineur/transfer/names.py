"""Which files of a model are fetched, by name."""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path

from affineur.artifact import CARD, MANIFEST, PRUNING_INFO, TOKENIZER_FILES, read_manifest, safe_names
from affineur.artifact.formats.onnx import FORMAT
from affineur.artifact.published import GRAPH, find_name
from affineur.artifact.reading import WRONG, parse_json
from affineur.artifact.tensors import INDEX, WEIGHTS, is_pickle
from affineur.errors import ModelError, TransferError

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
    return checked_names(manifest.files, source, MANIFEST)


def shards_named(index: bytes, source: str) -> list[str]:
    """List the weight files that a safetensors index names.

    Args:
        index: Its content.
        source: Where it came from, for messages.

    Raises:
        ModelError: If the index is damaged, or names a pickle or a place outside the folder.
    """
    try:
        shards = set(parse_json(index)["weight_map"].values())
    except WRONG:
        raise ModelError(f"{source}: {INDEX} is not a safetensors index") from None
    return checked_names(sorted(shards, key=str), source, INDEX)


def digests_named(manifest: bytes, source: str) -> dict[str, str]:
    """Return the digests in a manifest, by the names of the files.

    Args:
        manifest: Content of ``affineur.json``.
        source: Where it came from, for messages.

    Raises:
        TransferError: If a web page was given in its place.
        ModelError: If it is damaged, or names a pickle or a place outside the folder.
    """
    refuse_page(manifest, source, MANIFEST)
    try:
        files = dict(parse_json(manifest)["files"])
    except WRONG:
        raise ModelError(f"{source}: {MANIFEST} is damaged; make or push the artifact again") from None
    checked_names(files, source, MANIFEST)
    return files


def refuse_page(data: bytes, source: str, name: str) -> None:
    """Refuse a web page where a small JSON file should be: many servers show one to whoever must log in.

    Raises:
        TransferError: If it is one.
    """
    if data[:1024].lstrip().startswith(b"<"):
        raise TransferError(
            f"{source}: a web page was given for {name}, to log in perhaps; check the address, and "
            "whether it can be read without a browser"
        )


def checked_names(
    names: Iterable[object], source: str, where: str, *, skip_pickles: bool = False
) -> list[str]:
    """Check names of files that come from elsewhere.

    Args:
        names: The names.
        source: Where they came from, for messages.
        where: What lists them.
        skip_pickles: Whether pickles are left out, and not refused.

    Raises:
        ModelError: If one lies outside its folder, or is a pickle.
    """
    try:
        checked = safe_names(names, f"{source}: {where}", (where,))
    except ModelError as error:
        raise ModelError(f"{error}; nothing was kept") from None
    pickles = [name for name in checked if is_pickle(name)]
    if pickles and not skip_pickles:
        raise ModelError(
            f"{source}: {where} names {pickles[0]}, a pickle, which can run code when it is read; "
            "nothing was kept"
        )
    return [name for name in checked if name not in pickles]
