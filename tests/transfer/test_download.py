from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from affineur.artifact import Manifest, open_folder, read_card, read_manifest, verify, write_manifest
from affineur.errors import AffineurError, ModelError, ParameterError, TransferError
from affineur.progress import listening
from affineur.transfer import download
from affineur.transfer.places.core import retry
from affineur.transfer.places.core.place import Access
from affineur.transfer.push import push

from .conftest import Server, build_model, hub, run

Serve = Callable[..., Server]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_FIRST", 0.0)


@pytest.fixture
def artifact(model: Path) -> Path:
    """A model with a manifest that lists one file more than the usual names."""
    (model / "extra").mkdir()
    (model / "extra" / "a note.txt").write_text("listed", "utf-8")
    write_manifest(model, Manifest("transformers", "prune"))
    return model


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out" / "here"


def assert_nothing_left(target: Path) -> None:
    """Neither the folder, nor what was on its way: to try again is vain, or nothing had come."""
    assert not target.parent.exists() or not list(target.parent.iterdir())


def assert_only_on_its_way(target: Path) -> None:
    """No folder that could be taken for a model; what has come waits for the same command."""
    assert [p.name for p in target.parent.iterdir()] == [f".{target.name}.partial"]


def digest(model: Path) -> str:
    return hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()


def edit_manifest(folder: Path, files: object) -> None:
    raw = json.loads((folder / "affineur.json").read_text("utf-8"))
    (folder / "affineur.json").write_text(json.dumps(raw | {"files": files}), "utf-8")


def test_folder_file_url_and_http_give_the_same(artifact: Path, serve_folder: Serve, tmp_path: Path) -> None:
    server = serve_folder(artifact)
    (artifact / "optimizer.pt").write_bytes(b"not listed")
    for index, source in enumerate(
        (str(artifact), artifact.as_uri(), f"{server.url}/m", f"{server.url}/m/?signature=1")
    ):
        target = tmp_path / f"copy-{index}"
        assert download(source, target) == target
        assert read_manifest(target) == read_manifest(artifact)
        assert (target / "extra" / "a note.txt").read_text("utf-8") == "listed"
        assert not (target / "optimizer.pt").exists()
        assert [p.name for p in tmp_path.glob(".*")] == []


def test_what_was_pushed(artifact: Path, target: Path, tmp_path: Path) -> None:
    place = (tmp_path / "place").as_uri()
    push(artifact, place)
    (tmp_path / "place" / "config.json").rename(tmp_path / "place" / "elsewhere")
    with pytest.raises(
        TransferError, match=r"^file://.*/place: config\.json is not there, though it is listed"
    ):
        download(place, target, digest(artifact))
    assert_nothing_left(target)
    (tmp_path / "place" / "elsewhere").rename(tmp_path / "place" / "config.json")
    download(place, target, digest(artifact))
    assert verify(target) == read_manifest(artifact)


def test_a_folder_brings_a_model_and_not_what_lies_beside_it(model: Path, target: Path) -> None:
    (model / "checkpoint-500").mkdir()
    (model / "checkpoint-500" / "model.safetensors").write_bytes(b"large")
    (model / "optimizer.pt").write_bytes(b"pickle")
    for source in (str(model), model.as_uri()):
        download(source, target)
        assert {p.name for p in target.iterdir()} == {
            "affineur.json",
            "config.json",
            "model.safetensors",
            "tokenizer.json",
        }
        manifest = read_manifest(target)
        assert manifest is not None
        assert manifest.parameters == {"source": source}


def test_a_plain_folder_over_http(model: Path, serve_folder: Serve, target: Path) -> None:
    (model / "notes.md").write_text("not asked for", "utf-8")
    (model / "README.md").write_text("---\nlicense: mit\n---\n", "utf-8")
    seen: list[tuple[str, int | None, int | None]] = []
    with listening(lambda *what: seen.append(what)):
        download(f"{serve_folder(model).url}/m", target, digest(model).upper())
    assert sorted(p.name for p in target.iterdir()) == [
        "README.md",
        "affineur.json",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert read_card(target).metadata == {"license": "mit"}
    manifest = read_manifest(target)
    assert manifest is not None
    assert manifest.stage == "download"
    download(f"{serve_folder(model).url}/m", target)  # its own folder may be replaced
    assert any(what.startswith("fetching http://127.0.0.1") and what.endswith("/m (MB)") for what, *_ in seen)


def test_shards(model: Path, target: Path) -> None:
    (model / "model.safetensors").rename(model / "model-00001-of-00001.safetensors")
    index = {"weight_map": {"classifier.weight": "model-00001-of-00001.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    download(str(model), target)
    assert open_folder(target).tensors()[0].name == "classifier.weight"
    other = target.parent / "other" / "here"
    with pytest.raises(TransferError, match=r"no model\.safetensors to compare"):
        download(str(model), other, "0" * 64)
    assert_nothing_left(other)
    (model / "model-00001-of-00001.safetensors").unlink()
    with pytest.raises(TransferError, match=r"model-00001-of-00001\.safetensors is not there, though"):
        download(str(model), other)
    assert_nothing_left(other)


def test_an_artifact_is_replaced_and_other_things_are_not(artifact: Path, target: Path) -> None:
    download(str(artifact), target)
    download(str(artifact), target)
    (target / "mine.txt").write_text("x", "utf-8")
    with pytest.raises(ParameterError, match=r"did not write \(mine\.txt\)"):
        download(str(artifact), target)


def test_a_wrong_digest(model: Path, serve_folder: Serve, target: Path) -> None:
    server = serve_folder(model)
    said = f"model.safetensors has the sha256 {digest(model)}, expected 0000"
    for source in (str(model), f"{server.url}/m"):
        with pytest.raises(TransferError, match=said):
            download(source, target, "0" * 64)
        assert_nothing_left(target)
    with pytest.raises(ParameterError, match="expected 64 hexadecimal digits"):
        download(str(model), target, "abc")
    write_manifest(model, Manifest("transformers", "prune"))
    server.requests.clear()
    with pytest.raises(TransferError, match=said):
        download(f"{server.url}/m", target, "0" * 64)
    assert not any("safetensors" in line for line in server.requests), "its manifest says it already"
    assert_nothing_left(target)


def test_a_file_that_differs_from_the_manifest(artifact: Path, serve_folder: Serve, target: Path) -> None:
    good = (artifact / "config.json").read_text("utf-8")
    (artifact / "config.json").write_text(good + " ", "utf-8")
    url = f"{serve_folder(artifact).url}/m"
    with pytest.raises(TransferError, match=f"^{url}: config.json has the sha256 .*, expected "):
        download(url, target)
    assert_only_on_its_way(target)
    (artifact / "config.json").write_text(good, "utf-8")
    download(url, target)
    assert verify(target) is not None
    assert [p.name for p in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("length", ["content-length", "chunked"])
def test_a_cut_connection(length: str, artifact: Path, serve_folder: Serve, target: Path) -> None:
    def cut(
        name: str, status: int, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if name != "model.safetensors":
            return status, headers, body
        return status, {"Content-Length": str(len(body))}, body[:20]

    def cut_chunks(
        name: str, status: int, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if name != "model.safetensors":
            return status, headers, body
        return status, {"Transfer-Encoding": "chunked"}, b"ff\r\n" + body[:20]

    url = f"{serve_folder(artifact, cut if length == 'content-length' else cut_chunks).url}/m"
    with pytest.raises(TransferError, match=r"model\.safetensors was cut off after .* attempts, try again"):
        download(url, target)
    assert_only_on_its_way(target)
    download(str(artifact), target)
    assert verify(target) is not None


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_required_file_that_is_not_there(
    missing: str, model: Path, serve_folder: Serve, target: Path
) -> None:
    (model / missing).unlink()
    for source in (str(model), f"{serve_folder(model).url}/m"):
        with pytest.raises((TransferError, ModelError), match=f"{missing.split('.')[0]}"):
            download(source, target)
        assert_nothing_left(target)


def test_a_listed_file_that_is_not_there(artifact: Path, serve_folder: Serve, target: Path) -> None:
    shutil.rmtree(artifact / "extra")
    for source in (str(artifact), f"{serve_folder(artifact).url}/m"):
        with pytest.raises(TransferError, match=r"extra/a note\.txt is not there, though it is listed"):
            download(source, target)
        assert_nothing_left(target)


@pytest.mark.parametrize("sealed", [True, False])
def test_what_is_no_model_is_refused(sealed: bool, model: Path, serve_folder: Serve, target: Path) -> None:
    config = json.loads((model / "config.json").read_text("utf-8"))
    (model / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}), "utf-8")
    if sealed:
        write_manifest(model, Manifest("transformers", "train"))
    for source in (str(model), f"{serve_folder(model).url}/m"):
        with pytest.raises(ModelError, match=f"^{source} has no token-classification head"):
            download(source, target)
        assert_nothing_left(target)


def test_data_is_refused_and_pull_named(tmp_path: Path, target: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "test.conll").write_text("Marie\tI-PER\n\n", "utf-8")
    push(data, (tmp_path / "place").as_uri())
    with pytest.raises(ModelError, match=r"has no config\.json, .* are fetched by affineur pull"):
        download((tmp_path / "place").as_uri(), target)
    assert_nothing_left(target)


def test_options_that_say_nothing(model: Path, target: Path) -> None:
    for source in (str(model), model.as_uri()):
        with pytest.raises(ParameterError, match="region says nothing to file:///FOLDER"):
            download(source, target, access=Access(region="EU-RO-1"))
    assert_nothing_left(target)


def test_a_listed_card_that_is_gone_is_no_error(artifact: Path, serve_folder: Serve, target: Path) -> None:
    (artifact / "README.md").write_text("# Tiny\n", "utf-8")
    write_manifest(artifact, Manifest("transformers", "prune"))
    (artifact / "README.md").unlink()
    for source in (str(artifact), f"{serve_folder(artifact).url}/m"):
        download(source, target)
        assert verify(target) is not None
        assert not (target / "README.md").exists()


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/../../evil", "..\\evil", "c:evil", "nul\0", "", "."]
)
def test_names_that_leave_the_folder(name: str, artifact: Path, serve_folder: Serve, target: Path) -> None:
    edit_manifest(artifact, {name: "0" * 64})
    server = serve_folder(artifact)
    why = r"(lies outside the folder|is not|has characters).*; nothing was kept$"
    with pytest.raises(ModelError, match=f"affineur.json names .*, which {why}"):
        download(f"{server.url}/m", target)
    assert server.requests == ["GET /m/affineur.files.json", "GET /m/affineur.json"]
    assert_nothing_left(target)


@pytest.mark.parametrize("files", [["config.json"], None, 3])
def test_a_manifest_that_is_none(files: object, artifact: Path, target: Path) -> None:
    edit_manifest(artifact, files)
    with pytest.raises(ModelError, match="is damaged"):
        download(str(artifact), target)
    assert_nothing_left(target)


def test_pickles_in_a_manifest_or_an_index(artifact: Path, model: Path, target: Path) -> None:
    edit_manifest(artifact, {"pytorch_model.bin": "0" * 64})
    with pytest.raises(ModelError, match=r"pytorch_model\.bin, a pickle"):
        download(str(artifact), target)
    (artifact / "affineur.json").unlink()
    (artifact / "model.safetensors").unlink()
    for index in ({"weight_map": {"a": "../x.safetensors"}}, {"weight_map": {"a": 1}}, {"weight_map": 1}, []):
        (artifact / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
        with pytest.raises(ModelError, match=r"outside|not the name of a file|not a safetensors index"):
            download(str(artifact), target)
    assert_nothing_left(target)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("ftp://me:hush@host/model?k=hush", r"^'ftp://host/model' is at no place that is known, expected"),
        ("http://127.0.0.1:9/model", "could not be fetched .*refused"),
        ("http://[bad/model", "is not a URL"),
        ("file:///no/such/folder", "nothing is there"),
        ("./no-such-folder", "is not there"),
    ],
)
def test_sources_that_give_nothing(source: str, message: str, target: Path) -> None:
    with pytest.raises(AffineurError, match=message) as refused:
        download(source, target)
    assert "hush" not in str(refused.value)
    assert_nothing_left(target)


def test_something_else_answers(model: Path, serve_folder: Serve, target: Path) -> None:
    """A captive portal answers everything with its own page."""
    page = serve_folder(model, lambda *_: (200, {}, b"<html>sign in</html>"))
    for name in ("affineur.json", "affineur.files.json"):
        (model / name).write_text("{}", "utf-8")
    with pytest.raises(TransferError, match="a web page was given"):
        download(f"{page.url}/m", target)
    broken = serve_folder(model, lambda *_: (500, {}, b""))
    with pytest.raises(TransferError, match=r"answered with 500 .* given up after"):
        download(f"{broken.url}/m", target)
    assert_nothing_left(target)


def test_from_the_hub(tmp_path: Path) -> None:
    folder = build_model(tmp_path / "repo")
    write_manifest(folder, Manifest("transformers", "train"))
    with hub({"models/owner/tiny": folder}) as server:
        code = (
            "from affineur.transfer import download\nfrom pathlib import Path\n"
            "print(download('hub:owner/tiny', Path('copy')))"
        )
        out = run(code, tmp_path / "home", server.url)
    assert out.stdout == "copy\n", out.stderr
    assert not any(p.is_symlink() for p in (tmp_path / "copy").iterdir())
    assert (tmp_path / "copy" / "model.safetensors").read_bytes() == (
        folder / "model.safetensors"
    ).read_bytes()
