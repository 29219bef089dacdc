"""One server and one cache for all tests with kubectl; each test has a namespace of its own."""

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toolbox.builders import pod
from toolbox.running_kubectl import Kubectl, find_kubectl, service
from toolbox.running_server import RunningServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def kubectl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home and caches of kubectl."""
    return tmp_path_factory.mktemp("kubectl")


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    """A running server for all tests of this folder, which says no more than kube-apiserver."""
    with RunningServer(workers=1, config="[api]\nhints = false\n") as running:
        yield running


@pytest.fixture
def kubectl(
    need: Callable[..., str], server: RunningServer, kubectl_folder: Path, request: pytest.FixtureRequest
) -> Iterator[Kubectl]:
    """kubectl in a namespace that is the test's own and goes with it."""
    if not find_kubectl():
        need("kubectl of the dev extra")
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower().removeprefix("test_"))
    name = f"{words[:40].strip('-')}-{next(_numbers)}"
    assert server.post("/api/v1/namespaces", {"metadata": {"name": name}}).status == 201
    yield Kubectl(server.api, kubectl_folder, name)
    server.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def web(kubectl: Kubectl, server: RunningServer) -> dict[str, Any]:
    """A Service `web` with the Pods web-1 and web-2 in the test's namespace; the Service as stored."""
    space = f"/api/v1/namespaces/{kubectl.namespace}"
    for number in (1, 2):
        assert server.post(f"{space}/pods", pod(f"web-{number}", f"10.1.0.{number}")).status == 201
    made = server.post(f"{space}/services", service("web"))
    assert made.status == 201
    return made.json
