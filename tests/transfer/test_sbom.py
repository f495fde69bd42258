"""The bill of materials: valid, the same each time, and silent about whose machine it was made on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from affineur.artifact import CARD, Manifest, Parent, file_digest, verify, write_manifest
from affineur.errors import ModelError
from affineur.transfer.sbom import public_name, write_sbom
from affineur.transfer.signing import check_signature, sign
from keys import write_key

from .conftest import build_model

SECRET = "/home/jdoe/private"
MEASURED = {
    "data": f"{SECRET}/wikiner.conll",
    "data_digest": "9" * 64,
    "sentences": 100,
    "words": 2000,
    "f1": 0.8451,
    "f1_low": 0.83,
    "f1_high": 0.86,
    "precision": 0.85,
    "recall": 0.84,
    "accuracy": 0.97,
    "per_type": {"PER": {"f1": 0.9, "f1_low": 0.88, "f1_high": 0.92}, "LOC": {"f1": 0.8}},
}
MANIFEST = Manifest(
    "transformers",
    "quantize",
    parameters={"source": SECRET},
    parents=[
        Parent("prune", "a" * 64, f"{SECRET}/zz_student_pruned", command=f"affineur prune {SECRET}"),
        Parent("distill", "b" * 64, "student", data={"train": {"name": "wikiner/fr", "digest": "8" * 64}}),
        Parent("given", "c" * 64, "Jean-Baptiste/camembert-ner"),
    ],
    data={"calibration": {"name": f"{SECRET}/wikiner.conll", "digest": "9" * 64, "sentences": 3}},
    scores={"measured": MEASURED},
    command=f"affineur quantize {SECRET} -o {SECRET}/out",
)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = build_model(tmp_path / "student_int8")
    (folder / CARD).write_text("---\nlicense: cc-by-nc-sa-4.0\n---\nA card.\n", "utf-8")
    write_manifest(folder, MANIFEST)
    return folder


def bill(folder: Path) -> dict[str, Any]:
    text = write_sbom(folder).read_text("utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found: dict[str, Any] = json.loads(text)
    return found


def told(component: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in component.get("properties", [])}


def test_it_is_valid_and_says_what_is_known(artifact: Path) -> None:
    found = bill(artifact)
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    model = found["metadata"]["component"]
    assert (model["type"], model["name"]) == ("machine-learning-model", "student_int8")
    weights = file_digest(artifact / "model.safetensors")
    assert model["hashes"] == [{"alg": "SHA-256", "content": weights}]
    files = {each["name"]: each["hashes"][0]["content"] for each in model["components"]}
    names = ("affineur.json", "config.json", "model.safetensors", "tokenizer.json")
    assert files == {name: file_digest(artifact / name) for name in names}
    assert model["licenses"] == [{"license": {"id": "CC-BY-NC-SA-4.0"}}]
    known = told(model)
    assert known["affineur:kind"] == "transformers"
    assert known["affineur:stage"] == "quantize"
    assert known["affineur:sparsity"] == "0.000000"
    parameters = model["modelCard"]["modelParameters"]
    assert parameters["task"] == "token-classification"
    assert parameters["modelArchitecture"] == "CamembertForTokenClassification"
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert metrics[0] == {
        "type": "F1",
        "value": "0.845100",
        "slice": "wikiner.conll, test, 100 sentences",
        "confidenceInterval": {"lowerBound": "0.830000", "upperBound": "0.860000"},
    }
    assert [each["slice"].rpartition(" ")[2] for each in metrics[4:]] == ["LOC", "PER"]


def test_ancestors_up_to_the_teacher_in_order(artifact: Path) -> None:
    ancestors = bill(artifact)["metadata"]["component"]["pedigree"]["ancestors"]
    assert [each["name"] for each in ancestors] == [
        "zz_student_pruned",
        "student",
        "Jean-Baptiste/camembert-ner",
    ]
    assert [each["hashes"][0]["content"][0] for each in ancestors] == ["a", "b", "c"]
    assert [told(each)["affineur:generation"] for each in ancestors] == ["1", "2", "3"]


def test_data_and_libraries(artifact: Path) -> None:
    found = bill(artifact)
    parts = {each["bom-ref"]: each for each in found["components"]}
    data = [each for each in parts.values() if each["type"] == "data"]
    assert {each["name"]: each["hashes"][0]["content"][0] for each in data} == {
        "wikiner.conll": "9",
        "wikiner/fr": "8",
    }
    roles = {each["name"]: [one["value"] for one in each["properties"]] for each in data}
    assert roles["wikiner.conll"] == ["measured", "quantize: calibration"]
    libraries = {each["name"]: each["version"] for each in parts.values() if each["type"] == "library"}
    assert libraries == MANIFEST.environment["libraries"]
    assert parts["library:numpy"]["purl"] == f"pkg:pypi/numpy@{libraries['numpy']}"
    named = [
        each["ref"] for each in found["metadata"]["component"]["modelCard"]["modelParameters"]["datasets"]
    ]
    assert set(named) == {each["bom-ref"] for each in data}
    graph = {each["ref"]: each.get("dependsOn", []) for each in found["dependencies"]}
    assert set(graph["model"]) == set(parts)


def test_other_readers_can_read_it(artifact: Path) -> None:
    read = Bom.from_json(bill(artifact))
    assert read.metadata.component is not None
    assert read.metadata.component.name == "student_int8"


def test_the_same_artifact_gives_the_same_bytes(artifact: Path, tmp_path: Path) -> None:
    first = write_sbom(artifact).read_bytes()
    (artifact / "sbom.json").unlink()
    assert write_sbom(str(artifact)).read_bytes() == first
    again = Path(shutil.copytree(artifact, tmp_path / "elsewhere" / artifact.name))
    assert write_sbom(again).read_bytes() == first
    assert verify(artifact) is not None
    (artifact / "tokenizer.json").write_text("{ }")
    write_manifest(artifact, MANIFEST)
    other = bill(artifact)
    assert other["serialNumber"] != json.loads(first)["serialNumber"]


def test_nothing_of_whose_machine_it_was(artifact: Path) -> None:
    text = write_sbom(artifact).read_text("utf-8")
    assert "jdoe" not in text
    assert "private" not in text
    assert str(artifact.parent) not in text


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("owner/name", "owner/name"),
        ("hub:owner/name", "hub:owner/name"),
        ("sample", "sample"),
        ("/home/jdoe/corpus", "corpus"),
        ("~/corpus/", "corpus"),
        ("../jdoe/corpus", "corpus"),
        ("home/jdoe/corpus", "corpus"),
        ("C:\\Users\\jdoe\\corpus", "corpus"),
        ("file:///home/jdoe/corpus", "corpus"),
        ("https://jdoe:pw@host/a/b?X-Signature=1#c", "https://host/a/b"),
    ],
)
def test_names_without_what_is_nobodys_business(name: str, public: str) -> None:
    assert public_name(name) == public


@pytest.mark.parametrize(
    ("front", "licenses"),
    [
        ("license: apache-2.0", [{"license": {"id": "Apache-2.0"}}]),
        ("license: [mit, apache-2.0]", [{"license": {"id": "Apache-2.0"}}, {"license": {"id": "MIT"}}]),
        ("license: llama3", [{"license": {"name": "llama3"}}]),
        (
            "license: other\nlicense_name: house\nlicense_link: https://example.org/l",
            [{"license": {"name": "house", "url": "https://example.org/l"}}],
        ),
        ("license: other\nlicense_link: LICENSE", [{"license": {"name": "other"}}]),
        ("language: fr", None),
    ],
)
def test_licenses(front: str, licenses: Any, artifact: Path) -> None:
    (artifact / CARD).write_text(f"---\n{front}\n---\n", "utf-8")
    found = bill(artifact)["metadata"]["component"].get("licenses")
    assert found == licenses if licenses is None else sorted(found, key=str) == sorted(licenses, key=str)


@pytest.mark.parametrize(
    "manifest",
    [
        Manifest("transformers", "download"),
        Manifest("transformers", "x", environment={}, scores={"measured": {"f1": 1}}, data={"train": "text"}),
        Manifest(
            "transformers", "x", parents=[Parent("given", "unknown", "é" * 300)], scores={"measured": 3}
        ),
    ],
)
def test_little_may_be_known(manifest: Manifest, artifact: Path) -> None:
    (artifact / CARD).unlink()
    write_manifest(artifact, manifest)
    assert bill(artifact)["metadata"]["component"]["bom-ref"] == "model"


def test_what_is_not_an_artifact_or_not_as_it_was_written(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no affineur\.json"):
        write_sbom(build_model(tmp_path / "plain"))
    (artifact / "tokenizer.json").write_text("{ }")
    with pytest.raises(ModelError, match=r"tokenizer\.json is not the file that was written"):
        write_sbom(artifact)


def test_a_signature_covers_it_and_writing_it_again_does_not_break_it(artifact: Path, tmp_path: Path) -> None:
    write_key(tmp_path / "key.pem")
    write_sbom(artifact)
    sign(artifact, tmp_path / "key.pem")
    write_sbom(artifact)
    check_signature(artifact, tmp_path / "key.pub")


def test_a_trained_model(tiny_model: Any) -> None:
    folder = tiny_model()
    write_manifest(folder, MANIFEST)
    model = bill(folder)["metadata"]["component"]
    assert int(told(model)["affineur:parameters"]) > 1000
    assert told(model)["affineur:labels"].startswith("O ")
