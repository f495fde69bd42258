"""A model in Python: called with texts it gives entities; it can be measured, and handed to any step."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

from affineur.api.data import Data, corpus_of
from affineur.artifact import ModelFolder, ModelInfo, describe, open_folder
from affineur.entities import Entity, LabeledPiece, Tagger
from affineur.errors import ParameterError
from affineur.measure import Evaluation, evaluate
from affineur.measure.documents import as_documents as read_as_documents
from affineur.pipeline.models import Reference, load_any, model_name
from affineur.runtime import EngineTagger
from affineur.runtime.aggregation import AggregationStrategy
from affineur.runtime.given import given_sentences
from affineur.runtime.reading import Context
from affineur.runtime.rules.core.rule import RulesAsked, check_rules, with_rules
from affineur.transfer.places.core.place import shown

if TYPE_CHECKING:
    from affineur.watch import Log


class Model:
    """A token classifier, ready to use.

    It is loaded when it is first asked for something that needs it: :attr:`path` and :attr:`info` do not.

    Args:
        reference: A folder, a Hub id, ``sample``, or any other reference.
        device: A torch device; an exported graph runs on the CPU.
        threads: Threads of the engine; ``None`` for one per usable processor.
    """

    def __init__(
        self, reference: str | os.PathLike[str], *, device: str = "cpu", threads: int | None = None
    ) -> None:
        self.reference = reference_of(reference)
        self.device, self.threads = device, threads
        #: What it was made from, where a step has just made it.
        self.source: ModelFolder | None = None

    @cached_property
    def path(self) -> Path:
        """The model's folder.

        Raises:
            ModelError: If it has none, as a spaCy pipeline.
            TransferError: If it had to come from elsewhere and did not.
        """
        return Reference.parse(self.reference).folder()

    @cached_property
    def info(self) -> ModelInfo:
        """What it is: layers, parameters, sparsity, labels, size, lineage."""
        return describe(self.path)

    @cached_property
    def tagger(self) -> Tagger:
        """What computes it, loaded.

        Raises:
            ModelError: If it is not a usable model.
        """
        return load_any(self.reference, self.device, threads=self.threads)

    @property
    def name(self) -> str:
        """A short name, as tables show it."""
        return model_name(self.reference)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the order of its outputs."""
        return self.tagger.labels

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        texts: str,
        *,
        strategy: AggregationStrategy = "word",
        threshold: float = 0.0,
        context: Context | None = None,
        batch_size: int | None = None,
        rules: RulesAsked = None,
    ) -> list[Entity]: ...

    @overload
    def __call__(
        self,
        texts: Sequence[str],
        *,
        strategy: AggregationStrategy = "word",
        threshold: float = 0.0,
        context: Context | None = None,
        batch_size: int | None = None,
        rules: RulesAsked = None,
    ) -> list[list[Entity]]: ...

    def __call__(
        self,
        texts: str | Sequence[str],
        *,
        strategy: AggregationStrategy = "word",
        threshold: float = 0.0,
        context: Context | None = None,
        batch_size: int | None = None,
        rules: RulesAsked = None,
    ) -> Any:
        """Find the entities of one text, or of several.

        Args:
            texts: A text of any length, or several of them.
            strategy: How pieces become entities: ``word`` (ours), or transformers' ``simple``, ``first``,
                ``average``, ``max`` and ``none``, equal to its pipeline's.
            threshold: Entities with a lower score are left out.
            context: What the model is shown at once: ``sentence`` or ``document``; by default ``sentence``
                for ``word``, and ``document`` for the others, which equal transformers' pipeline only then.
            batch_size: Most texts in a batch, beside the token budget; ``None`` for that alone.
            rules: Rules that find more beside the model, with score 1: a set (``fr``), some of it
                (``fr:email,phone``), all but some (``fr:-date``), or several sets. What a rule finds stays
                whole; of a model's entity stays what lies outside.

        Returns:
            Entities with ``type``, ``word``, ``start``, ``end`` (characters) and ``score``: a list for one
            text, a list of lists for several.

        Raises:
            ParameterError: If a value is impossible.
            ModelError: If the model cannot be used, or only tags words.
        """
        more = check_rules(rules, strategy)
        found: Any = self._engine(
            texts, strategy=strategy, threshold=threshold, context=context, batch_size=batch_size
        )
        if not more:
            return found
        if isinstance(texts, str):
            return with_rules(texts, found, more)
        return [with_rules(text, each, more) for text, each in zip(texts, found, strict=True)]

    def stream(
        self,
        texts: Iterable[str],
        *,
        strategy: AggregationStrategy = "word",
        threshold: float = 0.0,
        context: Context | None = None,
        batch_size: int | None = None,
        read_ahead: int = 1024,
        rules: RulesAsked = None,
    ) -> Iterator[list[Entity]] | Iterator[list[LabeledPiece]]:
        """Find the entities of texts as they come, in their order; memory does not grow with their number.

        Args:
            texts: Raw texts.
            strategy: As when the model is called.
            threshold: Entities with a lower score are left out.
            context: As when the model is called.
            batch_size: Most texts in a batch; ``None`` for the token budget alone.
            read_ahead: Most texts read ahead and sorted by length together.
            rules: As when the model is called.
        """
        more = check_rules(rules, strategy)
        read, kept = tee(texts) if more else (texts, ())
        found: Any = self._engine.predict_stream(
            read,
            strategy=strategy,
            threshold=threshold,
            context=context,
            batch_size=batch_size,
            read_ahead=read_ahead,
        )
        if not more:
            return cast(Iterator[list[Entity]], found)
        return (with_rules(text, each, more) for text, each in zip(kept, found, strict=True))

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return the likeliest label of each word of some sentences that are cut into words.

        Raises:
            ParameterError: If they are not cut into words.
        """
        return self.tagger.tag(given_sentences(sentences))

    def evaluate(
        self, data: Data = "sample", *, types: Sequence[str] | None = None, as_documents: int | None = None
    ) -> Evaluation:
        """Score it on labeled data: of a reference with several splits, on test.

        Args:
            data: A reference, a corpus, or splits.
            types: Types to score; ``None`` for all that model or data know.
            as_documents: Join so many sentences to a text, and read it as raw text is read.

        Raises:
            DataError: If the data cannot be used, or has types the model does not know.
            ModelError: If the model cannot be used.
            ParameterError: If ``as_documents`` is impossible.
        """
        tagger, corpus = self.tagger, corpus_of(data)
        if as_documents is not None:
            tagger, corpus = read_as_documents(tagger, corpus, as_documents)
        return evaluate(tagger, corpus, types=types)

    @contextmanager
    def logging_to(self, log: Log | None) -> Iterator[None]:
        """Keep what it finds in texts inside this block in a log, without the texts.

        Args:
            log: The log (:class:`affineur.watch.Log`); ``None`` changes nothing.

        Raises:
            ModelError: If the model only tags words.
        """
        if log is None:
            yield
            return
        engine = self._engine
        before = engine.listener
        log.listen_to(engine, open_folder(self.path).digest())
        try:
            yield
        finally:
            engine.listener = before

    @property
    def _engine(self) -> EngineTagger:
        tagger = self.tagger
        if not isinstance(tagger, EngineTagger):
            raise Reference.parse(self.reference).not_a_model()
        return tagger

    def __fspath__(self) -> str:
        """Return its folder, so that it may stand wherever a path does."""
        return str(self.path)

    def __repr__(self) -> str:
        """Say what it is, briefly."""
        return f"Model({shown(self.reference)!r})"

    def _repr_html_(self) -> str:
        """Show what it is as a table."""
        return self.info._repr_html_()


def load(reference: str | os.PathLike[str], *, device: str = "cpu", threads: int | None = None) -> Model:
    """Load a model.

    Args:
        reference: A folder, ``sample``, a Hub id (``owner/name``), or one of these after a way to run it,
            such as ``torch-int8:``; a model that is loaded already is itself.
        device: A torch device; an exported graph runs on the CPU.
        threads: Threads of the engine; ``None`` for one per usable processor.

    Raises:
        ModelError: If it is not a usable model, or one in eight bits that does not prove itself on this CPU.
        ParameterError: If the device is not there.
        TransferError: If it had to come from elsewhere and did not.
    """
    model = reference if isinstance(reference, Model) else Model(reference, device=device, threads=threads)
    _ = model.tagger  # what is wrong with it is said now
    return model


def reference_of(model: object) -> str:
    """Return a model as the command line takes it.

    Raises:
        ParameterError: If it is none.
    """
    if isinstance(model, Model):
        return model.reference
    if isinstance(model, str | os.PathLike):
        return os.fspath(model)
    raise ParameterError(
        f"model is a {type(model).__name__}, expected a folder, a reference such as 'sample', or a Model",
        "model",
    )
