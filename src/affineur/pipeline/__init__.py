"""Recipe → steps → artifacts → table, resumable; and models and data by whatever name the user types.

The names below load their module when they are first used: what runs an exported model needs no torch. The
functions ``check`` and ``sweep`` are in the modules of the same names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from affineur import lazy

if TYPE_CHECKING:
    from affineur.pipeline.benchmarking import benchmark_models
    from affineur.pipeline.models import candidate, load, load_any, model_digest, model_name
    from affineur.pipeline.points import Plan, Points
    from affineur.pipeline.processes import Load, peak_rss, under_load
    from affineur.pipeline.recipe import Recipe, make_recipe, read_recipe
    from affineur.pipeline.results import Run, write_results
    from affineur.pipeline.runner import open_data, run
    from affineur.pipeline.scores import ScoreBook

__getattr__, __dir__ = lazy.names(
    __name__,
    {
        "affineur.pipeline.benchmarking": "benchmark_models",
        "affineur.pipeline.models": "candidate load load_any model_digest model_name",
        "affineur.pipeline.points": "Plan Points",
        "affineur.pipeline.processes": "Load peak_rss under_load",
        "affineur.pipeline.recipe": "Recipe make_recipe read_recipe",
        "affineur.pipeline.results": "Run write_results",
        "affineur.pipeline.runner": "open_data run",
        "affineur.pipeline.scores": "ScoreBook",
    },
)

__all__ = [
    "Load",
    "Plan",
    "Points",
    "Recipe",
    "Run",
    "ScoreBook",
    "benchmark_models",
    "candidate",
    "load",
    "load_any",
    "make_recipe",
    "model_digest",
    "model_name",
    "open_data",
    "peak_rss",
    "read_recipe",
    "run",
    "under_load",
    "write_results",
]
