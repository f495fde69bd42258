"""What the tests of ``engines`` share with those of ``steps``."""

from __future__ import annotations

from steps.conftest import dev_corpus, short, train_corpus

__all__ = ["dev_corpus", "short", "train_corpus"]
