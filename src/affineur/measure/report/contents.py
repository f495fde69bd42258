"""What a report is made from; what is absent beside the comparison leaves its section out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from affineur.artifact import ModelInfo
from affineur.errors import ParameterError
from affineur.measure.analysis import Analysis
from affineur.measure.benchmark_result import Benchmark
from affineur.measure.budget import Curve
from affineur.measure.comparison import Comparison, Row
from affineur.measure.example import Example
from affineur.measure.gate import Gate


@dataclass(frozen=True, slots=True)
class Report:
    """The contents of one report.

    Args:
        name: Name of the run.
        comparison: The table.
        chosen: Name of the row the report is about; ``None`` for the one the gate judged, else the last one
            that is smaller than the first, else the last.
        gate: The bars, judged.
        analysis: Its errors, beside those of the baseline.
        example: What each row finds in a text of the user's choice.
        curves: Sparsity curves, one per method.
        models: What the folders of the rows say of themselves, by row name; rows without one are left out.
        benchmark: Speed and memory in fresh processes, where that was measured.
        recipe: The recipe as YAML text.
        commands: What reproduces the figures: what it gives, and the command.
        notes: What was decided on the way.

    Raises:
        ParameterError: If the comparison has no row, or none of the chosen name.
    """

    name: str
    comparison: Comparison
    chosen: str | None = None
    gate: Gate | None = None
    analysis: Analysis | None = None
    example: Example | None = None
    curves: tuple[Curve, ...] = ()
    models: Mapping[str, ModelInfo] = field(default_factory=dict)
    benchmark: Benchmark | None = None
    recipe: str | None = None
    commands: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [row.model for row in self.comparison.rows]
        if not names:
            raise ParameterError("a report needs a comparison of at least one model")
        if self.chosen is not None and self.chosen not in names:
            raise ParameterError(f"no row '{self.chosen}' to report on, expected one of {', '.join(names)}")

    @property
    def quotes(self) -> bool:
        """Whether sentences of the data are quoted."""
        return self.analysis is not None and self.analysis.quotes

    @property
    def baseline(self) -> Row:
        """The row all others are compared with."""
        return self.comparison.rows[0]

    @property
    def row(self) -> Row:
        """The row the report is about."""
        rows = {row.model: row for row in self.comparison.rows}
        if self.chosen is not None:
            return rows[self.chosen]
        if self.gate is not None and self.gate.model in rows:
            return rows[self.gate.model]
        smaller = [row for row in self.comparison.rows[1:] if row.size_bytes < self.baseline.size_bytes]
        return (smaller or self.comparison.rows)[-1]

    @property
    def alone(self) -> bool:
        """Whether the row has nothing to be compared with: it is the baseline itself."""
        return self.row is self.baseline
