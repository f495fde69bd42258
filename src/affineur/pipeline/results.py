"""What a run measured, written: the table, the curve, the errors, the gate, the report and the cards.

::

    runs/NAME/compare.json, compare.md   the table
    runs/NAME/sweep.json                 F1 over sparsity on dev, where the recipe has ``sweep``
    runs/NAME/benchmark.json             speed and memory in fresh processes, where it has ``benchmark``
    runs/NAME/check.json, bars.yaml      the bars of the last model, where it has ``check``
    runs/NAME/errors.json                where the last model fails, and where it differs from the first
    runs/NAME/report.html                all of it, for people
    runs/NAME/models/…/README.md         each model's card, with its scores
"""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from affineur import __version__
from affineur.artifact import Measured, describe, read_manifest, write_card, write_json, write_text
from affineur.entities import Corpus, Scheme
from affineur.measure import (
    BENCHMARK_COLUMNS,
    COLUMNS,
    Analysis,
    Benchmark,
    Candidate,
    Comparison,
    Curve,
    Evaluation,
    Gate,
    Row,
    analyze,
    benchmark_cells,
    benchmark_notes,
    common_scheme,
    compare,
    comparison_cells,
    footnotes,
    gate_lines,
    markdown,
)
from affineur.measure.report import Report, report_html
from affineur.pipeline.benchmarking import benchmark_models
from affineur.pipeline.check import check
from affineur.pipeline.models import candidate, model_digest
from affineur.pipeline.points import Points
from affineur.pipeline.processes import peak_rss
from affineur.pipeline.recipe import LAST, DataSection, Recipe, RowName
from affineur.pipeline.scores import ScoreBook
from affineur.progress import report
from affineur.transfer import DataOptions, Splits


@dataclass(slots=True)
class Run:
    """What a run made, and where.

    Args:
        folder: ``runs/NAME``.
        models: Folder of each row of the table, by row name.
        notes: What was decided on the way, such as that recovery was not needed.
        table: Content of ``compare.json``.
        gate: Content of ``check.json``, where the recipe has bars.
    """

    folder: Path
    models: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    table: dict[str, Any] = field(default_factory=dict)
    gate: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every bar was reached, or there is none."""
        return bool(self.gate.get("passed", True))


@dataclass(slots=True)
class _Results:
    """The models of one run's table, loaded, and what is measured of them."""

    recipe: Recipe
    made: Run
    splits: Splits
    test: Corpus
    scores: ScoreBook
    device: str
    references: dict[RowName, str]
    names: dict[RowName, str]

    @property
    def last(self) -> RowName:
        """The row the report is about: the last model that was made, or the first row."""
        return next((row for row in LAST if row in self.references), next(iter(self.references)))

    @property
    def first(self) -> RowName:
        """The baseline."""
        return next(iter(self.references))

    @property
    def parent(self) -> str | None:
        """What the last model was packed, exported or quantized from: ``min_agreement`` compares with it."""
        stored = {"int8", "onnx", "packed"}
        if self.last not in stored:
            return None
        return str(
            next(
                self.made.models[row]
                for row in (*LAST, "teacher")
                if row in self.made.models and row not in stored
            )
        )

    def score(self, name: str, tagger: Any, types: Any, scheme: Scheme) -> Evaluation:
        """Score a model by its reference, at most once."""
        return self.scores.evaluate(model_digest(name), lambda: tagger, self.test, types, scheme)

    def compare(self, candidates: dict[RowName, Candidate]) -> Comparison:
        by_name = {self.names[row]: reference for row, reference in self.references.items()}
        section = self.recipe.compare
        return compare(
            list(candidates.values()),
            self.test,
            self.recipe.types,
            section.rounds,
            (lambda name: peak_rss(by_name[name], self.test, self.device)) if section.memory else None,
            lambda c, types, scheme: self.score(by_name[c.name], c.tagger, types, scheme),
            section.margin,
        )

    def curves(self) -> tuple[Curve, ...]:
        """Prune the model that the recipe prunes at several sparsities, and score each on dev."""
        plan = self.recipe.plan
        if plan is None:
            return ()
        source = self.made.models.get("student", self.made.models["teacher"])
        points = Points(
            source,
            source.name,
            self.splits.get("dev"),
            str(source),
            plan,
            self.scores,
            self.splits.train,
            None,
            self.recipe.types,
            self.device,
        )
        return tuple(points.curve(method, plan.budget) for method in plan.methods)

    def benchmark(self) -> Benchmark | None:
        section = self.recipe.benchmark
        return (
            benchmark_models(self.timed, self.test, section.rounds, device=self.device) if section else None
        )

    @property
    def timed(self) -> list[str]:
        """The models of ``benchmark``: those it names, or the baseline and the last two."""
        section = self.recipe.benchmark
        if section is None:
            return []
        rows = section.rows or list(dict.fromkeys([self.first, *list(self.references)[-2:]]))
        return [self.references[row] for row in rows if row in self.references]

    def check(self) -> Gate | None:
        bars = self.recipe.bars
        if bars is None:
            return None
        model, baseline = self.references[self.last], self.references[self.first]
        judged = check(
            model, bars, self.test, baseline, self.parent, self.recipe.types, self.device, self.score
        )
        return replace(
            judged, model=self.names[self.last], baseline=judged.baseline and self.names[self.first]
        )  # as the table calls them

    def analyze(self, candidates: dict[RowName, Candidate], table: Comparison) -> Analysis:
        model, baseline = candidates[self.last], candidates[self.first]
        scheme = common_scheme([c.tagger for c in candidates.values()], self.test)
        report(f"looking at the errors of {model.name}")
        return analyze(
            (model.name, model.tagger), (baseline.name, baseline.tagger), self.test, table.types, scheme
        )

    def commands(self) -> tuple[tuple[str, str], ...]:
        """Return what gives each figure of the report again: what it gives, and the command."""
        folder, data = self.made.folder, _data_options(self.recipe.data_section)
        types = ["--types", ",".join(self.recipe.types)] if self.recipe.types else []
        models, compared = list(self.references.values()), self.recipe.compare
        margin = ["--margin", f"{compared.margin:g}"]
        rounds = ["--rounds", str(self.recipe.benchmark.rounds)] if self.recipe.benchmark else []
        device = ["--device", self.device] if self.device != "cpu" else []
        found = [
            (
                "everything here, from the recipe",
                ["run", str(folder / "recipe.yaml"), "--runs", str(folder.parent)],
            ),
            (
                "the table, the intervals, speed and memory",
                ["compare", *models, *data, *types, *margin, "--rounds", str(compared.rounds)],
            ),
            ("one model's scores by type", ["evaluate", self.references[self.last], *data, *types]),
            ("latency, throughput and load time", ["benchmark", *(self.timed or models), *data, *rounds]),
        ]
        if self.recipe.check:
            baseline = ["--baseline", self.references[self.first]]
            parent = (
                ["--parent", self.parent]
                if self.parent and self.recipe.bars and self.recipe.bars.needs_agreement
                else []
            )
            bars = ["--bars", str(folder / "bars.yaml")]
            found.append(
                ("the bars", ["check", self.references[self.last], *bars, *data, *types, *baseline, *parent])
            )
        if (plan := self.recipe.plan) and plan.points:
            source = self.made.models.get("student", self.made.models["teacher"])
            section = self.recipe.data_section
            share = (
                ["--dev-share", f"{section.dev_share:g}"]
                if section.dev_share != DataOptions().dev_share
                else []
            )
            points = [
                "--points",
                ",".join(f"{p:g}" for p in plan.points),
                "--method",
                ",".join(plan.methods),
                "--scope",
                plan.scope,
            ]
            budget = ["--max-drop", f"{plan.budget.max_drop:g}", "-o", str(folder / "models" / "swept")]
            found.append(
                ("the sparsity curve", ["sweep", str(source), *data, *share, *types, *points, *budget])
            )
        return tuple((what, shlex.join(["affineur", *words, *device])) for what, words in found)


def write_results(
    recipe: Recipe, made: Run, splits: Splits, test: Corpus, scores: ScoreBook, device: str
) -> None:
    """Measure the models of a run and write everything; what is up to date is left as it is.

    Args:
        recipe: The recipe.
        made: The run; its table and gate are filled in.
        splits: The data.
        test: What the models are scored on.
        scores: Where scores are kept.
        device: A torch device.
    """
    references: dict[RowName, str] = {
        row: f"{'torch-int8:' if row == 'torch-int8' else ''}{made.models[row]}"
        for row in recipe.compare.rows
        if row in made.models
    }
    names = {row: _row_name(row, made.models[row]) for row in references}
    folder = made.folder
    seen = (corpus.digest if corpus else "" for corpus in (splits.train, splits.dev, test))
    decides = [
        __version__,
        recipe.digest,
        *seen,
        *(f"{names[row]} {model_digest(ref)}" for row, ref in references.items()),
    ]
    key = hashlib.sha256("\n".join(decides).encode()).hexdigest()
    made.table, made.gate = (
        _read(folder / "compare.json"),
        _read(folder / "check.json") if recipe.check else {},
    )
    if made.table.get("key") == key and all(
        (folder / name).is_file() for name in made.table.get("files", ["?"])
    ):
        report(f"compare: {folder / 'compare.json'} is up to date")
        return
    results = _Results(recipe, made, splits, test, scores, device, references, names)
    curves = results.curves()
    candidates = {row: candidate(reference, device, names[row]) for row, reference in references.items()}
    table = results.compare(candidates)
    analysis = results.analyze(candidates, table)
    candidates.clear()  # what follows runs in fresh processes, or loads what it needs
    benchmark, gate = results.benchmark(), results.check()
    files: dict[str, Any] = {"errors.json": analysis.as_dict()}
    if curves:
        files["sweep.json"] = {"curves": [curve.as_dict() for curve in curves]}
    if benchmark:
        files["benchmark.json"] = benchmark.as_dict()
    if gate:
        files["check.json"] = made.gate = gate.as_dict() | {"lines": gate_lines(gate)}
        write_text(folder / "bars.yaml", yaml.safe_dump(recipe.check, sort_keys=False))
    for name, value in files.items():
        write_json(folder / name, value)
    page = Report(
        name=recipe.name,
        comparison=table,
        chosen=names[results.last],
        gate=gate,
        analysis=analysis,
        curves=curves,
        models={names[row]: describe(made.models[row]) for row in references if row != "torch-int8"},
        benchmark=(BENCHMARK_COLUMNS, benchmark_cells(benchmark), benchmark_notes(benchmark))
        if benchmark
        else None,
        recipe=(folder / "recipe.yaml").read_text("utf-8"),
        commands=results.commands(),
        notes=tuple(made.notes),
    )
    write_text(folder / "report.html", report_html(page))
    write_text(folder / "compare.md", markdown(table))
    _write_cards(results, table)
    more = {
        "key": key,
        "recipe": recipe.digest,
        "notes": made.notes,
        "files": ["compare.md", "report.html", *(["bars.yaml"] if gate else []), *files],
    }
    # What the recipe asked for once and asks for no more; never what somebody else put there.
    for name in {"sweep.json", "benchmark.json", "check.json", "bars.yaml"} & set(
        made.table.get("files", ())
    ) - set(more["files"]):
        (folder / name).unlink(missing_ok=True)
    # Last, since its key says that all the rest is there.
    write_json(
        folder / "compare.json",
        table.as_dict() | {"cells": comparison_cells(table), "footnotes": footnotes(table)} | more,
    )
    made.table = _read(folder / "compare.json")


def _write_cards(results: _Results, table: Comparison) -> None:
    """Write the measured scores into the card of each model this run made.

    A teacher that was given is left alone.
    """
    ours = results.made.folder / "models"
    rows = {row.model: row for row in table.rows}
    commands = [command for _, command in results.commands()]
    for row, name in results.names.items():
        path = results.made.models[row]
        if row == "torch-int8" or path.parent != ours or read_manifest(path) is None:
            continue
        write_card(path, measured(rows[name], table, commands))


def measured(row: Row, table: Comparison, commands: list[str]) -> Measured:
    """Turn a row of the table into what a card says of its model."""
    first = table.rows[0]
    alone = row is first
    return Measured(
        data=table.data,
        data_digest=table.data_digest,
        sentences=table.sentences,
        words=table.words,
        f1=row.f1,
        f1_low=row.f1_low,
        f1_high=row.f1_high,
        precision=row.precision,
        recall=row.recall,
        accuracy=row.accuracy,
        per_type={
            kind: {
                "f1": t.f1,
                "f1_low": t.f1_low,
                "f1_high": t.f1_high,
                "precision": t.precision,
                "recall": t.recall,
                "support": t.support,
            }
            for kind, t in row.per_type.items()
        },
        columns=COLUMNS,
        cells=comparison_cells(table),
        footnotes=footnotes(table),
        commands=commands,
        baseline=None if alone else first.model,
        drop=None if alone else row.drop,
        drop_low=None if alone else row.drop_low,
        drop_high=None if alone else row.drop_high,
    )


def _row_name(row: str, path: Path) -> str:
    if row in ("teacher_fp32", "teacher_fp16"):
        return f"teacher ({row.removeprefix('teacher_')})"
    return f"torch-int8:{path.name}" if row == "torch-int8" else "teacher" if row == "teacher" else path.name


def _data_options(section: DataSection) -> list[str]:
    """Return the command-line options that read the data as the recipe does."""
    words = ["--data", section.path]
    if section.word_column != 0:
        words += ["--word-column", str(section.word_column)]
    if section.tag_column != -1:
        words += ["--tag-column", str(section.tag_column)]
    if section.scheme:
        words += ["--scheme", section.scheme]
    if section.tag_names:
        words += ["--tag-names", ",".join(section.tag_names)]
    if section.label_map:
        words += ["--label-map", ",".join(f"{old}={new}" for old, new in section.label_map.items())]
    return words


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
        return value if isinstance(value, dict) else {}
    except (OSError, ValueError):
        return {}
