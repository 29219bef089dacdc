"""The laboratory itself: hosts are apart, reach the server, and are gone afterwards, whatever happens."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from forward.hosts.laboratory import SEARCH, Laboratory
from toolbox.hosts import sweep
from toolbox.running_server import PYTHONPATH
from toolbox.waiting import wait_for

pytestmark = pytest.mark.usefixtures("may_make_hosts")

LEFT_BEHIND = """
import subprocess, sys, time
from forward.hosts.laboratory import Laboratory
with Laboratory(ipv6=True) as laboratory:
    host = laboratory.host(ndots=5)
    with host.entered():
        left = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(laboratory.server.name, host.name, left.pid, flush=True)
    time.sleep(600)
"""


def _exist(*names: str) -> bool:
    return any(Path(folder, name).exists() for folder in ("/run/netns", "/etc/netns") for name in names)


def _output(laboratory: Laboratory, *words: str) -> str:
    command = laboratory.host(ndots=2, options="use-vc").command(*words)
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_host_has_its_own_resolv_conf() -> None:
    with Laboratory(ipv6=False) as laboratory:
        text = _output(laboratory, "cat", "/etc/resolv.conf")
    assert text == f"nameserver 10.99.0.1\nsearch {SEARCH}\noptions ndots:2 use-vc\n"


def test_a_host_of_ipv4_has_no_ipv6_address_but_loopback() -> None:
    with Laboratory(ipv6=False) as laboratory:
        lines = _output(laboratory, "ip", "-6", "-brief", "address").splitlines()
    assert [line.split()[0] for line in lines] == ["lo"]


def test_a_host_reaches_the_server_over_both_families() -> None:
    with Laboratory(ipv6=True) as laboratory:
        host = laboratory.host(ndots=5)
        assert [host.reaches(address) for address in laboratory.addresses] == [True, True]
        assert not host.reaches("10.99.0.250")


def test_hosts_that_are_added_leave_the_others_connected() -> None:
    with Laboratory(ipv6=True) as laboratory:
        hosts = []
        for _ in range(8):
            hosts.append(laboratory.host(ndots=5))
            reached = [host.reaches(address) for host in hosts for address in laboratory.addresses]
            assert all(reached), reached


def test_nothing_is_left_even_when_a_test_fails() -> None:
    with pytest.raises(ZeroDivisionError), Laboratory(ipv6=True) as laboratory:
        names = (laboratory.server.name, laboratory.host(ndots=5).name)
        assert _exist(*names)
        raise ZeroDivisionError
    assert not _exist(*names)


def test_what_a_killed_run_left_is_removed_and_nothing_else() -> None:
    environ = {**os.environ, "PYTHONPATH": PYTHONPATH}
    command = [sys.executable, "-c", LEFT_BEHIND]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
    assert run.stdout is not None
    with run, Laboratory(ipv6=False) as alive:
        try:
            *names, pid = run.stdout.readline().split()
            sweep()
            assert _exist(names[0]) and _exist(names[1])  # its owner lives
        finally:
            run.send_signal(signal.SIGKILL)
            run.wait()
        sweep()
        assert not _exist(*names)
        wait_for(lambda: not Path(f"/proc/{pid}/ns").exists() or _is_zombie(pid), "its process to end")
        assert _exist(alive.server.name)


def _is_zombie(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
