"""Words, tags, mentions, schemes, corpora and offsets. Standard library only."""

from affineur.entities.conll import (
    decoded,
    is_wikiner,
    numbered_lines,
    open_columns,
    open_corpus,
    open_wikiner,
    read_lines,
    refuse_nul,
    refuse_too_long,
    write_conll,
)
from affineur.entities.corpus import Corpus, chunks
from affineur.entities.dialects import Dialect, LabelError, understand
from affineur.entities.mentions import MOST_WORDS, Mention, Sentence, Tagger
from affineur.entities.offsets import Entity, LabeledPiece, encodable, to_entities
from affineur.entities.overlap import shared_sentences
from affineur.entities.schemes import (
    Scheme,
    TagError,
    coarser,
    detect,
    merged_by_io,
    project,
    repair,
    repaired_mentions,
    split_tag,
    to_mentions,
    to_tags,
    types_of,
    with_prefix,
)
from affineur.entities.words import split_words

__all__ = [
    "MOST_WORDS",
    "Corpus",
    "Dialect",
    "Entity",
    "LabelError",
    "LabeledPiece",
    "Mention",
    "Scheme",
    "Sentence",
    "TagError",
    "Tagger",
    "chunks",
    "coarser",
    "decoded",
    "detect",
    "encodable",
    "is_wikiner",
    "merged_by_io",
    "numbered_lines",
    "open_columns",
    "open_corpus",
    "open_wikiner",
    "project",
    "read_lines",
    "refuse_nul",
    "refuse_too_long",
    "repair",
    "repaired_mentions",
    "shared_sentences",
    "split_tag",
    "split_words",
    "to_entities",
    "to_mentions",
    "to_tags",
    "types_of",
    "understand",
    "with_prefix",
    "write_conll",
]
