"""All that was changed is taken back, exactly, as often as one likes; nothing of others is touched."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from proxy.machine import nft, said, state, untouched_machine
from proxy.test_check import DOCKER, FIREWALLD, UFW, iptables
from toolbox.hosts import Host

from svcdns.client import Connection
from svcdns.config.sections import Config, ServicesConfig
from svcdns.proxy.cleanup import cleanup
from svcdns.proxy.engine import EngineError
from svcdns.proxy.host import HostWatch
from svcdns.proxy.host_settings import HostSettings
from svcdns.proxy.kernel import KernelEngine
from svcdns.proxy.process import serve

SETTINGS = HostSettings(
    cluster_ranges=(ip_network("10.96.0.0/12"), ip_network("fd96::/108")),
    load_balancer_ranges=(ip_network("192.168.77.192/26"),),
    forwarding=True,
)
TABLES = "\n".join(
    f"table {family} svcdns {{ map services {{ type inet_service : verdict; }}\n"
    "chain in { type nat hook prerouting priority -101; tcp dport vmap @services\n}\n}\n"
    for family in ("ip", "ip6")
)
OTHERS = {
    "none": "",
    "docker": DOCKER,
    "ufw": UFW,
    "both": UFW + DOCKER.replace(":FORWARD ACCEPT [0:0]\n", ""),
}
PROGRAM = """
import sys
from ipaddress import ip_network
from pathlib import Path
from proxy.test_cleanup import SETTINGS
from svcdns.proxy.host import HostWatch
watch = HostWatch(SETTINGS, Path(sys.argv[1]))
print("ready", flush=True)
while True:
    watch.look()
    print("looked", flush=True)
"""


@pytest.fixture
def host(may_change_rules: None) -> Iterator[Host]:
    with untouched_machine() as made:
        yield made


@pytest.mark.parametrize("others", OTHERS)
def test_a_machine_is_afterwards_as_it_was(host: Host, tmp_path: Path, others: str) -> None:
    if OTHERS[others]:
        iptables(host, OTHERS[others])
    nft(host, FIREWALLD % "ct status dnat accept")
    before = state(host)
    settings = replace(SETTINGS, forwarding="DOCKER" not in OTHERS[others])  # Docker's own need for it
    with host.entered(), HostWatch(settings, tmp_path) as watch:
        watch.look()
        nft(host, TABLES)
        assert state(host) != before
        assert all(one.is_done for one in cleanup([tmp_path]))
        assert state(host) == before
        assert cleanup([tmp_path]) == []
    assert state(host) == before
    assert list(tmp_path.iterdir()) == [] if tmp_path.exists() else True


def test_there_is_a_line_for_each_thing_that_is_taken_back(host: Host, tmp_path: Path) -> None:
    iptables(host, UFW)
    nft(host, TABLES)
    with host.entered(), HostWatch(SETTINGS, tmp_path) as watch:
        watch.look()
        texts = "\n".join(one.text for one in cleanup([tmp_path]))
    for part in (
        "table ip svcdns",
        "table ip6 svcdns",
        "10.96.0.0/12",
        "fd96::/108",
        "net.ipv4.ip_forward is 0",
    ):
        assert part in texts


def test_tables_and_routes_of_others_stay(host: Host, tmp_path: Path) -> None:
    nft(host, "table ip svcdnsx {\n}\ntable inet svcdns {\n}\ntable ip svcdns-2 {\n}\n")
    host.ip("route add 10.97.0.0/16 dev lo", "route add 10.98.0.0/16 dev lo proto 97")
    with host.entered():
        assert [one.text for one in cleanup([tmp_path])] == ["the table ip svcdns-2 is gone"]
    assert "svcdnsx" in said(host, "nft", "list", "tables")


def test_while_a_proxy_lives_nothing_is_taken_back_and_that_is_said(host: Host, tmp_path: Path) -> None:
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 9):
        pytest.skip("this kernel has no tables that belong to a process")
    with host.entered(), HostWatch(SETTINGS, tmp_path) as watch:
        engine = KernelEngine()
        engine.replace({}, watch.look())
        before = state(host)
        (found,) = cleanup([tmp_path])
        assert not found.is_done and "end it first" in found.text
        assert state(host) == before
        engine.close()
        assert all(one.is_done for one in cleanup([tmp_path]))
        assert "svcdns" not in said(host, "nft", "list", "tables")


def test_a_second_proxy_ends_with_a_reason_and_changes_nothing(host: Host, tmp_path: Path) -> None:
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 9):
        pytest.skip("this kernel has no tables that belong to a process")
    other = Config(data=tmp_path, services=ServicesConfig(cluster_ip_ranges=(ip_network("10.112.0.0/12"),)))
    with host.entered(), HostWatch(SETTINGS, tmp_path) as watch:
        engine = KernelEngine()
        engine.replace({}, watch.look())
        before = state(host)
        with pytest.raises(EngineError, match="another svcdns proxy"):
            asyncio.run(serve(other, Connection("http://127.0.0.1:9"), asyncio.Event()))
        assert state(host) == before
        engine.close()


def test_what_is_gone_already_is_no_failure(host: Host, tmp_path: Path) -> None:
    with host.entered(), HostWatch(SETTINGS, tmp_path) as watch:
        watch.look()
        host.ip("link del br0", "route del 10.96.0.0/12 dev lo")
        assert all(one.is_done for one in cleanup([tmp_path]))


def test_whatever_moment_a_proxy_is_killed_at_all_is_taken_back(host: Host, tmp_path: Path) -> None:
    iptables(host, UFW)
    before = state(host)
    tests = Path(__file__).parents[1]
    environment = dict(os.environ, PYTHONPATH=f"{tests}:{tests.parent}")
    for _ in range(5):
        words = host.command(sys.executable, "-c", PROGRAM, str(tmp_path))
        running = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        time.sleep(random.uniform(0, 0.01))  # any moment is right
        running.send_signal(signal.SIGKILL)
        running.communicate()
        with host.entered():
            assert all(one.is_done for one in cleanup([tmp_path]))
        assert state(host) == before
