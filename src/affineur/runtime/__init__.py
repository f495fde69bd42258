"""Text in, entities out, without torch: words, windows, token-budget batches, prediction over any engine."""

from affineur.runtime.aggregation import STRATEGIES, AggregationStrategy
from affineur.runtime.batches import DEFAULT_BUDGET, FixedBatches, plan_batches
from affineur.runtime.prediction import Logits, best_labels, word_entities
from affineur.runtime.reading import Reading, Wish
from affineur.runtime.tagger import EngineTagger, pad
from affineur.runtime.windows import Encoder, Window, max_positions
from affineur.runtime.words import split_words

__all__ = [
    "DEFAULT_BUDGET",
    "STRATEGIES",
    "AggregationStrategy",
    "Encoder",
    "EngineTagger",
    "FixedBatches",
    "Logits",
    "Reading",
    "Window",
    "Wish",
    "best_labels",
    "max_positions",
    "pad",
    "plan_batches",
    "split_words",
    "word_entities",
]
