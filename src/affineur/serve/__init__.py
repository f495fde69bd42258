"""The endpoint: text in over HTTP, entities out, fast and honest under load.

From the outside in:

- :mod:`~affineur.serve.process`: one operating-system process that listens, loads, serves and drains;
- :mod:`~affineur.serve.app`: the application, put together from everything below;
- :mod:`~affineur.serve.access`: what every request passes: its identity, keys, refusal under load, the log;
- :mod:`~affineur.serve.protocols`: how clients speak, one file each; other packages add theirs;
- :mod:`~affineur.serve.operations`, :mod:`~affineur.serve.page`: what operators ask, and the page at ``/ui``;
- :mod:`~affineur.serve.service`: from texts to entities, for many at once; listeners hear of every answer;
- :mod:`~affineur.serve.queue`: who may wait, and which windows of text are computed together.
"""
