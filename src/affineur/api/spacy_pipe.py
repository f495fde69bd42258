"""A model as a component of a spaCy pipeline: ``nlp.add_pipe("affineur", config={"model": "INT8"})``.

spaCy finds it by its entry point ``spacy_factories`` as soon as Affineur is installed; libraries that build
on spaCy, such as EDS-NLP, do too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import tee
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.util import filter_spans

from affineur.api.model import Model, load
from affineur.entities import Entity

_BATCH = 64


class Recognizer:
    """Sets the entities of documents.

    The model reads the text, not spaCy's tokens; an entity that ends inside a token takes all of it. Each
    span has the model's score at ``span._.score``. Entities that are there already stay where they do not
    touch a new one.

    Args:
        model: The model.
        threshold: Entities with a lower score are left out.
    """

    def __init__(self, model: Model, threshold: float) -> None:
        self.model, self.threshold = model, threshold
        if not Span.has_extension("score"):
            Span.set_extension("score", default=None)

    def __call__(self, doc: Doc) -> Doc:
        """Set the entities of a document."""
        return self._with_entities(doc, self.model(doc.text, threshold=self.threshold))

    def pipe(self, stream: Iterable[Doc], batch_size: int = _BATCH) -> Iterator[Doc]:
        """Set the entities of documents as they come, in batches."""
        docs, read = tee(stream)
        found: Iterator[Any] = self.model.stream(
            (doc.text for doc in read), threshold=self.threshold, batch_size=batch_size, read_ahead=batch_size
        )
        for doc, entities in zip(docs, found, strict=True):
            yield self._with_entities(doc, entities)

    def _with_entities(self, doc: Doc, found: Iterable[Entity]) -> Doc:
        spans = []
        for entity in found:
            span = doc.char_span(entity.start, entity.end, label=entity.type, alignment_mode="expand")
            if span is not None:
                span._.score = entity.score
                spans.append(span)
        ours = filter_spans(spans)
        taken = {token.i for span in ours for token in span}
        doc.ents = [*ours, *(span for span in doc.ents if taken.isdisjoint(token.i for token in span))]
        return doc


@Language.factory(
    "affineur",
    assigns=["doc.ents", "token.ent_type", "token.ent_iob"],
    default_config={"model": "sample-int8", "threshold": 0.0, "device": "cpu"},
)
def make(
    nlp: Language,  # noqa: ARG001 (spaCy gives both by name)
    name: str,  # noqa: ARG001
    model: str,
    threshold: float,
    device: str,
) -> Recognizer:
    """Make the component, as spaCy asks for it.

    Args:
        nlp: The pipeline.
        name: What the component is called there.
        model: What :func:`affineur.load` takes.
        threshold: Entities with a lower score are left out.
        device: A torch device.
    """
    return Recognizer(load(model, device=device), threshold)
