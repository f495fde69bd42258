"""``recover``: fine-tune a pruned model under its mask (guide §5)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from affineur.artifact import ModelFolder
from affineur.errors import ParameterError
from affineur.progress import report
from affineur.steps.core.context import Context
from affineur.steps.core.step import DATA, TEACHER
from affineur.steps.core.work import Work
from affineur.steps.training.fields import Learning


class Recover(Learning):
    """Fine-tune a model while every weight in scope that is zero stays zero, whoever pruned it.

    The mask is applied after every optimizer step, and the zeros are checked again in the written file. An
    interrupted run goes on where it stopped. By default it is the guide's §5: half an epoch at a low rate.
    """

    name = "recover"
    summary = "fine-tune a pruned model; zeros stay zero"
    suffix = "finetuned"
    renames = False
    inputs = (DATA, TEACHER)
    examples = (
        "affineur recover student_11L_pruned --epochs 0.5 --data my_corpus -o student_11L_pruned_finetuned",
        "affineur recover student_11L_pruned --if-f1-below 0.84 --data my_corpus -o recovered",
    )

    epochs: float = Field(0.5, ge=0, le=1e6, description="passes over the data, fractions allowed")
    learning_rate: float = Field(1e-5, ge=0, le=1e3, description="peak learning rate of AdamW")
    if_f1_below: float | None = Field(
        None, ge=0, le=1, description="train only where F1 on dev is below this (guide §5 and §9)"
    )

    def check(self, context: Context) -> None:
        """Check that there is data, a dev part where it decides, and a teacher where something is said of one.

        Raises:
            DataError: If a part of the data is missing.
            ParameterError: If there is no teacher to learn from.
        """
        super().check(context)
        if self.if_f1_below is not None:
            context.splits.get("dev")
        if context.teacher is None:
            self.refuse_soft()

    def run(self, model: ModelFolder, out: Path, context: Context) -> Path:
        """Fine-tune a model folder under its mask.

        Raises:
            ModelError: If a model cannot be used, or a zero was lost.
            DataError: If the data cannot be used.
        """
        self.check(context)
        from affineur.steps.training.scoring import corpora, dev_scorer

        train, dev = context.splits.get("train"), context.splits.dev
        known = corpora(model.labels, train, dev)
        if not self._needed(model, context):
            return model.path
        guide = context.teacher
        work = Work(self, out, model, context, known, guide)
        if work.finished():
            return out
        import torch
        from transformers import set_seed

        from affineur.engines.checkpoints import load_encoder, load_model
        from affineur.engines.torch import TorchTagger
        from affineur.steps.training.encoded import encode_corpus
        from affineur.steps.training.loop import fit
        from affineur.steps.training.mask import KeepZeros
        from affineur.steps.training.teacher_logits import teacher_logits

        set_seed(self.seed)
        network, encoder = load_model(model, context.device), load_encoder(model)
        score = dev_scorer(dev, encoder, model.labels) if dev else None
        keep = KeepZeros(network)
        zeros = f"{len(keep.mask):,} weights stay zero"
        report(f"recover: {zeros if len(keep.mask) else 'no zeros in scope, so this is plain fine-tuning'}")
        soft = None
        with work.workplace() as place:
            data = encode_corpus(train, encoder, model.labels, place)
            if guide is not None:
                master = load_model(guide, context.device)
                tagger = TorchTagger(master, load_encoder(guide), guide.labels)
                data.with_teacher(teacher_logits(tagger, guide.digest(), train, model.labels, context.cache))
                if self.hidden_weight:
                    same = tagger.encoder.tokenizer.to_str() == encoder.tokenizer.to_str()
                    if not same or master.config.hidden_size != network.config.hidden_size:
                        raise ParameterError(
                            "hidden states can be learned only from a teacher with the same tokenizer and hidden size",
                            "hidden_weight",
                        )
                soft = self.soft(master if self.hidden_weight else None)
            before = score(network) if score else None
            log = fit(
                network,
                data,
                self.settings(),
                place / "checkpoints",
                "recover",
                encoder.pad_id,
                soft,
                score,
                [keep],
            )
            keep.mask.check(network)

            def zeros_survived(written: Path) -> None:
                keep.mask.check(load_model(written))

            scores = {
                "dev_f1_before": before,
                "zeros_kept": len(keep.mask),
                "torch": torch.__version__,
                **log,
            }
            return work.write(network, scores, check=zeros_survived)

    def _needed(self, model: ModelFolder, context: Context) -> bool:
        """Apply ``if_f1_below`` to F1 on dev, never on test."""
        bar = self.if_f1_below
        if bar is None:
            return True
        if context.dev_f1 is not None:
            f1 = context.dev_f1(model)
        else:
            from affineur.engines.torch import load_tagger
            from affineur.measure import evaluate

            f1 = evaluate(load_tagger(model.path, context.device), context.splits.get("dev")).total.f1
        if f1 < bar:
            context.note(f"dev F1 {f1:.4f} is below {bar:g}, so the model was fine-tuned")
        else:
            context.note(f"dev F1 {f1:.4f} reaches {bar:g}, so no recovery was needed")
        return f1 < bar


STEP = Recover
