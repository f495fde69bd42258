"""Mentions found in texts of several sentences: cut into sentences, or shown to the model at once.

python benchmarks/documents.py sample --data /path/test.conll
"""

from __future__ import annotations

import argparse
from itertools import islice

import numpy as np

from affineur.api.model import load
from affineur.entities import Corpus, to_mentions, with_prefix
from affineur.measure import evaluate
from affineur.measure.documents import as_documents
from affineur.runtime.reading import CONTEXTS
from affineur.transfer import load_corpus


def hidden(corpus: Corpus, tagger: object) -> float:
    """Return the share of gold mentions whose every word has some label: what redaction hides."""
    sentences = list(corpus)
    predicted = tagger.tag([sentence.words for sentence in sentences])  # type: ignore[attr-defined]
    found = [
        all(with_prefix(tags[i]) != "O" for i in range(mention.start, mention.end))
        for sentence, tags in zip(sentences, predicted, strict=True)
        for mention in to_mentions(sentence.tags, corpus.scheme)
    ]
    return float(np.mean(found))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--data", default="sample")
    parser.add_argument("--sentences", type=int, default=500, help="of the data, from its beginning")
    args = parser.parse_args()
    model = load(args.model)
    data = load_corpus(args.data, "test")
    corpus = Corpus.scan(data.name, lambda: islice(iter(data), args.sentences), data.scheme)
    print("sentences in a text   " + "".join(f"{context:>22}" for context in CONTEXTS))
    print(" " * 22 + "      F1 recall hidden" * len(CONTEXTS))
    for count in (1, 2, 3, 5, 8):
        line = f"{count:19}   "
        for context in CONTEXTS:
            tagger, documents = as_documents(model.tagger, corpus, count, context)
            scores = evaluate(tagger, documents)
            line += f"  {scores.f1:6.1%} {scores.recall:6.1%} {hidden(corpus, tagger):5.1%}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
