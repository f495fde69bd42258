"""What a Python user is given: models to call, every step as a function, measuring, searching, annotating.

Everything here takes a model by reference or as a :class:`~affineur.api.model.Model`, and data by reference
or as a corpus.
"""
