"""Machines whose own resolver asks svcdns for our zone, set up by what docs/containers.md says."""

import json
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from container import resolving
from container.page import block, path_of, put
from container.resolving import NO_SUCH_NAME, OUTSIDE, OUTSIDE_ADDRESS, Inside, Network, Upstream
from container.running_container import Podman, RunningContainer
from toolbox.running_server import RunningServer
from toolbox.upstreams import HOST, Unbound, free_port
from toolbox.waiting import GUARD_SECONDS, wait_for

pytestmark = pytest.mark.timeout(900)  # the first test makes what a machine consists of

ADDRESS = "10.96.0.10"
WEB = "web.default.svc.cluster.local"
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"clusterIP": ADDRESS, "ports": [{"port": 80}]},
}
NOSUCH = "nosuch.default.svc.cluster.local"
EXPECTED = {WEB: [ADDRESS], OUTSIDE: [OUTSIDE_ADDRESS], NOSUCH: NO_SUCH_NAME}

BY_RESOLVED, BY_MANAGER = "### systemd-resolved", "### NetworkManager"
NETWORK_MANAGER, RESOLVED, ETCD = "NetworkManager", "systemd-resolved", "etcd"


class Machine(Inside):
    """A container with systemd as its first process, on two networks: that of containers, and an uplink."""

    def __init__(
        self, podman: Podman, image: str, containers: Network, uplink: Network, *services: str
    ) -> None:
        """`services`: which of NETWORK_MANAGER and RESOLVED run there."""
        super().__init__(
            podman,
            *("--systemd", "always", "--privileged", "--dns", "none"),
            *("--network", f"{containers.name},{uplink.name}", image, "/sbin/init"),
            *(
                f"systemd.mask={one}.service"
                for one in (NETWORK_MANAGER, RESOLVED, ETCD)
                if one not in services
            ),
        )
        wait_for(self._is_up, "systemd to have started everything")
        self.containers, self.uplink = self._link(containers), self._link(uplink)

    def _is_up(self) -> bool:
        done = self._podman.attempt("exec", self.name, "systemctl", "is-system-running")
        return done.stdout.strip() in ("running", "degraded")

    def _link(self, network: Network) -> tuple[str, str]:
        """Return (interface, address with prefix length) in a network."""
        for link in json.loads(self.execute("ip", "-json", "-4", "address")):
            for address in link["addr_info"]:
                if ip_address(network.gateway) in ip_network(
                    f"{address['local']}/{address['prefixlen']}", strict=False
                ):
                    return link["ifname"], f"{address['local']}/{address['prefixlen']}"
        raise AssertionError(f"not in {network}")

    def sh(self, script: str) -> str:
        """Return what a script says; raises AssertionError when it fails."""
        return self.execute("sh", "-ec", script)

    def write(self, text: str) -> None:
        """Write a file of the page, where its first line says."""
        path = path_of(text)
        self.sh(f"mkdir -p {path.parent}\ncat > {path} <<'END'\n{text}END")

    def answers(self) -> bool:
        """Whether its programs find all that they should, and the name of an address too."""
        return self.addresses(*EXPECTED) == EXPECTED and WEB in self.sh(f"getent hosts {ADDRESS} || true")


Start = Callable[..., Machine]
"""Starts a machine: machine(RESOLVED)."""


@pytest.fixture(scope="module")
def uplink(podman: Podman) -> Iterator[Network]:
    """Where the machine has its usual resolver."""
    with podman.cleaning():
        yield resolving.network(podman)


@pytest.fixture(scope="module")
def usual(need: Callable[..., str], upstream: Upstream, uplink: Network) -> Iterator[Upstream]:
    """The machine's usual resolver, on port 53."""
    with Upstream(uplink, port=53) as running:
        yield running


@pytest.fixture(scope="module")
def server(
    podman: Podman, image: str, network: Network, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> RunningContainer:
    """svcdns in the network of containers."""
    folder = tmp_path_factory.mktemp("manifests")
    folder.chmod(0o755)
    (folder / "web.json").write_text(json.dumps(SERVICE))
    return RunningContainer(
        *(podman, image, "--network", network.name, "--ip", network.server),
        *("--env", f"SVCDNS_FORWARD_UPSTREAMS={upstream.address}"),
        *("--volume", f"{folder}:/etc/svcdns/manifests:ro,z"),
    )


@pytest.fixture
def machine(
    podman: Podman,
    whole_system: str,
    network: Network,
    uplink: Network,
    server: RunningContainer,
    usual: Upstream,
) -> Iterator[Start]:
    with podman.cleaning():
        yield partial(Machine, podman, whole_system, network, uplink)
        assert "cluster.local" not in usual.log(), "our names have gone to the usual resolver"


def give_resolver(machine: Machine, uplink: Network) -> None:
    """Tell resolved of the uplink's resolver, as a DHCP client does."""
    machine.sh(f"resolvectl dns {machine.uplink[0]} {uplink.gateway}")


def make_connections(machine: Machine, uplink: Network, mode: str) -> None:
    """Have NetworkManager own both links, with the uplink's resolver on one, and do DNS in some mode."""
    machine.write(f"# /etc/NetworkManager/conf.d/mode.conf\n[main]\ndns={mode}\n")
    machine.sh("systemctl restart NetworkManager")
    made = {"containers": machine.containers, "uplink": machine.uplink}
    for name, (link, address) in made.items():
        dns = f"ipv4.dns {uplink.gateway}" if name == "uplink" else ""
        machine.sh(
            f"nmcli connection add type ethernet con-name {name} ifname {link} "
            f"ipv4.method manual ipv4.addresses {address} {dns}\n"
            f"nmcli connection up {name}"
        )


def forget_resolved(machine: Machine) -> None:
    """Leave nothing of resolved's: where its resolvconf is installed NetworkManager writes through that."""
    machine.sh("rm -f /sbin/resolvconf /etc/resolv.conf")


def test_resolved_asks_for_our_zone_on_a_link(machine: Start, network: Network, uplink: Network) -> None:
    one = machine(RESOLVED)
    give_resolver(one, uplink)
    script = block(BY_RESOLVED, "resolvectl dns")
    one.sh(put(script, {"172.30.0.53": network.server, "eth1": one.containers[0]}))
    wait_for(one.answers, "all names to be found")


def test_resolved_asks_for_our_zone_by_a_file_of_networkd(
    machine: Start, network: Network, uplink: Network
) -> None:
    one = machine(RESOLVED)
    give_resolver(one, uplink)
    file = block(BY_RESOLVED, "[Network]")
    one.write(put(file, {"172.30.0.53": network.server, "eth1": one.containers[0]}))
    one.sh("systemctl start systemd-networkd")
    wait_for(one.answers, "all names to be found")
    one.sh(f"ip -4 address show {one.containers[0]} | grep -F {one.containers[1]}")  # still there


def test_resolved_asks_for_our_zone_without_a_link(machine: Start, network: Network, uplink: Network) -> None:
    one = machine(RESOLVED)
    one.write(put(block(BY_RESOLVED, "[Resolve]"), {"127.0.0.1:1053": f"{network.server}:53"}))
    one.sh("systemctl restart systemd-resolved")
    give_resolver(one, uplink)
    wait_for(one.answers, "all names to be found")


def test_network_manager_asks_through_its_dnsmasq(machine: Start, network: Network, uplink: Network) -> None:
    one = machine(NETWORK_MANAGER)
    forget_resolved(one)
    make_connections(one, uplink, "default")
    one.sh("rm /etc/NetworkManager/conf.d/mode.conf")
    one.write(block(BY_MANAGER, "dns=dnsmasq"))
    one.write(put(block(BY_MANAGER, "server="), {"127.0.0.1#1053": f"{network.server}#53"}))
    one.sh("systemctl restart NetworkManager")
    wait_for(one.answers, "all names to be found")


def test_network_manager_asks_through_resolved(machine: Start, network: Network, uplink: Network) -> None:
    one = machine(NETWORK_MANAGER, RESOLVED)
    make_connections(one, uplink, "systemd-resolved")
    one.sh(put(block(BY_MANAGER, "nmcli", "~cluster.local"), {"172.30.0.53": network.server}))
    wait_for(one.answers, "all names to be found")


def test_network_manager_writes_resolv_conf(machine: Start, network: Network, uplink: Network) -> None:
    one = machine(NETWORK_MANAGER)
    forget_resolved(one)
    make_connections(one, uplink, "default")
    one.sh(put(block(BY_MANAGER, "nmcli", "dns-priority"), {"172.30.0.53": network.server}))
    wait_for(one.answers, "all names to be found")
    assert one.addresses("web", "web.default") == {"web": [ADDRESS], "web.default": [ADDRESS]}
    lines = set(one.execute("cat", "/etc/resolv.conf").splitlines())
    assert set(block("### /etc/resolv.conf").replace("172.30.0.53", network.server).splitlines()) <= lines


def test_dnsmasq_asks_for_our_zone(need: Callable[..., str], tmp_path: Path) -> None:
    program = need("dnsmasq")
    need("dig")
    need("unbound")
    port = free_port()
    with (
        Unbound(tls=False, https=False) as usual,
        RunningServer() as server,
        (tmp_path / "log").open("wb") as log,
    ):
        assert server.post("/api/v1/namespaces/default/services", SERVICE).status == 201
        file = tmp_path / "dnsmasq.conf"
        file.write_text(put(block("### dnsmasq"), {"127.0.0.1#1053": f"{HOST}#{server.dns[1]}"}))
        running = subprocess.Popen(
            [
                *(program, "--keep-in-foreground", f"--conf-file={file}", f"--port={port}"),
                *(
                    f"--listen-address={HOST}",
                    "--bind-interfaces",
                    "--no-resolv",
                    "--no-hosts",
                    "--user=root",
                ),
                *(f"--server={HOST}#{usual.port}", f"--pid-file={tmp_path / 'pid'}"),
            ],
            stdout=log,
            stderr=log,
        )

        def dig(*words: str) -> str:
            command = ["dig", f"@{HOST}", "-p", str(port), "+noall", "+answer", "+comments", *words]
            return subprocess.run(command, capture_output=True, text=True, timeout=GUARD_SECONDS).stdout

        try:
            wait_for(lambda: ADDRESS in dig(WEB), "dnsmasq to answer with our address")
            assert OUTSIDE_ADDRESS in dig(OUTSIDE)
            assert f"{WEB}." in dig("-x", ADDRESS)
            assert "NXDOMAIN" in dig(NOSUCH)
            assert "cluster.local" not in usual.log()
        finally:
            running.terminate()
            running.wait(GUARD_SECONDS)
