"""Counts, scores, intervals, speed, memory, comparison, budgets, gates; knows models only as taggers."""

from affineur.display import megabytes
from affineur.measure.analysis import Analysis, Confusion, Disagreement, agreement, analyze
from affineur.measure.bars import Bars, parse_bars, read_bars
from affineur.measure.benchmark import benchmark, percentiles
from affineur.measure.benchmark_result import Benchmark, BenchmarkRow, Birth, speed_in_words
from affineur.measure.bootstrap import Difference, Interval, by_document, f1_difference, f1_interval
from affineur.measure.budget import Budget, Curve, Point, sparsest
from affineur.measure.comparison import MARGIN, Candidate, Change, Comparison, Row, TypeRow, compare, in_words
from affineur.measure.counts import Counts, count_sentence, total
from affineur.measure.evaluation import (
    Evaluation,
    TypeScore,
    common_scheme,
    evaluate,
    model_types,
    scored_types,
)
from affineur.measure.figures import Measures
from affineur.measure.gate import Gate, Verdict, gate_lines, junit_xml, summary_markdown
from affineur.measure.partial import Outcomes, count_outcomes
from affineur.measure.speed import Ratio, Throughput, median_ratio, throughput
from affineur.measure.sweep import Confirmation, State, Sweep
from affineur.measure.tables import (
    BENCHMARK_COLUMNS,
    COLUMNS,
    EVALUATION_COLUMNS,
    PARTIAL_COLUMNS,
    SWEEP_COLUMNS,
    batching_cells,
    benchmark_cells,
    benchmark_markdown,
    benchmark_notes,
    comparison_cells,
    evaluation_cells,
    footnotes,
    markdown,
    markdown_table,
    partial_cells,
    rate,
    sweep_cells,
)

__all__ = [
    "BENCHMARK_COLUMNS",
    "COLUMNS",
    "EVALUATION_COLUMNS",
    "MARGIN",
    "PARTIAL_COLUMNS",
    "SWEEP_COLUMNS",
    "Analysis",
    "Bars",
    "Benchmark",
    "BenchmarkRow",
    "Birth",
    "Budget",
    "Candidate",
    "Change",
    "Comparison",
    "Confirmation",
    "Confusion",
    "Counts",
    "Curve",
    "Difference",
    "Disagreement",
    "Evaluation",
    "Gate",
    "Interval",
    "Measures",
    "Outcomes",
    "Point",
    "Ratio",
    "Row",
    "State",
    "Sweep",
    "Throughput",
    "TypeRow",
    "TypeScore",
    "Verdict",
    "agreement",
    "analyze",
    "batching_cells",
    "benchmark",
    "benchmark_cells",
    "benchmark_markdown",
    "benchmark_notes",
    "by_document",
    "common_scheme",
    "compare",
    "comparison_cells",
    "count_outcomes",
    "count_sentence",
    "evaluate",
    "evaluation_cells",
    "f1_difference",
    "f1_interval",
    "footnotes",
    "gate_lines",
    "in_words",
    "junit_xml",
    "markdown",
    "markdown_table",
    "median_ratio",
    "megabytes",
    "model_types",
    "parse_bars",
    "partial_cells",
    "percentiles",
    "rate",
    "read_bars",
    "scored_types",
    "sparsest",
    "speed_in_words",
    "summary_markdown",
    "sweep_cells",
    "throughput",
    "total",
]
