"""Three hosts on one network, and what examples/replicas has for each: its certificates and configuration.

Each host is a network namespace.
"""

import subprocess
from contextlib import ExitStack
from pathlib import Path

from toolbox import hosts
from toolbox.running_server import SOURCE
from toolbox.waiting import GUARD_SECONDS

EXAMPLE = SOURCE / "examples" / "replicas"
ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
DEVICE = "lan0"


def three_hosts(stack: ExitStack) -> list[hosts.Host]:
    """Make a host for each address, with DEVICE in the same network."""
    switch = hosts.Host()
    stack.callback(hosts.remove, switch)
    switch.ip("link add br0 type bridge", "link set br0 up")
    made: list[hosts.Host] = []
    for number, address in enumerate(ADDRESSES):
        host = hosts.Host()
        stack.callback(hosts.remove, host)
        host.ip(f"link add {DEVICE} type veth peer name p{number} netns {switch.name}")
        host.ip(f"link set {DEVICE} up", f"addr add {address}/24 dev {DEVICE}")
        switch.ip(f"link set p{number} master br0", f"link set p{number} up")
        made.append(host)
    return made


def make_certificates(folder: Path) -> None:
    """Make a folder of certificates for each address, as the page says."""
    (folder / "certificates").write_bytes((EXAMPLE / "certificates").read_bytes())
    subprocess.run(["sh", "certificates", *ADDRESSES], cwd=folder, check=True, timeout=GUARD_SECONDS)
