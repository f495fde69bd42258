"""Sets of rules that find what has a form of its own beside a model: one file a set.

``fr.py`` here is the set ``fr``; another package adds one by the entry point group ``affineur.rules``.
"""
