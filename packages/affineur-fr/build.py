"""Make sample-int8 of sample: write the text that the recipe reads, run it, put the result in this package.

python packages/affineur-fr/build.py WIKINEURAL_FR

WIKINEURAL_FR is a folder with train.conll, dev.conll and test.conll of WikiNEuRal's French part. An
interrupted run is gone on with by the same command.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from affineur.entities import Corpus, Scheme, Sentence, project, write_conll
from affineur.transfer import load_splits

_PACKAGE = Path(__file__).parent
_WORK = Path("build/fr")
_RECIPE = Path("recipes/fr.yaml")


def main() -> int:
    """Write the text, run the recipe, copy the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wikineural", type=Path)
    args = parser.parse_args()
    write_data(args.wikineural)
    done = subprocess.run(["affineur", "run", str(_RECIPE), "--name", "fr"], check=False)
    if done.returncode == 0:
        out = _PACKAGE / "src" / "affineur_fr" / "sample-int8"
        shutil.copytree(Path("runs/fr/models/sample-int8"), out, dirs_exist_ok=True)
    return done.returncode


def write_data(wikineural: Path) -> None:
    """Write the text as the recipe reads it: train with the sample's after it, dev and test alone."""
    known, ours = load_splits(str(wikineural)), load_splits("sample")
    folder = _WORK / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("dev", "test"):
        write_conll(as_bio(known.get(name)), folder / f"{name}.conll")
    write_conll([*as_bio(known.get("train")), *as_bio(ours.get("train"))], folder / "train.conll")


def as_bio(corpus: Corpus) -> list[Sentence]:
    """Return the sentences of a corpus with tags in BIO."""
    return [Sentence(s.words, tuple(project(s.tags, corpus.scheme, Scheme.BIO))) for s in corpus]


if __name__ == "__main__":
    sys.exit(main())
