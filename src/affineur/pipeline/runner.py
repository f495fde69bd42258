"""``run``: a recipe through its stages, into ``runs/NAME/``.

Finished stages are recognized; a killed run goes on.

::

    runs/NAME/recipe.yaml                                what was asked for
    runs/NAME/models/student_11L, student_11L_pruned, …  one artifact a stage
    runs/NAME/scores/                                    per-sentence counts, by model and data digest
    runs/NAME/compare.json, report.html, …               the results (see ``results``)
"""

from __future__ import annotations

from pathlib import Path

import yaml

from affineur.artifact import alone, open_folder, write_text
from affineur.entities import Scheme, types_of, with_prefix
from affineur.measure import scored_types
from affineur.pipeline.models import load, model_digest
from affineur.pipeline.recipe import Recipe
from affineur.pipeline.results import Run, write_results
from affineur.pipeline.scores import ScoreBook
from affineur.progress import report
from affineur.steps import cast, distill, pack, prune, recipe_digest, recover, train
from affineur.transfer import DataOptions, Splits, load_corpus, load_splits, resolve_model


def run(recipe: Recipe, runs: Path | str = "runs", device: str = "cpu", cache: Path | None = None) -> Run:
    """Run a recipe. A second run finds everything done; a killed one goes on where it stopped.

    Args:
        recipe: The recipe.
        runs: Folder that holds all runs.
        device: A torch device.
        cache: Where teacher logits are kept.

    Raises:
        AffineurError: Whatever is wrong with the recipe's teacher, data or values, in one line, before any
            training as far as it can be known by then.
    """
    folder = Path(runs) / recipe.name
    splits = open_data(recipe)
    test = splits.get("test")
    teacher = resolve_model(recipe.teacher)
    _check(recipe, splits, teacher)
    with alone(folder, "give the recipe another name"):
        made = Run(folder)
        write_text(
            folder / "recipe.yaml",
            yaml.safe_dump(
                recipe.model_dump(exclude_none=True, by_alias=True), sort_keys=False, allow_unicode=True
            ),
        )
        scores = ScoreBook(folder / "scores")
        token = recipe_digest.set(recipe.digest)
        try:
            _make_models(recipe, made, teacher, splits, scores, device, cache)
        finally:
            recipe_digest.reset(token)
        write_results(recipe, made, splits, test, scores, device)
    return made


def _check(recipe: Recipe, splits: Splits, teacher: Path) -> None:
    """Check what only teacher and data can tell, before hours of training.

    That each split is there, and that types are known.

    Raises:
        DataError: If a split that a stage needs is missing, or a split has types that the teacher does not
            know.
        ParameterError: If ``types`` names a type that neither teacher nor data know.
        RecipeError: If a bar names a type that is not scored.
    """
    methods = {
        *([recipe.prune.method] if recipe.prune else []),
        *(recipe.sweep.methods if recipe.sweep else []),
    }
    if (
        recipe.train
        or recipe.distill
        or (recipe.recover and recipe.recover.if_f1_below is None)
        or "wanda" in methods
    ):
        splits.get("train")
    if recipe.sweep or (recipe.recover and recipe.recover.if_f1_below is not None):
        splits.get("dev")
    # A teacher that is trained first learns the types of its data.
    known = (
        splits.get("train").types
        if recipe.train
        else types_of(with_prefix(label) for label in open_folder(teacher).labels)
    )
    scored = scored_types(known, splits.get("test"), recipe.types)
    if recipe.sweep and splits.dev:
        scored_types(known, splits.dev, recipe.types)
    if recipe.bars:
        recipe.bars.refuse_unknown_types(scored)


def open_data(recipe: Recipe) -> Splits:
    """Open the data of a recipe."""
    section = recipe.data_section
    options = DataOptions(
        word_column=section.word_column,
        tag_column=section.tag_column,
        scheme=Scheme(section.scheme) if section.scheme else None,
        tag_names=tuple(section.tag_names) if section.tag_names else None,
        label_map=section.label_map or None,
        dev_share=section.dev_share,
    )
    return load_splits(section.path, options)


def _make_models(
    recipe: Recipe,
    made: Run,
    teacher: Path,
    splits: Splits,
    scores: ScoreBook,
    device: str,
    cache: Path | None,
) -> None:
    folder = made.folder / "models"
    if recipe.train:
        settings = recipe.train.settings(
            recipe.seed, patience=recipe.train.patience, keep_best=splits.dev is not None
        )
        teacher = train(
            teacher,
            folder / "teacher",
            splits.get("train"),
            splits.dev,
            settings,
            replace_mentions=recipe.train.replace_mentions,
            device=device,
        )
    made.models["teacher"] = teacher
    for row, dtype, stored in (("teacher_fp32", "float32", "F32"), ("teacher_fp16", "float16", "F16")):
        if row in recipe.compare.rows:
            as_it_is = {t.dtype for t in open_folder(teacher).tensors()} == {stored}
            made.models[row] = teacher if as_it_is else cast(teacher, folder / row, dtype)
    current = teacher
    name = f"student_{open_folder(teacher).layers}L"
    if recipe.distill:
        name = f"student_{recipe.distill.layers}L"
        current = made.models["student"] = distill(
            teacher,
            folder / name,
            recipe.distill.layers,
            splits.get("train"),
            splits.dev,
            recipe.distill.keep,
            recipe.distill.settings(recipe.seed),
            recipe.distill.soft(),
            device,
            cache,
        )
    if recipe.prune:
        section = recipe.prune
        target = folder / f"{name}_pruned"
        text = splits.get("train") if section.method == "wanda" else None
        prune(
            current, target, section.sparsity, section.method, section.scope, section.max_layer_sparsity, text
        )
        current = made.models["pruned"] = target
    if recipe.recover and _needs_recovery(recipe, made, current, splits, scores, device):
        made.models["recovered"] = recover(
            current,
            current.with_name(f"{current.name}_finetuned")
            if current.parent == folder
            else folder / f"{name}_finetuned",
            splits.get("train"),
            splits.dev,
            teacher if recipe.recover.from_teacher else None,
            recipe.recover.settings(recipe.seed),
            recipe.recover.soft(),
            device,
            cache,
        )
    if last := made.models.get("pruned") or made.models.get("student"):
        made.models["torch-int8"] = last
    _store(recipe, made, made.models.get("recovered", current), folder / name, splits)


def _store(recipe: Recipe, made: Run, last: Path, stem: Path, splits: Splits) -> None:
    """Pack, export and quantize the last model."""
    if recipe.pack is not None:
        made.models["packed"] = pack(last, stem.with_name(f"{stem.name}_packed"))
    if recipe.export is None and recipe.quantize is None:
        return
    from affineur.steps.export import export
    from affineur.steps.quantize import quantize

    text = splits.train or load_corpus("sample", "train")
    if recipe.export is not None:
        to = recipe.export.to
        made.models["onnx"] = export(last, stem.with_name(f"{stem.name}_{to}"), to, text=text)
        last = made.models["onnx"] if to == "onnx" else last  # so that it is traced once
    if (section := recipe.quantize) is not None:
        made.models["int8"] = stem.with_name(f"{stem.name}_int8")
        quantize(
            last,
            made.models["int8"],
            section.target,
            section.scheme,
            section.min_agreement,
            text,
            section.activations,
        )


def _needs_recovery(
    recipe: Recipe, made: Run, model: Path, splits: Splits, scores: ScoreBook, device: str
) -> bool:
    """Apply ``if_f1_below`` to the dev F1, never to the test set."""
    bar = recipe.recover.if_f1_below if recipe.recover else None
    if bar is None:
        return True
    f1 = scores.evaluate(
        model_digest(model), lambda: load(model, device), splits.get("dev"), recipe.types
    ).total.f1
    if f1 < bar:
        made.notes.append(f"dev F1 {f1:.4f} is below {bar:g}, so the model was fine-tuned")
    else:
        made.notes.append(f"dev F1 {f1:.4f} reaches {bar:g}, so no recovery was needed")
    report(made.notes[-1])
    return f1 < bar
