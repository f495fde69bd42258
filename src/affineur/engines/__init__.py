"""One file per engine: which models it runs, how it loads them, what it knows of them, whether models are exported for it.

What the files have in common is in ``core``; taggers and whatever imports heavy libraries is in ``support``.
"""
