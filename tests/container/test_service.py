"""The shipped systemd unit, on a machine whose first process is systemd: it starts, reloads and stops."""

import re
from collections.abc import Iterator

import pytest
from container.machine import INSTALLED, Machine
from container.running_container import Podman
from toolbox.running_server import SOURCE
from toolbox.waiting import wait_for

pytestmark = pytest.mark.timeout(900)  # the first test makes what a machine consists of

CONFIG = """
[dns]
listen = ["127.0.0.1:53"]

[forward]
upstreams = []
"""


@pytest.fixture(scope="module")
def machine(
    podman: Podman, whole_system: str, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("installed")
    with podman.cleaning():
        made = Machine(podman, whole_system, image, folder, "--network", "none", masked=["etcd"])
        made.sh(f"mkdir -p /etc/svcdns\ncat > /etc/svcdns/svcdns.toml <<'END'\n{CONFIG}END")
        yield made


def test_the_service_from_its_start_to_its_stop(machine: Machine) -> None:
    # `start` of a notifying service comes back when it is ready: nothing waits here
    machine.sh("systemctl start svcdns || (journalctl -u svcdns; false)")
    assert machine.property("ActiveState") == "active"
    assert machine.property("MainPID") != "0"

    machine.svcdns("add", "cache", "--port", "redis=6379", "10.0.0.5")
    asked = machine.svcdns("query", "cache.default.svc.cluster.local", "--server", "127.0.0.1:53")
    assert "10.0.0.5" in asked
    status = machine.svcdns("status")
    assert "data       /var/lib/svcdns" in status
    process = machine.property("MainPID")
    assert machine.sh(f"stat -c %U /proc/{process}").strip() not in ("root", "0")

    machine.sh("systemctl reload svcdns || (journalctl -u svcdns; false)")
    assert machine.property("MainPID") == process, "an upgrade in place keeps its process"
    assert "svcdns upgraded: " in machine.sh("journalctl -u svcdns --output cat")

    machine.sh(f"kill -9 {process}")
    wait_for(lambda: machine.property("MainPID") not in ("0", process), "systemd to start it again")
    wait_for(lambda: machine.property("ActiveState") == "active", "it to be ready again")
    assert "10.0.0.5" in machine.svcdns("why", "cache")

    machine.sh("systemctl stop svcdns")
    assert machine.property("Result") == "success"


def test_little_is_open_to_it(machine: Machine) -> None:
    said = machine.sh("systemd-analyze security --offline=yes /etc/systemd/system/svcdns.service")
    exposure = re.search(r"Overall exposure level for svcdns.service: ([0-9.]+)", said)
    assert exposure is not None and float(exposure[1]) <= 2.0, said


def documented_drop_in() -> str:
    """What docs/operating.md has an administrator add to the unit for traffic."""
    blocks = re.findall(r"```ini\n(.*?)```", (SOURCE / "docs" / "operating.md").read_text(), re.DOTALL)
    (found,) = [block for block in blocks if "CAP_NET_ADMIN" in block]
    return str(found)


def test_with_the_documented_drop_in_it_carries_traffic_and_all_is_taken_back(machine: Machine) -> None:
    folder = "/etc/systemd/system/svcdns.service.d"
    machine.sh("systemctl stop svcdns; ip link set lo up")
    machine.sh(f"mkdir -p {folder}\ncat > {folder}/override.conf <<'END'\n{documented_drop_in()}END")
    machine.sh("printf '[proxy]\nserve = true\n' >> /etc/svcdns/svcdns.toml; systemctl daemon-reload")
    machine.sh("systemctl start svcdns || (journalctl -u svcdns; false)")
    machine.svcdns("add", "web", "--cluster-ip", "--port", "http=8080", "10.0.0.5")

    def status() -> str:
        return machine.sh(f"{INSTALLED}/bin/svcdns proxy status 2>&1 || true")

    wait_for(lambda: "-> 10.0.0.5:8080" in status(), "traffic to be carried")
    assert "engine     nft" in status(), machine.sh("journalctl -u svcdns --output cat")
    assert "proto 96" in machine.sh("ip route show table all")
    machine.sh("systemctl reload svcdns || (journalctl -u svcdns; false)")
    wait_for(lambda: "-> 10.0.0.5:8080" in status(), "traffic to be carried by the next one")
    assert "engine     nft" in status(), machine.sh("journalctl -u svcdns --output cat")

    machine.sh("systemctl stop svcdns")
    taken_back = machine.svcdns("proxy", "--cleanup")
    assert "the table ip svcdns is gone" in taken_back
    assert "proto 96" not in machine.sh("ip route show table all")
    machine.sh(f"rm -r {folder}; systemctl daemon-reload")
