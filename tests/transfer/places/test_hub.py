"""The Hub as a place, against a server that speaks its API with the official client."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from safetensors.numpy import save_file

from affineur.artifact import CARD, MANIFEST, Manifest, Parent, verify, write_card, write_manifest
from affineur.artifact.exported import ExportInfo, write_export_info

from ..conftest import ROOT, build_model
from .hub_server import READER, WRITER, Hub, hub_server

# Runs what it is given in one process, since the library takes a second to import and reads its environment
# then; warnings are errors but for one of the library itself, of how it uploads.
WORKER = """
import contextlib, io, json, os, sys, traceback, warnings
from affineur.errors import AffineurError
import huggingface_hub, affineur.transfer.commits, affineur.transfer.push
warnings.simplefilter("error")
warnings.filterwarnings("ignore", "Use 'content=")
for line in sys.stdin:
    asked = json.loads(line)
    os.environ["HF_TOKEN"] = asked["token"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            exec(asked["code"], {})
        except AffineurError as error:
            print(type(error).__name__, error)
        except BaseException:
            traceback.print_exc()
    print(json.dumps(out.getvalue()), flush=True)
"""
PUSH = """
from pathlib import Path
from affineur.progress import listening
from affineur.transfer.push import push as send
from affineur.transfer.places.core.place import Publication
heard = []
def push(reference="hub:me/tiny", folder={folder!r}, **said):
    with listening(lambda what, *_: heard.append(what)):
        done = send(Path(folder), reference, publication=Publication(**said))
    print(done.where, "sent", *done.sent, "kept", *done.kept)
"""
READ = """
from pathlib import Path
from affineur.transfer.pull import pull as fetch
from affineur.transfer.places.core.place import Access
from affineur.transfer.places.hub import PLACE
def pull(reference, out):
    fetch(reference, Path(out))
"""


class Client:
    """A process with the official client."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(folder / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_TOKEN": WRITER,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
        }
        self.process = self.start(WORKER)

    def start(self, code: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, "-c", code], env=self.environment, stdin=pipe, stdout=pipe, text=True
        )

    def do(self, code: str, token: str | None = WRITER) -> list[str]:
        """Run code; the lines it prints. The token is in none of them."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"code": code, "token": token or ""}) + "\n")
        self.process.stdin.flush()
        said: str = json.loads(self.process.stdout.readline())
        assert "Traceback" not in said, said
        assert not any(secret in said for secret in (WRITER, READER))
        return said.splitlines()

    def close(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hub, Client]]:
    folder = tmp_path_factory.mktemp("hub")
    with hub_server(folder / "served") as server:
        client = Client(server, folder)
        yield server, client
        client.close()


@pytest.fixture
def hub(running: tuple[Hub, Client], tmp_path: Path) -> Hub:
    running[0].clear(tmp_path / "hub")
    return running[0]


@pytest.fixture
def client(running: tuple[Hub, Client]) -> Client:
    return running[1]


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = build_model(tmp_path / "student")
    write_manifest(
        folder, Manifest("transformers", "distill", parents=[Parent("given", "d" * 64, "teacher")])
    )
    write_card(folder)
    return folder


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """An artifact with a graph in eight bits; nothing here runs it."""
    folder = build_model(tmp_path / "student_int8")
    (folder / "model.safetensors").unlink()
    (folder / "model.onnx").write_bytes(b"a graph " * 400_000)
    write_export_info(folder, ExportInfo("onnx", 17, "u8s8", "any", 1, 1, {}, ()))
    write_manifest(folder, Manifest("onnx", "quantize", parents=[Parent("given", "d" * 64, "me/teacher")]))
    return folder


def push(folder: Path, *calls: str) -> str:
    return PUSH.format(folder=str(folder)) + "\n".join(calls)


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def change(folder: Path, value: float) -> None:
    """Give an artifact other weights."""
    save_file({"classifier.weight": np.full((3, 4), value, np.float32)}, folder / "model.safetensors")
    manifest = json.loads((folder / MANIFEST).read_text())
    known = {key: manifest[key] for key in ("kind", "stage", "parameters")}
    write_manifest(folder, Manifest(**known, parents=[Parent(**p) for p in manifest["parents"]]))


# ---- pushing


def test_only_what_changed_is_sent_and_nothing_makes_no_commit(
    hub: Hub, client: Client, artifact: Path, tmp_path: Path
) -> None:
    first = client.do(push(artifact, "push()", "push(message='again')", "print(heard[-1])"))
    assert first[0].startswith(
        f"{hub.url}/me/tiny sent README.md affineur.json config.json model.safetensors"
    )
    assert first[1].partition(" sent kept ")[2].split() == sorted(content(artifact))
    assert first[2] == "hub:me/tiny has all of it already; no commit was made"
    repository = hub.repositories["me/tiny"]
    assert repository.messages == ["initial commit", "Push student"]
    assert {k: v for k, v in repository.files("main").items() if k != ".gitattributes"} == content(artifact)
    assert repository.large[repository.refs["main"]] == {"model.safetensors"}
    assert repository.private is False

    change(artifact, 2.0)
    second = client.do(push(artifact, "push('hub:tiny', message='Better')"))
    assert second[0].partition(" sent ")[2].startswith("affineur.json model.safetensors kept README.md")
    assert repository.messages[-1] == "Better"
    assert len(hub.uploads) == 2
    assert hub.leaked == []


def test_what_is_pushed_is_what_is_pulled(hub: Hub, client: Client, artifact: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (artifact / "sbom.json").write_text("{}")
    client.do(push(artifact, "push(private=True)"))
    assert hub.repositories["me/tiny"].private is True
    client.do(READ + f"pull('hub:me/tiny', {str(out)!r})", READER)
    assert content(out) == content(artifact)
    assert verify(out) is not None
    assert hub.leaked == []
    (artifact / "sbom.json").unlink()  # it goes there, too
    client.do(push(artifact, "push()"))
    assert set(hub.repositories["me/tiny"].files("main")) == {".gitattributes", *content(artifact)}


def test_a_graph_lies_where_others_look_for_it(hub: Hub, client: Client, graph: Path, tmp_path: Path) -> None:
    out, fetched = tmp_path / "out", tmp_path / "fetched"
    lines = client.do(
        push(graph, "push()")
        + READ
        + f"""
pull("hub:me/tiny", {str(out)!r})
remote = PLACE.open("hub:me/tiny", Access())
whole = Path({str(graph)!r}, "model.onnx").read_bytes()
print(b"".join(remote.read("model.onnx", 1_000_001, 2_500_000)) == whole[1_000_001:2_500_000])
from affineur.transfer import resolve_model
print(resolve_model("hub:me/tiny@main"))
""",
    )
    files = hub.repositories["me/tiny"].files("main")
    assert "onnx/model_quantized.onnx" in files
    assert "model.onnx" not in files
    assert files[MANIFEST] == (graph / MANIFEST).read_bytes()
    assert content(out) == content(graph)
    assert lines[1] == "True"
    assert "bytes=1000001-2499999" in hub.ranges
    # as the Hub's own client lays it out it is an artifact, too
    fetched = Path(lines[2])
    assert (fetched / "onnx" / "model_quantized.onnx").is_file()
    assert verify(fetched) is not None

    # in full precision from now on: the other graph goes
    write_export_info(graph, ExportInfo("onnx", 17, "fp32", "any", 1, 1, {}, ()))
    (graph / MANIFEST).unlink()
    write_manifest(graph, Manifest("onnx", "export", parents=[Parent("given", "d" * 64, "me/teacher")]))
    client.do(push(graph, "push()"))
    names = hub.repositories["me/tiny"].files("main")
    assert "onnx/model.onnx" in names
    assert "onnx/model_quantized.onnx" not in names
    assert len(hub.uploads) == 1  # the content is the same


def test_branch_tag_and_pull_request(hub: Hub, client: Client, artifact: Path, tmp_path: Path) -> None:
    lines = client.do(
        push(artifact, "push(revision='next', tag='v1')", "push('hub:me/tiny@next', tag='v1')"),
    )
    repository = hub.repositories["me/tiny"]
    assert [line.partition(" ")[0] for line in lines] == [f"{hub.url}/me/tiny/tree/v1"] * 2
    assert MANIFEST not in repository.files("main")
    assert repository.tags == {"v1": repository.refs["next"]}

    change(artifact, 3.0)
    lines = client.do(push(artifact, "push(revision='next', tag='v1')"))
    assert "has a tag v1 already, which names another version; name another tag" in lines[0]
    assert repository.tags == {"v1": repository.refs["next"]}

    lines = client.do(push(artifact, "push(pull_request=True)"), READER)
    assert lines[0].startswith(f"{hub.url}/me/tiny/discussions/1 sent")
    assert MANIFEST not in repository.files("main")
    assert MANIFEST in repository.files("refs/pr/1")
    lines = client.do(push(artifact, "push(pull_request=True, tag='v2')"))
    assert "leave one out" in lines[0]
    lines = client.do(push(artifact, "push('hub:me/tiny@next', revision='other')"))
    assert "names the revision next, and revision=other another" in lines[0]


def test_a_commit_in_between_is_a_conflict_and_stays(
    hub: Hub, client: Client, artifact: Path, tmp_path: Path
) -> None:
    client.do(push(artifact, "push()"))
    change(artifact, 2.0)
    repository = hub.repositories["me/tiny"]

    def meddle(request: str) -> None:
        if request == "POST /api/models/me/tiny/preupload/main":
            head = repository.refs["main"]
            repository.refs["main"] = repository.commit(head, {"notes.md": b"theirs"}, "theirs")

    hub.before = meddle
    lines = client.do(push(artifact, "push()"))
    assert lines[0].startswith("Conflict hub:me/tiny: somebody else committed in the meantime")
    assert lines[0].endswith("look at it, then push again")
    assert repository.messages[-1] == "theirs"
    hub.before = lambda _: None
    client.do(push(artifact, "push()"))
    assert repository.files("main")["notes.md"] == b"theirs"


def test_what_passes_is_tried_again_and_an_answer_that_is_lost_is_no_second_commit(
    hub: Hub, client: Client, artifact: Path, tmp_path: Path
) -> None:
    failed: list[str] = []

    def busy(request: str) -> int | None:
        if request in failed or not request.startswith("GET /api/models/me/tiny/tree"):
            return None
        failed.append(request)
        return 503

    hub.before = busy
    lost = """
import huggingface_hub
commit, calls = huggingface_hub.HfApi.create_commit, []
def once(self, *given, **said):
    done = commit(self, *given, **said)
    calls.append(done)
    if len(calls) == 1:
        huggingface_hub.HfApi.create_commit = commit
        raise ConnectionError("the answer was lost")
    return done
huggingface_hub.HfApi.create_commit = once
"""
    lines = client.do(lost + push(artifact, "push()"))
    assert "model.safetensors" in lines[0].partition(" kept")[0]
    assert hub.repositories["me/tiny"].messages == ["initial commit", "Push student"]


@pytest.mark.parametrize("moment", ["PUT /upload/", "POST /verify", "POST /api/models/me/tiny/commit/main"])
def test_a_push_that_is_killed_leaves_the_old_version(
    moment: str, hub: Hub, client: Client, artifact: Path, tmp_path: Path
) -> None:
    client.do(push(artifact, "push()"))
    repository = hub.repositories["me/tiny"]
    old, uploaded = repository.files("main"), len(hub.uploads)
    change(artifact, 2.0)
    reached, go_on = threading.Event(), threading.Event()

    def stop(request: str) -> None:
        if request.startswith(moment):
            reached.set()
            go_on.wait(20)

    hub.before = stop
    with client.start(push(artifact, "push()")) as process:
        assert reached.wait(20)
        process.send_signal(signal.SIGKILL)
    committed = "commit" in moment  # the server did get all of it, and nobody heard of that
    if not committed:
        assert repository.files("main") == old
    hub.before = lambda _: None
    go_on.set()
    while committed and len(repository.messages) < 3:
        time.sleep(0.01)
    lines = client.do(push(artifact, "push()"))
    assert " sent " in lines[0]
    now = repository.files("main")
    assert {k: v for k, v in now.items() if k != ".gitattributes"} == content(artifact)
    assert len(repository.messages) == 3
    # what had been uploaded whole is not sent again
    assert len(hub.uploads) - uploaded <= (2 if moment.startswith("PUT") else 1)


# ---- license and card


def test_the_license_goes_into_the_card_and_nothing_else_changes(
    hub: Hub, client: Client, artifact: Path, tmp_path: Path
) -> None:
    before, out = content(artifact), tmp_path / "out"
    client.do(
        push(artifact, "push(license='cc-by-4.0')") + READ + f"pull('hub:me/tiny', {str(out)!r})",
    )
    assert content(artifact) == before
    card = ModelCard.load(out / CARD)
    assert (card.data.license, card.data.pipeline_tag) == ("cc-by-4.0", "token-classification")
    assert "as whoever published this model chose" in card.text
    assert {k: v for k, v in content(out).items() if k != CARD} == {
        k: v for k, v in before.items() if k != CARD
    }
    # the license stays, and so does what people write on the Hub
    again = client.do(push(artifact, "push()", "print(heard[-1])"))
    assert again[1] == "hub:me/tiny has all of it already; no commit was made"
    repository = hub.repositories["me/tiny"]
    edited = repository.files("main")[CARD].replace(b"## Limits", b"## What it cannot do")
    repository.refs["main"] = repository.commit(repository.refs["main"], {CARD: edited}, "words")
    again = client.do(push(artifact, "push()", "print(*heard, sep='|')"))
    assert "README.md of hub:me/tiny was edited by hand and is left as it is" in again[1]
    assert repository.files("main")[CARD] == edited
    lines = client.do(push(artifact, "push(license='nonsense')"))
    assert "must be a known one" in lines[0]


@pytest.mark.parametrize(
    ("license", "said", "expected"),
    [
        (None, None, "no license is known"),
        ("cc-by-nc-sa-4.0", None, "cc-by-nc-sa-4.0 forbids commercial use, says the card"),
        ("cc-by-nc-sa-4.0", "mit", "it is published as mit"),
        ("cc-by-nd-4.0", None, "TransferError .*cc-by-nd-4.0 forbids to share a changed model"),
        ("apache-2.0", None, "sending"),
    ],
)
def test_what_a_license_restricts_is_said(
    license: str | None, said: str | None, expected: str, artifact: Path
) -> None:
    from affineur.errors import TransferError
    from affineur.progress import listening
    from affineur.transfer.commits import _check_license
    from affineur.transfer.places.core.place import Publication

    if license:
        text = (artifact / CARD).read_text("utf-8").replace("---\n", f"---\nlicense: {license}\n", 1)
        (artifact / CARD).write_text(text, "utf-8")
    heard: list[str] = []
    with listening(lambda what, *_: heard.append(what)):
        try:
            _check_license(artifact, Publication(license=said))
        except TransferError as error:
            heard.append(f"TransferError {error}")
    assert re.search(expected, "\n".join([*heard, "sending"]))
    assert len(heard) == (license != "apache-2.0")


# ---- refusals


def test_one_line_for_each_refusal(hub: Hub, client: Client, artifact: Path, tmp_path: Path) -> None:
    hub.add("other/closed", {"config.json": b"{}"}, private=True)
    hub.add("other/gated", {"config.json": b"{}"}, gated=True)
    hub.add("me/theirs", {"config.json": b"{}", "model.safetensors": b"other weights"})
    attempts = """
from affineur.errors import AffineurError
from affineur.transfer.places.core.place import Access, Publication, opened
from affineur.transfer.places.hub import PLACE
from pathlib import Path
def attempt(reference, **said):
    try:
        if said:
            PLACE.push(Path({folder!r}), reference, Access(), Publication(**said))
        else:
            opened(reference).stat("config.json")
    except AffineurError as error:
        print(str(error))
""".replace("{folder!r}", repr(str(artifact)))
    reading = attempts + "\n".join(
        f"attempt({reference!r})"
        for reference in (
            "hub:no/such",
            "hub:other/gated",
            "hub:me/theirs@v9",
            "hub:a/b/c",
        )
    )
    (closed,) = client.do(attempts + "attempt('hub:other/closed')", None)
    assert "it has nothing of that name, or it is private (then type: hf auth login)" in closed
    absent, gated, revision, no_id = client.do(reading)
    assert "hub:no/such: it has nothing of that name, or it is private (then type: hf auth login)" in absent
    assert "accept its terms there" in gated
    assert revision == "hub:me/theirs@v9: it has no revision 'v9'"
    assert no_id == "'hub:a/b/c' is no repository, expected hub:OWNER/NAME[@REVISION]"
    (unknown,) = client.do(attempts + "attempt('hub:me/theirs')", "hf_" + "x" * 34)
    assert "it does not know the token (of HF_TOKEN, or of the login; type: hf auth login)" in unknown

    (nobody,) = client.do(attempts + "attempt('hub:me/new', message='x')", None)
    assert "nobody is logged in (looked at HF_TOKEN and" in nobody
    assert nobody.endswith("type: hf auth login")
    writing = attempts + "\n".join(
        f"attempt({reference!r}, {said})"
        for reference, said in (
            ("hub:me/theirs", "message='x'"),
            ("hub:me/theirs", "private=True"),
            ("hub:notmine/new", "message='x'"),
            ("hub:me/theirs@v9", "pull_request=True"),
        )
    )
    foreign, public, elsewhere, no_branch = client.do(writing)
    assert (
        "holds files that are no artifact of Affineur (config.json, model.safetensors); name another"
        in foreign
    )
    assert "is there and is public" in public
    assert "the token may not do this" in elsewhere
    assert "it has no revision 'v9'" in no_branch
    assert hub.repositories["me/theirs"].messages == ["initial commit"]


# ---- reading what others made


def test_what_others_made_is_listed_as_far_as_it_may_be_read(
    hub: Hub, client: Client, tmp_path: Path
) -> None:
    files = {
        "config.json": b"{}",
        "tokenizer.json": b"{}",
        "onnx/model.onnx": b"plain",
        "onnx/model_quantized.onnx": b"quantized",
        "training_args.bin": b"a pickle",
        "checkpoint-5/model.safetensors": b"never",
    }
    hub.add("other/graphs", files)
    hub.add("other/small", {k: v for k, v in files.items() if k != "onnx/model.onnx"})
    hub.add("other/dense", files | {"model.safetensors": b"weights"})
    small = {k: v for k, v in files.items() if not k.startswith("onnx")}
    hub.add("other/optimum", small | {"model_quantized.onnx": b"in the folder"})
    hub.add("other/half", small | {"onnx/model_fp16.onnx": b"in half precision"})
    fetched = """
from affineur.transfer import resolve_model
for name in ("graphs", "small", "dense", "optimum", "half"):
    folder = resolve_model(f"hub:other/{name}@main")
    print(*sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()))
"""
    assert client.do(fetched, None) == [
        "config.json onnx/model.onnx tokenizer.json",
        "config.json onnx/model_quantized.onnx tokenizer.json",
        "config.json model.safetensors tokenizer.json",
        "config.json model_quantized.onnx tokenizer.json",
        "config.json onnx/model_fp16.onnx tokenizer.json",
    ]
    code = READ + "\n".join(
        f"with PLACE.open('hub:other/{name}', Access()) as r: "
        "print(*sorted(r.names()), b''.join(r.read('model.onnx', 0, None)).decode())"
        for name in ("graphs", "small", "dense", "optimum", "half")
    )
    assert client.do(code, None) == [
        "config.json model.onnx tokenizer.json plain",
        "config.json model.onnx tokenizer.json quantized",
        "config.json model.safetensors tokenizer.json plain",
        "config.json model.onnx tokenizer.json in the folder",
        "config.json model.onnx tokenizer.json in half precision",
    ]
