"""Two proxies with packet rules in one network namespace: the second one ends and says which is there."""

import os
import subprocess
import sys

import pytest
from toolbox.lab import Lab
from toolbox.running_server import PYTHONPATH
from toolbox.waiting import GUARD_SECONDS

from svcdns.proxy import host_lock
from svcdns.proxy.cleanup import cleanup
from svcdns.proxy.engine import EngineError

HOLD = """
import sys
from svcdns.proxy import host_lock
with host_lock.held():
    print("held", flush=True)
    sys.stdin.read()
"""


def holding(*words: str) -> "subprocess.Popen[str]":
    command = [*words, sys.executable, "-c", HOLD]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_one_process_holds_it_until_it_ends_however_that_is(lab: Lab) -> None:
    with lab.node.entered():
        first = holding()
        with pytest.raises(EngineError, match=rf"\(process {first.pid}\).*end it first"), host_lock.held():
            pass
        (kept,) = cleanup()
        assert (kept.is_done, f"(process {first.pid})" in kept.text) == (False, True)
        first.kill()
        first.wait(GUARD_SECONDS)
        with host_lock.held():
            assert host_lock.holder() != ""
    assert host_lock.holder() == ""


def test_another_network_namespace_has_one_of_its_own(lab: Lab) -> None:
    with lab.node.entered(), host_lock.held():
        other = holding(*lab.second.command())
        assert other.communicate()[1] is None
        assert other.returncode == 0


def test_another_user_keeps_no_proxy_away(lab: Lab) -> None:
    with lab.node.entered():
        first = holding("setpriv", "--reuid", "65534", "--clear-groups")
        assert host_lock.holder() == ""
        with host_lock.held():
            pass
        first.kill()
        first.communicate()


def test_whoever_asks_often_finds_it_each_time(lab: Lab) -> None:
    with lab.node.entered(), host_lock.held():
        assert {host_lock.holder() for _ in range(300)} == {f"another svcdns proxy (process {os.getpid()})"}
