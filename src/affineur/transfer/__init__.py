"""Models and labeled text from elsewhere: the Hub, HTTP, folders, data sets.

Importing this room is cheap: huggingface_hub, datasets and pyarrow are loaded where they are needed.
"""

from affineur.transfer.cache import cache_folder
from affineur.transfer.corpora import Splits, load_corpus, load_splits
from affineur.transfer.files import download
from affineur.transfer.models import resolve_model
from affineur.transfer.options import DataOptions

__all__ = [
    "DataOptions",
    "Splits",
    "cache_folder",
    "download",
    "load_corpus",
    "load_splits",
    "resolve_model",
]
