"""``trim-vocab``: a model folder without the pieces that a language, or a corpus, does not use.

The multilingual XLM-R has 250,000 pieces and French uses a tenth of them; nobody pays for the rest but the
disk and the memory (TextPruner, Yang et al. 2022, arXiv 2203.15996). The layers stay as they are, and a text
whose pieces are all kept gives the same logits to the bit: that is checked on the corpus itself before
anything is written.
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
from affineur.errors import ParameterError
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
    summary = "drop the pieces of the vocabulary that a text does not use"
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
    )

    keep: int | None = Field(
        None,
        ge=1,
        description="keep this many pieces, the most used, beside those no tokenizer can do without",
    )
    min_count: int = Field(1, ge=1, description="keep pieces that are used at least this many times")

    def check(self, context: Context) -> None:
        """Check that pieces are chosen in one way.

        Raises:
            ParameterError: If they are chosen in two.
        """
        super().check(context)
        if self.keep is not None and self.min_count > 1:
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
        from affineur.steps.tailoring.pieces import check_kind, pieces_of

        encoder = load_encoder(model)
        spec = json.loads(encoder.tokenizer.to_str())
        check_kind(spec)
        network = load_model(model, dtype="auto")
        used = vocabulary.count_pieces(encoder, texts)
        often = vocabulary.most_used(used, self.keep, self.min_count)
        order = vocabulary.pieces_kept(model, network.config, spec, often)
        before = len(pieces_of(spec))
        saved = vocabulary.drop_rows(network, order, before)
        small = vocabulary.trimmed_encoder(encoder, spec, order, network.config)
        scores: dict[str, Any] = {
            "pieces_before": before,
            "pieces": len(order),
            "pieces_used": len(used),
            "bytes_saved": saved,
        }
        if unseen:
            scores["unseen"] = vocabulary.changes(encoder, small, unseen).as_dict()
        same = vocabulary.cut_alike(encoder, small, texts)

        def finish(target: Path) -> None:
            vocabulary.trim_files(target, order)
            vocabulary.check_logits(load_tagger(model), load_tagger(target), same)

        return work.write(network, scores=scores, check=finish)

    def said(self, info: ModelInfo, source: ModelFolder) -> list[str]:
        """Say how many pieces stay, and how much of unseen text is cut in another way."""
        found = self.result(info, source)
        lines = [
            f"{found['pieces']:,} of {found['pieces_before']:,} pieces stay (the text uses"
            f" {found['pieces_used']:,}); {megabytes(found['bytes_saved'])} saved,"
            f" {megabytes(found['size_bytes'])} left"
        ]
        if unseen := found.get("unseen"):
            longer = unseen["pieces"] / max(1, unseen["pieces_before"]) - 1
            lines.append(
                f"of unseen text, {unseen['share_of_sentences_changed']:.2%} of {unseen['sentences']:,}"
                f" sentences ({unseen['share_of_words_changed']:.2%} of the words) are cut in another way; it"
                f" has {longer:+.2%} pieces"
            )
            if unseen["share_of_words_changed"] > _MUCH:
                lines.append(
                    "that is much, and will cost F1 (compare says how much): give more of your own text"
                )
        return lines

    def result(self, info: ModelInfo, source: ModelFolder) -> dict[str, Any]:
        """Return what was dropped, and how unseen text is cut."""
        scores = info.manifest.scores if info.manifest else {}
        return {"model": str(info.folder.path), "size_bytes": info.folder.size_bytes, **scores}


def _roles(role: str, corpora: Sequence[Corpus]) -> dict[str, Corpus]:
    return {role if place == 1 else f"{role} {place}": corpus for place, corpus in enumerate(corpora, 1)}


STEP = TrimVocab
