"""What goes on in production: a log without text, and what can be said of a model from it."""

from affineur.lazy import names

__getattr__, __dir__ = names(
    "affineur.watch",
    {
        "affineur.watch.estimating": "Estimate TypeEstimate",
        "affineur.watch.log": "Log",
        "affineur.watch.reference": "Reference read_reference",
        "affineur.watch.watching": "estimate fit",
    },
)
