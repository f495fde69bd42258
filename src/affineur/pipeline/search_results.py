"""What a search found: the front, its knee, the smallest point inside the budget."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from affineur.artifact import describe_machine, environment, write_json, write_text
from affineur.display import Shown, Table, megabytes
from affineur.errors import counted
from affineur.measure import Confirmation, Evaluation, Point, Ratio, State, markdown_table
from affineur.measure.bootstrap import FEWEST
from affineur.measure.pareto import knee, pareto_front
from affineur.measure.report.front import Spot, SpotKind, front_picture
from affineur.measure.report.words import percent, points
from affineur.measure.sweep import figures
from affineur.pipeline.search_recipe import SearchRecipe
from affineur.pipeline.search_space import Choice
from affineur.transfer.places.core.place import shown

#: Speeds are compared in steps of so much: what one run of a few seconds tells apart.
SPEED_STEP = 0.05
COLUMNS = ("Point", "Size", "F1", "ΔF1 (interval)", "Budget", "Speed (99 %)", "Marked")


@dataclass(frozen=True, slots=True)
class Trial:
    """A point that was tried.

    Args:
        choice: What decides it.
        seconds: What it took to make and measure.
        point: Its F1 on dev, and what it lost to the teacher; ``None`` where it could not be made.
        size_bytes: Of its weights.
        speed: Its speed, as a ratio to the teacher's.
        error: Why it could not be made.
    """

    choice: Choice
    seconds: float
    point: Point | None = None
    size_bytes: int = 0
    speed: Ratio | None = None
    error: str | None = None

    @property
    def name(self) -> str:
        """The name of the choice."""
        return self.choice.name

    @property
    def costs(self) -> list[float] | None:
        """What is small in a good point: F1 turned around, size and slowness as logarithms.

        ``None`` where it could not be made.
        """
        if self.point is None or self.speed is None:
            return None
        return [
            -self.point.f1,
            math.log(self.size_bytes),
            float(-round(math.log(self.speed.value) / math.log1p(SPEED_STEP))),
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return what :meth:`of` reads."""
        speed = None if self.speed is None else [self.speed.value, self.speed.low, self.speed.high]
        point = self.point and self.point.as_dict()
        return {
            "parameters": self.choice.as_dict(),
            "seconds": self.seconds,
            "point": point,
            "size_bytes": self.size_bytes,
            "speed": speed,
            "error": self.error,
        }

    @classmethod
    def of(cls, value: dict[str, Any]) -> Trial:
        """Read what :meth:`as_dict` returned.

        Raises:
            KeyError: If something is missing.
            TypeError: If something is not known.
        """
        point, speed = value["point"], value["speed"]
        return cls(
            Choice(**value["parameters"]),
            value["seconds"],
            Point(**point) if point else None,
            value["size_bytes"],
            Ratio(*speed) if speed else None,
            value["error"],
        )

    def __str__(self) -> str:
        """Say it in one line."""
        if self.point is None or self.speed is None:
            return f"{self.name} failed after {self.seconds:.0f} s: {self.error}"
        low, drop, high = (
            f"{part * 100:+z.2f}" for part in (self.point.drop_low, self.point.drop, self.point.drop_high)
        )
        return (
            f"{self.name}: F1 {self.point.f1:.2%}, drop {drop} ({low} … {high}), "
            f"{megabytes(self.size_bytes)}, "
            f"{self.speed.value:.2f}× the teacher's speed; {self.seconds:.0f} s"
        )


#: What test said of the point that is recommended, in words.
_STATES: dict[State, str] = {
    "confirmed": "which test confirms",
    "agrees": "with which test agrees by its estimate",
    "disagrees": "but test DISAGREES",
}


@dataclass(repr=False)
class Found(Shown):
    """What a search found; ``print`` and a notebook show its table.

    Args:
        recipe: What was asked for.
        out: Where it is written.
        teacher: The teacher, as it was named.
        teacher_size: Bytes of its weights.
        baseline: Its scores on dev.
        trials: Every point tried; at least one could be made.
        confirmations: How the recommended points do on test, by name.
    """

    recipe: SearchRecipe
    out: Path
    teacher: str
    teacher_size: int
    baseline: Evaluation
    trials: tuple[Trial, ...]
    confirmations: dict[str, Confirmation] = field(default_factory=dict)

    @cached_property
    def front(self) -> tuple[Trial, ...]:
        """The points no other beats on F1, size and speed, the smallest first."""
        made = [trial for trial in self.trials if trial.costs]
        chosen = [made[place] for place in pareto_front(_costs(made))]
        return tuple(sorted(chosen, key=lambda trial: (trial.size_bytes, trial.name)))

    @cached_property
    def knee(self) -> Trial:
        """The point of the front nearest to the best of everything."""
        return self.front[knee(_costs(self.front))]

    @cached_property
    def smallest(self) -> Trial | None:
        """The smallest point whose whole interval is inside the budget, of equals that of the higher F1."""
        inside = [trial for trial in self.trials if self.inside(trial)]
        return min(inside, key=lambda trial: (trial.costs or [])[1::-1], default=None)

    def inside(self, trial: Trial) -> bool:
        """Say whether the whole interval of a point is inside the budget as it is now."""
        point, budget = trial.point, self.recipe.f1_budget
        if point is None or self.baseline.sentences < FEWEST:
            return False
        kept = budget.min_f1 is None or point.f1_low >= budget.min_f1
        return kept and (budget.max_drop is None or point.drop_high <= budget.max_drop)

    @property
    def recommended(self) -> tuple[Trial, ...]:
        """The points that are named in the end, and confirmed on test."""
        return tuple({trial.name: trial for trial in (self.smallest, self.knee) if trial}.values())

    @property
    def kept(self) -> tuple[Trial, ...]:
        """The points whose artifacts stay: the front and what is recommended."""
        return tuple({trial.name: trial for trial in (*self.front, *self.recommended)}.values())

    @property
    def agreed(self) -> bool:
        """Whether there is a point inside the budget, and test does not disagree."""
        return self.smallest is not None and self.confirmations[self.smallest.name].state != "disagrees"

    def as_dict(self) -> dict[str, Any]:
        """Return the stable keys of ``search.json``."""
        budget = self.recipe.f1_budget
        return {
            "name": self.recipe.name,
            "teacher": self.teacher,
            "teacher_size_bytes": self.teacher_size,
            "teacher_f1": self.baseline.total.f1,
            "data": self.baseline.corpus,
            "data_digest": self.baseline.data_digest,
            "sentences": self.baseline.sentences,
            "min_f1": budget.min_f1,
            "max_drop": budget.max_drop,
            "confidence": budget.confidence,
            "minutes": self.recipe.minutes,
            "seconds_spent": sum(trial.seconds for trial in self.trials),
            "knee": self.knee.name,
            "smallest_inside": self.smallest and self.smallest.name,
            "points": [self._point_dict(trial) for trial in self.trials],
            "confirmations": {
                name: confirmation.as_dict() for name, confirmation in self.confirmations.items()
            },
            "pick": self.pick,
            "machine": environment() | {"description": describe_machine()},
        }

    def _point_dict(self, trial: Trial) -> dict[str, Any]:
        known = trial.point.as_dict() if trial.point else {}
        speed = trial.speed
        return {
            "name": trial.name,
            "parameters": trial.choice.as_dict(),
            **{key: known.get(key) for key in ("f1", "f1_low", "f1_high", "drop", "drop_low", "drop_high")},
            "inside": self.inside(trial),
            "size_bytes": trial.size_bytes if speed else None,
            "speedup": speed and speed.value,
            "speedup_low": speed and speed.low,
            "speedup_high": speed and speed.high if speed and math.isfinite(speed.high) else None,
            "artifact": str(path) if (path := self.out / "models" / trial.name).is_dir() else None,
            "on_front": trial in self.front,
            "knee": trial is self.knee,
            "smallest_inside": trial is self.smallest,
            "seconds": trial.seconds,
            "error": trial.error,
        }

    @property
    def summary(self) -> str:
        """What to take."""
        return self.pick

    def tables(self) -> list[Table]:
        """Return what is shown: the teacher and the points that stay, and below what may be said of them."""
        return [Table(COLUMNS, self.cells(), notes=self.lines())]

    def cells(self) -> list[list[str]]:
        """Return the cells of the table under :data:`COLUMNS`: the teacher, then the points that stay."""
        first = [
            self.teacher,
            megabytes(self.teacher_size),
            percent(self.baseline.total.f1, 2),
            "–",
            "–",
            "1.00×",
            "teacher",
        ]
        return [
            first,
            *(self._cells(trial) for trial in sorted(self.kept, key=lambda trial: trial.size_bytes)),
        ]

    def _cells(self, trial: Trial) -> list[str]:
        point, speed = trial.point, trial.speed
        assert point is not None
        assert speed is not None
        marks = ["knee"] * (trial is self.knee) + ["smallest inside"] * (trial is self.smallest)
        change = f"{points(-point.drop)} ({points(-point.drop_high)} … {points(-point.drop_low)})"
        inside = "inside" if self.inside(trial) else "outside"
        times = f"{speed.value:.2f}× ({speed.low:.2f}–{speed.high:.2f})"
        return [
            trial.name,
            megabytes(trial.size_bytes),
            percent(point.f1, 2),
            change,
            inside,
            times,
            ", ".join(marks),
        ]

    @property
    def pick(self) -> str:
        """One sentence: what to take."""
        if (best := self.smallest) is None:
            near = min(
                (t for t in self.trials if t.point), key=lambda t: t.point.drop_high if t.point else math.inf
            )
            assert near.point is not None
            drop = f"it may lose up to {near.point.drop_high * 100:.2f} points"
            return (
                f"Take none yet: no point is shown to be inside the budget ({self.recipe.f1_budget}); the "
                "nearest "
                f"is {near.name} ({drop}), so search longer, train longer, or allow more."
            )
        assert best.point is not None
        assert best.speed is not None
        confirmation = self.confirmations.get(best.name)
        state = confirmation and confirmation.state
        point = best.point
        return (
            f"{'Do not trust' if state == 'disagrees' else 'Take'} {self.out / 'models' / best.name}: "
            f"{megabytes(best.size_bytes)} instead of {megabytes(self.teacher_size)}, "
            f"{best.speed.value:.1f} times "
            f"the teacher's speed, F1 on dev {points(-point.drop)} points ({points(-point.drop_high)} … "
            f"{points(-point.drop_low)}), {_STATES[state] if state else 'not yet checked on test'}."
        )

    def lines(self) -> list[str]:
        """Say what was found, in lines below the table."""
        made, failed = sum(1 for t in self.trials if t.point), sum(1 for t in self.trials if t.error)
        spent = sum(trial.seconds for trial in self.trials) / 60
        lines = [
            f"{counted(made, 'point')} in {spent:.1f} minutes"
            + (f", and {counted(failed, 'point')} that could not be made" if failed else "")
            + f"; {len(self.front):,} on the front of F1, size and speed; dev has "
            f"{counted(self.baseline.sentences, 'sentence')}.",
            "Names say layers (L), share of the feed-forward width (w), pieces (v), sparsity (s), "
            "precision. The "
            f"budget: {self.recipe.f1_budget}. Speed: median ratio to the teacher as it was given (torch), "
            "timed "
            f"in turn in one process; on the front, speeds within {SPEED_STEP:.0%} are equal. A point "
            "chosen among "
            f"{made:,} looks better on dev than it is; test was never looked at before.",
        ]
        for trial in self.recommended:
            if (confirmation := self.confirmations.get(trial.name)) is not None:
                # The knee alone was never said to be inside the budget, so nothing is to be confirmed there.
                said = (
                    str(confirmation)
                    if trial is self.smallest
                    else f"On {confirmation.data}: {figures(confirmation.point)}."
                )
                lines.append(f"{trial.name}: {said}")
        models = [str(self.out / "models" / trial.name) for trial in self.kept]
        data = self.recipe.data if isinstance(self.recipe.data, str) else self.recipe.data.path
        again = shlex.join(["affineur", "compare", shown(self.teacher), *models, "--data", shown(data)])
        lines.append(f"Each was timed on its own occasion; all side by side: {again}")
        return [*lines, self.pick]


def write_found(found: Found) -> None:
    """Write ``search.json``, ``search.md`` and ``search.svg``."""
    write_text(
        found.out / "search.md",
        markdown_table(COLUMNS, found.cells()) + "\n" + "".join(f"- {line}\n" for line in found.lines()),
    )
    spots = []
    kind: SpotKind
    for trial in found.trials:
        if trial.point and trial.speed:
            kind = (
                "smallest"
                if trial is found.smallest
                else "knee"
                if trial is found.knee
                else "front"
                if trial in found.front
                else "beaten"
            )
            spots.append(Spot(trial.name, trial.point.f1, trial.size_bytes, trial.speed.value, kind))
    teacher = Spot(found.teacher, found.baseline.total.f1, found.teacher_size, 1.0, "teacher")
    write_text(found.out / "search.svg", front_picture(teacher, spots, found.baseline.corpus))
    write_json(found.out / "search.json", found.as_dict())


def _costs(trials: Sequence[Trial]) -> Any:
    return np.array([trial.costs for trial in trials], dtype=np.float64)
