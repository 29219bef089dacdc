"""A proxy that is nobody, with the two rights that a server lends it, sets up all that one of root does."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from proxy.machine import said, state, untouched_machine
from proxy.test_check import DOCKER, iptables
from toolbox.hosts import Host
from toolbox.running_server import PYTHONPATH

NOBODY = 65534
PROGRAM = """
import json, sys
from ipaddress import ip_network
from pathlib import Path
from svcdns.cluster.traffic_plan import UDP, Frontend
from svcdns.proxy.cleanup import cleanup
from svcdns.proxy.flows import Wanted, forget
from svcdns.proxy.host import HostWatch
from svcdns.proxy.host_settings import HostSettings
settings = HostSettings(
    cluster_ranges=(ip_network("10.96.0.0/12"), ip_network("fd96::/108")),
    load_balancer_ranges=(ip_network("192.168.77.192/26"),),
    forwarding=True,
    announce=("eth0",),
)
folder = Path(sys.argv[1])
if sys.argv[2] == "look":
    with HostWatch(settings, folder) as watch:
        watch.announce(frozenset([bytes((192, 168, 77, 200))]))
        host = watch.look()
        forget({Frontend(4, bytes((10, 96, 0, 1)), UDP, 53): Wanted()}, host)
    print(json.dumps(watch.complaints))
else:
    print(json.dumps([one.text for one in cleanup([folder]) if not one.is_done]))
"""


@pytest.fixture
def host(may_change_rules: None) -> Iterator[Host]:
    with untouched_machine() as made:
        yield made


def as_nobody(host: Host, folder: Path, what: str) -> list[str]:
    rights = "+net_admin,+net_raw"
    words = [
        *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
        *(
            f"--inh-caps={rights}",
            f"--ambient-caps={rights}",
            sys.executable,
            "-c",
            PROGRAM,
            str(folder),
            what,
        ),
    ]
    environment = {"PYTHONPATH": PYTHONPATH, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(host.command(*words), capture_output=True, text=True, env=environment, cwd="/")
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder that nobody may write in: those of pytest are root's alone."""
    with TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o777)
        yield Path(name)


def test_nobody_with_two_rights_sets_up_and_takes_back_everything(host: Host, folder: Path) -> None:
    before = state(host)
    assert as_nobody(host, folder, "look") == []
    during = state(host)
    assert "hairpin on" in during["ip -d link"]
    assert during["/proc/sys/net/ipv4/ip_forward"] == "1\n"
    assert "10.96.0.0/12" in during["ip -4 route show table all"]
    assert "192.168.77.200" in during["ip neigh show proxy"]
    assert as_nobody(host, folder, "clean") == []
    after = state(host)
    assert {name for name in before if after[name] != before[name]} == set()


def test_nobody_with_two_rights_passes_dockers_rules(host: Host, folder: Path) -> None:
    iptables(host, DOCKER)
    assert as_nobody(host, folder, "look") == []
    assert "svcdns" in said(host, "iptables", "-S", "DOCKER-USER")
