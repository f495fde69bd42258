from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from affineur.artifact import Manifest, open_folder, read_card, verify, write_manifest
from affineur.artifact.card.names import is_id
from affineur.errors import ModelError
from affineur.transfer import resolve_model
from affineur.transfer.names import is_pickle

from .conftest import Server, build_model, hub, run

NOWHERE = "http://127.0.0.1:9"
RESOLVE = """
from affineur.transfer import resolve_model
print(resolve_model({!r}))
"""


@pytest.fixture
def our_hub(tmp_path: Path) -> Iterator[Callable[[Path], Server]]:
    """A Hub with one model, ``owner/tiny``, that has pickles and checkpoints lying about."""
    folder = build_model(tmp_path / "repo")
    for name in (
        "pytorch_model.bin",
        "training_args.bin",
        "optimizer.pt",
        "notes.md",
        "checkpoint-5/model.safetensors",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"never to be fetched")
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-sa-4.0\n---\n\n# Tiny\n", "utf-8")
    with hub({"models/owner/tiny": folder}) as server:
        yield server


@pytest.mark.parametrize("text", ["owner/name", "camembert-base", "Jean-Baptiste/wikiner_fr", "a.b/c-d_e.1"])
def test_ids(text: str) -> None:
    assert is_id(text)


@pytest.mark.parametrize(
    "text",
    ["./x", "../x", "/x/y", "~/x", "a/b/c", "a\\b", "x/", "a--b", "a..b", "x.git", "", ".x", "é/x", "a b"],
)
def test_not_ids(text: str) -> None:
    assert not is_id(text)


def test_pickles_by_name() -> None:
    assert is_pickle("pytorch_model-00001-of-00002.bin")
    assert is_pickle("a/optimizer.pt")
    assert not is_pickle("model.safetensors")
    assert not is_pickle("openvino_model.bin")


def test_an_existing_folder_is_itself(model: Path) -> None:
    assert resolve_model(model) == model
    assert resolve_model(str(model)) == model


@pytest.mark.parametrize("reference", ["./student", "/no/such/place", "a/b/c", "student/"])
def test_a_path_that_is_not_there(reference: str) -> None:
    with pytest.raises(ModelError, match="is not there, expected a model folder or a Hub id"):
        resolve_model(reference)


def test_a_file_is_no_model(model: Path) -> None:
    with pytest.raises(ModelError, match="is a file, expected a model folder"):
        resolve_model(model / "config.json")


def test_fetches_what_may_be_read_and_then_works_offline(our_hub: Server, tmp_path: Path) -> None:
    first = run(RESOLVE.format("owner/tiny"), tmp_path / "home", our_hub.url)
    folder = Path(first.stdout.strip())
    assert open_folder(folder).labels == ("O", "I-LOC", "I-PER"), first.stderr
    assert {p.name for p in folder.iterdir()} == {
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "README.md",
    }
    assert read_card(folder).metadata["license"] == "cc-by-nc-sa-4.0", (
        "it goes on into the cards of what is made of it"
    )
    assert not [
        r
        for r in our_hub.requests
        if "resolve" in r and not r.endswith((".json", "/model.safetensors", "/README.md"))
    ]
    assert not [r for r in our_hub.requests if "checkpoint-5" in r]

    for endpoint, environment in ((NOWHERE, {}), (our_hub.url, {"HF_HUB_OFFLINE": "1"})):
        before = len(our_hub.requests)
        again = run(RESOLVE.format("owner/tiny"), tmp_path / "home", endpoint, **environment)
        assert again.stdout == first.stdout, again.stderr
        assert not again.stderr
        assert len(our_hub.requests) == before


def test_a_folder_here_comes_before_the_hub_unless_hub_is_said(our_hub: Server, tmp_path: Path) -> None:
    build_model(tmp_path / "owner" / "tiny")
    assert run(RESOLVE.format("owner/tiny"), tmp_path / "home", our_hub.url).stdout == "owner/tiny\n"
    assert not our_hub.requests
    assert "snapshots" in run(RESOLVE.format("hub:owner/tiny"), tmp_path / "home", our_hub.url).stdout


def test_files_that_the_manifest_lists_come_too(tmp_path: Path) -> None:
    folder = build_model(tmp_path / "repo")
    (folder / "probe [1].json").write_text("{}", "utf-8")
    write_manifest(folder, Manifest("transformers", "quantize"))
    with hub({"models/owner/tiny": folder}) as server:
        out = run(RESOLVE.format("owner/tiny"), tmp_path / "home", server.url)
        assert (Path(out.stdout.strip()) / "probe [1].json").is_file(), out
        assert run(RESOLVE.format("owner/tiny"), tmp_path / "home", NOWHERE).stdout == out.stdout


def test_a_listed_card_that_is_gone_is_no_error(tmp_path: Path) -> None:
    folder = build_model(tmp_path / "repo")
    (folder / "README.md").write_text("# Tiny\n", "utf-8")
    write_manifest(folder, Manifest("transformers", "prune"))
    (folder / "README.md").unlink()
    with hub({"models/owner/tiny": folder}) as server:
        out = run(RESOLVE.format("owner/tiny"), tmp_path / "home", server.url)
        assert verify(Path(out.stdout.strip())) is not None, out
        asked = len(server.requests)
        assert run(RESOLVE.format("owner/tiny"), tmp_path / "home", NOWHERE).stdout == out.stdout
    assert len(server.requests) == asked


def test_weights_only_as_pickles_are_refused_by_name(tmp_path: Path) -> None:
    folder = build_model(tmp_path / "repo")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with hub({"models/owner/old": folder}) as server:
        out = run(RESOLVE.format("owner/old"), tmp_path / "home", server.url).stdout
        assert out.startswith("ModelError owner/old has its weights only as pytorch_model.bin")
        assert "save_pretrained" in out
        assert not [r for r in server.requests if ".bin" in r]


def test_no_network_is_one_line(tmp_path: Path) -> None:
    out = run(RESOLVE.format("owner/absent"), tmp_path / "home", NOWHERE)
    assert out.stdout.startswith(
        f"TransferError there is no model 'owner/absent' here, and the Hub at {NOWHERE} did not give it: "
    )
    assert "Connection refused" in out.stdout
    assert "give its folder" in out.stdout
    assert out.stdout.count("\n") == 1
    assert not out.stderr


def test_a_hub_that_never_answers(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        code = "import affineur.transfer.hub as h\nh.TIMEOUT = 0.3" + RESOLVE.format("owner/name")
        out = run(code, tmp_path / "home", f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert "TransferError" in out.stdout
    assert "timed out" in out.stdout


def test_what_the_hub_says_no_to(our_hub: Server, tmp_path: Path) -> None:
    out = run(
        """
from affineur.transfer import resolve_model
from affineur.errors import TransferError
from affineur.errors import ParameterError
no = [("owner/absent",), ("owner/gated",), ("owner/tiny", "v9")]
no += [("hub:owner/tiny@v9",), ("owner/tiny@v9", "v8")]
for arguments in no:
    try:
        resolve_model(*arguments)
    except (TransferError, ParameterError) as error:
        print(error)
""",
        tmp_path / "home",
        our_hub.url,
    )
    absent, gated, revision, same, two = out.stdout.splitlines()
    assert same == revision
    assert two == "owner/tiny@v9 names the revision v9, and revision=v8 another; leave one out"
    assert "it has nothing of that name, or it is private (then type: hf auth login)" in absent
    assert "access to it is gated" in gated
    assert "it has no revision 'v9'" in revision
    offline = run(RESOLVE.format("owner/tiny"), tmp_path / "home", our_hub.url, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set" in offline.stdout


def test_importing_the_room_is_cheap(tmp_path: Path) -> None:
    code = "import affineur.transfer, sys, json\nprint(json.dumps([m for m in sys.modules if '.' not in m]))"
    loaded = set(json.loads(run(code, tmp_path / "home", NOWHERE).stdout))
    assert not loaded & {"torch", "transformers", "huggingface_hub", "datasets", "pyarrow", "pandas"}
