"""One file per engine: which models it runs, how it loads and exports them, what it knows of them.

What the files have in common is in ``core``; taggers and whatever imports heavy libraries is in ``support``.
"""
