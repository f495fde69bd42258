"""Recipe → stages → artifacts → table, resumable; and models and data by whatever name the user types."""

from affineur.pipeline import guide
from affineur.pipeline.models import INT8, candidate, load, model_digest, peak_rss
from affineur.pipeline.recipe import Recipe, read_recipe
from affineur.pipeline.report import report_html, verdict
from affineur.pipeline.runner import Run, open_data, run, write_results
from affineur.pipeline.scores import ScoreBook

__all__ = [
    "INT8",
    "Recipe",
    "Run",
    "ScoreBook",
    "candidate",
    "guide",
    "load",
    "model_digest",
    "open_data",
    "peak_rss",
    "read_recipe",
    "report_html",
    "run",
    "verdict",
    "write_results",
]
