"""Three containers that make up a stateful cluster: they find each other by a headless Service."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from container.page import block
from container.resolving import NO_SUCH_NAME, Client, Network, Upstream, dns_options
from container.running_container import Podman, RunningContainer
from toolbox.waiting import GUARD_SECONDS, wait_for

pytestmark = pytest.mark.timeout(900)  # the first test makes the image, and on a new machine its base

NAMESPACE = "/api/v1/namespaces/default"
ZONE = "default.svc.cluster.local"
PEERS, READY = "db", "db-ready"
"""Headless Services: one has every member from its start on, the other those that are ready."""
MEMBERS = ("db-0", "db-1", "db-2")
PROGRAM = Path(__file__).with_name("member.py")

GET_SRV = """
import json, sys
import dns.resolver
def look_up(name):
    try:
        found = dns.resolver.resolve(name, "SRV", search=True)
        return sorted([record.target.to_text(omit_final_dot=True), record.port] for record in found)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
print(json.dumps(look_up(sys.argv[1])))
"""


class Cluster:
    """The members, and somebody in a container beside them who looks them up."""

    def __init__(self, podman: Podman, image: str, network: Network, server: RunningContainer) -> None:
        self._podman = podman
        self._image = image
        self._network = network
        self._server = server
        self._running: dict[str, str] = {}
        self.addresses: dict[str, str] = {}
        for service in services():
            assert self.api("POST", "services", service) == 201
        self.observer = Client(podman, image, *self._options())

    def _options(self) -> Iterator[str]:
        yield from ("--network", self._network.name)
        yield from dns_options(self._network.server)

    def api(self, method: str, path: str, body: Any = None) -> int:
        """Return the status of one request."""
        connection = http.client.HTTPConnection(*self._server.published("8053/tcp"), timeout=GUARD_SECONDS)
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        try:
            octets = None if body is None else json.dumps(body)
            connection.request(method, f"{NAMESPACE}/{path}", octets, {"Content-Type": kind})
            return connection.getresponse().status
        finally:
            connection.close()

    def start(self, member: str) -> None:
        """Start a member's container."""
        name = self._podman.fresh_name("rm", "--force", "--volumes", "--time", "0")
        self._podman.run(
            *("run", "--detach", "--name", name, *self._options()),
            *("--volume", f"{PROGRAM}:/member.py:ro,z", "--entrypoint", "python3", self._image),
            *("/member.py", f"http://{self._network.server}:8053", member, PEERS, str(len(MEMBERS))),
        )
        self._running[member] = name

    def log(self, member: str) -> list[str]:
        """Return what a member has said so far."""
        done = self._podman.attempt("logs", self._running[member])
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout.splitlines()

    def wait_until_ready(self, member: str) -> None:
        """Return when a member has found its peers and said so to the API."""
        wait_for(lambda: "ready" in self.log(member), f"{member} to be ready")
        self.addresses[member] = self.log(member)[0].removeprefix("registered: ")

    def kill(self, member: str) -> None:
        """End a member without warning; its Pod is still registered."""
        self._podman.run("kill", self._running[member])

    def targets(self, service: str) -> list[list[Any]]:
        """Return [target, port] of each SRV record of a Service's port, as the observer finds them."""
        found: list[list[Any]] = self.observer.python(GET_SRV, f"_peer._tcp.{service}")
        return found

    def members(self, service: str) -> list[str]:
        """Return who is found by a Service's name (A), having seen that its SRV records lead to the same."""
        targets = [target for target, _ in self.targets(service)]
        found = self.observer.addresses(service, *targets)
        addresses = found.pop(service)
        assert isinstance(addresses, list), f"{service}: {addresses}"
        assert sorted(one for target in found.values() for one in target) == addresses
        known = {address: member for member, address in self.addresses.items()}
        return sorted(known[one] for one in addresses)


def services() -> Iterator[dict[str, Any]]:
    """Yield the Service of the page, and the one for clients that the page tells of."""
    peers = yaml.safe_load(block("## A stateful cluster", "kind: Service"))
    yield peers
    spec = {key: value for key, value in peers["spec"].items() if key != "publishNotReadyAddresses"}
    yield {**peers, "metadata": {"name": READY}, "spec": spec}


@pytest.fixture(scope="module")
def cluster(podman: Podman, image: str, network: Network, upstream: Upstream) -> Cluster:
    server = RunningContainer(
        *(podman, image, "--network", network.name, "--ip", network.server),
        *("--env", f"SVCDNS_FORWARD_UPSTREAMS={upstream.address}", "--publish", "127.0.0.1::8053"),
        *("--env", "SVCDNS_API_LISTEN=0.0.0.0:8053", "--env", "SVCDNS_API_INSECURE=true"),
    )
    made = Cluster(podman, image, network, server)
    for member in MEMBERS:
        made.start(member)
    for member in MEMBERS:
        made.wait_until_ready(member)
    return made


def test_members_find_each_other_before_they_are_ready(cluster: Cluster) -> None:
    """Each has reached all three by the targets of SRV records, and only then called itself ready."""
    for member in MEMBERS:
        assert cluster.log(member)[1:] == [f"found: {' '.join(MEMBERS)}", "ready"]


def test_all_are_found_by_the_headless_name_and_by_srv(cluster: Cluster) -> None:
    assert cluster.members(PEERS) == list(MEMBERS)
    assert cluster.members(READY) == list(MEMBERS)
    assert cluster.targets(PEERS) == [[f"{member}.{PEERS}.{ZONE}", 7000] for member in MEMBERS]


def test_each_has_a_name_of_its_own(cluster: Cluster) -> None:
    names = [f"{member}.{PEERS}" for member in MEMBERS]
    found = cluster.observer.addresses(*names)
    assert [found[name] for name in names] == [[cluster.addresses[member]] for member in MEMBERS]


def test_one_that_is_killed_is_gone_at_once_and_its_replacement_is_found_under_its_name(
    cluster: Cluster,
) -> None:
    gone, *rest = MEMBERS[1], MEMBERS[0], MEMBERS[2]
    its_name = f"{gone}.{PEERS}"
    cluster.kill(gone)
    not_ready = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    assert cluster.api("PATCH", f"pods/{gone}", not_ready) == 200
    assert cluster.members(READY) == rest
    assert cluster.members(PEERS) == list(MEMBERS)

    assert cluster.api("DELETE", f"pods/{gone}?gracePeriodSeconds=0") == 200
    assert cluster.members(PEERS) == rest
    assert cluster.targets(PEERS) == [[f"{member}.{PEERS}.{ZONE}", 7000] for member in rest]
    assert cluster.observer.addresses(its_name) == {its_name: NO_SUCH_NAME}

    before = cluster.addresses.pop(gone)
    cluster.start(gone)
    cluster.wait_until_ready(gone)
    assert cluster.addresses[gone] != before
    assert cluster.members(PEERS) == cluster.members(READY) == list(MEMBERS)
    assert cluster.observer.addresses(its_name) == {its_name: [cluster.addresses[gone]]}
