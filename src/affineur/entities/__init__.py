"""Words, tags, mentions, schemes, corpora and offsets. Standard library only."""

from affineur.entities.conll import (
    is_wikiner,
    open_columns,
    open_corpus,
    open_wikiner,
    read_lines,
    write_conll,
)
from affineur.entities.corpus import Corpus, chunks
from affineur.entities.dialects import Dialect, LabelError, is_number, understand
from affineur.entities.layout import (
    Column,
    Layout,
    cells_of,
    column_by_name,
    find_columns,
    find_layout,
    is_heading,
    is_plain,
    numbered_rows,
)
from affineur.entities.lines import LONGEST_LINE, decoded, numbered_lines, refuse_nul, refuse_too_long
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
from affineur.entities.sentences import line_starts, split_sentences
from affineur.entities.words import split_words

__all__ = [
    "LONGEST_LINE",
    "MOST_WORDS",
    "Column",
    "Corpus",
    "Dialect",
    "Entity",
    "LabelError",
    "LabeledPiece",
    "Layout",
    "Mention",
    "Scheme",
    "Sentence",
    "TagError",
    "Tagger",
    "cells_of",
    "chunks",
    "coarser",
    "column_by_name",
    "decoded",
    "detect",
    "encodable",
    "find_columns",
    "find_layout",
    "is_heading",
    "is_number",
    "is_plain",
    "is_wikiner",
    "line_starts",
    "merged_by_io",
    "numbered_lines",
    "numbered_rows",
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
    "split_sentences",
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
