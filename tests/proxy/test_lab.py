"""The lab itself: each host reaches what it should, servers say the truth, and nothing is left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from toolbox.hosts import sweep
from toolbox.lab import BR_NETFILTER, Answer, Lab, ask_again
from toolbox.running_server import PYTHONPATH

pytestmark = pytest.mark.usefixtures("may_make_hosts")

SWITCH = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
LEFT_BEHIND = """
import time
from toolbox.lab import Lab
with Lab() as lab:
    print(*(host.name for host in (lab.node, lab.client, *lab.containers)), flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("family", [4, 6])
def test_a_server_says_who_it_is_and_whom_it_sees(lab: Lab, protocol: str, family: int) -> None:
    with lab.serve(lab.a1, protocol, 0) as server:
        for host in (lab.second, lab.a2, lab.b1, lab.far):
            answer = host.ask(protocol, lab.a1.addresses[family], server.port)
            assert answer[:2] == ("a1", host.addresses[family])


def test_the_client_knows_no_way_to_a_container(lab: Lab) -> None:
    with lab.serve(lab.a1, "tcp", 0) as server, pytest.raises(OSError, match="unreachable"):
        lab.client.ask("tcp", lab.a1.addresses[4], server.port, seconds=0.2)


def test_a_connection_outlives_its_listener_and_ends_by_a_reset(lab: Lab) -> None:
    server = lab.serve(lab.b1, "tcp", 0, lab.b1.addresses[4], who="one")
    with lab.a1.connect("tcp", lab.b1.addresses[4], server.port) as connected:
        own = connected.getsockname()
        assert ask_again(connected) == Answer("one", own[0], own[1])
        server.close()
        assert ask_again(connected).who == "one"
        with pytest.raises(ConnectionRefusedError):
            lab.a1.ask("tcp", lab.b1.addresses[4], server.port)
        server.reset()
        with pytest.raises(ConnectionResetError):
            ask_again(connected)


@pytest.mark.parametrize("wanted", BR_NETFILTER)
def test_bridged_packets_pass_the_rules_where_asked_for(wanted: bool | None) -> None:
    if wanted is None:
        pytest.skip("this kernel has no br_netfilter")
    with Lab(br_netfilter=wanted) as lab, lab.node.entered():
        assert SWITCH.read_text().strip() == str(int(wanted))


def test_nothing_is_left_by_a_run_that_was_killed() -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", LEFT_BEHIND],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
    )
    assert run.stdout is not None
    with run:
        try:
            names = run.stdout.readline().split()
            assert names and all(Path("/run/netns", name).exists() for name in names)
        finally:
            run.send_signal(signal.SIGKILL)
            run.wait()
    sweep()
    assert not any(Path("/run/netns", name).exists() for name in names)
