"""A model with the embeddings of other pieces: which of them stay or are new, and that the answers stay."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tokenizers import Encoding, Tokenizer
from torch import nn
from transformers import PreTrainedModel

from affineur.artifact import TOKENIZER_FILES, ModelFolder, write_json, write_text
from affineur.artifact.folder import read_config
from affineur.artifact.reading import read_json
from affineur.engines.support.torch_tagger import TorchTagger
from affineur.entities import Corpus, Sentence, chunks
from affineur.errors import DataError, ModelError
from affineur.progress import report
from affineur.runtime import Encoder
from affineur.runtime.tokenization import read_tokenizer, settle
from affineur.steps.tailoring.pieces import (
    Spec,
    indispensable,
    new_order,
    pieces_of,
    trimmed,
    with_parts,
)
from affineur.steps.tailoring.words import Added

#: What goes with a trimmed ``tokenizer.json``; every other file of a tokenizer holds the old vocabulary.
_CARRIED = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_PROVEN = 32  # sentences whose logits are compared to the bit
_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class NewVocabulary:
    """The pieces of a model that others are made of.

    Args:
        order: Ids of the old pieces that stay, in their new order.
        own: How many of these are the tokenizer's own, which new ones come after.
        added: The new ones.
    """

    order: Sequence[int]
    own: int
    added: Added

    def __len__(self) -> int:
        """Return how many pieces there are."""
        return len(self.order) + len(self.added.pieces)

    @property
    def new(self) -> dict[int, int]:
        """The new id of each old one."""
        more = len(self.added.pieces)
        return {old: i if i < self.own else i + more for i, old in enumerate(self.order)}

    def of(self, spec: Spec) -> Spec:
        """Give a tokenizer these pieces."""
        return self.added.to(trimmed(spec, self.order))

    def rows(self, table: torch.Tensor) -> torch.Tensor:
        """Give an embedding these pieces, ``(old, width)`` to ``(new, width)``; a new one is a mean."""
        means = [table[list(parts)].float().mean(0, keepdim=True).to(table) for parts in self.added.parts]
        kept = table[list(self.order)]
        return torch.cat([kept[: self.own], *means, kept[self.own :]])


@dataclass(frozen=True, slots=True)
class CutChange:
    """How a new tokenizer cuts a text.

    Args:
        sentences: Sentences of the text.
        sentences_changed: Those of which at least one word is cut in another way.
        words: Words of the text.
        words_changed: Those cut in another way.
        words_whole: Those that became a single piece; the others that changed are cut in several.
        pieces_before: Pieces of the text as it was cut before.
        pieces: Pieces of the text now; a longer text takes longer.
    """

    sentences: int = 0
    sentences_changed: int = 0
    words: int = 0
    words_changed: int = 0
    words_whole: int = 0
    pieces_before: int = 0
    pieces: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return counts and shares under stable keys."""
        return asdict(self) | {
            "share_of_sentences_changed": self.sentences_changed / max(1, self.sentences),
            "share_of_words_changed": self.words_changed / max(1, self.words),
            "share_of_words_whole": self.words_whole / max(1, self.words),
            "pieces_per_word_before": self.pieces_before / max(1, self.words),
            "pieces_per_word": self.pieces / max(1, self.words),
        }


def count_pieces(encoder: Encoder, texts: Sequence[Corpus]) -> Counter[int]:
    """Count the pieces of texts, by id.

    Raises:
        DataError: If there are none.
    """
    found: Counter[int] = Counter()
    total = sum(map(len, texts))
    for done, (_, encoding) in enumerate(_encoded(encoder, texts), 1):
        found.update(encoding.ids)
        report("counting pieces", done, total)
    if not found:
        raise DataError("the tokenizer makes no piece of any word here", texts[0].name)
    return found


def most_used(used: Mapping[int, int], keep: int | None, min_count: int) -> list[int]:
    """Choose pieces by how often they are used, among equals those of lower id.

    Args:
        used: How often each is used, by id.
        keep: How many at most.
        min_count: Only those used at least so many times.
    """
    ranked = sorted(used.items(), key=lambda item: (-item[1], item[0]))
    return [piece for piece, count in ranked if count >= min_count][:keep]


def pieces_kept(model: ModelFolder, config: Any, spec: Spec, wanted: Sequence[int]) -> list[int]:
    """Add to the pieces wanted those that have to stay.

    Args:
        model: The model folder.
        config: Configuration of the model.
        spec: Its tokenizer.
        wanted: Ids of pieces.

    Returns:
        Old ids; the place of each is its new id.
    """
    must = indispensable(spec) | _special(model, spec) | _configured(config, spec)
    return new_order(spec, with_parts(spec, must | set(wanted)), model.config.get("pad_token_id"))


def new_encoder(encoder: Encoder, spec: Spec, vocabulary: NewVocabulary, config: Any) -> Encoder:
    """Make the encoder of the new tokenizer.

    Args:
        encoder: The encoder of the old one.
        spec: The old tokenizer.
        vocabulary: The pieces.
        config: Configuration of the new model (:func:`replace_rows`).
    """
    tokenizer = Tokenizer.from_str(json.dumps(vocabulary.of(spec)))
    return Encoder(tokenizer, encoder.max_length, config.pad_token_id or 0)


def replace_rows(network: PreTrainedModel, vocabulary: NewVocabulary, pieces: int) -> int:
    """Give a model the embeddings of its new pieces, and renumber the ids of the configuration.

    Args:
        network: The model, changed in place.
        vocabulary: The pieces.
        pieces: Pieces of the old tokenizer.

    Returns:
        The bytes saved; less than none where it grew.

    Raises:
        ModelError: If a piece has no embedding, or a padding piece that positions are numbered from would
            move.
    """
    table: Any = network.get_input_embeddings()
    rows, width = table.weight.shape
    if max(vocabulary.order) >= rows:
        raise ModelError(
            f"the tokenizer has {pieces} pieces, but the model has embeddings for {rows}; "
            "they do not belong together"
        )
    new = vocabulary.new
    pad = network.config.pad_token_id
    positions = [
        m
        for name, m in network.named_modules()
        if name.endswith("position_embeddings") and getattr(m, "padding_idx", None) is not None
    ]
    if positions and new.get(pad, pad) != pad:
        raise ModelError(
            f"positions are numbered from the padding piece, id {pad}, which cannot stay there "
            f"with {len(vocabulary)} pieces; keep more pieces"
        )
    table.weight = nn.Parameter(vocabulary.rows(table.weight.detach()))
    table.num_embeddings = len(vocabulary)
    table.padding_idx = None if table.padding_idx is None else new.get(table.padding_idx)
    config: Any = network.config
    config.vocab_size = len(vocabulary)
    for name, value in _token_ids(config).items():
        # An id that is no piece's (a default nobody set) means as little as before.
        renumbered = [new.get(i, i) for i in _listed(value)]
        setattr(config, name, renumbered if isinstance(value, list) else renumbered[0])
    return int((rows - len(vocabulary)) * width * table.weight.element_size())


def replace_files(target: Path, vocabulary: NewVocabulary) -> None:
    """Rewrite ``tokenizer.json``, renumber ``tokenizer_config.json``, remove what holds old pieces."""
    file = target / "tokenizer.json"
    # As the library understands it: older files leave things out.
    spec = json.loads(Tokenizer.from_file(str(file)).to_str())
    write_text(file, json.dumps(vocabulary.of(spec), ensure_ascii=False))
    settings_file = target / "tokenizer_config.json"
    if settings_file.is_file():
        settings = read_json(settings_file)
        new = {str(old): str(i) for old, i in vocabulary.new.items()}
        if "added_tokens_decoder" in settings:
            settings["added_tokens_decoder"] = {
                new[i]: token for i, token in settings["added_tokens_decoder"].items() if i in new
            }
            write_json(settings_file, settings)
    for name in set(TOKENIZER_FILES) - set(_CARRIED):
        (target / name).unlink(missing_ok=True)
    settle(target, read_config(target))


def changes(before: Encoder, after: Encoder, corpora: Sequence[Corpus]) -> CutChange:
    """Count what is cut in another way."""
    count: Counter[str] = Counter()
    for (_, old), (_, new) in zip(_encoded(before, corpora), _encoded(after, corpora), strict=True):
        was, now = _by_word(old), _by_word(new)
        changed = [now.get(word, ()) for word, pieces in was.items() if now.get(word) != pieces]
        count.update(sentences=1, sentences_changed=int(was != now), words=len(was))
        count.update(words_changed=len(changed), words_whole=sum(len(pieces) == 1 for pieces in changed))
        count.update(pieces_before=len(old.ids), pieces=len(new.ids))
    return CutChange(**count)


def cut_alike(before: Encoder, after: Encoder, texts: Sequence[Corpus]) -> list[Sentence]:
    """Find the first sentences that are cut as before, up to 32."""
    pairs = zip(_encoded(before, texts), _encoded(after, texts), strict=True)
    alike = (sentence for (sentence, old), (_, new) in pairs if old.tokens and old.tokens == new.tokens)
    return list(islice(alike, _PROVEN))


def check_logits(before: TorchTagger, after: TorchTagger, sentences: Sequence[Sentence]) -> None:
    """Check that sentences cut as before have the logits they had, to the bit.

    Raises:
        ModelError: If they have not: then the result is refused.
    """
    words = [sentence.words for sentence in sentences]
    for sentence, old, new in zip(sentences, before.logits(words), after.logits(words), strict=True):
        if not torch.equal(torch.from_numpy(old).nan_to_num(), torch.from_numpy(new).nan_to_num()):
            raise ModelError(
                f"the new model gives other logits for '{' '.join(sentence.words)[:80]}', "
                "though it is cut as before; nothing is written"
            )


def _encoded(encoder: Encoder, corpora: Sequence[Corpus]) -> Iterator[tuple[Sentence, Encoding]]:
    for corpus in corpora:
        for chunk in chunks(iter(corpus), _CHUNK):
            yield from zip(chunk, encoder.encode([sentence.words for sentence in chunk]), strict=True)


def _by_word(encoding: Encoding) -> Mapping[int | None, list[str]]:
    found: dict[int | None, list[str]] = {}
    for word, piece in zip(encoding.word_ids, encoding.tokens, strict=True):
        found.setdefault(word, []).append(piece)
    return found


def _special(model: ModelFolder, spec: Spec) -> set[int]:
    """Find what transformers takes for special.

    It would put such a piece back at the end, where there is no embedding.
    """
    names = set(read_tokenizer(model.path, model.config).named)
    return {i for i, name in pieces_of(spec).items() if name in names}


def _configured(config: Any, spec: Spec) -> set[int]:
    """Find the pieces a configuration names, such as ``pad_token_id``."""
    known = pieces_of(spec)
    return {i for value in _token_ids(config).values() for i in _listed(value) if i in known}


def _token_ids(config: Any) -> dict[str, int | list[int]]:
    return {
        name: value
        for name, value in vars(config).items()
        if name.endswith("_token_id") and isinstance(value, int | list)
    }


def _listed(value: int | list[int]) -> list[int]:
    return value if isinstance(value, list) else [value]
