"""References: the engine that is asked for, or the one for the kind; engines of other packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from affineur import sample
from affineur.artifact import ModelFolder, open_folder
from affineur.engines.core.engine import ENGINES
from affineur.engines.core.references import Reference, load_exported, model_folder
from affineur.errors import AffineurError, ModelError, ParameterError
from affineur.pipeline import load_any, model_digest, model_name
from affineur.pipeline.models import facts
from affineur.progress import listening
from affineur.runtime import FixedBatches
from affineur.steps.core.step import STEPS
from steps.conftest import run_step

from .conftest import Install

WORDS = [["Marie", "vit", "à", "Paris", "."], ["Il", "pleut"], [], ["long"] * 80]
LOUD = """
from affineur.engines.core.engine import ENGINES, Engine
from affineur.runtime import FixedBatches


class Loud(Engine):
    name = "loud"
    summary = "a model in batches of three"
    prefix = "loud:"

    def load(self, reference, *, device="cpu", threads=None):
        plain = ENGINES.get("torch").load(reference, device=device, threads=threads)
        return FixedBatches(plain.whole(), 3)


ENGINE = Loud()
"""


def test_the_engine_follows_from_the_kind(shared_model, shared_onnx: Path, tmp_path: Path) -> None:
    model = shared_model("camembert")
    packed = run_step("pack", model, tmp_path / "packed")
    for folder, name in ((model, "torch"), (packed, "torch"), (shared_onnx, "onnx")):
        parsed = Reference.parse(folder)
        assert (parsed.prefix, parsed.rest, parsed.peer) == ("", str(folder), None)
        assert parsed.engine is ENGINES.get(name)
        assert parsed.folder() == model_folder(folder) == folder
        assert model_digest(folder) == parsed.open().digest() == open_folder(folder).digest()
        assert parsed.engine.facts(parsed).size_bytes == open_folder(folder).size_bytes
        assert parsed.name == folder.name
    assert Reference.parse("sample").folder() == sample.model(sample.TEACHER)


def test_an_engine_that_is_asked_for(shared_model) -> None:
    model = shared_model("camembert")
    parsed = Reference.parse(f"guide:{model}")
    assert (parsed.prefix, parsed.rest, parsed.name) == ("guide:", str(model), f"guide:{model.name}")
    assert parsed.engine is ENGINES.get("guide")
    assert parsed.folder() == model
    assert isinstance(parsed.load(), FixedBatches)
    assert parsed.load().tag(WORDS) == Reference.parse(model).load().tag(WORDS)
    with pytest.raises(ModelError, match=f"is a way to run a model: .*here give {model}"):
        model_folder(f"guide:{model}")


def test_a_peer_has_no_folder() -> None:
    parsed = Reference.parse("spacy:fr_core_news_md")
    assert parsed.peer == "a spaCy pipeline"
    for call in (parsed.folder, lambda: model_folder("spacy:fr_core_news_md")):
        with pytest.raises(ModelError, match=r"is a spaCy pipeline: it can be measured \(evaluate"):
            call()


@pytest.mark.parametrize(
    "text", ["", "/not/there", "torch-int8:/not/there", "guide:", "guide:spacy:x", "onnx:x"]
)
def test_what_is_no_model_is_one_line(text: str) -> None:
    for call in (Reference.parse(text).load, lambda: facts(text), lambda: model_digest(text)):
        with pytest.raises(AffineurError) as error:
            call()
        assert len(str(error.value).splitlines()) == 1


def test_what_is_exported_and_what_is_not(shared_model, shared_onnx: Path) -> None:
    assert load_exported(shared_onnx).tag(WORDS) == Reference.parse(shared_onnx).load().tag(WORDS)
    with pytest.raises(ModelError, match=r"is not exported \(transformers\); type: affineur export"):
        load_exported(shared_model("camembert"))


def test_an_engine_of_another_package(install: Install, shared_model) -> None:
    model = shared_model("camembert")
    assert Reference.parse("loud:x").prefix == "", "nobody gives it yet"
    install("their-engine", LOUD, loud="ENGINE")
    assert "loud" in ENGINES.names()
    parsed = Reference.parse(f"loud:{model}")
    assert (parsed.prefix, parsed.rest, parsed.name) == ("loud:", str(model), f"loud:{model.name}")
    tagger = parsed.load(device="cpu", threads=1)
    assert isinstance(tagger, FixedBatches)
    assert tagger.tag(WORDS) == Reference.parse(model).load().tag(WORDS)
    assert load_any(f"loud:{model}").tag(WORDS) == tagger.tag(WORDS)
    known = facts(f"loud:{model}")
    assert (known.kind, known.size_bytes) == ("loud", open_folder(model).size_bytes)
    assert model_digest(f"loud:{model}") == f"loud:{open_folder(model).digest()}"
    assert model_name(f"loud:{model}") == f"loud:{model.name}"


def test_an_engine_of_another_package_for_a_kind_of_its_own(
    install: Install, shared_model, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("their-engine", LOUD.replace('prefix = "loud:"', 'kinds = ("theirs",)'), loud="ENGINE")
    monkeypatch.setattr(ModelFolder, "kind", property(lambda _: "theirs"))
    assert Reference.parse(shared_model("camembert")).engine.name == "loud"
    assert Reference.parse("loud:x").prefix == "", "it is taken for its kind, and not asked for by name"


def test_models_are_exported_for_an_engine_of_another_package(install: Install) -> None:
    with pytest.raises(ParameterError, match=r"to='loud' is impossible, expected one of onnx, openvino"):
        STEPS.get("export").given({"to": "loud"})
    install("their-engine", LOUD.replace('prefix = "loud:"', "exports = True"), loud="ENGINE")
    step = STEPS.get("export").given({"to": "loud"})
    assert step.label("student_11L_pruned", "student_11L") == "student_11L_loud"


def test_a_broken_engine_of_another_package_leaves_the_rest(
    install: Install, shared_model, shared_onnx: Path
) -> None:
    install("broken-engine", "raise RuntimeError('half\\ninstalled')", broken="ENGINE")
    install("empty-engine", "ENGINE = 3", empty="ENGINE")
    install("other-engine", LOUD.replace('prefix = "loud:"', 'prefix = "quiet:"'), loud="ENGINE")
    lines: list[str] = []
    with listening(lambda what, *_: lines.append(what)):
        assert Reference.parse(shared_onnx).load().tag(WORDS)
        assert Reference.parse(shared_model("camembert")).load().tag(WORDS)
        ENGINES.all()
    warnings = [line for line in lines if line.startswith("warning: ")]
    for name in ("broken", "empty"):
        said = f"the engine '{name}' of the package {name}-engine cannot be used"
        assert any(said in warning for warning in warnings)
    with pytest.raises(AffineurError, match=r"broken-engine cannot be used .*half installed"):
        Reference.parse("broken:x")
    with pytest.raises(AffineurError, match="its prefix is 'quiet:', expected its name and a colon, 'loud:'"):
        Reference.parse("loud:x")
