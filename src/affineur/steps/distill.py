"""``distill``: a student with fewer encoder layers learns from its teacher."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from affineur.artifact import ModelFolder, write_json
from affineur.artifact.reading import read_json
from affineur.errors import ParameterError
from affineur.steps.core.context import Context
from affineur.steps.core.step import Shape
from affineur.steps.core.work import Work
from affineur.steps.tailoring.limits import check_layers
from affineur.steps.training.fields import Learning

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Dev sentences that each trial of a search for layers is scored on.
_SEARCH_SENTENCES = 500


class Distill(Learning):
    """Make a student of some of the teacher's layers and train it on the teacher's soft labels.

    Embeddings and classifier are copied with the layers. An interrupted run goes on where it stopped.
    """

    name = "distill"
    summary = "a student with fewer layers, taught by its teacher"
    suffix = "student"
    examples = (
        "affineur distill sample --layers 11 --data my_corpus -o student_11L",
        "affineur distill ./my_teacher --layers 6 --keep uniform --epochs 3 --data my_corpus -o student_6L",
    )

    layers: int = Field(11, ge=1, description="encoder layers of the student")
    keep: Literal["top", "uniform", "search"] = Field(
        "search", description="drop the top layers, keep evenly spaced ones, or try each drop on dev"
    )

    def label(self, before: str, stem: str) -> str:
        """Name the student after its layers."""
        return f"student_{self.layers}L"

    def check(self, context: Context) -> None:
        """Check that there is data to learn from, and to search layers on.

        Raises:
            DataError: If there is no train part.
            ParameterError: If layers are to be searched without dev data.
        """
        super().check(context)
        if self.keep == "search" and context.splits.dev is None:
            raise ParameterError(
                "choosing layers by search needs dev data; give data with a dev part, or use keep='top'",
                "keep",
            )

    def after(self, shape: Shape) -> Shape:
        """Say that the student has so many layers, and no zeros to keep.

        Raises:
            ParameterError: If the model has fewer layers, or is of a kind that cannot be trained.
        """
        after = super().after(shape)
        check_layers(self.layers, shape.layers)
        return replace(after, layers=self.layers, pruned=False)

    def run(self, model: ModelFolder, out: Path, context: Context) -> Path:
        """Make and train a student.

        Raises:
            ParameterError: If the teacher has fewer layers.
            ModelError: If the teacher cannot be used.
            DataError: If the data cannot be used.
        """
        check_layers(self.layers, model.layers)
        self.check(context)
        from affineur.steps.training.scoring import corpora, dev_scorer

        train, dev = context.splits.get("train"), context.splits.dev
        known, precision = corpora(model.labels, train, dev), self.precision_in(context)
        work = Work(self, out, model, context, known, resolved={"precision": precision})
        if work.finished():
            return out
        from transformers import set_seed

        from affineur.engines.support.checkpoints import load_encoder, load_model
        from affineur.engines.support.torch_tagger import TorchTagger
        from affineur.steps.tailoring.layers import keep_layers
        from affineur.steps.training.encoded import encode_corpus
        from affineur.steps.training.loop import fit

        set_seed(self.seed)
        teacher, encoder = load_model(model, context.device), load_encoder(model)
        score = dev_scorer(dev, encoder, model.labels) if dev else None
        with work.workplace() as place:
            trial = dev_scorer(dev.head(_SEARCH_SENTENCES), encoder, model.labels) if dev else None
            kept, trials = self._choose(teacher, trial, place)
            data = encode_corpus(train, encoder, model.labels, place)
            self.augment(data, encoder)
            if self.epochs:
                tagger = TorchTagger(teacher, encoder, model.labels)
                self.ask(tagger, model.digest(), train, data, context)
            student = keep_layers(teacher, kept)
            before = score(student) if score else None
            what = f"distill to {self.layers} layers"
            log = fit(
                student,
                data,
                self.settings(precision),
                place / "checkpoints",
                what,
                encoder.pad_id,
                self.soft(),
                score,
            )
            scores = {"layers_kept": kept, "layer_search": trials, "dev_f1_untrained": before, **log}
            return work.write(student, scores)

    def _choose(
        self, teacher: PreTrainedModel, score: Any, place: Path
    ) -> tuple[list[int], list[dict[str, Any]]]:
        """Choose layers, once: an interrupted run finds the choice it made."""
        from affineur.steps.tailoring.layers import choose_layers

        file = place / "layers.json"
        if not file.exists():
            kept, trials = choose_layers(teacher, self.layers, self.keep, score)
            write_json(file, {"kept": kept, "trials": trials})
        made = read_json(file)
        return made["kept"], made["trials"]


STEP = Distill
