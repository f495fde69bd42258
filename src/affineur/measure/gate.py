"""The deployment checklist (guide §6) as a gate: what was measured against the bars, and which was missed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal
from xml.etree import ElementTree

from affineur.display import Shown, Table
from affineur.errors import counted
from affineur.measure.bar_table import Bar, known_bar
from affineur.measure.bars import Bars, plain
from affineur.measure.conditions import Conditions
from affineur.measure.figures import NOT_MEASURED, Asked, Basis, Measures, basis_words
from affineur.measure.tables import markdown_table

# A share is a ratio of integers, a drop the difference of two: what floating point adds to a limit reached
# exactly. Bytes are integers, and nothing is subtracted from a clock.
_ROUNDING = 1e-12
_NONE = "–"  # shown where there is no figure

#: What a bar comes to. *Not provable*: what was seen is inside the limit, but the data cannot show it.
Outcome = Literal["passed", "failed", "not provable"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One bar, judged.

    Args:
        bar: Its name, such as ``min_f1_PER`` or ``max_p95_ms``.
        limit: What had to be reached, or not exceeded.
        measured: The figure, or ``None`` where it could not be measured; that is a miss.
        passed: Whether the bar was reached.
        basis: What stands behind the figure, such as its interval, or why there is none.
        open: Whether the bar was neither shown to be reached nor seen to be missed: what was seen is inside
            the limit, but too few sentences stand behind it.
    """

    bar: str
    limit: float
    measured: float | None
    passed: bool
    basis: Basis = ""
    open: bool = False

    @property
    def state(self) -> str:
        """``pass``, ``MISS`` or ``open``."""
        return "pass" if self.passed else "open" if self.open else "MISS"

    @property
    def verdict(self) -> Outcome:
        """``passed``, ``failed`` or ``not provable``."""
        return "passed" if self.passed else "not provable" if self.open else "failed"

    @property
    def detail(self) -> str:
        """What stands behind the figure, in words."""
        return basis_words(self.basis)

    def as_dict(self) -> dict[str, Any]:
        """Return stable keys."""
        return {
            "bar": self.bar,
            "limit": self.limit,
            "measured": self.measured,
            "passed": self.passed,
            "verdict": self.verdict,
            "detail": self.detail,
        }

    def figures(self) -> tuple[str, str, str]:
        """Write figure, comparison and limit, so exactly that the comparison can be seen to be true.

        Raises:
            KeyError: If there is no such bar.
        """
        bar, _ = known_bar(self.bar)
        unit, (holds, fails) = bar.unit, bar.signs
        for digits in range(unit.digits, 10):
            limit = f"{self.limit * unit.scale:.{digits}f}"
            measured = None if self.measured is None else f"{self.measured * unit.scale:z.{digits}f}"
            exact = math.isclose(float(limit), self.limit * unit.scale, rel_tol=1e-12)
            if exact and (self.passed or measured != limit):
                break
        limit += unit.suffix
        if measured is None:
            return _NONE, holds, limit
        return measured + unit.suffix, holds if self.passed else fails, limit


@dataclass(frozen=True, slots=True, repr=False)
class Gate(Shown):
    """All bars of one model, judged.

    Args:
        model: Name of the model.
        data: Name of the corpus.
        baseline: Name of the baseline, where a bar needed one.
        verdicts: One a bar, in the order of the file.
        conditions: What the figures rest on, where it is known.
    """

    model: str
    data: str
    baseline: str | None
    verdicts: tuple[Verdict, ...]
    conditions: Conditions | None = None

    @property
    def passed(self) -> bool:
        """Whether every bar was reached."""
        return all(verdict.passed for verdict in self.verdicts)

    @property
    def verdict(self) -> Outcome:
        """``passed``; ``failed`` where a bar is missed; ``not provable`` where some are only not shown."""
        found = {verdict.verdict for verdict in self.verdicts}
        return "failed" if "failed" in found else "not provable" if "not provable" in found else "passed"

    def as_dict(self) -> dict[str, Any]:
        """Return the stable keys of ``check --json``."""
        return {
            "model": self.model,
            "data": self.data,
            "baseline": self.baseline,
            "passed": self.passed,
            "verdict": self.verdict,
            "bars": [verdict.as_dict() for verdict in self.verdicts],
            **(asdict(self.conditions) if self.conditions else {}),
        }

    @property
    def summary(self) -> str:
        """How many bars were reached, and which were not."""
        missed = [plain(verdict.bar) for verdict in self.verdicts if verdict.verdict == "failed"]
        open_ = [plain(verdict.bar) for verdict in self.verdicts if verdict.verdict == "not provable"]
        many = counted(len(self.verdicts), "bar")
        sentences = f" with {counted(self.conditions.sentences, 'sentence')}" if self.conditions else ""
        parts = [f"missed: {len(missed)} of {many} ({', '.join(missed)})"] if missed else []
        if open_:
            parts.append(f"not provable{sentences}: {len(open_)} of {many} ({', '.join(open_)})")
        return "; ".join(parts) or f"passed: {len(self.verdicts)} of {many}"

    @property
    def title(self) -> str:
        """What was checked, on what, against which baseline."""
        against = f", against {plain(self.baseline)}" if self.baseline else ""
        return f"{plain(self.model)} on {plain(self.data)}{against}"

    def tables(self) -> list[Table]:
        """Return what is shown: one row per bar, and the outcome below."""
        rows = [
            [one.bar, one.state, measured, f"{sign} {limit}", one.detail]
            for one, measured, sign, limit in _compared(self)
        ]
        columns = ("Bar", "Outcome", "Measured", "Asked", "Behind it")
        cells = [[plain(cell) for cell in row] for row in rows]
        return [Table(columns, cells, self.title, [self.summary], words=("Outcome", "Behind it"))]


def judge(bars: Bars, measures: Measures, *, model: str, data: str, baseline: str | None = None) -> Gate:
    """Check what was measured against the bars.

    A limit reached exactly is reached; what was not measured is missed.

    Args:
        bars: The bars.
        measures: What was measured.
        model: Name of the model.
        data: Name of the corpus.
        baseline: Name of the baseline.

    Raises:
        RecipeError: If a bar names a type that was not scored.
        ParameterError: If the baseline was not scored on the same sentences, in the same scheme.
    """
    if measures.evaluation is not None:
        bars.refuse_unknown_types(measures.evaluation.types)
    verdicts = []
    for name, limit, bar, kind in bars.asked:
        asked = Asked(kind, bars.confidence, baseline or "the baseline", limit)
        figure = bar.figure(measures, asked) if bar.figure else NOT_MEASURED
        judged = judge_bar(name, limit, figure.value, figure.basis)
        inside = figure.estimate is not None and _reaches(bar, limit, figure.estimate)
        verdicts.append(replace(judged, open=not judged.passed and (inside or figure.too_few)))
    return Gate(model, data, baseline, tuple(verdicts))


def judge_bar(name: str, limit: float, measured: float | None, basis: Basis = "") -> Verdict:
    """Check one figure against one bar: a limit reached exactly is reached.

    Args:
        name: The bar.
        limit: What has to be reached, or not exceeded.
        measured: The figure; what was not measured, or is no number, is missed.
        basis: What stands behind the figure, or why there is none.

    Raises:
        KeyError: If there is no such bar.
    """
    if measured is not None and not math.isfinite(measured):
        measured, basis = None, "the figure is not a number"
    bar, _ = known_bar(name)
    reached = measured is not None and _reaches(bar, limit, measured)
    return Verdict(name, limit, measured, reached, basis)


def _reaches(bar: Bar, limit: float, measured: float) -> bool:
    slack = _ROUNDING if bar.unit.is_share else 0.0
    return measured >= limit - slack if bar.reach == "at least" else measured <= limit + slack


def _compared(gate: Gate) -> Iterator[tuple[Verdict, str, str, str]]:
    """Yield each verdict with its figure, comparison and limit as they are shown."""
    for one in gate.verdicts:
        yield one, *one.figures()


def gate_lines(gate: Gate) -> list[str]:
    """Write the gate for a terminal: what was checked, one line per bar, and the outcome."""
    cells = [(plain(one.bar), *figures) for one, *figures in _compared(gate)]
    wide = [max((len(row[column]) for row in cells), default=0) for column in range(4)]
    lines = [gate.title]
    for one, (name, measured, sign, limit) in zip(gate.verdicts, cells, strict=True):
        compared = f"{measured:>{wide[1]}} {sign} {limit:<{wide[3]}}"
        lines.append(f"{one.state}  {name:<{wide[0]}}  {compared}  {plain(one.detail)}".rstrip())
    return [*lines, gate.summary]


def junit_xml(gate: Gate) -> str:
    """Write the gate as JUnit XML: one test case per bar, a failure with the reason where it was missed."""
    missed = sum(not verdict.passed for verdict in gate.verdicts)
    counts = {
        "tests": str(len(gate.verdicts)),
        "failures": str(missed),
        "errors": "0",
        "skipped": "0",
        "time": "0",
    }
    root = ElementTree.Element("testsuites", {"name": "affineur check", **counts})
    suite = ElementTree.SubElement(
        root, "testsuite", {"name": f"affineur check {plain(gate.model)}", **counts}
    )
    properties = ElementTree.SubElement(suite, "properties")
    for key, value in (("model", gate.model), ("data", gate.data), ("baseline", gate.baseline)):
        if value is not None:
            ElementTree.SubElement(properties, "property", name=key, value=plain(value))
    for one, measured, sign, limit in _compared(gate):
        name = plain(one.bar)
        case = ElementTree.SubElement(suite, "testcase", classname=plain(gate.model), name=name, time="0")
        found = f"not measured, expected {sign}" if one.measured is None else f"{measured} {sign}"
        said = f"{name}: {found} {limit}"
        if one.passed:
            told = ElementTree.SubElement(case, "system-out")
        else:
            told = ElementTree.SubElement(case, "failure", message=said, type=one.verdict)
        told.text = f"{said}; {plain(one.detail)}"
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def summary_markdown(gate: Gate) -> str:
    """Write the gate as GitHub-flavored Markdown, such as a job summary shows."""
    rows = [
        [
            _literal(plain(one.bar)),
            one.state if one.passed else f"**{one.state}**",
            _literal(f"{measured} {sign} {limit}"),
            _literal(plain(one.detail)),
        ]
        for one, measured, sign, limit in _compared(gate)
    ]
    conditions = f"\n{_literal(plain(str(gate.conditions)))}\n" if gate.conditions else ""
    return (
        f"### affineur check: {_literal(gate.summary)}\n\n{_literal(gate.title)}\n\n"
        + markdown_table(("Bar", "", "Measured", "Behind it"), rows)
        + conditions
    )


def _literal(text: str) -> str:
    """Escape what Markdown would read as markup.

    Pipes are left to the table, so that a backslash before one is already doubled.
    """
    return re.sub(r"[\\`*~\[\]]|<(?=[A-Za-z/!?])|&(?=[#A-Za-z])|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)
