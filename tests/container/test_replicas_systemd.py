"""Three machines with systemd, set up by docs/replicas.md line by line: one is lost and comes back."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from container.machine import INSTALLED, Machine
from container.page import block, put
from container.replica_hosts import ADDRESSES, EXAMPLE, make_certificates, three_hosts
from container.running_container import Podman
from toolbox import hosts
from toolbox.running_server import SOURCE
from toolbox.waiting import wait_for

pytestmark = pytest.mark.timeout(900)

PAGE = SOURCE / "docs" / "replicas.md"
HEADING = "### Three hosts with systemd"
SET_UP_SECONDS = 300.0
"""Against hanging only."""


@pytest.fixture
def machines(
    podman: Podman, whole_system: str, image: str, need: Callable[..., str], tmp_path: Path
) -> Iterator[list[Machine]]:
    """Give three machines, each with etcd as Debian installs it; it runs there, with nobody beside it."""
    need("openssl")
    if refused := hosts.why_not():
        pytest.skip(refused)
    make_certificates(tmp_path)
    with ExitStack() as stack:
        made = []
        for host, address in zip(three_hosts(stack), ADDRESSES, strict=True):
            stack.enter_context(podman.cleaning())
            folder = tmp_path / f"of-{address}"
            folder.mkdir()
            network = f"ns:/run/netns/{host.name}"
            made.append(Machine(podman, whole_system, image, folder, "--network", network))
            for file in (tmp_path / address, EXAMPLE / "etcd.env", EXAMPLE / "svcdns.toml"):
                podman.run("cp", str(file), f"{made[-1].name}:/root/")
        yield made


def set_up(podman: Podman, machine: Machine, address: str) -> None:
    """Run what the page says on one machine."""
    script = put(block(HEADING, "systemctl", page=PAGE), {"10.0.0.1": address})
    words = ("sh", "-ec", f"cd /root; PATH=$PATH:{INSTALLED}/bin\n{script}")
    podman.run("exec", machine.name, *words, seconds=SET_UP_SECONDS)


def answers(machine: Machine, name: str, address: str) -> bool:
    """Whether svcdns on a machine answers for a Service with an address."""
    question = f"{name}.default.svc.cluster.local"
    return address in machine.sh(
        f"{INSTALLED}/bin/svcdns query {question} --server 127.0.0.1:53 2>&1 || true"
    )


def test_three_machines_are_set_up_and_one_is_lost_and_comes_back(
    podman: Podman, machines: list[Machine]
) -> None:
    with ThreadPoolExecutor(len(machines)) as pool:  # each waits for another one's etcd
        list(pool.map(lambda one: set_up(podman, *one), zip(machines, ADDRESSES, strict=True)))
    first, second, third = machines
    first.svcdns("add", "cache", "10.1.0.5")
    for machine in machines:
        wait_for(lambda machine=machine: answers(machine, "cache", "10.1.0.5"), "all to show it")

    podman.run("stop", "--time", "0", first.name)  # it kills all that runs there, and clears up behind it
    assert answers(second, "cache", "10.1.0.5")
    second.svcdns("add", "queue", "10.1.0.6")
    wait_for(lambda: answers(third, "queue", "10.1.0.6"), "a write without it")

    podman.run("start", first.name)
    first.wait_until_up()
    wait_for(lambda: answers(first, "queue", "10.1.0.6"), "what is enabled to have started, and caught up")
    assert first.property("ActiveState") == "active"
