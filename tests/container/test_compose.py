"""The compose file of docs/containers.md, as podman-compose runs it."""

import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from container.page import block, put
from container.running_container import Podman
from toolbox.running_server import SOURCE
from toolbox.waiting import GUARD_SECONDS, wait_for

pytestmark = pytest.mark.timeout(900)  # the first test makes the image, and on a new machine its base


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
    project = f"svcdns-test-{uuid.uuid4().hex[:12]}"

    def compose(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "podman_compose", "--file", str(file), "--project-name", project, *words],
            env=podman.environ,
            capture_output=True,
            text=True,
            timeout=GUARD_SECONDS,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        compose("up", "--detach")
        client = f"{project}_client_1"
        wait_for(lambda: "10.96.0.80" in podman.attempt("logs", client).stdout, "the client to find web")
    finally:
        compose("down", "--volumes")
        podman.attempt("network", "rm", "--force", f"{project}_services")
