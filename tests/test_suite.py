"""The suite itself: what it says at the end of a run, and what is left when it is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from toolbox.running_server import PYTHONPATH
from toolbox.waiting import wait_for


def test_a_run_says_which_package_would_run_what_it_skipped() -> None:
    readme = Path(__file__).with_name("test_readme.py")
    environ = {**os.environ, "CI": "", "PATH": "", "SVCDNS_TEST_SEED": "7"}
    words = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(readme), "-k", "page_says")
    done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=120)
    assert "2 would run with Debian: bind9-dnsutils" in done.stdout, done.stdout + done.stderr
    assert "SVCDNS_TEST_SEED=7" in done.stdout
    failed = subprocess.run(words, env={**environ, "CI": "true"}, capture_output=True, text=True, timeout=120)
    assert "2 failed" in failed.stdout or "2 errors" in failed.stdout, failed.stdout


_THAT_IS_KILLED = """
import subprocess, sys
from pathlib import Path
from toolbox.hosts import Host
from toolbox.small_disk import small_disk

host, disk = Host(), Path(sys.argv[1])
host.write("resolv.conf", "")
with small_disk(disk, "size=1m"):
    there = subprocess.Popen(host.command("sleep", "1000"), start_new_session=True, stdout=subprocess.DEVNULL)
    print(host.name, flush=True)
    there.wait()
"""


def test_nothing_is_left_of_a_run_that_is_killed(may_make_hosts: None, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    words = [sys.executable, "-c", _THAT_IS_KILLED, str(disk)]
    run = subprocess.Popen(
        words,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stdout is not None
    name = run.stdout.readline().strip()
    assert name and os.path.ismount(disk)
    wait_for(lambda: _pids(name), "the process on the host")
    [pid] = _pids(name)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    wait_for(lambda: not Path("/run/netns", name).exists(), "the host to be removed")
    wait_for(lambda: not os.path.ismount(disk), "the disk to be removed")
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), "its process to be gone")
    assert not Path("/etc/netns", name).exists()


def _pids(name: str) -> list[int]:
    listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
    return [int(pid) for pid in listed.stdout.split()]
