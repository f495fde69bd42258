"""``trim-vocab``: a model folder without the pieces that a language, or a corpus, does not use.

The multilingual XLM-R has 250,000 pieces and French uses a tenth of them; nobody pays for the rest but the
disk and the memory (TextPruner, Yang et al. 2022, arXiv 2203.15996). The layers stay as they are, and a text
whose pieces are all kept gives the same logits to the bit: that is checked on the corpus itself before
anything is written.

With ``add`` the words of the text that cost most pieces become pieces of their own
(:mod:`~affineur.steps.tailoring.words`), so that a text of their kind is shorter, and faster. The model has
not seen them yet: recover it afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from affineur.artifact import ModelFolder, ModelInfo
from affineur.display import megabytes
from affineur.entities import Corpus
from affineur.errors import DataError, ParameterError, counted
from affineur.steps.core.context import Context
from affineur.steps.core.step import Input, Step
from affineur.steps.core.work import Work
from affineur.steps.tailoring.texts import texts_of

#: Share of unseen words cut in another way beyond which F1 was seen to fall by points.
_MUCH = 0.02


class TrimVocab(Step):
    """Drop the pieces a text does not use; the dtype stays as it was.

    Beside the pieces used, all stay without which some text could not be cut
    (:func:`~affineur.steps.tailoring.pieces.indispensable`).
    """

    name = "trim-vocab"
    summary = "drop the pieces of the vocabulary that a text does not use; add whole words of it"
    suffix = "trimmed"
    inputs = (
        Input(
            "data",
            "labeled text; train is counted, test or dev shows how unseen text is cut; "
            "labels are ignored (default: the sample)",
            many=True,
        ),
        Input(
            "text",
            "a file of raw text, one sentence per line; "
            "one line in 20 is held out to show how unseen text is cut",
            many=True,
        ),
    )
    examples = (
        "affineur trim-vocab xlmr-ner --data my_corpus -o xlmr-ner_trimmed",
        "affineur trim-vocab xlmr-ner --text letters.txt --min-count 3 -o xlmr-ner_trimmed",
        "affineur trim-vocab ner --text reports.txt --min-count 0 --add 500 -o ner_reports",
    )

    keep: int | None = Field(
        None,
        ge=1,
        description="keep this many pieces, the most used, beside those no tokenizer can do without",
    )
    min_count: int = Field(
        1, ge=0, description="keep pieces that are used at least this many times; 0 keeps all (with add)"
    )
    add: int = Field(
        0,
        ge=0,
        description="make the words that save most pieces of the text, at most this many, pieces of their "
        "own; the model has to be recovered then",
    )

    def check(self, context: Context) -> None:
        """Check that pieces are chosen in one way.

        Raises:
            ParameterError: If they are chosen in two, or nothing is to change.
        """
        super().check(context)
        if self.min_count == 0 and self.keep is None and not self.add:
            raise ParameterError(
                "min_count=0 keeps every piece, so nothing would change; give a higher one, or add",
                "min_count",
            )
        if self.keep is not None and self.min_count != 1:
            raise ParameterError(
                f"keep={self.keep} and min_count={self.min_count} exclude each other; give one of them",
                "keep min_count",
            )

    def run(self, model: ModelFolder, out: Path, context: Context) -> Path:
        """Trim a model folder.

        Only words are read, labels never. The manifest's ``scores`` say what was dropped: ``pieces_before
        pieces pieces_used bytes_saved``, and ``unseen``
        (:class:`~affineur.steps.tailoring.vocabulary.CutChange`) where there is such text.

        Raises:
            ParameterError: If a value is out of range.
            DataError: If the tokenizer makes no piece of the text.
            ModelError: If the model cannot be used, or its tokenizer is not a Unigram, WordPiece or BPE.
        """
        self.check(context)
        texts, unseen = context.texts, context.unseen
        if not texts:
            texts, unseen = texts_of((context.data,) if context.data else ())
        work = Work(self, out, model, context, _roles("text", texts) | _roles("unseen", unseen))
        if work.finished():
            return out
        from affineur.engines.support.checkpoints import load_encoder, load_model
        from affineur.engines.support.torch_tagger import load_tagger
        from affineur.steps.tailoring import vocabulary
        from affineur.steps.tailoring.pieces import check_kind, own_pieces, pieces_of, trimmed
        from affineur.steps.tailoring.words import Added, Words, check_can_grow

        encoder = load_encoder(model)
        spec = json.loads(encoder.tokenizer.to_str())
        check_kind(spec)
        if self.add:
            check_can_grow(spec, model.path)
        network = load_model(model, dtype="auto")
        used = vocabulary.count_pieces(encoder, texts)
        words = Words(spec, texts) if self.add else None
        whole = words.choose(self.add) if words else ()
        if words and not whole:
            raise DataError(
                "no word that is there three times is cut into pieces; leave add out", texts[0].name
            )
        often = vocabulary.most_used(used - words.spared(whole) if words else used, self.keep, self.min_count)
        wanted = often if self.keep or self.min_count else list(pieces_of(spec))
        order = vocabulary.pieces_kept(model, network.config, spec, wanted)
        small = trimmed(spec, order)
        added = words.added_to(small, whole) if words else Added()
        new = vocabulary.NewVocabulary(order, len(own_pieces(small)), added)
        before = len(pieces_of(spec))
        saved = vocabulary.replace_rows(network, new, before)
        after = vocabulary.new_encoder(encoder, spec, new, network.config)
        scores: dict[str, Any] = {
            "pieces_before": before,
            "pieces": len(new),
            "pieces_used": len(used),
            "bytes_saved": saved,
        }
        if words:
            scores["words_added"] = len(added.words)
            scores["text"] = vocabulary.changes(encoder, after, texts).as_dict()
        if unseen:
            scores["unseen"] = vocabulary.changes(encoder, after, unseen).as_dict()
        same = vocabulary.cut_alike(encoder, after, texts)

        def finish(target: Path) -> None:
            vocabulary.replace_files(target, new)
            vocabulary.check_logits(load_tagger(model), load_tagger(target), same)

        return work.write(network, scores=scores, check=finish)

    def said(self, info: ModelInfo, source: ModelFolder) -> list[str]:
        """Say how many pieces stay, and how much of unseen text is cut in another way."""
        found = self.result(info, source)
        text, unseen = found.get("text"), found.get("unseen")
        added = f", {counted(found['words_added'], 'word')} of it added" if text else ""
        saved = found["bytes_saved"]
        lines = [
            f"{found['pieces']:,} pieces, before {found['pieces_before']:,} (the text uses"
            f" {found['pieces_used']:,}{added}); {megabytes(abs(saved))} {'saved' if saved >= 0 else 'more'},"
            f" {megabytes(found['size_bytes'])} in all"
            if text
            else f"{found['pieces']:,} of {found['pieces_before']:,} pieces stay (the text uses"
            f" {found['pieces_used']:,}); {megabytes(saved)} saved, {megabytes(found['size_bytes'])} left"
        ]
        if text:
            lines.append(_shorter("the text", text))
        if unseen:
            lines.append(
                f"of unseen text, {unseen['share_of_sentences_changed']:.2%} of {unseen['sentences']:,}"
                f" sentences ({unseen['share_of_words_changed']:.2%} of the words) are cut in another way; it"
                f" has {unseen['pieces'] / max(1, unseen['pieces_before']) - 1:+.2%} pieces"
            )
            if text:
                lines[-1] = _shorter("unseen text", unseen)
            elif unseen["share_of_words_changed"] > _MUCH:
                lines.append(
                    "that is much, and will cost F1 (compare says how much): give more of your own text"
                )
        if text:
            lines.append("the model has not seen its new pieces: recover it, or its F1 suffers")
        return lines

    def result(self, info: ModelInfo, source: ModelFolder) -> dict[str, Any]:
        """Return what was dropped, and how unseen text is cut."""
        scores = info.manifest.scores if info.manifest else {}
        return {"model": str(info.folder.path), "size_bytes": info.folder.size_bytes, **scores}


def _roles(role: str, corpora: Sequence[Corpus]) -> dict[str, Corpus]:
    return {role if place == 1 else f"{role} {place}": corpus for place, corpus in enumerate(corpora, 1)}


def _shorter(what: str, change: dict[str, Any]) -> str:
    fewer = change["pieces"] / max(1, change["pieces_before"]) - 1
    return (
        f"{what}: {change['pieces_per_word']:.3f} pieces a word, before"
        f" {change['pieces_per_word_before']:.3f} ({fewer:+.1%}); {change['share_of_words_changed']:.1%} of"
        f" the words are cut in another way, {change['share_of_words_whole']:.1%} are whole now"
    )


STEP = TrimVocab
