"""Counts, scores, intervals, speed, memory and the comparison table. numpy only; knows no model but as a tagger."""

from affineur.measure.bootstrap import Difference, Interval, by_document, f1_difference, f1_interval
from affineur.measure.counts import Counts, count_sentence, total
from affineur.measure.evaluation import Evaluation, evaluate, scored_types

__all__ = [
    "Counts",
    "Difference",
    "Evaluation",
    "Interval",
    "by_document",
    "count_sentence",
    "evaluate",
    "f1_difference",
    "f1_interval",
    "scored_types",
    "total",
]
