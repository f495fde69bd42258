"""The norm of each input feature of a matrix over some text, and rows pruned by weight times norm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from affineur.artifact import in_scope
from affineur.engines.support.torch_tagger import TorchTagger, pad
from affineur.errors import DataError, ModelError
from affineur.progress import report
from affineur.runtime import plan_batches

_BLOCK = 1 << 16  # weights ranked together: they and their scores stay in the processor's cache


def input_norms(
    tagger: TorchTagger, sentences: Sequence[Sequence[str]], scope: str = "attention+ffn"
) -> dict[str, torch.Tensor]:
    """Measure how large each input feature of each matrix in scope is over a text.

    Every window of the text counts, special pieces included and padding not. (A piece in the overlap of two
    windows of a long sentence counts in both.) What is no text is left out: DeBERTa sends its table of
    relative positions through the query and key matrices too, once a batch, so that counting it would make
    the result depend on the batches.

    The dense model runs once. The paper prunes layer by layer and feeds each layer what the pruned ones
    before it give; we do not, for three reasons. Only the *relative* norms within a row count, and pruning
    earlier layers hardly moves those: on the sample the two ways choose differently for 0.04 % of the weights
    at 15 % sparsity, 1.1 % at 50 % and 2.9 % at 70 %, and no paired interval of F1 tells them apart. One pass
    needs to know nothing about how a family calls its layers. And the norms do not depend on the sparsity, so
    one calibration serves many.

    Args:
        tagger: The model in evaluation mode and its encoder; half precision should be loaded as float32.
        sentences: Words of each sentence; labels are not needed.
        scope: ``attention+ffn``, ``attention`` or ``ffn``.

    Returns:
        By tensor name, the L2 norm of each input feature: float64 of shape ``(in_features,)``, on the CPU.

    Raises:
        DataError: If the tokenizer makes no piece of any word.
        ModelError: If an input is not a finite number, or has a shape that says nothing of which rows are
            padding.
        ParameterError: If there is no such scope, or the model has no matrix in it.
    """
    names = [m.name for m in in_scope([name for name, _ in tagger.model.named_parameters()], scope)]
    windows = list(tagger.encoder.windows(sentences))
    if not windows:
        raise DataError("the tokenizer makes no piece of any word of the calibration text")
    squares = _Squares(names)
    done = 0
    with squares.watching(tagger.model), torch.inference_mode():
        for batch in plan_batches([len(w) for w in windows], tagger.budget):
            ids, mask = pad([windows[i].ids for i in batch], tagger.encoder.pad_id)
            device = tagger.model.get_parameter(names[0]).device
            ids, mask = ids.to(device), mask.to(device)
            squares.begin(mask.bool())
            tagger.model(input_ids=ids, attention_mask=mask)
            done += len(batch)
            report("calibrating", done, len(windows))
    return squares.norms()


def zero_rows(weight: torch.Tensor, norms: torch.Tensor, k: int) -> float:
    """Set the ``k`` weights of a matrix that score lowest within their rows to zero, in place.

    Each row loses ``k ÷ rows`` weights, the first ones one more where that is no whole number. Zeros go first
    (a row that has more of them keeps them all), then the lowest scores, ties by position.

    Args:
        weight: Finite numbers of shape ``(out_features, in_features)``.
        norms: Norms of the inputs, shape ``(in_features,)``, float64.
        k: Weights to lose, at most all.

    Returns:
        The largest magnitude that became zero.
    """
    rows, columns = weight.shape
    each, more = divmod(k, rows)
    step = max(1, _BLOCK // columns)
    norms = norms.to(weight.device)
    largest = 0.0
    for first, last, quota in ((0, more, each + 1), (more, rows, each)):
        for start in range(first, last if quota else first, step):
            block = weight[start : min(start + step, last)]
            # In float64 no product of a weight and a norm is rounded to zero. A weight that *is* zero ranks
            # below one whose input is: otherwise a row could lose the latter and keep the former too, one
            # zero more than its quota.
            scores = (block.double().abs_() * norms).masked_fill_(block == 0, -1.0)
            limit = scores.kthvalue(quota, dim=1, keepdim=True).values
            doomed, ties = scores < limit, scores == limit
            doomed |= ties & (ties.cumsum(1) <= quota - doomed.sum(1, keepdim=True))
            largest = max(largest, float(block.masked_select(doomed).abs().max()))
            block.masked_fill_(doomed, 0)
    return largest


class _Squares:
    """Sums of squares of the input features of some modules, over the real pieces of each batch.

    Args:
        names: Names of the modules' weights.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._sums: dict[str, torch.Tensor] = {}
        self._mask = torch.zeros(0, 0, dtype=torch.bool)
        self._seen: dict[str, int] = {}

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Look at what the modules are given, inside this block."""

        def hook_of(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
            return lambda _module, inputs: self._add(name, inputs[0])

        handles = []
        try:
            for name in self._names:
                handles.append(
                    model.get_submodule(name.removesuffix(".weight")).register_forward_pre_hook(hook_of(name))
                )
            yield
        finally:
            for handle in handles:
                handle.remove()

    def begin(self, mask: torch.Tensor) -> None:
        """Expect the next batch: ``mask`` of shape ``(sequences, longest)`` is true at real pieces."""
        self._mask = mask
        self._seen = dict.fromkeys(self._names, 0)

    def norms(self) -> dict[str, torch.Tensor]:
        """Return the norm of each input feature, by weight name."""
        if unused := [name for name in self._names if name not in self._sums]:
            raise ModelError(
                f"the model never used {unused[0]}, so nothing can be said of its inputs; "
                "prune it by magnitude"
            )
        for name, sums in self._sums.items():
            if not bool(torch.isfinite(sums).all()):
                raise ModelError(
                    f"the inputs of {name} are not all finite numbers; the model's weights are damaged"
                )
        return {name: self._sums[name].sqrt().cpu() for name in self._names}

    def _add(self, name: str, inputs: torch.Tensor) -> None:
        sequences, longest = self._mask.shape
        seen = self._seen[name]
        if seen == longest:
            return  # the text has passed; what comes now is DeBERTa's table of positions
        features = inputs.shape[-1]
        if inputs.dim() == 3 and len(inputs) == sequences and seen + inputs.shape[1] <= longest:
            # With chunk_size_feed_forward a batch comes in several parts, cut along the sequence.
            real = inputs[self._mask[:, seen : seen + inputs.shape[1]]]
            self._seen[name] += inputs.shape[1]
        elif not seen and inputs.numel() == int(self._mask.sum()) * features:
            # Some implementations of ModernBERT take the padding out themselves.
            real = inputs.reshape(-1, features)
            self._seen[name] = longest
        else:
            raise ModelError(
                f"the inputs of {name} have the shape {tuple(inputs.shape)}, "
                f"expected ({sequences}, {longest}, {features}): which of them are padding cannot be told; "
                "prune it by magnitude"
            )
        found = real.double().square_().sum(0)
        self._sums[name] = self._sums[name] + found if name in self._sums else found
