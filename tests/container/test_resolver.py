"""Containers that have svcdns as their only nameserver, in each way that docs/containers.md offers."""

import copy
import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from container.page import block, put
from container.resolving import (
    NO_SUCH_NAME,
    OUTSIDE,
    OUTSIDE_ADDRESS,
    SEARCH,
    Client,
    Network,
    Upstream,
    dns_options,
)
from container.running_container import Podman, RunningContainer
from toolbox.running_server import SOURCE, RunningServer
from toolbox.waiting import GUARD_SECONDS

pytestmark = pytest.mark.timeout(900)  # the first test makes the image, and on a new machine its base

WEB = ["10.96.0.10"]
EXPECTED: dict[str, list[str] | str] = {
    "web": WEB,
    "web.default": WEB,
    "web.default.svc": WEB,
    "web.default.svc.cluster.local": WEB,
    "web.default.svc.cluster.local.": WEB,
    OUTSIDE: [OUTSIDE_ADDRESS],
    "alias.example.org": [OUTSIDE_ADDRESS],
    "nosuch": NO_SUCH_NAME,
    "nosuch.default.svc.cluster.local": NO_SUCH_NAME,
    "nosuch.example.org": NO_SUCH_NAME,
}
QUICK_SECONDS = 4.9
"""Under any timeout of a resolver, five seconds, which is what one unanswered question costs."""


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manifests")
    folder.chmod(0o755)
    (folder / "web.yaml").write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"
        f"spec: {{clusterIP: {WEB[0]}, ports: [{{name: http, port: 80}}]}}\n"
    )
    return folder


@pytest.fixture(scope="module")
def contained(
    podman: Podman, image: str, network: Network, upstream: Upstream, manifests: Path
) -> RunningContainer:
    """svcdns in a container at an address that others are told."""
    return RunningContainer(
        *(podman, image, "--network", network.name, "--ip", network.server),
        *("--env", f"SVCDNS_FORWARD_UPSTREAMS={upstream.address}"),
        *("--env", "SVCDNS_API_LISTEN=0.0.0.0:8053", "--env", "SVCDNS_API_INSECURE=true"),
        *("--publish", "127.0.0.1::8053", "--volume", f"{manifests}:/etc/svcdns/manifests:ro,z"),
    )


@pytest.fixture(scope="module")
def on_the_host(
    contained: RunningContainer, network: Network, upstream: Upstream, manifests: Path
) -> Iterator[RunningServer]:
    """svcdns on this machine, at its address in the network, which is there while `contained` is."""
    forward = f'[forward]\nupstreams = ["{upstream.address}"]\n'
    options = ["--manifests", str(manifests)]
    with RunningServer(config=forward, dns=(f"{network.gateway}:53",), arguments=options) as server:
        yield server


@pytest.fixture
def client(podman: Podman, base: str, network: Network) -> Iterator[Callable[..., Client]]:
    with podman.cleaning():
        yield lambda *options: Client(podman, base, "--network", network.name, *options)


def expect_every_name(client: Client) -> None:
    found = client.look_up(*EXPECTED)
    assert {name: what for name, (what, _) in found.items()} == EXPECTED
    slow = {name: seconds for name, (_, seconds) in found.items() if seconds > QUICK_SECONDS}
    assert not slow


def mounted(folder: Path, text: str) -> tuple[str, str]:
    """Return the options of `podman run` that mount a resolv.conf."""
    file = folder / "resolv.conf"
    file.write_text(text)
    return "--volume", f"{file}:/etc/resolv.conf:ro,z"


def test_with_options_of_the_command_line(
    contained: RunningContainer, network: Network, client: Callable[..., Client]
) -> None:
    expect_every_name(client(*dns_options(network.server)))


def test_with_the_configuration_of_podman(
    contained: RunningContainer, podman: Podman, base: str, network: Network, tmp_path: Path
) -> None:
    lines = put(block("### podman and docker", "dns_servers"), {"172.30.0.53": network.server})
    usual = Path(podman.environ["CONTAINERS_CONF"]).read_text() if "CONTAINERS_CONF" in podman.environ else ""
    file = tmp_path / "containers.conf"
    # One file here, which can have each table once; in containers.conf.d it is a second one.
    file.write_text(lines + usual.replace("[containers]\n", ""))
    configured = copy.copy(podman)
    configured.environ = {**podman.environ, "CONTAINERS_CONF": str(file)}
    with configured.cleaning():
        expect_every_name(Client(configured, base, "--network", network.name))


def test_the_page_shows_the_options_that_are_tried_here() -> None:
    here = " ".join(dns_options("172.30.0.53"))
    shown = block("### podman and docker", "podman run")
    for option in here.split(" --"):
        assert option in shown
    daemon = json.loads(block("### podman and docker", "dns-opts"))
    assert (daemon["dns-search"], daemon["dns-opts"]) == (list(SEARCH), ["ndots:5"])


def test_with_the_file_that_the_api_gives(
    contained: RunningContainer, network: Network, client: Callable[..., Client], tmp_path: Path
) -> None:
    connection = http.client.HTTPConnection(*contained.published("8053/tcp"), timeout=GUARD_SECONDS)
    connection.request("GET", "/resolv.conf?namespace=default")
    text = connection.getresponse().read().decode()
    connection.close()
    assert f"nameserver {network.server}" in text.splitlines()
    expect_every_name(client(*mounted(tmp_path, text)))


def test_with_the_file_that_the_command_gives_for_a_server_on_the_host(
    on_the_host: RunningServer, network: Network, client: Callable[..., Client], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "svcdns", "resolvconf", "--namespace", "default"]
    environ = {"SVCDNS_DATA": str(on_the_host.data), "PATH": "", "PYTHONPATH": str(SOURCE)}
    text = subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout
    assert f"nameserver {network.gateway}" in text.splitlines()
    expect_every_name(client(*mounted(tmp_path, text)))


def test_a_name_registered_now_is_found_now(
    contained: RunningContainer, network: Network, client: Callable[..., Client]
) -> None:
    inside = client(*dns_options(network.server))
    assert inside.addresses("late")["late"] == NO_SUCH_NAME
    service = '{"metadata": {"name": "late"}, "spec": {"clusterIP": "10.96.0.77", "ports": [{"port": 80}]}}'
    connection = http.client.HTTPConnection(*contained.published("8053/tcp"), timeout=GUARD_SECONDS)
    path = "/api/v1/namespaces/default/services"
    connection.request("POST", path, service, {"Content-Type": "application/json"})
    assert connection.getresponse().status == 201
    connection.close()
    assert inside.addresses("late")["late"] == ["10.96.0.77"]
