"""Text in, entities out, without torch: words, windows, token-budget batches, prediction over any engine."""

from affineur.runtime.aggregation import STRATEGIES, AggregationStrategy
from affineur.runtime.annotation import annotate, annotate_rows
from affineur.runtime.batches import DEFAULT_BUDGET, FixedBatches, plan_batches
from affineur.runtime.evidence import Evidence, MentionEvidence
from affineur.runtime.prediction import Logits, best_labels, word_entities
from affineur.runtime.reading import PredictOptions, Reading
from affineur.runtime.redaction import STYLES, Redacted, RedactionStyle, redact
from affineur.runtime.restoring import Replacement, restore
from affineur.runtime.tagger import EngineTagger, Predicted, pad
from affineur.runtime.windows import Encoder, Window, max_positions

__all__ = [
    "DEFAULT_BUDGET",
    "STRATEGIES",
    "STYLES",
    "AggregationStrategy",
    "Encoder",
    "EngineTagger",
    "Evidence",
    "FixedBatches",
    "Logits",
    "MentionEvidence",
    "PredictOptions",
    "Predicted",
    "Reading",
    "Redacted",
    "RedactionStyle",
    "Replacement",
    "Window",
    "annotate",
    "annotate_rows",
    "best_labels",
    "max_positions",
    "pad",
    "plan_batches",
    "redact",
    "restore",
    "word_entities",
]
