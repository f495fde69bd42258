"""What a run measured, written: the table, the curve, the errors, the gate, the report and the cards.

::

    runs/NAME/compare.json, compare.md   the table
    runs/NAME/sweep.json                 F1 over sparsity on dev, where the recipe has ``sweep``
    runs/NAME/benchmark.json             speed and memory in fresh processes, where it has ``benchmark``
    runs/NAME/check.json, bars.yaml      the bars of the last model, where it has ``check``
    runs/NAME/errors.json                where the last model fails, and where it differs from the first
    runs/NAME/report.html                all of it, for people
    runs/NAME/models/…/README.md         each model's card, with its scores
    runs/NAME/parts/                     sweep, comparison, benchmark of a killed run, for the next
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from affineur.artifact import SCORES, Measured, describe, open_folder, write_card, write_json, write_text
from affineur.artifact.reading import read_json
from affineur.entities import Corpus, Scheme
from affineur.measure import (
    COLUMNS,
    TIMED,
    Analysis,
    Benchmark,
    Candidate,
    Comparison,
    Curve,
    Evaluation,
    Example,
    Gate,
    Row,
    analyze,
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
from affineur.pipeline.entries import TEACHER, Planned
from affineur.pipeline.models import candidate, model_digest
from affineur.pipeline.parts import Parts
from affineur.pipeline.points import Points
from affineur.pipeline.processes import peak_rss
from affineur.pipeline.recipe import DataSection, Recipe
from affineur.pipeline.scores import ScoreBook
from affineur.progress import report
from affineur.runtime import EngineTagger
from affineur.steps.core.context import Context
from affineur.transfer import DataOptions, Splits
from affineur.transfer.places.core.place import shown

__version__ = version("affineur")


@dataclass(slots=True)
class Run:
    """What a run made, and where.

    Args:
        folder: ``runs/NAME``.
        models: Folder of each model by its name: the teacher, and what each step made.
        steps: The step behind each model that one made, by its name, in order.
        notes: What was decided on the way, such as that recovery was not needed.
        table: Content of ``compare.json``.
        gate: Content of ``check.json``, where the recipe has bars.
        published: Where the last model was pushed to, where the recipe says so and every bar was reached.
    """

    folder: Path
    models: dict[str, Path] = field(default_factory=dict)
    steps: dict[str, Planned] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    table: dict[str, Any] = field(default_factory=dict)
    gate: dict[str, Any] = field(default_factory=dict)
    published: str | None = None

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
    context: Context
    references: dict[str, str]

    @property
    def device(self) -> str:
        """Where models are scored."""
        return self.context.device

    @property
    def last(self) -> str:
        """The row the report is about: the last model that was made, or the first row."""
        return next((row for row in reversed(self.made.steps) if row in self.references), self.first)

    @property
    def first(self) -> str:
        """The baseline."""
        return next(iter(self.references))

    @property
    def parent(self) -> str | None:
        """What the last model was packed, exported or quantized from: ``min_agreement`` compares with it."""
        name = self.last
        while (step := self.made.steps.get(name)) is not None and step.step.stores:
            name = step.source
        return None if name == self.last else str(self.made.models[name])

    @property
    def curved(self) -> Path:
        """The model whose pruning ``sweep`` draws: before the first pruning, or the last not stored."""
        steps = self.made.steps.values()
        if first := next((step for step in steps if step.step.name == "prune"), None):
            return self.made.models[first.source]
        last = next((step.name for step in reversed(steps) if not step.step.stores), TEACHER)
        return self.made.models[last]

    def score(self, name: str, tagger: Any, types: Any, scheme: Scheme) -> Evaluation:
        """Score a model by its reference, at most once."""
        return self.scores.evaluate(model_digest(name), lambda: tagger, self.test, types, scheme)

    def compare(self, candidates: dict[str, Candidate]) -> Comparison:
        by_name = self.references
        section = self.recipe.compare
        return compare(
            list(candidates.values()),
            self.test,
            types=self.recipe.types,
            rounds=section.rounds,
            timed=section.timed,
            peak_rss=(lambda name: peak_rss(by_name[name], self.test, self.device, self.context.threads))
            if section.memory
            else None,
            scored=lambda c, types, scheme: self.score(by_name[c.name], c.tagger, types, scheme),
            margin=section.margin,
        )

    def curves(self) -> tuple[Curve, ...]:
        """Prune the model that the recipe prunes at several sparsities, and score each on dev."""
        plan = self.recipe.plan
        if plan is None:
            return ()
        source, dev = self.curved, self.splits.get("dev")
        context = replace(self.context, data=self.splits)
        points = Points(
            open_folder(source), source.name, dev, str(source), plan, self.scores, context, self.recipe.types
        )
        return tuple(points.curve(method, plan.budget) for method in plan.methods)

    def benchmark(self) -> Benchmark | None:
        section = self.recipe.benchmark
        if section is None:
            return None
        return benchmark_models(
            self.timed, self.test, section.rounds, threads=self.context.threads, device=self.device
        )

    @property
    def timed(self) -> list[str]:
        """The models of ``benchmark``: those it names, or the baseline and the last two."""
        section = self.recipe.benchmark
        if section is None:
            return []
        rows = section.rows or list(dict.fromkeys([self.first, *list(self.references)[-2:]]))
        return [reference for row in rows if (reference := row_reference(row, self.made.models) or row)]

    def check(self) -> Gate | None:
        bars = self.recipe.bars
        if bars is None:
            return None
        model, baseline = self.references[self.last], self.references[self.first]
        judged = check(
            model,
            bars,
            self.test,
            baseline,
            self.parent,
            self.recipe.types,
            self.device,
            self.score,
            threads=self.context.threads,
        )
        # as the table calls them
        return replace(judged, model=self.last, baseline=judged.baseline and self.first)

    def example(self, candidates: dict[str, Candidate]) -> Example | None:
        """Show each row that can be given a text the one of the recipe."""
        text = self.recipe.compare.example
        if text is None:
            return None
        taggers = {name: c.tagger for name, c in candidates.items()}
        return Example(
            text,
            {
                name: tuple(tagger.predict(text))
                for name, tagger in taggers.items()
                if isinstance(tagger, EngineTagger)
            },
        )

    def analyze(self, candidates: dict[str, Candidate], table: Comparison) -> Analysis:
        model, baseline = candidates[self.last], candidates[self.first]
        scheme = common_scheme([c.tagger for c in candidates.values()], self.test)
        report(f"looking at the errors of {model.name}")
        return analyze(
            (model.name, model.tagger),
            (baseline.name, baseline.tagger),
            self.test,
            types=table.types,
            scheme=scheme,
        )

    def commands(self) -> tuple[tuple[str, str], ...]:
        """Return what gives each figure of the report again: what it gives, and the command."""
        folder, data = self.made.folder, _data_options(self.recipe.data_section)
        types = ["--types", ",".join(self.recipe.types)] if self.recipe.types else []
        models, compared = list(self.references.values()), self.recipe.compare
        how = ["--margin", f"{compared.margin:g}", "--rounds", str(compared.rounds)]
        how += ["--timed", str(compared.timed)] if compared.timed != TIMED else []
        rounds = ["--rounds", str(self.recipe.benchmark.rounds)] if self.recipe.benchmark else []
        place = ["--device", self.device] if self.device != "cpu" else []
        place += ["--threads", str(self.context.threads)] if self.context.threads else []
        found = [
            (
                "everything here, from the recipe",
                ["run", str(folder / "recipe.yaml"), "--runs", str(folder.parent)],
            ),
            (
                "the table, the intervals, speed and memory",
                ["compare", *models, *data, *types, *how],
            ),
            (SCORES, ["evaluate", self.references[self.last], *data, *types]),
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
            source = self.curved
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
        return tuple((what, shlex.join(map(shown, ["affineur", *words, *place]))) for what, words in found)


def row_reference(row: str, models: Mapping[str, Path]) -> str | None:
    """Return the model that a row of the table names, as the command line takes it.

    Args:
        row: The name of a model that the recipe makes, with or without a way to run it before it.
        models: Their folders, by name.

    Returns:
        ``None`` where it is no model of the recipe.
    """
    before, colon, name = row.rpartition(":")
    return f"{before}{colon}{models[name]}" if name in models else None


def write_results(
    recipe: Recipe,
    made: Run,
    splits: Splits,
    test: Corpus,
    scores: ScoreBook,
    context: Context,
    *,
    quote: bool = True,
) -> None:
    """Measure the models of a run and write everything; what is up to date is left as it is.

    Args:
        recipe: The recipe.
        made: The run; its table and gate are filled in.
        splits: The data.
        test: What the models are scored on.
        scores: Where scores are kept.
        context: Where models are scored.
        quote: Whether the report and ``errors.json`` may quote sentences of the data.
    """
    rows = recipe.compare.rows or list(dict.fromkeys([TEACHER, *made.steps]))
    # A step that had nothing to do made no model of its own.
    skipped = {name for name in made.models if name != TEACHER and name not in made.steps}
    references = {
        shown(row): row_reference(row, made.models) or row
        for row in rows
        if row.rpartition(":")[2] not in skipped
    }
    folder = made.folder
    seen = (corpus.digest if corpus else "" for corpus in (splits.train, splits.dev, test))
    decides = [
        __version__,
        recipe.digest,
        *seen,
        *(f"{row} {model_digest(ref)}" for row, ref in references.items()),
    ]
    parts = Parts(folder / "parts", hashlib.sha256("\n".join(decides).encode()).hexdigest())
    decides += [] if quote else ["no text"]
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
    results = _Results(recipe, made, splits, test, scores, context, references)
    curves = parts.get("sweep", tuple[Curve, ...], results.curves)
    candidates = {
        row: candidate(ref, context.device, row, threads=context.threads) for row, ref in references.items()
    }
    table = parts.get("comparison", Comparison, lambda: results.compare(candidates))
    analysis = results.analyze(candidates, table)
    if not quote:
        analysis = analysis.without_text()
    example = results.example(candidates)
    candidates.clear()  # what follows runs in fresh processes, or loads what it needs
    benchmark = parts.get("benchmark", Benchmark | None, results.benchmark)
    gate = results.check()
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
        chosen=results.last,
        gate=gate,
        analysis=analysis,
        example=example,
        curves=curves,
        models={row: describe(made.models[row]) for row in references if row in made.models},
        benchmark=benchmark,
        recipe=(folder / "recipe.yaml").read_text("utf-8"),
        commands=results.commands(),
        notes=tuple(made.notes),
    )
    write_text(folder / "report.html", report_html(page))
    write_text(folder / "compare.md", markdown(table))
    _write_cards(results, table)
    more: dict[str, Any] = {
        "key": key,
        "recipe": recipe.digest,
        "notes": made.notes,
        "example": example.as_dict() if example else None,
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
    parts.drop()
    made.table = _read(folder / "compare.json")


def _write_cards(results: _Results, table: Comparison) -> None:
    """Write the measured scores into the card of each model this run made.

    A teacher that was given is left alone.
    """
    rows = {row.model: row for row in table.rows}
    commands = dict(results.commands())
    for name in results.references:
        if name in results.made.steps:
            write_card(results.made.models[name], measured(rows[name], table, commands))


def measured(row: Row, table: Comparison, commands: Mapping[str, str]) -> Measured:
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


def _data_options(section: DataSection) -> list[str]:
    """Return the command-line options that read the data as the recipe does."""
    words = ["--data", section.path]
    if section.format:
        words += ["--format", section.format]
    if section.word_column is not None:
        words += ["--word-column", str(section.word_column)]
    if section.tag_column is not None:
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
        value = read_json(path)
        return value if isinstance(value, dict) else {}
    except (OSError, ValueError):
        return {}
