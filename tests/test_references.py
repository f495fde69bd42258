"""A reference to a place wherever a model or data is named, and none of its secrets in what is told of it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

import affineur
from affineur.artifact import verify
from affineur.cli.main import main
from affineur.serve.keys import add_key
from affineur.transfer.places.core.place import shown
from affineur.transfer.push import push
from serve.held import until
from serve.running import running
from transfer.places.http_server import Faults, serving

#: Stands for a password and for a signature.
SECRET = "hush5ecret"
TEXT = "Marie Duval habite à Paris ."


@pytest.fixture
def at(
    shared_onnx: Path, shared_int8: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], str]]:
    """Give references to ``model``, ``int8`` and ``data`` on a web server that asks for a password."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, folder in (("model", shared_onnx), ("int8", shared_int8), ("data", corpus)):
        push(folder, (tmp_path / "place" / name).as_uri())
    with serving(tmp_path / "place", Faults(password=f"me:{SECRET}")) as server:
        address = server.url.replace("http://", f"http://me:{SECRET}@")
        yield lambda name: f"{address}/{name}?signature={SECRET}"


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """Return all that was printed, when no secret was in it."""
    out, err = capsys.readouterr()
    assert SECRET not in out + err
    return out + err


def test_load_evaluate_and_annotate(
    at: Callable[[str], str], shared_onnx: Path, corpus: Path, tmp_path: Path
) -> None:
    here, there = affineur.load(shared_onnx), affineur.load(at("model"))
    assert there(TEXT) == here(TEXT)
    assert verify(there.path) == verify(shared_onnx)
    assert SECRET not in f"{there!r} {there.name} {there.info}"
    assert there.name == shown(at("model"))
    found = affineur.evaluate(at("model"), at("data"))
    assert found.total == affineur.evaluate(shared_onnx, str(corpus)).total
    assert SECRET not in json.dumps(found.as_dict())
    (tmp_path / "texts.txt").write_text(f"{TEXT}\n")
    affineur.annotate(at("model"), tmp_path / "texts.txt", out=tmp_path / "found.jsonl")
    affineur.annotate(shared_onnx, tmp_path / "texts.txt", out=tmp_path / "same.jsonl")
    assert (tmp_path / "found.jsonl").read_text() == (tmp_path / "same.jsonl").read_text()


def test_annotate_takes_a_file_that_is_elsewhere(
    at: Callable[[str], str], shared_onnx: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out, same, told_in = tmp_path / "found", tmp_path / "same", tmp_path / "told.json"
    texts = tmp_path / "place" / "texts"
    texts.mkdir()
    (texts / "words.txt").write_text(f"{TEXT}\n{TEXT}\n")
    (texts / "broken.jsonl").write_text("{}\n")
    for name, here, noun in (
        ("texts/words.txt", texts / "words.txt", "2 texts annotated"),
        ("data/test.conll", corpus / "test.conll", "sentences annotated"),
    ):
        words = ["annotate", str(shared_onnx), at(name), "-o", str(out), "--json", str(told_in)]
        assert main(words) == 0
        assert noun in told(capsys)
        assert json.loads(told_in.read_text())["source"] == shown(at(name))
        affineur.annotate(shared_onnx, here, out=same)
        assert out.read_bytes() == same.read_bytes()
    before = out.read_bytes()
    for name, expected in (
        ("texts/broken.jsonl", f"{shown(at('texts/broken.jsonl'))}:1: expected an object whose"),
        ("texts/none.txt", "no none.txt is there"),
        ("data", f"{shown(at('data'))}: this is a folder, expected a file"),
    ):
        assert main(["annotate", str(shared_onnx), at(name), "-o", str(out)]) == 1
        assert expected in told(capsys)
    assert main(["annotate", str(shared_onnx), "hub:owner/corpus", "-o", str(out)]) == 1
    assert "hub:owner/corpus: a data set of the Hub is no file" in told(capsys)
    assert main(["annotate", str(shared_onnx), "ftp://there/texts.txt", "-o", str(out)]) == 1
    assert "at no place that is known" in told(capsys)
    assert out.read_bytes() == before


def test_commands_show_no_secret(
    at: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "written"
    written.mkdir()
    models, data = [at("model"), at("int8")], ["--data", at("data")]
    bars = tmp_path / "bars.yaml"
    bars.write_text("max_drop: 0.49\n")
    for words in (
        ["evaluate", models[0], *data],
        ["compare", *models, *data, "--rounds", "1"],
        ["check", models[1], "--baseline", models[0], *data, "--bars", str(bars)],
    ):
        assert main([*words, "--json", str(written / f"{words[0]}.json")]) == 0
        assert told(capsys)
        assert shown(models[0]) in (written / f"{words[0]}.json").read_text()
    assert main(["evaluate", at("nothing"), *data]) == 1
    assert "nothing" in told(capsys)
    assert main(["evaluate", f"torch-int8:{models[0]}", *data]) == 1
    assert "torch-int8:http://127.0.0.1" in told(capsys)
    assert len(list(written.iterdir())) == 3
    assert not [path.name for path in written.iterdir() if SECRET in path.read_text()]


def test_a_run_keeps_no_secret(
    at: Callable[[str], str], tiny_model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    push(tiny_model("camembert"), (tmp_path / "place" / "teacher").as_uri())
    recipe = tmp_path / "recipe.yaml"
    sections = {
        "name": "tiny",
        "teacher": at("teacher"),
        "data": at("data"),
        "steps": [{"prune": {"sparsity": 0.2}}],
        "compare": {"rounds": 1, "memory": False, "rows": ["teacher", "student_3L_pruned", at("model")]},
        "check": {"min_f1": 0.0},
    }
    recipe.write_text(yaml.safe_dump(sections))
    assert main(["run", str(recipe), "--runs", str(tmp_path / "runs"), "--json", str(tmp_path / "o")]) == 0
    told(capsys)
    kept = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert {"recipe.yaml", "report.html", "compare.json", "affineur.json"} <= {path.name for path in kept}
    assert not [path for path in [*kept, tmp_path / "o"] if SECRET.encode() in path.read_bytes()]


def test_an_endpoint_takes_references_and_shows_no_secret(
    at: Callable[[str], str], shared_onnx: Path, shared_int8: Path, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    bearer = {"Authorization": f"Bearer {add_key(keys, 'chief', admin=True)}"}
    with running(tmp_path, at("model"), "--port", 0, "--key-file", keys) as endpoint:
        endpoint.ready()
        asked = [endpoint.ask(None, "/info", **bearer)]
        before = asked[0][1]["models"][0]["sha256"]
        for wanted, status in (
            (at("int8"), 200),
            (None, 200),
            (at("nothing"), 424),
            ("ftp://me:x@there", 424),
        ):
            asked.append(endpoint.ask({"model": wanted} if wanted else {}, "/admin/reload", **bearer))
            assert asked[-1][0] == status
        assert asked[1][1]["model"]["sha256"] not in ("", before)
        assert asked[2][1]["model"]["sha256"] == asked[1][1]["model"]["sha256"]
        assert shown(at("nothing")) in asked[3][1]["error"]
        endpoint.process.send_signal(signal.SIGHUP)
        until(lambda: endpoint.events("reloaded"))
        asked += [endpoint.ask(None, path, **bearer) for path in ("/info", "/metrics")]
        assert SECRET not in json.dumps([body for _, body, _ in asked])
        assert SECRET not in endpoint.errors
        assert json.loads(endpoint.told.read_text())["models"] == {"ner": shown(at("model"))}
        assert endpoint.stop() == 0


def test_an_address_of_no_place_is_said_without_its_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = f"htps://me:{SECRET}@there/model?signature={SECRET}"
    for words in (
        ["evaluate", nowhere, "--data", "sample"],
        ["evaluate", "sample", "--data", nowhere],
        ["run", f"{nowhere}/recipe.yaml"],
        ["pull", nowhere, "-o", str(tmp_path / "out")],
        ["push", str(tmp_path), nowhere],
        ["info", nowhere],
    ):
        assert main([*words]) == 1
        assert "'htps://there/model' is at no place that is known" in told(capsys), words


@pytest.mark.parametrize(
    ("reference", "wanted"),
    [
        ("https://me:pw@host/a?sig=1", "https://host/a"),
        ("https://token@host/a", "https://host/a"),
        ("sftp://root:pw@host:22/a", "sftp://root@host:22/a"),
        ("sftp://root@host:22/a", "sftp://root@host:22/a"),
        ("torch-int8:https://me:p/w@host/a?sig=1", "torch-int8:https://…"),
        ("s3://bucket/a?versionId=1", "s3://bucket/a"),
        ("hub:me/mine@v2", "hub:me/mine@v2"),
        ("what?/model", "what?/model"),
        ("file:///a%20folder", "file:///a%20folder"),
    ],
)
def test_what_is_shown(reference: str, wanted: str) -> None:
    assert shown(reference) == wanted
