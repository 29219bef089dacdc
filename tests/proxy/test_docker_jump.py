"""The way past Docker's rules: made where Docker's chain is, kept, and taken back; never at others' cost."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from proxy.machine import machine, said, state
from toolbox.hosts import Host

from svcdns.proxy.cleanup import cleanup
from svcdns.proxy.docker_jump import COMMENT, OWN_CHAIN
from svcdns.proxy.host import HostWatch
from svcdns.proxy.host_settings import HostSettings

JUMP = "the jump"
SETTINGS = HostSettings(cluster_ranges=(ip_network("10.96.0.0/12"), ip_network("fd96::/108")))
DOCKER = """*filter
:DOCKER-USER - [0:0]
:DOCKER-FORWARD - [0:0]
:FORWARD DROP [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER-FORWARD ! -i docker0 -o docker0 -j DROP
{users}
COMMIT
"""


@pytest.fixture(params=["iptables-nft", "iptables-legacy"])
def docker(request: pytest.FixtureRequest, may_change_rules: None) -> Iterator[tuple[Host, str]]:
    """Give a machine with Docker's chains, and the iptables that made them."""
    with machine() as made:
        probe = subprocess.run(made.command(request.param, "-S"), capture_output=True, text=True)
        if probe.returncode:
            pytest.skip(f"{request.param} does not work here: {probe.stderr.strip()}")
        yield made, request.param


def start_docker(docker: tuple[Host, str], *users: str) -> None:
    """Make Docker's chains in both families, with a user's rules in DOCKER-USER."""
    host, program = docker
    for name in (program, program.replace("ip", "ip6", 1)):
        text = DOCKER.format(users="\n".join(f"-A DOCKER-USER {rule}" for rule in users))
        subprocess.run(host.command(f"{name}-restore", "--noflush"), input=text, text=True, check=True)


def look(host: Host, folder: Path, settings: HostSettings = SETTINGS) -> HostWatch:
    with host.entered(), HostWatch(settings, folder) as watch:
        watch.look()
    return watch


def rules(docker: tuple[Host, str], chain: str) -> list[str]:
    host, program = docker
    lines = said(host, program, "-S", chain).splitlines()
    found = [line.removeprefix(f"-A {chain} ") for line in lines if line.startswith("-A")]
    return [JUMP if COMMENT in rule and rule.endswith(f"-j {OWN_CHAIN}") else rule for rule in found]


def test_traffic_to_services_is_let_on_in_both_families(docker: tuple[Host, str], tmp_path: Path) -> None:
    start_docker(docker, "-j RETURN")
    assert look(docker[0], tmp_path).complaints == ()
    assert rules(docker, "DOCKER-USER") == [JUMP, "-j RETURN"]
    assert rules(docker, OWN_CHAIN) == [
        "-m conntrack --ctstate DNAT --ctorigdst 10.96.0.0/12 -j ACCEPT",
        "-m conntrack --ctstate DNAT --ctorigdst 192.168.77.1 --ctorigdstport 30000:32767 -j ACCEPT",
    ]
    host, program = docker
    assert "--ctorigdst fd96::/108 -j ACCEPT" in said(host, program.replace("ip", "ip6", 1), "-S", OWN_CHAIN)


def test_what_a_user_drops_there_stays_dropped(docker: tuple[Host, str], tmp_path: Path) -> None:
    start_docker(docker, "-i eth9 -j DROP", "-j RETURN")
    look(docker[0], tmp_path)
    assert rules(docker, "DOCKER-USER") == ["-i eth9 -j DROP", JUMP, "-j RETURN"]


def test_docker_28_ends_its_chain_without_a_return(docker: tuple[Host, str], tmp_path: Path) -> None:
    start_docker(docker, "-i eth9 -j DROP")
    look(docker[0], tmp_path)
    assert rules(docker, "DOCKER-USER") == ["-i eth9 -j DROP", JUMP]


def test_looking_again_changes_nothing_and_new_addresses_change_the_rules(
    docker: tuple[Host, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_docker(docker)
    look(docker[0], tmp_path)
    before = state(docker[0])
    monkeypatch.setattr("svcdns.proxy.iptables.change", None)  # nothing is even tried
    look(docker[0], tmp_path)
    monkeypatch.undo()
    assert state(docker[0]) == before
    look(docker[0], tmp_path, replace(SETTINGS, cluster_ranges=(ip_network("10.112.0.0/12"),)))
    assert rules(docker, "DOCKER-USER") == [JUMP]
    assert "10.112.0.0/12" in rules(docker, OWN_CHAIN)[0]


def test_a_jump_that_is_flushed_or_doubled_is_put_right(docker: tuple[Host, str], tmp_path: Path) -> None:
    host, program = docker
    start_docker(docker)
    for words in (
        ["-F", "DOCKER-USER"],
        ["-F", OWN_CHAIN],
        ["-A", "DOCKER-USER", "-m", "comment", "--comment", COMMENT, "-j", OWN_CHAIN],
    ):
        look(host, tmp_path)
        said(host, program, *words)
        look(host, tmp_path)
        assert rules(docker, "DOCKER-USER") == [JUMP]
        assert len(rules(docker, OWN_CHAIN)) == 2


def test_without_docker_or_without_wish_nothing_is_made(docker: tuple[Host, str], tmp_path: Path) -> None:
    def tables() -> dict[str, str]:
        return {name: text for name, text in state(docker[0]).items() if "save" in name or "nft" in name}

    before = tables()
    look(docker[0], tmp_path)
    assert tables() == before
    start_docker(docker)
    before = tables()
    look(docker[0], tmp_path, replace(SETTINGS, docker=False))
    assert tables() == before


def test_cleanup_takes_the_jump_back_and_nothing_else(docker: tuple[Host, str], tmp_path: Path) -> None:
    start_docker(docker, "-i eth9 -j DROP", "-j RETURN")
    before = state(docker[0]), rules(docker, "DOCKER-USER")
    look(docker[0], tmp_path)
    with docker[0].entered():
        assert all(one.is_done for one in cleanup([tmp_path]))
        assert cleanup([tmp_path]) == []
    assert (state(docker[0]), rules(docker, "DOCKER-USER")) == before


def test_cleanup_takes_the_chain_back_where_docker_has_gone(docker: tuple[Host, str], tmp_path: Path) -> None:
    host, program = docker
    start_docker(docker)
    look(host, tmp_path)
    for name in (program, program.replace("ip", "ip6", 1)):
        for words in (["-F", "DOCKER-USER"], ["-F", "FORWARD"], ["-X", "DOCKER-USER"]):
            said(host, name, *words)
    with host.entered():
        cleanup([tmp_path])
    assert OWN_CHAIN not in said(host, program, "-S")


def test_without_iptables_it_says_what_is_missing(
    docker: tuple[Host, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_docker(docker)
    monkeypatch.setattr("svcdns.proxy.iptables._PROGRAMS", {4: "noiptables", 6: "noip6tables"})
    complaints = look(docker[0], tmp_path).complaints
    if docker[1] == "iptables-nft":  # the other kind is only seen by its own program
        assert complaints[0].endswith("noiptables is not installed")


def test_cleanup_leaves_forwarding_on_where_docker_needs_it(docker: tuple[Host, str], tmp_path: Path) -> None:
    host = docker[0]
    with host.entered():
        Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
    look(host, tmp_path, replace(SETTINGS, forwarding=True))
    start_docker(docker)
    with host.entered():
        done = cleanup([tmp_path])
        assert Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"
    assert any("Docker is here" in one.text for one in done)
