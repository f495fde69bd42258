"""Where the files of an artifact lie in a repository of the Hub.

transformers.js and optimum look for a graph at ``onnx/model.onnx``, and for one with matrices in eight bits
at ``onnx/model_quantized.onnx`` (https://huggingface.co/docs/transformers.js/guides/dtypes); every other
file keeps its name. It is nothing but a name: ``affineur.json`` is the same in both layouts, and whoever
reads an artifact asks here where a file of it lies. What others call a graph is found too: optimum puts
``model_quantized.onnx`` and ``model_optimized.onnx`` right into the folder.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from affineur.artifact.exported import read_export_info

#: The folder of graphs.
ONNX = "onnx"
#: The graph, as an artifact names it.
GRAPH = "model.onnx"
#: The graph in a repository, in full precision and in eight bits.
PLAIN, QUANTIZED = f"{ONNX}/model.onnx", f"{ONNX}/model_quantized.onnx"
#: What others call one, beside these, the first first; in the folder itself or in that of graphs.
_OTHERS = tuple(
    f"model_{kind}.onnx"
    for kind in (
        "optimized",
        "O1",
        "O2",
        "O3",
        "O4",
        "quantized",
        "int8",
        "uint8",
        "fp16",
        "q4",
        "q4f16",
        "bnb4",
    )
)
# Constants beside a graph, which names them itself: as we write them, and as optimum does.
_CONSTANTS = ("model.onnx.data", "model.onnx_data")


def is_graph(name: str) -> bool:
    """Say whether a file of an artifact is its graph, or holds constants of it."""
    return name == GRAPH or name in _CONSTANTS


def published_name(name: str, quantized: bool) -> str:
    """Name a file of an artifact as a repository does.

    Args:
        name: Its name in the artifact.
        quantized: Whether matrices of the graph are in eight bits.
    """
    if name == GRAPH:
        return QUANTIZED if quantized else PLAIN
    return f"{ONNX}/{name}" if name in _CONSTANTS else name


def places_of(name: str, quantized: bool = False) -> tuple[str, ...]:
    """List where a file of an artifact may lie, the likeliest first: under its own name before any other."""
    if not is_graph(name):
        return (name,)
    ours = (name, published_name(name, quantized), published_name(name, not quantized))
    others = [place for other in _OTHERS for place in (other, f"{ONNX}/{other}")] if name == GRAPH else []
    return tuple(dict.fromkeys((*ours, *others)))


def find_name(name: str, there: Container[str], quantized: bool = False) -> str | None:
    """Find a file of an artifact among the files of a folder or a repository; ``None`` where it is not."""
    return next((place for place in places_of(name, quantized) if place in there), None)


def lies_at(folder: Path, name: str) -> Path:
    """Return where a file of an artifact lies in a folder, laid out either way; its own name if nowhere."""
    if not is_graph(name) or (folder / name).is_file():
        return folder / name
    found = [folder / place for place in places_of(name) if (folder / place).is_file()]
    if len(found) > 1 and is_quantized(folder):
        return folder / (
            find_name(name, [place.relative_to(folder).as_posix() for place in found], True) or name
        )
    return found[0] if found else folder / name


def is_quantized(folder: Path) -> bool:
    """Say whether the graph of an artifact has matrices in eight bits, as far as it says."""
    info = read_export_info(folder)
    return info is not None and info.scheme != "fp32"
