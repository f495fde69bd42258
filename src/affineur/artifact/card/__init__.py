"""``README.md``: what an artifact says of itself, to readers and to the Hub.

The front matter follows the Hub's specification (huggingface/hub-docs, ``modelcard.md``); whatever is not
known is left out of it and said to be unknown in the text. The card ends with a digest of its own text, by
which a card that somebody edited is told from one that may be written anew.
"""

from affineur.artifact.card.contents import SCORES, Carried, Measured
from affineur.artifact.card.files import (
    carried_by,
    is_written_by_us,
    licensed_card,
    read_card,
    write_card,
)
from affineur.artifact.card.text import card_text

__all__ = [
    "SCORES",
    "Carried",
    "Measured",
    "card_text",
    "carried_by",
    "is_written_by_us",
    "licensed_card",
    "read_card",
    "write_card",
]
