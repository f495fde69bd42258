"""A corpus as pieces and label ids on disk: training memory does not grow with the corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from affineur.engines.support.torch_tagger import pad
from affineur.entities import (
    Corpus,
    Scheme,
    Sentence,
    chunks,
    detect,
    project,
    renaming_hint,
    repair,
    split_tag,
    to_mentions,
    types_of,
    with_prefix,
)
from affineur.errors import DataError
from affineur.progress import report
from affineur.runtime import Encoder

#: Label of a piece that carries none: special pieces, later pieces of a word, words owned by another window.
IGNORED = -100
_CHUNK = 1024

Item = dict[str, Any]


class EncodedCorpus(Dataset[Item]):
    """Windows of pieces with labels on first pieces, memory-mapped from files in a folder.

    Args:
        folder: Where :func:`encode_corpus` wrote them.
        labels: Labels of the model, in the order of its outputs.
    """

    def __init__(self, folder: Path, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self._pieces: npt.NDArray[np.int32] = np.memmap(folder / "pieces.i4", dtype=np.int32, mode="r")
        self._targets: npt.NDArray[np.int16] = np.memmap(folder / "targets.i2", dtype=np.int16, mode="r")
        self._bounds: npt.NDArray[np.int64] = np.fromfile(folder / "bounds.i8", dtype=np.int64)
        labeled = np.concatenate([[0], np.cumsum(self._targets != IGNORED)])
        # Labeled words before each window, and which word of the corpus each of them is.
        self._word_bounds: npt.NDArray[np.int64] = labeled[self._bounds]
        self._word_index: npt.NDArray[np.int64] = np.memmap(folder / "words.i8", dtype=np.int64, mode="r")
        self._single = np.fromfile(folder / "single.u1", dtype=np.uint8)
        self._teacher: npt.NDArray[np.float32] | None = None
        self._hidden: npt.NDArray[np.float16] | None = None
        self._replacer: MentionReplacement | None = None
        self._epoch = 0

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self._bounds) - 1

    def __getitem__(self, index: int) -> Item:
        """Return one window as arrays.

        Returns:
            ``input_ids`` and ``labels``, one number per piece; ``teacher`` logits of shape ``(labeled words,
            labels)`` and ``hidden`` states of shape ``(labeled words, hidden size)`` where there are some.
        """
        pieces, targets = self.window(index)
        words = self.words(index)
        if self._replacer is not None and self._single[index]:
            pieces, targets, words = self._replacer.apply(index, self._epoch)
        item: Item = {"input_ids": pieces, "labels": targets}
        if self._teacher is not None:
            item["teacher"] = self._teacher[words]
        if self._hidden is not None:
            item["hidden"] = self._hidden[words]
        return item

    def window(self, index: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int16]]:
        """Return the pieces and targets of one window as they stand in the corpus."""
        span = slice(self._bounds[index], self._bounds[index + 1])
        return self._pieces[span], self._targets[span]

    def words(self, index: int) -> npt.NDArray[np.int64]:
        """Return which words of the corpus the labeled pieces of one window stand for."""
        return self._word_index[self._word_bounds[index] : self._word_bounds[index + 1]]

    @property
    def lengths(self) -> list[int]:
        """Number of pieces of each window."""
        return np.diff(self._bounds).tolist()  # type: ignore[no-any-return]

    def with_teacher(self, logits: npt.NDArray[np.float32]) -> None:
        """Attach a teacher's logits.

        Args:
            logits: Shape ``(words of the corpus, labels)``, columns in the order of our labels.
        """
        if logits.shape[1] != len(self.labels):
            raise ValueError(f"teacher logits have {logits.shape[1]} columns, expected {len(self.labels)}")
        self._teacher = logits

    def with_hidden(self, states: npt.NDArray[np.float16]) -> None:
        """Attach a teacher's last hidden states.

        Args:
            states: Shape ``(words of the corpus, hidden size)``.
        """
        self._hidden = states

    def with_mention_replacement(self, share: float, seed: int, longest: int) -> None:
        """Swap this share of mentions, in each epoch anew, for other mentions of the same type."""
        self._replacer = MentionReplacement(self, share, seed, longest)

    def set_epoch(self, epoch: int) -> None:
        """Tell which epoch the next items belong to."""
        self._epoch = epoch


class MentionReplacement:
    """Augmentation by mention replacement (Dai and Adel 2020).

    Pieces of one mention are swapped for those of another of its type. Words are cut into pieces
    independently of their neighbors, so swapping pieces equals swapping words.
    """

    def __init__(self, corpus: EncodedCorpus, share: float, seed: int, longest: int) -> None:
        self._corpus, self._share, self._seed, self._longest = corpus, share, seed, longest
        self._tags = [with_prefix(label) for label in corpus.labels]
        self._scheme = detect(self._tags)
        bank: dict[str, list[tuple[int, int, int]]] = {}
        for index in np.flatnonzero(corpus._single).tolist():
            for start, end, kind in self._spans(corpus.window(index)[1]):
                bank.setdefault(kind, []).append((index, start, end))
        self._bank = {kind: np.array(spans, dtype=np.int64) for kind, spans in bank.items()}

    def apply(
        self, index: int, epoch: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int16], npt.NDArray[np.int64]]:
        """Return a window with some mentions swapped; the same for the same seed, epoch and index.

        Returns:
            Pieces and targets as :meth:`EncodedCorpus.window` gives them, and the words of the corpus that
            its labeled pieces stand for: a teacher says of a mention what it said where the mention stood.
        """
        random = np.random.default_rng((self._seed, epoch, index))
        pieces, targets = self._corpus.window(index)
        words = self._corpus.words(index)
        for start, end, kind in reversed(self._spans(targets)):
            if random.random() >= self._share:
                continue
            other, first, last = self._bank[kind][random.integers(len(self._bank[kind]))]
            if len(pieces) - (end - start) + (last - first) > self._longest:
                continue
            new_pieces, new_targets = self._corpus.window(int(other))
            here, there = _labeled(targets, start, end), _labeled(new_targets, first, last)
            words = np.concatenate(
                [words[: here[0]], self._corpus.words(int(other))[slice(*there)], words[here[1] :]]
            )
            pieces = np.concatenate([pieces[:start], new_pieces[first:last], pieces[end:]])
            targets = np.concatenate([targets[:start], new_targets[first:last], targets[end:]])
        return pieces, targets, words

    def _spans(self, targets: npt.NDArray[np.int16]) -> list[tuple[int, int, str]]:
        """Find the piece span and type of each mention that ends before the last piece of the window."""
        firsts = np.flatnonzero(targets != IGNORED).tolist()
        # The tokenizer may have dropped the word a mention began with: that leaves tags no scheme allows.
        tags, _ = repair([self._tags[targets[i]] for i in firsts], self._scheme)
        # A window ends with special pieces: the extent of its last word is not known from the targets.
        return [
            (firsts[m.start], firsts[m.end], m.type)
            for m in to_mentions(tags, self._scheme)
            if m.end < len(firsts)
        ]


def _labeled(targets: npt.NDArray[np.int16], start: int, end: int) -> tuple[int, int]:
    """Count the labeled pieces before two places of a window."""
    labeled = targets != IGNORED
    return int(labeled[:start].sum()), int(labeled[:end].sum())


def encode_corpus(corpus: Corpus, encoder: Encoder, labels: tuple[str, ...], folder: Path) -> EncodedCorpus:
    """Write a corpus as pieces and label ids, and open the result.

    Args:
        corpus: Labeled sentences, in any scheme.
        encoder: The model's encoder.
        labels: Labels of the model, in the order of its outputs; tags are rewritten to their scheme.
        folder: An existing folder to write to.

    Raises:
        DataError: If the corpus has a type the model has no label for, or no word the tokenizer makes a piece
            of.
    """
    check_types(corpus, labels)
    tags = [with_prefix(label) for label in labels]
    scheme = detect(tags)
    ids = {tag: i for i, tag in enumerate(tags)}
    ids |= {label: i for i, label in enumerate(labels) if label in ids}  # O itself, and not [PAD]
    position = done = words_before = 0
    bounds = [0]
    single: list[int] = []
    with (
        (folder / "pieces.i4").open("wb") as pieces,
        (folder / "targets.i2").open("wb") as targets,
        (folder / "words.i8").open("wb") as places,
    ):
        for chunk in chunks(iter(corpus), _CHUNK):
            windows = list(encoder.windows([s.words for s in chunk]))
            often = np.bincount([w.sentence for w in windows], minlength=len(chunk))
            gold = [_targets(sentence, corpus.scheme, scheme, ids) for sentence in chunk]
            starts = words_before + np.cumsum([0, *(len(s.words) for s in chunk)])
            words_before = int(starts[-1])
            for window in windows:
                row = np.full(len(window), IGNORED, dtype=np.int16)
                row[list(window.positions)] = [gold[window.sentence][w] for w in window.words]
                np.asarray(window.ids, dtype=np.int32).tofile(pieces)
                row.tofile(targets)
                (starts[window.sentence] + np.asarray(window.words, dtype=np.int64)).tofile(places)
                position += len(window)
                bounds.append(position)
                single.append(int(often[window.sentence] == 1))
            done += len(chunk)
            report("reading sentences", done, len(corpus))
    if not single:
        raise DataError("the tokenizer makes no piece of any word here", corpus.name)
    np.array(bounds, dtype=np.int64).tofile(folder / "bounds.i8")
    np.array(single, dtype=np.uint8).tofile(folder / "single.u1")
    return EncodedCorpus(folder, labels)


def check_types(corpus: Corpus, labels: tuple[str, ...]) -> None:
    """Check that a model has a label for each type of a corpus.

    Raises:
        DataError: If not, with both sets and what to do.
    """
    known = types_of(with_prefix(label) for label in labels)
    if foreign := [kind for kind in corpus.types if kind not in known]:
        raise DataError(
            f"the data has types {', '.join(corpus.types)}, the model knows {', '.join(known)}; "
            f"{renaming_hint(foreign, known)}",
            corpus.name,
        )


def collate(items: list[Item], pad_id: int) -> dict[str, torch.Tensor]:
    """Pad items into a batch.

    Returns:
        ``input_ids``, ``attention_mask`` and ``labels`` of shape ``(batch, longest)``; ``teacher`` of shape
        ``(labeled words, labels)`` and ``hidden`` of shape ``(labeled words, hidden size)`` where the items
        have them, rows in the order of the labeled pieces.
    """
    ids, mask = pad([item["input_ids"] for item in items], pad_id)
    targets, _ = pad([item["labels"] for item in items], IGNORED)
    batch = {"input_ids": ids, "attention_mask": mask, "labels": targets}
    for name in ("teacher", "hidden"):
        if name in items[0]:
            batch[name] = torch.from_numpy(np.concatenate([item[name] for item in items]))
    return batch


def _targets(sentence: Sentence, source: Scheme, target: Scheme, ids: dict[str, int]) -> list[int]:
    # A BIO model may lack, say, I-MISC because its corpus had none: B-MISC is then the nearest label it has.
    tags = sentence.tags if source is target else project(sentence.tags, source, target)
    return [
        ids[tag] if tag in ids else ids.get(f"B-{split_tag(tag)[1]}", ids.get(f"I-{split_tag(tag)[1]}", 0))
        for tag in tags
    ]
