"""What Affineur gives, for type checkers and editors. Generated from the steps: make docs."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from affineur import watch as watch
from affineur.api.describing import describe_data as describe_data
from affineur.api.measuring import evaluate as evaluate
from affineur.api.measuring import compare as compare
from affineur.api.measuring import benchmark as benchmark
from affineur.api.measuring import check as check
from affineur.api.model import Model as Model
from affineur.api.model import load as load
from affineur.api.moving import pull as pull
from affineur.api.moving import push as push
from affineur.api.searching import run as run
from affineur.api.searching import sweep as sweep
from affineur.api.searching import search as search
from affineur.api.texts import annotate as annotate
from affineur.api.trust import verify as verify
from affineur.artifact import describe as describe
from affineur.entities import Corpus as Corpus
from affineur.entities import Entity as Entity
from affineur.errors import AffineurError as AffineurError
from affineur.pipeline.recipe import Recipe as Recipe
from affineur.pipeline.recipe import read_recipe as read_recipe
from affineur.runtime.redaction import redact as redact
from affineur.runtime.restoring import restore as restore
from affineur.steps.core.step import Step as Step
from affineur.steps.pruning.core.zeroing import prune_model as prune_model
from affineur.steps.training.mask import KeepZeros as KeepZeros
from affineur.transfer import DataOptions as DataOptions
from affineur.transfer import Splits as Splits
from affineur.transfer import load_corpus as load_corpus
from affineur.transfer import load_splits as load_splits

__version__: str

def cast(
    model: str | os.PathLike[str] | Model,
    *,
    out: str | os.PathLike[str],
    dtype: Literal['float32', 'float16', 'bfloat16'],
) -> Model:
    """Write a model's weights in another dtype.

    Args:
        model: A folder, a reference such as ``sample``, or a model.
        out: Folder to write the result to; where it is there already, nothing is done again.
        dtype: The dtype to store weights in.

    Returns:
        The model that was made: ``.path``, ``.info``, and it can be called.

    Raises:
        AffineurError: Whatever is wrong, in one line; nothing is written then.
    """

def distill(
    model: str | os.PathLike[str] | Model,
    *,
    out: str | os.PathLike[str],
    data: str | os.PathLike[str] | Corpus | Splits,
    layers: int = 11,
    keep: Literal['top', 'uniform', 'search'] = 'search',
    epochs: float = 1.0,
    learning_rate: float = 5e-05,
    batch_size: int = 8,
    weight_decay: float = 0.01,
    warmup: float = 0.0,
    dropout: float | None = None,
    replace_mentions: float = 0.0,
    freeze_embeddings: bool = False,
    precision: Literal['auto', 'fp32', 'bf16'] = 'auto',
    seed: int = 13,
    soft_weight: float = 0.5,
    temperature: float = 2.0,
    hidden_weight: float = 0.0,
    device: str = 'cpu',
    cache: Path | None = None,
    threads: int | None = None,
) -> Model:
    """Make a student of some of the teacher's layers and train it on the teacher's soft labels.

    Embeddings and classifier are copied with the layers. An interrupted run goes on where it stopped.

    Args:
        model: A folder, a reference such as ``sample``, or a model.
        out: Folder to write the result to; where it is there already, nothing is done again.
        data: A CoNLL, WikiNER, JSON lines or Parquet file, a folder with train/dev/test, a data set of the Hub, or 'sample'.
        layers: Encoder layers of the student.
        keep: Drop the top layers, keep evenly spaced ones, or try each drop on dev.
        epochs: Passes over the data, fractions allowed.
        learning_rate: Peak learning rate of AdamW.
        batch_size: Sentences in a training step.
        weight_decay: AdamW's weight decay.
        warmup: Share of the training steps spent warming up.
        dropout: Share of values dropped while training; the model's own if left out.
        replace_mentions: Augmentation: share of mentions replaced by others of their type.
        freeze_embeddings: Leave the vectors of pieces as they are, those that the data lacks beside the others.
        precision: Multiply in fp32, or in bf16 where device and CPU have instructions for it.
        seed: Seed of data order, dropout and augmentation.
        soft_weight: Weight of the teacher's soft labels, the rest is the data's.
        temperature: Softens the predictions of teacher and student alike.
        hidden_weight: Weight of the cosine distance between last hidden states.
        device: Cpu, cuda or auto.
        cache: Where teacher logits and scores are kept.
        threads: Threads of the engine; one per usable processor by default.

    Returns:
        The model that was made: ``.path``, ``.info``, and it can be called.

    Raises:
        AffineurError: Whatever is wrong, in one line; nothing is written then.
    """

def export(
    model: str | os.PathLike[str] | Model,
    *,
    out: str | os.PathLike[str],
    to: str = 'onnx',
    plain: bool = False,
    calibration: str | os.PathLike[str] | Corpus | None = None,
    threads: int | None = None,
) -> Model:
    """Export a model, dense or packed, as a graph with labels, tokenizer and self-test.

    It is compared with the model on text: the words of its first 256 sentences are read, its labels never.

    Args:
        model: A folder, a reference such as ``sample``, or a model.
        out: Folder to write the result to; where it is there already, nothing is done again.
        to: The engine to export for, such as onnx or openvino.
        plain: Leave the graph as the exporter writes it, for engines other than ONNX Runtime.
        calibration: Text to calibrate on, labeled or raw, one text per line (default: the sample).
        threads: Threads of the engine; one per usable processor by default.

    Returns:
        The model that was made: ``.path``, ``.info``, and it can be called.

    Raises:
        AffineurError: Whatever is wrong, in one line; nothing is written then.
    """

def pack(
    model: str | os.PathLike[str] | Model,
    *,
    out: str | os.PathLike[str],
) -> Model:
    """Store a model packed: of each matrix in which it pays, a bitmask and the values that are not zero.

    ``AutoModelForTokenClassification.from_pretrained`` loads the result after ``import affineur``, with the
    same weights bit for bit; without it, it raises an error (``docs/packed-format.md``).

    Args:
        model: A folder, a reference such as ``sample``, or a model.
        out: Folder to write the result to; where it is there already, nothing is done again.

    Returns:
        The model that was made: ``.path``, ``.info``, and it can be called.

    Raises:
        AffineurError: Whatever is wrong, in one line; nothing is written then.
    """

def prune(
    model: str | os.PathLike[str] | Model,
    *,
    out: str | os.PathLike[str],
    sparsity: float = 0.15,
    method: str = 'magnitude',
    scope: Literal['attention+ffn', 'attention', 'ffn'] = 'attention+ffn',
    max_layer_sparsity: float | None = None,
    calibration: str | os.PathLike[str] | Corpus | None = None,
    threads: int | None = None,
) -> Model:
    """Set the least important weights to zero, and say which in ``pruning_info.json``; the dtype stays.

    Args:
        model: A folder, a reference such as ``sample``, or a model.
        out: Folder to write the result to; where it is there already, nothing is done again.
        sparsity: Share of the weights in scope that are zero afterwards, in [0, 1).
        method: How weights are chosen: layerwise, magnitude, wanda.
        scope: Which matrices lose weights.
        max_layer_sparsity: No encoder layer loses more than this share.
        calibration: Text to calibrate on, labeled or raw, one text per line (default: the sample).
        threads: Threads of the engine; one per usable processor by default.

    Returns:
        The model that was made: ``.path``, ``.info``, and it can be called.

    Raises:
        AffineurError: Whatever is wrong, in one line; nothing is written then.
    """

def quantize(
    model: str | os.PathLike[str] | Model,
    *,
    out: str | os.PathLike[str],
    target: Literal['auto', 'vnni', 'avx512', 'avx2', 'arm'] = 'auto',
    scheme: Literal['u8s8', 'u8s8-reduced', 'u8u8'] | None = None,
    activations: Literal['auto', 'static', 'token', 'batch'] = 'auto',
    min_agreement: float = 0.995,
    calibration: str | os.PathLike[str] | Corpus | None = None,
    threads: int | None = None,
) -> Model:
    """Quantize a model folder, or an ONNX artifact in full precision, to eight bits.

    Embedding tables go row by row, matrices output by output. The words of the first 256 sentences of the
    calibration text are read, its labels never. Activations get constant scales, and by default a scale per
    token for the kinds of matrices (of all layers) where that takes a tenth of the squared error away, or for
    all where the bar is missed otherwise.

    Args:
        model: A folder, a reference such as ``sample``, or a model.
        out: Folder to write the result to; where it is there already, nothing is done again.
        target: The CPU it is for; auto is the one at hand.
        scheme: How matrices are stored; the CPU's own by default.
        activations: Scales of activations: static (constant, measured on the calibration text), token (one per token, as it comes), batch (one per batch: a text's result depends on its neighbors), or auto: static, but token where that is much nearer.
        min_agreement: Least share of tags equal to the parent's; what costs most stays in full precision until it is met, 0 asks for nothing.
        calibration: Text to calibrate on, labeled or raw, one text per line (default: the sample).
        threads: Threads of the engine; one per usable processor by default.

    Returns:
        The model that was made: ``.path``, ``.info``, and it can be called.

    Raises:
        AffineurError: Whatever is wrong, in one line; nothing is written then.
    """

def recover(
    model: str | os.PathLike[str] | Model,
    *,
    out: str | os.PathLike[str],
    data: str | os.PathLike[str] | Corpus | Splits,
    epochs: float = 0.5,
    learning_rate: float = 1e-05,
    if_f1_below: float | None = None,
    batch_size: int = 8,
    weight_decay: float = 0.01,
    warmup: float = 0.0,
    dropout: float | None = None,
    replace_mentions: float = 0.0,
    freeze_embeddings: bool = False,
    precision: Literal['auto', 'fp32', 'bf16'] = 'auto',
    seed: int = 13,
    soft_weight: float = 0.5,
    temperature: float = 2.0,
    hidden_weight: float = 0.0,
    teacher: str | os.PathLike[str] | Model | None = None,
    device: str = 'cpu',
    cache: Path | None = None,
    threads: int | None = None,
) -> Model:
    """Fine-tune a model while every weight in scope that is zero stays zero, whoever pruned it.

    The mask is applied after every optimizer step, and the zeros are checked again in the written file. An
    interrupted run goes on where it stopped. By default it is the guide's §5: half an epoch at a low rate.

    Args:
        model: A folder, a reference such as ``sample``, or a model.
        out: Folder to write the result to; where it is there already, nothing is done again.
        data: A CoNLL, WikiNER, JSON lines or Parquet file, a folder with train/dev/test, a data set of the Hub, or 'sample'.
        epochs: Passes over the data, fractions allowed.
        learning_rate: Peak learning rate of AdamW.
        if_f1_below: Train only where F1 on dev is below this.
        batch_size: Sentences in a training step.
        weight_decay: AdamW's weight decay.
        warmup: Share of the training steps spent warming up.
        dropout: Share of values dropped while training; the model's own if left out.
        replace_mentions: Augmentation: share of mentions replaced by others of their type.
        freeze_embeddings: Leave the vectors of pieces as they are, those that the data lacks beside the others.
        precision: Multiply in fp32, or in bf16 where device and CPU have instructions for it.
        seed: Seed of data order, dropout and augmentation.
        soft_weight: Weight of the teacher's soft labels, the rest is the data's.
        temperature: Softens the predictions of teacher and student alike.
        hidden_weight: Weight of the cosine distance between last hidden states.
        teacher: Learn soft labels from this model too.
        device: Cpu, cuda or auto.
        cache: Where teacher logits and scores are kept.
        threads: Threads of the engine; one per usable processor by default.

    Returns:
        The model that was made: ``.path``, ``.info``, and it can be called.

    Raises:
        AffineurError: Whatever is wrong, in one line; nothing is written then.
    """

def shrink(
    model: str | os.PathLike[str] | Model,
    *,
    out: str | os.PathLike[str],
    layers: int | None = None,
    ffn_width: float | None = None,
    reconstruct: bool = True,
    calibration: str | os.PathLike[str] | Corpus | None = None,
    threads: int | None = None,
) -> Model:
    """Drop the encoder layers, then the feed-forward neurons that matter least; the dtype stays as it was.

    The lowest layer always stays; embeddings and classifier, too.

    Args:
        model: A folder, a reference such as ``sample``, or a model.
        out: Folder to write the result to; where it is there already, nothing is done again.
        layers: Encoder layers that stay: those the tags depend on most.
        ffn_width: Neurons that stay in each feed-forward layer; below 1 a share of what it has.
        reconstruct: Let the neurons that stay make up for the others, by least squares.
        calibration: Text to calibrate on, labeled or raw, one text per line (default: the sample).
        threads: Threads of the engine; one per usable processor by default.

    Returns:
        The model that was made: ``.path``, ``.info``, and it can be called.

    Raises:
        AffineurError: Whatever is wrong, in one line; nothing is written then.
    """

def train(
    model: str | os.PathLike[str] | Model,
    *,
    out: str | os.PathLike[str],
    data: str | os.PathLike[str] | Corpus | Splits,
    epochs: float = 3.0,
    tags: Literal['IO', 'BIO', 'BIOES'] = 'IO',
    new_head: bool = False,
    join_sentences: float = 0.0,
    label_smoothing: float = 0.0,
    patience: int | None = None,
    learning_rate: float = 5e-05,
    batch_size: int = 8,
    weight_decay: float = 0.01,
    warmup: float = 0.0,
    dropout: float | None = None,
    replace_mentions: float = 0.0,
    freeze_embeddings: bool = False,
    precision: Literal['auto', 'fp32', 'bf16'] = 'auto',
    seed: int = 13,
    device: str = 'cpu',
    cache: Path | None = None,
    threads: int | None = None,
) -> Model:
    """Fine-tune a token classifier.

    The base may be a token classifier (its labels stay, and have to cover the data, unless it gets a new
    head), any encoder checkpoint (a new classifier is added), or a configuration with a tokenizer and no
    weights (everything starts at random). An interrupted run goes on where it stopped. Where there is dev
    data, the weights of the best epoch are written.

    Args:
        model: A folder, a reference such as ``sample``, or a model.
        out: Folder to write the result to; where it is there already, nothing is done again.
        data: A CoNLL, WikiNER, JSON lines or Parquet file, a folder with train/dev/test, a data set of the Hub, or 'sample'.
        epochs: Passes over the data, fractions allowed.
        tags: Scheme of a new classifier's labels.
        new_head: Give a token classifier a new classifier, for the types of the data.
        join_sentences: Share of sentences that are joined, two to eight, for a model that reads longer text.
        label_smoothing: Probability mass spread over the other labels.
        patience: Stop after this many epochs without a better dev F1.
        learning_rate: Peak learning rate of AdamW.
        batch_size: Sentences in a training step.
        weight_decay: AdamW's weight decay.
        warmup: Share of the training steps spent warming up.
        dropout: Share of values dropped while training; the model's own if left out.
        replace_mentions: Augmentation: share of mentions replaced by others of their type.
        freeze_embeddings: Leave the vectors of pieces as they are, those that the data lacks beside the others.
        precision: Multiply in fp32, or in bf16 where device and CPU have instructions for it.
        seed: Seed of data order, dropout and augmentation.
        device: Cpu, cuda or auto.
        cache: Where teacher logits and scores are kept.
        threads: Threads of the engine; one per usable processor by default.

    Returns:
        The model that was made: ``.path``, ``.info``, and it can be called.

    Raises:
        AffineurError: Whatever is wrong, in one line; nothing is written then.
    """

def trim_vocab(
    model: str | os.PathLike[str] | Model,
    *,
    out: str | os.PathLike[str],
    keep: int | None = None,
    min_count: int = 1,
    add: int = 0,
    data: str | os.PathLike[str] | Corpus | Splits | Sequence[str | os.PathLike[str] | Corpus | Splits] | None = None,
    text: str | os.PathLike[str] | Corpus | Sequence[str | os.PathLike[str] | Corpus] | None = None,
    threads: int | None = None,
) -> Model:
    """Drop the pieces a text does not use; the dtype stays as it was.

    Beside the pieces used, all stay without which some text could not be cut
    (:func:`~affineur.steps.tailoring.pieces.indispensable`).

    Args:
        model: A folder, a reference such as ``sample``, or a model.
        out: Folder to write the result to; where it is there already, nothing is done again.
        keep: Keep this many pieces, the most used, beside those no tokenizer can do without.
        min_count: Keep pieces that are used at least this many times; 0 keeps all (with add).
        add: Make the words that save most pieces of the text, at most this many, pieces of their own; the model has to be recovered then.
        data: Labeled text; train is counted, test or dev shows how unseen text is cut; labels are ignored (default: the sample).
        text: A file of raw text, one sentence per line; one line in 20 is held out to show how unseen text is cut.
        threads: Threads of the engine; one per usable processor by default.

    Returns:
        The model that was made: ``.path``, ``.info``, and it can be called.

    Raises:
        AffineurError: Whatever is wrong, in one line; nothing is written then.
    """

def unpack(
    model: str | os.PathLike[str] | Model,
    *,
    out: str | os.PathLike[str],
) -> Model:
    """Make a packed model dense again: the ``model.safetensors`` it was packed from, byte for byte.

    Args:
        model: A folder, a reference such as ``sample``, or a model.
        out: Folder to write the result to; where it is there already, nothing is done again.

    Returns:
        The model that was made: ``.path``, ``.info``, and it can be called.

    Raises:
        AffineurError: Whatever is wrong, in one line; nothing is written then.
    """
