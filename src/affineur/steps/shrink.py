"""``shrink``: a dense model with fewer encoder layers or narrower feed-forward layers, without training.

Any library loads the result and every engine runs it faster. Layers: :mod:`affineur.steps.tailoring.layers`;
neurons: :mod:`affineur.steps.tailoring.width`.

Attention heads stay. In none of these families can a configuration say that layers have fewer heads of the
same size: the output projection is ``hidden_size × hidden_size`` in all of them, so heads × size has to be
``hidden_size`` (DeBERTa-v2 reads an ``attention_head_size``, but builds that matrix all the same), and
transformers 5 knows no ``pruned_heads`` any more.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from affineur.artifact import ModelFolder, ModelInfo
from affineur.display import megabytes
from affineur.errors import DataError, ParameterError
from affineur.steps.core.context import Context
from affineur.steps.core.step import CALIBRATION, Shape, Step
from affineur.steps.core.work import Work
from affineur.steps.tailoring.limits import check_layers, check_width

#: Sentences of the calibration text that are read, evenly spread over it.
SHRINK_SENTENCES = 1024
#: Most of them that each trial of a layer reads: there are dozens of trials, and twice as many sentences
#: chose the same layers.
_TRIAL_SENTENCES = 64


class Shrink(Step):
    """Drop the encoder layers, then the feed-forward neurons that matter least; the dtype stays as it was.

    The lowest layer always stays; embeddings and classifier, too.
    """

    name = "shrink"
    summary = "drop the encoder layers and the feed-forward neurons that matter least"
    suffix = "shrunk"
    inputs = (replace(CALIBRATION, spellings=("data",)),)
    examples = (
        "affineur shrink student_11L --layers 8 -o student_8L",
        "affineur shrink student_11L --ffn-width 0.5 --calibration my_text.conll -o student_11L_narrow",
    )

    layers: int | None = Field(
        None, ge=1, description="encoder layers that stay: those the tags depend on most"
    )
    ffn_width: float | None = Field(
        None, gt=0, description="neurons that stay in each feed-forward layer; below 1 a share of what it has"
    )
    reconstruct: bool = Field(
        True, description="let the neurons that stay make up for the others, by least squares"
    )

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the result: what is not to be shrunk is left out."""
        width = {"ffn_width": self.ffn_width, "reconstruct": self.reconstruct}
        return ({"layers": self.layers} if self.layers else {}) | (width if self.ffn_width else {})

    def check(self, context: Context) -> None:
        """Check that there is something to shrink.

        Raises:
            ParameterError: If neither layers nor width are given, or ``reconstruct`` is for nothing.
        """
        super().check(context)
        if self.layers is None and self.ffn_width is None:
            raise ParameterError(
                "nothing to shrink; give layers (encoder layers that stay), "
                "ffn_width (neurons that stay), or both",
                "layers ffn_width",
            )
        if not self.reconstruct and self.ffn_width is None:
            raise ParameterError(
                "reconstruct=False is for ffn_width, which is not given; leave it out, or give ffn_width too",
                "reconstruct",
            )

    def after(self, shape: Shape) -> Shape:
        """Say how many layers stay.

        Raises:
            ParameterError: If that is impossible, or the model is pruned: its zeros would be lost.
        """
        found = super().after(shape)
        if shape.pruned:
            raise ParameterError(
                "a pruned model cannot be shrunk, its zeros would be lost; "
                "shrink the model it was made from, then prune"
            )
        if self.layers is None:
            return found
        check_layers(self.layers, shape.layers, fewer=True)
        return replace(found, layers=self.layers)

    def run(self, model: ModelFolder, out: Path, context: Context) -> Path:
        """Shrink a model folder that is not pruned.

        The words of up to 1,024 sentences of calibration text are read, its labels never. The manifest's
        ``scores`` say which layers were kept and, for each set that was tried to be left out, the divergence
        of the tags (nats a word); for each layer of the result, which share of the mean square of its
        feed-forward output was lost.

        Raises:
            ParameterError: If there is nothing to shrink, a number is out of range, or the model is pruned.
            DataError: If the tokenizer makes no piece of the text.
            ModelError: If the model cannot be used, or has no feed-forward layers that are known here.
        """
        self.check(context)
        self.after(Shape.of(model))
        width = None if self.ffn_width is None else check_width(self.ffn_width, model)
        text = context.text
        work = Work(self, out, model, context, {"text": text}, resolved={"ffn_width": width} if width else {})
        if work.finished():
            return out
        from affineur.engines.support.checkpoints import load_encoder, load_model
        from affineur.engines.support.torch_tagger import TorchTagger
        from affineur.steps.tailoring.layers import drop_layers
        from affineur.steps.tailoring.width import narrow

        network: Any = load_model(model, dtype="auto")
        dtype = network.dtype
        network.float()
        encoder = load_encoder(model)
        sentences = [sentence.words for sentence in text.spread(SHRINK_SENTENCES)]
        windows = list(encoder.windows(sentences))
        if not windows:
            raise DataError("the tokenizer makes no piece of any word of the calibration text")
        scores: dict[str, Any] = {}
        if self.layers is not None:
            read = sorted({window.sentence for window in windows})
            trial = [sentences[i] for i in read[:: -(-len(read) // _TRIAL_SENTENCES)]]
            scores |= drop_layers(network, self.layers, TorchTagger(network, encoder, model.labels), trial)
        if width is not None:
            scores |= narrow(network, model, width, windows, encoder.pad_id, self.reconstruct)
        network.to(dtype)
        return work.write(network, scores=scores)

    def said(self, info: ModelInfo, source: ModelFolder) -> list[str]:
        """Say which layers and how many neurons stay, and what was lost with the others."""
        found = self.result(info, source)
        lines = []
        if self.layers is not None:
            kept, before = found["layers_kept"], found["layers_before"]
            lines += [
                (
                    f"{len(kept)} of {before} encoder layers stay, of 0 to {before - 1}:"
                    f" {', '.join(map(str, kept))}"
                ),
                (
                    f"without the others, the tags diverge by {found['divergence']:.3g} nats per word of the"
                    " text"
                ),
            ]
        if self.ffn_width is not None:
            worst = max(found["layers"], key=lambda layer: float(layer["lost"]))
            lines += [
                f"{found['width']:,} of {found['width_before']:,} neurons stay in each feed-forward layer",
                (
                    f"at most {worst['lost']:.2%} of a layer's output is lost on the text (layer"
                    f" {worst['layer']}; {worst['lost_without_least_squares']:.2%} without least squares)"
                ),
            ]
        return [*lines, f"{megabytes(found['size_bytes'])} left"]

    def result(self, info: ModelInfo, source: ModelFolder) -> dict[str, Any]:
        """Return which layers were kept, and what each lost."""
        scores = info.manifest.scores if info.manifest else {}
        return {"model": str(info.folder.path), "size_bytes": info.folder.size_bytes, **scores}


STEP = Shrink
