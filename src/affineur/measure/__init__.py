"""Counts, scores, intervals, speed, memory and the comparison table. numpy only; knows no model but as a tagger."""

from affineur.measure.bootstrap import Difference, Interval, by_document, f1_difference, f1_interval
from affineur.measure.comparison import Candidate, Comparison, Row, compare
from affineur.measure.counts import Counts, count_sentence, total
from affineur.measure.evaluation import Evaluation, evaluate, scored_types
from affineur.measure.speed import Throughput, throughput
from affineur.measure.tables import COLUMNS, comparison_cells, evaluation_cells, footnotes, markdown, markdown_table, megabytes

__all__ = [
    "COLUMNS",
    "Candidate",
    "Comparison",
    "Counts",
    "Difference",
    "Evaluation",
    "Interval",
    "Row",
    "Throughput",
    "by_document",
    "compare",
    "comparison_cells",
    "count_sentence",
    "evaluate",
    "evaluation_cells",
    "f1_difference",
    "f1_interval",
    "footnotes",
    "markdown",
    "markdown_table",
    "megabytes",
    "scored_types",
    "throughput",
    "total",
]
