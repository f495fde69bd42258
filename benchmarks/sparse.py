"""Whether zeros buy speed: torch's CSR matrices beside dense ones, on a CamemBERT of full width with random
weights.

The guide's §4 expects 110–120 % from a sparse format, and its §3A 15 % fewer bytes. Random weights prove
speed and size only. The smallest weights are the zeros, so they lie irregularly, as a pruned model's do.
Dense and sparse take turns, and only ratios are printed. Three layers stand for eleven: each costs the same.

    python benchmarks/sparse.py [--rounds 7] [--layers 3]
"""

from __future__ import annotations

import argparse
import copy
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import AutoModelForTokenClassification, CamembertConfig

from affineur.artifact import describe_machine
from affineur.cli.main import guarded
from affineur.engines.support.torch_tagger import TorchTagger
from affineur.measure import throughput
from affineur.runtime import Encoder
from affineur.steps.pruning.core.zeroing import prune_model

SHARES = (0.15, 0.5, 0.8, 0.9, 0.95)
SHAPES = ((768, 768), (3072, 768), (768, 3072))
TOKENS = 32 * 33
PIECES = 32005


class CsrLinear(nn.Module):
    """A linear layer whose weight is a torch CSR matrix."""

    def __init__(self, dense: nn.Linear) -> None:
        super().__init__()
        self.weight = to_csr(dense.weight.detach())
        self.bias = dense.bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        rows = csr_product(inputs.flatten(0, -2), self.weight)
        return (rows + self.bias).unflatten(0, inputs.shape[:-1])


def to_csr(weight: torch.Tensor) -> torch.Tensor:
    """Compress with int32 indices: torch makes int64 ones, which take twice the bytes and are no faster."""
    csr = weight.to_sparse_csr()
    return torch.sparse_csr_tensor(csr.crow_indices().int(), csr.col_indices().int(), csr.values(), csr.shape)


def csr_product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """``x @ W.T`` as ``(W @ x.T).T``: ``nn.functional.linear`` takes CSR too, at a fifth of the speed."""
    return torch.sparse.mm(weight, x.T).T


def size_of(csr: torch.Tensor) -> int:
    return sum(t.numel() * t.element_size() for t in (csr.crow_indices(), csr.col_indices(), csr.values()))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--layers",
        type=int,
        default=3,
        help="encoder layers of the whole model (default: 3, so that it is over soon)",
    )
    args = parser.parse_args()
    # torch says once that CSR is in beta, and once that what we make of its own indices is not checked.
    warnings.filterwarnings("ignore", message="Sparse (CSR tensor support|invariant checks)")

    def command() -> int:
        print(describe_machine())
        matrices(args.rounds)
        whole_models(args.rounds, args.layers)
        return 0

    return guarded(command, "sparse.py", quiet=True)


@torch.inference_mode()
def matrices(rounds: int) -> None:
    """Time single products, dense and CSR."""
    print(
        f"\nsingle matrices, {TOKENS:,} tokens, x @ W.T; dense time ÷ CSR time (above 1 the zeros pay),"
        f" median of {rounds} pairs"
    )
    table(
        "W (out × in)",
        "zeros",
        "speed of CSR",
        "lowest … highest",
        "bytes, int32 indices",
        "bytes, int64 indices",
        "largest difference",
    )
    for out, columns in SHAPES:
        for share in SHARES:
            matrix(out, columns, share, rounds)


def matrix(out: int, columns: int, share: float, rounds: int) -> None:
    """Time one product and print a row."""
    seeded = torch.Generator().manual_seed(1)
    x, dense = torch.randn(TOKENS, columns, generator=seeded), torch.randn(out, columns, generator=seeded)
    dense.view(-1)[dense.abs().flatten().argsort()[: round(share * dense.numel())]] = 0
    csr = to_csr(dense)
    ratios = pairs(lambda: x @ dense.T, lambda: csr_product(x, csr), rounds)
    whole, difference = dense.nbytes, float((x @ dense.T - csr_product(x, csr)).abs().max())
    wide = csr.values().numel() * (4 + 8) + (out + 1) * 8
    row(
        f"{out} × {columns}",
        f"{share:.0%}",
        *speeds(ratios),
        f"{size_of(csr) / whole:.2f}×",
        f"{wide / whole:.2f}×",
        f"{difference:.1e}",
    )


def pairs(dense: Callable[[], object], sparse: Callable[[], object], rounds: int) -> list[float]:
    """Time two calls in turn and return dense ÷ sparse of each round; each is repeated for about a tenth of a
    second.
    """
    repeats = [max(1, round(0.1 / seconds(call, 2))) for call in (dense, sparse)]
    return [seconds(dense, repeats[0]) / seconds(sparse, repeats[1]) for _ in range(rounds)]


def seconds(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def whole_models(rounds: int, layers: int) -> None:
    """Time whole models whose linear layers in scope are dense or CSR."""
    print(
        f"\na whole CamemBERT, {layers} layers × 768, sentences/s by affineur.measure.throughput; CSR ÷ dense"
        " in the same round"
    )
    table(
        "zeros in scope",
        "speed of CSR",
        "lowest … highest",
        "bytes of the matrices",
        "largest difference of a logit",
        "logits up to",
    )
    chance = random.Random(3)
    sentences = [
        [f"w{chance.randrange(30000)}" for _ in range(chance.randint(11, 51))] for _ in range(192)
    ]  # 33 pieces on average
    for share in (0.15, 0.9):
        torch.manual_seed(13)
        config = CamembertConfig(
            vocab_size=PIECES,
            num_labels=5,
            max_position_embeddings=514,
            type_vocab_size=1,
            num_hidden_layers=layers,
        )
        model = AutoModelForTokenClassification.from_config(config).eval()
        info = prune_model(model, sparsity=share)
        sparse = copy.deepcopy(model)
        names = [m.matrix.name.removesuffix(".weight") for m in info.matrices]
        for name in names:
            parent, _, own = name.rpartition(".")
            setattr(sparse.get_submodule(parent), own, CsrLinear(model.get_submodule(name)))
        taggers = [TorchTagger(m, encoder(), [f"L{i}" for i in range(5)]) for m in (model, sparse)]
        first, second = (tagger.logits(sentences[:32]) for tagger in taggers)
        difference = max(float(abs(a - b).max()) for a, b in zip(first, second, strict=True))
        dense, csr = throughput(taggers, sentences, rounds=rounds)
        ratios = [b / a for a, b in zip(dense.rounds, csr.rounds, strict=True)]
        size = sum(size_of(sparse.get_submodule(name).weight) for name in names) / sum(
            m.size_bytes for m in info.matrices
        )
        highest = max(float(abs(a).max()) for a in first)
        row(f"{info.achieved:.0%}", *speeds(ratios), f"{size:.2f}×", f"{difference:.1e}", f"{highest:.1f}")


def speeds(ratios: list[float]) -> tuple[str, str]:
    return f"{statistics.median(ratios):.2f}×", f"{min(ratios):.2f} … {max(ratios):.2f}"


def table(*head: str) -> None:
    row(*head)
    row(*["---"] * len(head))


def row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def encoder() -> Encoder:
    """Return an encoder with one piece a word: the cost of cutting words is not what is measured."""
    words = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3} | {f"w{i}": i + 4 for i in range(PIECES - 4)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return Encoder(tokenizer, 512, 1)


if __name__ == "__main__":
    sys.exit(main())
