"""A model in service: loaded, proved, warm, with its own queue."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from affineur.artifact import open_folder
from affineur.entities import encodable
from affineur.errors import ModelError
from affineur.runtime import EngineTagger
from affineur.serve.queue.admission import Admission
from affineur.serve.queue.batcher import Batcher, Observer
from affineur.serve.settings import Settings

#: From what the user typed for a model to its engine and its folder; it proves the artifact on this CPU.
Loader = Callable[[str], tuple[EngineTagger, Path]]

_WARM = "Marie Duval habite à Paris depuis deux ans et travaille pour la Compagnie des Eaux Vives. "
_LEAST_TOKENS = 8192
#: What may wait however fast the engine is, in the most tokens of a request: each takes memory.
_REQUESTS = 2


@dataclass(frozen=True, slots=True)
class About:
    """What is told of a served model.

    Args:
        name: The name it is served under.
        kind: ``onnx``, ``openvino``, ``transformers`` or ``packed``.
        labels: Its labels, in the order of its outputs.
        sha256: Digest of its weights, configuration and tokenizer.
        size_bytes: Bytes of its folder.
        folder: Name of its folder, without the path.
        version: Counts the artifacts served under this name, from 1.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    sha256: str
    size_bytes: int
    folder: str
    version: int


class ServedModel:
    """A model that answers.

    Args:
        about: What is told of it.
        reference: What the user typed for it.
        batcher: Its queue and its thread.
        admission: Who may wait for it.
    """

    def __init__(self, about: About, reference: str, batcher: Batcher, admission: Admission) -> None:
        self.about, self.reference, self.batcher, self.admission = about, reference, batcher, admission

    @property
    def tagger(self) -> EngineTagger:
        """The engine."""
        return self.batcher.tagger


def start_model(
    name: str, reference: str, loader: Loader, settings: Settings, observer: Observer, version: int
) -> ServedModel:
    """Load, prove and warm a model, and learn how fast it is.

    Args:
        name: The name it will be served under.
        reference: What the user typed for it.
        loader: Loads and proves it.
        settings: Limits of the endpoint.
        observer: Is told of its batches.
        version: Number of this artifact under its name.

    Raises:
        AffineurError: If it is not a usable model, or does not prove itself on this CPU.
    """
    tagger, path = loader(reference)
    if any(label != encodable(label) for label in tagger.labels):
        raise ModelError(f"{path}: a label is not valid Unicode, so no answer could hold it")
    folder = open_folder(path)
    about = About(name, folder.kind, tagger.labels, folder.digest(), folder.size_bytes, path.name, version)
    seconds = _warm(tagger)
    batcher = Batcher(tagger, observer, settings.batch_wait, settings.age, settings.by_length)
    batcher.speed.learn(seconds)
    in_time = min(int(settings.queue_seconds / seconds), _REQUESTS * settings.max_tokens)
    most_tokens = settings.max_waiting_tokens or max(_LEAST_TOKENS, in_time)
    return ServedModel(about, reference, batcher, Admission(settings.max_waiting_inputs, most_tokens))


def _warm(tagger: EngineTagger) -> float:
    """Compute batches of all shapes once, and return seconds a token of a full one: the least of three."""
    tagger.lane_logits(
        tagger.read([_WARM]).windows
    )  # first, so that both of an engine's sessions stay: lanes take one, a lone text the other
    for words in (1, 4, 16, 64):
        tagger.predict_batch(
            [(_WARM * words)[:length] for length in (20, 80, 320, 1280)], None, context="document"
        )
        tagger.predict(_WARM * words, strategy="simple")
    texts = [_WARM] * (4 * max(1, tagger.budget // 20))
    reading = tagger.read(texts)
    tokens = sum(map(len, reading.windows))
    times = []
    for _ in range(3):
        start = time.perf_counter()
        tagger.predict_batch(texts, None)
        times.append(time.perf_counter() - start)
    return min(times) / tokens
