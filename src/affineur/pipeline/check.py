"""The deployment checklist: measure what the bars ask for, and nothing else, and judge it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date

from affineur.artifact import describe_machine, environment
from affineur.entities import Corpus, Scheme, Tagger
from affineur.errors import ParameterError
from affineur.measure import (
    Bars,
    Candidate,
    Evaluation,
    Gate,
    Measures,
    agreement,
    common_scheme,
    evaluate,
    model_types,
    scored_types,
)
from affineur.measure.conditions import Conditions
from affineur.measure.gate import judge
from affineur.measure.power import power
from affineur.pipeline import models, processes
from affineur.progress import report
from affineur.transfer.places.core.place import shown

#: Gives the scores of a reference and its loaded model, on these types and in this scheme.
Scorer = Callable[[str, Tagger, Sequence[str] | None, Scheme], Evaluation]


def check(
    model: str,
    bars: Bars,
    corpus: Corpus,
    baseline: str | None = None,
    parent: str | None = None,
    types: Sequence[str] | None = None,
    device: str = "cpu",
    scored: Scorer | None = None,
    threads: int | None = None,
) -> Gate:
    """Measure a model and check it against bars.

    Model and baseline are scored in one scheme, the coarsest of theirs and the data's, so that they pair. The
    model is scored on every type it or the data knows: a type it lost is an error, not left out because the
    baseline lacks it too.

    Args:
        model: What :func:`~affineur.pipeline.load` takes.
        bars: The bars.
        corpus: Gold data.
        baseline: What ``max_drop`` is measured against; left alone where no bar needs it.
        parent: Whose tags ``min_agreement`` compares with. Without one it is the model behind a prefix such
            as ``torch-int8:``, else the baseline.
        types: Types to score, or ``None`` for all.
        device: A torch device.
        scored: Gives scores, where the caller keeps them; by default they are computed here.
        threads: Threads of the engine under load, pinned to as many processors; ``None`` for one a usable
            processor.

    Raises:
        ParameterError: If a bar needs a baseline or a parent that is not given, model and baseline share no
            type, or there are more threads than processors.
        RecipeError: If a bar names a type that is not scored.
        DataError: If the data has a type the model does not know.
        ModelError: If one of the models is not usable.
        TransferError: If one had to come from the Hub and did not.
    """
    against = baseline if bars.needs_baseline else None
    if bars.needs_baseline and baseline is None:
        raise ParameterError(
            f"{bars.where} has max_drop, which needs a model to compare with, as baseline", "baseline"
        )
    source = _parent(model, bars, baseline, parent)
    processes.processors(threads)  # what is impossible is said before the long work
    ours = models.candidate(model, device, threads=threads)
    if bars.needs_scores:  # what is known to be wrong is said before anything is measured
        known = scored_types(model_types(ours.tagger), corpus, types)
        bars.refuse_unknown_types(known)
        if against is not None and models.model_digest(model) != models.model_digest(against):
            for line in unprovable(bars, corpus, known):
                report(line)
    needed = dict.fromkeys(each for each in (against, source) if each)  # each of them is loaded once
    others = {
        each: _named_apart(
            ours if each == model else models.candidate(each, device, threads=threads), each, ours
        )
        for each in needed
    }
    measures = Measures(size_bytes=ours.size_bytes, parent=others[source].name if source else None)
    if bars.needs_scores:
        measures = _score(
            measures,
            (model, ours),
            (against, others[against]) if against else None,
            corpus,
            types,
            scored or _evaluate(corpus),
        )
    if source:
        report(f"comparing the tags of {ours.name} and {others[source].name}")
        both = (ours.tagger, others[source].tagger)
        # A type that only one of the two knows is compared too: where it is predicted, they differ.
        every = sorted(
            {kind for tagger in both for kind in model_types(tagger) if types is None or kind in types}
        )
        measures = replace(
            measures, agreement=agreement(*both, corpus, types=every, scheme=common_scheme(both, corpus))
        )
    if bars.needs_load:
        with processes.pinned(threads):
            load = processes.under_load(model, corpus, device, threads)
        measures = replace(
            measures,
            calls=load.calls,
            p50_ms=load.p50_ms,
            p95_ms=load.p95_ms,
            p99_ms=load.p99_ms,
            sentences_per_second=load.sentences_per_second,
            peak_rss_bytes=load.peak_rss_bytes,
        )
    named = others[against].name if against else None
    gate = judge(bars, measures, model=ours.name, data=corpus.name, baseline=named)
    conditions = Conditions(
        sentences=corpus.sentences,
        calls=measures.calls,
        confidence=bars.confidence,
        data_digest=corpus.digest,
        model_digest=models.model_digest(model),
        baseline_digest=models.model_digest(against) if against else None,
        date=date.today().isoformat(),
        machine=environment() | {"description": describe_machine()},
    )
    return replace(gate, conditions=conditions)


def unprovable(bars: Bars, corpus: Corpus, types: Sequence[str]) -> list[str]:
    """Say which bars a corpus cannot show to be reached, whatever a model loses, and how much would.

    Args:
        bars: The bars.
        corpus: Gold data.
        types: The types scored.
    """
    found = []
    for name, limit, bar, kind in bars.asked:
        if "baseline" in bar.needs:
            shown_by = power(
                corpus, limit, types=types if kind is None else [kind], confidence=bars.confidence
            )
            if not shown_by.enough:
                found.append(f"{name}: {shown_by.words(limit)}")
    return found


def _parent(model: str, bars: Bars, baseline: str | None, parent: str | None) -> str | None:
    """Choose whose tags the model has to keep, where a bar asks for it."""
    if not bars.needs_agreement:
        return None
    typed = models.Reference.parse(model)
    behind = typed.rest if typed.named and typed.named.approximate else None
    if chosen := parent or behind or baseline:
        return chosen
    raise ParameterError(
        f"{bars.where} has min_agreement, which needs the model {model} was made from, as parent", "parent"
    )


def _named_apart(other: Candidate, reference: str, ours: Candidate) -> Candidate:
    """Show a folder of the same name as it was typed."""
    return replace(other, name=shown(reference)) if other.name == ours.name else other


def _score(
    measures: Measures,
    ours: tuple[str, Candidate],
    theirs: tuple[str, Candidate] | None,
    corpus: Corpus,
    types: Sequence[str] | None,
    score: Scorer,
) -> Measures:
    """Score the model, and the baseline on the types both know."""
    reference, model = ours
    if theirs is None:
        report(f"scoring {model.name}")
        return replace(
            measures, evaluation=score(reference, model.tagger, types, common_scheme([model.tagger], corpus))
        )
    scheme = common_scheme([model.tagger, theirs[1].tagger], corpus)
    of_model, of_baseline = (
        scored_types(model_types(model.tagger), corpus, types),
        model_types(theirs[1].tagger),
    )
    shared = [kind for kind in of_model if kind in of_baseline]
    if not shared:
        raise ParameterError(
            f"{model.name} and {theirs[1].name} share no type: the one is scored on "
            f"{', '.join(of_model) or 'none'}, the other knows {', '.join(of_baseline) or 'none'}"
        )
    report(f"scoring {model.name}")
    evaluation = score(reference, model.tagger, types, scheme)
    if models.model_digest(reference) == models.model_digest(theirs[0]):
        return replace(measures, evaluation=evaluation, baseline=evaluation)
    report(f"scoring {theirs[1].name}")
    # Where both know the same, the caller's scores of all types serve; what is left out is said by the bar.
    same = set(of_baseline) == set(of_model)
    return replace(
        measures,
        evaluation=evaluation,
        baseline=score(theirs[0], theirs[1].tagger, types if same else shared, scheme),
    )


def _evaluate(corpus: Corpus) -> Scorer:
    return lambda _, tagger, types, scheme: evaluate(tagger, corpus, types=types, scheme=scheme)
