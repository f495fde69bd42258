"""Recipe → stages → artifacts → table, resumable; and models and data by whatever name the user types."""

from affineur.pipeline import guide
from affineur.pipeline.benchmarking import benchmark_models
from affineur.pipeline.check import check
from affineur.pipeline.models import candidate, load, load_any, model_digest, model_name
from affineur.pipeline.points import Plan, Points, Recovery
from affineur.pipeline.processes import Load, peak_rss, under_load
from affineur.pipeline.recipe import Recipe, read_recipe
from affineur.pipeline.results import Run, write_results
from affineur.pipeline.runner import open_data, run
from affineur.pipeline.scores import ScoreBook
from affineur.pipeline.sweep import Sweep, sweep

__all__ = [
    "Load",
    "Plan",
    "Points",
    "Recipe",
    "Recovery",
    "Run",
    "ScoreBook",
    "Sweep",
    "benchmark_models",
    "candidate",
    "check",
    "guide",
    "load",
    "load_any",
    "model_digest",
    "model_name",
    "open_data",
    "peak_rss",
    "read_recipe",
    "run",
    "sweep",
    "under_load",
    "write_results",
]
