"""`svcdns proxy check` and `svcdns proxy --cleanup` on a machine of the test's own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from proxy.machine import machine, nft, state
from proxy.test_check import OWN
from toolbox.hosts import Host
from toolbox.running_server import PYTHONPATH

pytestmark = pytest.mark.usefixtures("may_change_rules")


@pytest.fixture
def host(may_change_rules: None) -> Iterator[Host]:
    with machine() as made:
        yield made


def svcdns(host: Host, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = host.command(sys.executable, "-m", "svcdns", *words)
    environment = {"PYTHONPATH": PYTHONPATH, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    return subprocess.run(argv, capture_output=True, text=True, cwd=folder, env=environment)


def test_check_says_what_is_wrong_to_people_and_to_programs(host: Host, tmp_path: Path) -> None:
    nft(host, OWN)
    done = svcdns(host, tmp_path, "proxy", "check")
    assert done.returncode == 1 and "wrong:   the chain inet mine through" in done.stdout
    done = svcdns(host, tmp_path, "proxy", "check", "-o", "json")
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["ok"] is False
    assert "10.96.0.0/12" in next(one["remedy"] for one in said["findings"] if one["about"] == "rules")


def test_check_takes_the_ranges_and_the_engine_of_the_configuration(host: Host, tmp_path: Path) -> None:
    nft(host, OWN)
    file = tmp_path / "svcdns.toml"
    file.write_text('[services]\ncluster_ip_ranges = ["10.112.0.0/16"]\n[proxy]\nengine = "user"\n')
    done = svcdns(host, tmp_path, "proxy", "check", "--config", str(file))
    assert done.returncode == 0 and "10.112.0.0/16" in done.stdout and "inet mine" not in done.stdout


def test_cleanup_takes_back_what_a_proxy_left_and_nothing_is_no_failure(host: Host, tmp_path: Path) -> None:
    before = state(host)
    nft(host, "table ip svcdns {\n}\n")
    host.ip("route add 10.96.0.0/12 dev lo proto 96")
    done = svcdns(host, tmp_path, "proxy", "--cleanup")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["the table ip svcdns is gone", "the route for 10.96.0.0/12 is gone"]
    assert state(host) == before
    done = svcdns(host, tmp_path, "proxy", "--cleanup")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_cleanup_without_rights_says_what_is_missing(host: Host, tmp_path: Path) -> None:
    nft(host, "table ip svcdns {\n}\n")
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
    argv = host.command(*words, sys.executable, "-m", "svcdns", "proxy", "--cleanup")
    environment = {"PYTHONPATH": PYTHONPATH, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(argv, capture_output=True, text=True, cwd="/", env=environment)
    assert done.returncode == 1 and "CAP_NET_ADMIN" in done.stdout
