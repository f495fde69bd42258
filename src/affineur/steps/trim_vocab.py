"""``trim-vocab``: a model folder without the pieces that a language, or a corpus, does not use.

The multilingual XLM-R has 250,000 pieces and French uses a tenth of them; nobody pays for the rest but the
disk and the memory (TextPruner, Yang et al. 2022, arXiv 2203.15996). The layers stay as they are, and a text
whose pieces are all kept gives the same logits to the bit: that is checked on the corpus itself before
anything is written.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tokenizers import Encoding, Tokenizer
from torch import nn
from transformers import PreTrainedModel

from affineur.artifact import TOKENIZER_FILES, open_folder, write_json, write_text
from affineur.engines.support.checkpoints import auto_tokenizer, load_encoder, load_model, save_model
from affineur.engines.support.torch_tagger import TorchTagger, load_tagger
from affineur.entities import Corpus, Sentence, chunks
from affineur.errors import DataError, ModelError, ParameterError
from affineur.progress import report
from affineur.runtime import Encoder, split_words
from affineur.steps.core.work import Stage
from affineur.steps.tailoring.pieces import (
    Spec,
    check_kind,
    indispensable,
    new_order,
    pieces_of,
    trimmed,
    with_parts,
)

#: What goes with a trimmed ``tokenizer.json``; every other file of a tokenizer holds the old vocabulary.
_CARRIED = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_PROBES = 32  # sentences whose logits are compared to the bit
_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class CutChange:
    """How a trimmed tokenizer cuts a text that it was not trimmed on.

    Args:
        sentences: Sentences of the text.
        sentences_changed: Those of which at least one word is cut in another way.
        words: Words of the text.
        words_changed: Those cut in another way.
        pieces_before: Pieces of the text as it was cut before.
        pieces: Pieces of the text now; a longer text takes longer.
    """

    sentences: int = 0
    sentences_changed: int = 0
    words: int = 0
    words_changed: int = 0
    pieces_before: int = 0
    pieces: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return counts and shares under stable keys."""
        return {
            "sentences": self.sentences,
            "sentences_changed": self.sentences_changed,
            "share_of_sentences_changed": self.sentences_changed / max(1, self.sentences),
            "words": self.words,
            "words_changed": self.words_changed,
            "share_of_words_changed": self.words_changed / max(1, self.words),
            "pieces_before": self.pieces_before,
            "pieces": self.pieces,
        }


def trim_vocabulary(
    model: Path | str,
    out: Path | str,
    texts: Sequence[Corpus],
    unseen: Sequence[Corpus] = (),
    keep: int | None = None,
    min_count: int = 1,
) -> Path:
    """Drop the pieces a text does not use, and write the result; the dtype stays as it was.

    Beside the pieces used, all stay without which some text could not be cut
    (:func:`~affineur.steps.tailoring.pieces.indispensable`).

    Args:
        model: Folder of the model.
        out: Folder to write to.
        texts: What to count pieces in: words alone, labels never.
        unseen: Other text, to measure how much of it is cut in another way.
        keep: Only the ``keep`` most used pieces, among equals those of lower id.
        min_count: Only pieces used at least so many times.

    Returns:
        ``out``; the manifest's ``scores`` say what was dropped: ``pieces_before pieces pieces_used
        bytes_saved``, and ``unseen`` (:class:`CutChange`) where there is such text.

    Raises:
        ParameterError: If a value is out of range, or there is no text.
        DataError: If the tokenizer makes no piece of the text.
        ModelError: If the model cannot be used, or its tokenizer is not a Unigram, WordPiece or BPE.
    """
    if keep is not None and keep < 1:
        raise ParameterError(f"--keep {keep} is impossible, expected at least 1 piece")
    if min_count < 1:
        raise ParameterError(f"--min-count {min_count} is impossible, expected at least 1")
    if not texts:
        raise ParameterError("no text to count pieces in; name some with --data")
    folder = open_folder(model)
    data = _roles("text", texts) | _roles("unseen", unseen)
    stage = Stage("trim-vocab", Path(out), folder, {"keep": keep, "min_count": min_count}, data)
    if stage.finished():
        return stage.out
    encoder = load_encoder(folder)
    spec = json.loads(encoder.tokenizer.to_str())
    check_kind(spec)
    network = load_model(folder, dtype="auto")
    used = _count(encoder, texts)
    often = [
        piece
        for piece, count in sorted(used.items(), key=lambda item: (-item[1], item[0]))
        if count >= min_count
    ][:keep]
    must = indispensable(spec) | _special(folder.path, spec) | _configured(network.config, spec)
    order = new_order(spec, with_parts(spec, must | set(often)), folder.config.get("pad_token_id"))
    before = len(pieces_of(spec))
    saved = _drop_rows(network, order, before)
    small = Encoder(
        Tokenizer.from_str(json.dumps(trimmed(spec, order))),
        encoder.max_length,
        network.config.pad_token_id or 0,
    )
    scores: dict[str, Any] = {
        "pieces_before": before,
        "pieces": len(order),
        "pieces_used": len(used),
        "bytes_saved": saved,
    }
    if unseen:
        scores["unseen"] = _changes(encoder, small, unseen).as_dict()
    same = list(islice(_cut_alike(encoder, small, texts), _PROBES))

    def fill(target: Path) -> None:
        save_model(network, target, folder.path)
        _trim_files(target, order)
        if (folder.path / "pruning_info.json").is_file():
            shutil.copyfile(folder.path / "pruning_info.json", target / "pruning_info.json")
        _check_logits(load_tagger(folder.path), load_tagger(target), same)

    return stage.write_files(fill, scores=scores)


def read_text(path: Path | str) -> Corpus:
    """Read raw text, a sentence or paragraph a line, as a corpus without labels: every word is ``O``.

    Raises:
        DataError: If the file is missing, not UTF-8, or has no word.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError("no such file", path)

    def sentences() -> Iterator[Sentence]:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if words := tuple(line[start:end] for start, end in split_words(line)):
                    yield Sentence(words, ("O",) * len(words), line=number)

    try:
        return Corpus.scan(str(path), sentences)
    except UnicodeDecodeError as error:
        raise DataError(
            f"not UTF-8 ({error.reason} at byte {error.start}); convert it: iconv -f latin1 -t utf-8", path
        ) from None


def _roles(role: str, corpora: Sequence[Corpus]) -> dict[str, Corpus]:
    return {role if place == 1 else f"{role} {place}": corpus for place, corpus in enumerate(corpora, 1)}


def _encoded(encoder: Encoder, corpora: Sequence[Corpus]) -> Iterator[tuple[Sentence, Encoding]]:
    for corpus in corpora:
        for chunk in chunks(iter(corpus), _CHUNK):
            yield from zip(chunk, encoder.encode([sentence.words for sentence in chunk]), strict=True)


def _count(encoder: Encoder, texts: Sequence[Corpus]) -> Counter[int]:
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


def _special(path: Path, spec: Spec) -> set[int]:
    """Find what transformers takes for special or added.

    It would put such a piece back at the end, where there is no embedding.
    """
    tokenizer = auto_tokenizer(path)
    names = {str(token) for token in tokenizer.added_tokens_decoder.values()} | set(
        tokenizer.all_special_tokens
    )
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


def _drop_rows(network: PreTrainedModel, order: Sequence[int], pieces: int) -> int:
    """Leave only the embeddings of some pieces, in a new order, and renumber the ids of the configuration.

    Return the bytes saved.

    Raises:
        ModelError: If a piece has no embedding, or a padding piece that positions are numbered from would
            move.
    """
    table: Any = network.get_input_embeddings()
    rows, width = table.weight.shape
    if max(order) >= rows:
        raise ModelError(
            f"the tokenizer has {pieces} pieces, but the model has embeddings for {rows}; they do not belong together"
        )
    new = {old: i for i, old in enumerate(order)}
    pad = network.config.pad_token_id
    positions = [
        m
        for name, m in network.named_modules()
        if name.endswith("position_embeddings") and getattr(m, "padding_idx", None) is not None
    ]
    if positions and new.get(pad, pad) != pad:
        raise ModelError(
            f"positions are numbered from the padding piece, id {pad}, which cannot stay there with {len(order)} pieces; keep more pieces"
        )
    table.weight = nn.Parameter(table.weight.detach()[list(order)].clone())
    table.num_embeddings = len(order)
    table.padding_idx = None if table.padding_idx is None else new.get(table.padding_idx)
    config: Any = network.config
    config.vocab_size = len(order)
    for name, value in _token_ids(config).items():
        # An id that is no piece's (a default nobody set) means as little as before.
        renumbered = [new.get(i, i) for i in _listed(value)]
        setattr(config, name, renumbered if isinstance(value, list) else renumbered[0])
    return int((rows - len(order)) * width * table.weight.element_size())


def _trim_files(target: Path, order: Sequence[int]) -> None:
    """Trim ``tokenizer.json``, renumber ``tokenizer_config.json``.

    Remove the files that hold the old vocabulary.
    """
    file = target / "tokenizer.json"
    spec = json.loads(
        Tokenizer.from_file(str(file)).to_str()
    )  # as the library understands it: older files leave things out
    write_text(file, json.dumps(trimmed(spec, order), ensure_ascii=False))
    settings_file = target / "tokenizer_config.json"
    if settings_file.is_file():
        settings = json.loads(settings_file.read_text("utf-8"))
        new = {str(old): str(i) for i, old in enumerate(order)}
        if "added_tokens_decoder" in settings:
            settings["added_tokens_decoder"] = {
                new[i]: token for i, token in settings["added_tokens_decoder"].items() if i in new
            }
            write_json(settings_file, settings)
    for name in set(TOKENIZER_FILES) - set(_CARRIED):
        (target / name).unlink(missing_ok=True)


def _cut_alike(before: Encoder, after: Encoder, texts: Sequence[Corpus]) -> Iterator[Sentence]:
    """Find the sentences that are cut as before."""
    for (sentence, old), (_, new) in zip(_encoded(before, texts), _encoded(after, texts), strict=True):
        if old.tokens and old.tokens == new.tokens:
            yield sentence


def _changes(before: Encoder, after: Encoder, corpora: Sequence[Corpus]) -> CutChange:
    """Count what is cut in another way."""
    count: Counter[str] = Counter()
    for (_, old), (_, new) in zip(_encoded(before, corpora), _encoded(after, corpora), strict=True):
        was, now = _by_word(old), _by_word(new)
        changed = sum(now.get(word) != pieces for word, pieces in was.items())
        count.update(sentences=1, sentences_changed=int(was != now), words=len(was), words_changed=changed)
        count.update(pieces_before=len(old.ids), pieces=len(new.ids))
    return CutChange(**count)


def _by_word(encoding: Encoding) -> Mapping[int | None, list[str]]:
    found: dict[int | None, list[str]] = {}
    for word, piece in zip(encoding.word_ids, encoding.tokens, strict=True):
        found.setdefault(word, []).append(piece)
    return found


def _check_logits(before: TorchTagger, after: TorchTagger, sentences: Sequence[Sentence]) -> None:
    """Check that sentences cut as before have the logits they had, to the bit.

    Raises:
        ModelError: If they have not: then the result is refused.
    """
    words = [sentence.words for sentence in sentences]
    for sentence, old, new in zip(sentences, before.logits(words), after.logits(words), strict=True):
        if not torch.equal(torch.from_numpy(old).nan_to_num(), torch.from_numpy(new).nan_to_num()):
            raise ModelError(
                f"the trimmed model gives other logits for '{' '.join(sentence.words)[:80]}', though it is cut as before; nothing is written"
            )
