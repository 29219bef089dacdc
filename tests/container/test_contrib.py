"""What is started without a word of svcdns' own command line: compose files, and the quadlet.

contrib/compose.yaml and the compose file of docs/containers.md run as podman-compose runs them.  Debian 12's
podman (4.3) has no quadlet, which came with 4.4: so the keys of contrib/svcdns.container are checked against
those that quadlet knows, and what its generator would run is run by hand; where there is a generator, it is
asked as well.
"""

import os
import shlex
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from container.page import block, put
from container.running_container import COMMAND_SECONDS, Podman, Serve, ask
from toolbox.running_server import SOURCE
from toolbox.waiting import GUARD_SECONDS, wait_for

pytestmark = pytest.mark.timeout(900)  # the first test makes the image, and on a new machine its base

COMPOSE = SOURCE / "contrib" / "compose.yaml"
QUADLET = SOURCE / "contrib" / "svcdns.container"
GENERATORS = (
    "/usr/libexec/podman/quadlet",
    "/usr/lib/podman/quadlet",
    "/usr/lib/systemd/system-generators/podman-system-generator",
)
FLAGS = {
    "ContainerName": "--name={}",
    "Network": "--network={}",
    "Environment": "--env={}",
    "Volume": "--volume={}",
    "ReadOnly": "--read-only={}",
    "DropCapability": "--cap-drop={}",
    "AddCapability": "--cap-add={}",
    "NoNewPrivileges": "--security-opt=no-new-privileges:{}",
}
"""Keys of [Container] that podman 4.4 and later know, and the flags they become (podman-systemd.unit(5))."""

Compose = Callable[..., str]


@contextmanager
def composed(podman: Podman, file: Path) -> Iterator[tuple[Compose, str]]:
    """Give podman-compose for a file, and the project's name; all of it goes at the end."""
    project = f"svcdns-test-{uuid.uuid4().hex[:12]}"

    def compose(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "podman_compose", "--file", str(file), "--project-name", project, *words],
            env=podman.environ,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        yield compose, project
    finally:
        # `down` knows one container of a service, not its replicas.
        of_project = f"label=io.podman.compose.project={project}"
        replicas = podman.attempt("ps", "--all", "--quiet", "--filter", of_project).stdout.split()
        if replicas:
            podman.attempt("rm", "--force", "--time", "1", *replicas)
        compose("down", "--volumes", "--timeout", "1")
        podman.attempt("network", "rm", "--force", f"{project}_services")


def test_a_client_beside_svcdns_finds_its_services(
    podman: Podman, image: str, base: str, need: Callable[..., str], tmp_path: Path
) -> None:
    need(module="podman_compose")  # Debian's 1.0.3 gives no container a fixed address
    file = tmp_path / "compose.yaml"
    file.write_text(
        put(
            block("### compose"),
            {
                "build: .": f"image: {image}",
                "debian:bookworm-slim": base,
                "127.0.0.1:8053:8053": "127.0.0.1::8053",
                "./examples:": f"{SOURCE / 'examples'}:",
                "172.30.0.": podman.free_subnet().removesuffix("0/24"),
            },
        )
    )
    with composed(podman, file) as (compose, project):
        compose("up", "--detach")
        client = f"{project}_client_1"
        wait_for(lambda: "10.96.0.80" in podman.attempt("logs", client).stdout, "the client to find web")


def test_what_is_added_in_the_shipped_compose_file_is_found_by_the_app(
    podman: Podman, image: str, base: str, need: Callable[..., str], tmp_path: Path
) -> None:
    need(module="podman_compose")
    need("dig")
    subnet = podman.free_subnet().removesuffix("0/24")
    file = tmp_path / "compose.yaml"
    values = {
        "localhost/svcdns:latest": image,
        "docker.io/library/debian:bookworm-slim": base,
        "172.30.53.": subnet,
    }
    file.write_text(put(COMPOSE.read_text(), values))
    with composed(podman, file) as (compose, project):
        compose("up", "--detach")
        svcdns, app = f"{project}_svcdns_1", f"{project}_app_1"
        wait_for(lambda: podman.attempt("exec", svcdns, "svcdns", "status").returncode == 0, "svcdns")
        said = podman.run("exec", svcdns, "svcdns", "add", "cache", "--port", "redis=6379", "10.0.0.5")
        assert said == "cache.default.svc.cluster.local answers 10.0.0.5"
        assert podman.run("exec", app, "getent", "ahostsv4", "cache").split()[0] == "10.0.0.5"
        command = ["dig", "+short", f"@{subnet}53", "cache.default.svc.cluster.local"]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "10.0.0.5\n"
        assert "10.0.0.5" in podman.run("exec", svcdns, "svcdns", "query", "cache.default.svc.cluster.local")
        podman.run("restart", svcdns)
        wait_for(
            lambda: podman.attempt("exec", app, "getent", "ahostsv4", "cache").returncode == 0, "its data"
        )


# The quadlet


def sections(text: str) -> dict[str, list[tuple[str, str]]]:
    """Return (key, value) of each section of a unit file."""
    found: dict[str, list[tuple[str, str]]] = {}
    inside: list[tuple[str, str]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("["):
            inside = found.setdefault(line.strip("[]"), [])
        elif not line.startswith("#"):
            key, equals, value = line.partition("=")
            assert equals, line
            inside.append((key, value))
    return found


def test_the_quadlet_has_only_keys_that_quadlet_knows() -> None:
    found = sections(QUADLET.read_text())
    assert set(found) == {"Unit", "Container", "Service", "Install"}
    keys = [key for key, _ in found["Container"]]
    assert set(keys) <= {"Image", *FLAGS}
    assert keys.count("Image") == 1
    for generator in (path for path in GENERATORS if os.access(path, os.X_OK)):
        takes(generator)


def takes(generator: str) -> None:
    """Check that a generator makes a service of the quadlet."""
    done = subprocess.run(
        [generator, "-dryrun"],
        env={**os.environ, "QUADLET_UNIT_DIRS": str(QUADLET.parent)},
        capture_output=True,
        text=True,
        timeout=GUARD_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert "ExecStart=" in done.stdout
    assert "unsupported key" not in done.stderr


def test_what_the_quadlet_amounts_to_serves_on_the_host(
    podman: Podman, image: str, serve: Serve, need: Callable[..., str], tmp_path: Path
) -> None:
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    found = sections(QUADLET.read_text())
    assert ("ExecStartPre", "/usr/bin/mkdir -p /etc/svcdns/manifests") in found["Service"]
    options = [FLAGS[key].format(value) for key, value in found["Container"] if key != "Image"]
    text = put(
        shlex.join(option for option in options if not option.startswith("--name")),
        {
            "127.0.0.1:1053": "127.0.0.1:0",
            "=svcdns:": f"={podman.volume()}:",
            "=/etc/svcdns/manifests:": f"={manifests}:",
        },
    )
    container = serve(*shlex.split(text), "--env=SVCDNS_API_LISTEN=127.0.0.1:0")
    assert container.inspect()["HostConfig"]["NetworkMode"] == "host"
    said = container.execute("svcdns", "add", "cache", "10.0.0.5")
    assert said == "cache.default.svc.cluster.local answers 10.0.0.5"
    (host, port), _ = container.said_addresses()
    reply = ask(host, port, "cache.default.svc.cluster.local")
    assert [rdata.to_text() for rrset in reply.answer for rdata in rrset] == ["10.0.0.5"]
    assert container.stop() == 0
