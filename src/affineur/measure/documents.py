"""What a model finds in whole texts: sentences that are cut already are joined, and read as raw text is."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace

from affineur.entities import Corpus, Mention, Sentence, Tagger, detect, to_tags, with_prefix
from affineur.entities.texts import as_text
from affineur.errors import ParameterError
from affineur.runtime import EngineTagger
from affineur.runtime.reading import Context


def as_documents(
    tagger: Tagger, corpus: Corpus, sentences: int, context: Context | None = None
) -> tuple[Tagger, Corpus]:
    """Return a model that reads raw texts of several sentences, and a corpus whose documents these are.

    Args:
        tagger: The model.
        corpus: The gold data.
        sentences: Sentences in a text.
        context: As in :class:`~affineur.runtime.PredictOptions`.

    Raises:
        ParameterError: If there are none in a text, or the model only tags words.
    """
    if sentences < 1:
        raise ParameterError(
            f"as_documents={sentences} is impossible, expected at least 1 sentence", "as_documents"
        )
    if not isinstance(tagger, EngineTagger):
        raise ParameterError(
            "as_documents has raw text read, and this model only tags words; leave it out", "as_documents"
        )
    source = corpus.source

    def numbered() -> Iterator[Sentence]:
        return (replace(each, document=place // sentences) for place, each in enumerate(source()))

    name = f"{corpus.name} (read as texts of {sentences} sentences)"
    return (
        DocumentTagger(tagger, sentences, context),
        replace(corpus, name=name, source=numbered, has_documents=True),
    )


class DocumentTagger:
    """Tags sentences as the product would find mentions in a text of several.

    Args:
        tagger: The model.
        sentences: Sentences in a text.
        context: What the model is shown at once.
    """

    def __init__(self, tagger: EngineTagger, sentences: int, context: Context | None = None) -> None:
        self._tagger, self._sentences, self._context = tagger, sentences, context
        self._scheme = detect(with_prefix(label) for label in tagger.labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the model."""
        return self._tagger.labels

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return one tag for each word: of the entity that touches it, the first if several do."""
        places = range(0, len(sentences), self._sentences)
        texts = [as_text(sentences[place : place + self._sentences]) for place in places]
        found = self._tagger.predict_batch([text for text, _ in texts], None, context=self._context)
        return [
            to_tags(_mentions([(e.start, e.end, e.type) for e in entities], spans), len(spans), self._scheme)
            for (_, cut), entities in zip(texts, found, strict=True)
            for spans in cut
        ]


def _mentions(found: Sequence[tuple[int, int, str]], spans: Sequence[tuple[int, int]]) -> list[Mention]:
    begins, ends = [begin for begin, _ in spans], [end for _, end in spans]
    mentions: list[Mention] = []
    free = 0
    for start, end, kind in found:
        first, last = max(free, bisect_right(ends, start)), bisect_left(begins, end)
        if first < last:
            mentions.append(Mention(first, last, kind))
            free = last
    return mentions
