"""``recover``: fine-tune a pruned model under its mask (guide §5)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from affineur.artifact import ModelFolder
from affineur.errors import ParameterError
from affineur.progress import report
from affineur.steps.core.context import Context
from affineur.steps.core.step import DATA, TEACHER
from affineur.steps.core.work import Work
from affineur.steps.training.fields import SOFT, Learning

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from affineur.steps.training.encoded import EncodedCorpus
    from affineur.steps.training.loop import SoftTargets


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
        None, ge=0, le=1, description="train only where F1 on dev is below this"
    )

    def check(self, context: Context) -> None:
        """Check that there is data, a dev part where it decides, a teacher where parameters are about one.

        Raises:
            DataError: If a part of the data is missing.
            ParameterError: If there is no teacher to learn from.
        """
        super().check(context)
        if self.if_f1_below is not None:
            context.splits.get("dev")
        said = (name for name in SOFT if getattr(self, name) != type(self).model_fields[name].default)
        if context.teacher is None and (name := next(said, None)):
            raise ParameterError(
                f"{name}={getattr(self, name):g} says what to learn from another model, but no teacher is"
                " given; leave it out, or name one",
                f"{name} teacher",
            )

    def run(self, model: ModelFolder, out: Path, context: Context) -> Path:
        """Fine-tune a model folder under its mask.

        Returns:
            ``out``, or the folder of ``model`` where F1 on dev reaches ``if_f1_below``.

        Raises:
            ModelError: If a model cannot be used, or a zero was lost.
            DataError: If the data cannot be used.
        """
        self.check(context)
        from affineur.steps.training.scoring import corpora, dev_scorer

        train, dev = context.splits.get("train"), context.splits.dev
        known = corpora(model.labels, train, dev)
        needed, before = self._needed(model, context)
        if not needed:
            return model.path
        unused = ("if_f1_below", *(() if context.teacher else SOFT))
        resolved = {"precision": self.precision_in(context)}
        work = Work(self, out, model, context, known, context.teacher, resolved, unused)
        if work.finished():
            return out
        import torch
        from transformers import set_seed

        from affineur.engines.support.checkpoints import load_encoder, load_model
        from affineur.steps.training.encoded import encode_corpus
        from affineur.steps.training.loop import fit
        from affineur.steps.training.mask import KeepZeros

        set_seed(self.seed)
        network, encoder = load_model(model, context.device), load_encoder(model)
        score = dev_scorer(dev, encoder, model.labels) if dev else None
        keep = KeepZeros(network)
        zeros = len(keep.mask)
        said = f"{zeros:,} weights stay zero" if zeros else "no zeros in scope, so this is plain fine-tuning"
        report(f"recover: {said}")

        def zeros_survived(written: Path) -> None:
            keep.mask.check(load_model(written))

        with work.workplace() as place:
            data = encode_corpus(train, encoder, model.labels, place)
            self.augment(data, encoder)
            soft = self._ask(context.teacher, data, network, context) if context.teacher else None
            if score and before is None:
                before = score(network)
            log = fit(
                network,
                data,
                self.settings(resolved["precision"]),
                place / "checkpoints",
                "recover",
                encoder.pad_id,
                soft,
                score,
                [keep],
            )
            keep.mask.check(network)
            scores = {"dev_f1_before": before, "zeros_kept": zeros, "torch": torch.__version__, **log}
            return work.write(network, scores, check=zeros_survived)

    def _ask(
        self,
        teacher: ModelFolder,
        data: EncodedCorpus,
        network: PreTrainedModel,
        context: Context,
    ) -> SoftTargets:
        """Attach to the data what the teacher makes of it.

        Raises:
            ParameterError: If hidden states are to be learned, and those of the teacher have another size.
        """
        from affineur.engines.support.checkpoints import load_encoder, load_model
        from affineur.engines.support.torch_tagger import TorchTagger

        master = load_model(teacher, context.device)
        sizes = master.config.hidden_size, network.config.hidden_size
        if self.hidden_weight and sizes[0] != sizes[1]:
            raise ParameterError(
                f"the hidden states of the teacher have {sizes[0]} numbers, those of the model {sizes[1]}; "
                "hidden states can be learned only from a teacher with as many: leave hidden_weight out",
                "hidden_weight",
            )
        tagger = TorchTagger(master, load_encoder(teacher), teacher.labels)
        self.ask(tagger, teacher.digest(), context.splits.get("train"), data, context)
        return self.soft()

    def _needed(self, model: ModelFolder, context: Context) -> tuple[bool, float | None]:
        """Apply ``if_f1_below`` to F1 on dev, never on test; return F1 too where it was measured here."""
        bar, measured = self.if_f1_below, None
        if bar is None:
            return True, None
        if context.dev_f1 is not None:
            f1 = context.dev_f1(model)
        else:
            from affineur.engines.support.checkpoints import load_encoder, load_model
            from affineur.steps.training.scoring import dev_scorer

            score = dev_scorer(context.splits.get("dev"), load_encoder(model), model.labels)
            f1 = measured = score(load_model(model, context.device))
        if f1 < bar:
            context.note(f"dev F1 {f1:.4f} is below {bar:g}, so the model was fine-tuned")
        else:
            context.note(f"dev F1 {f1:.4f} reaches {bar:g}, so no recovery was needed")
        return f1 < bar, measured


STEP = Recover
