"""The machine around a whole server with traffic: what comes to it later, and all of it taken back."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from proxy.machine import said, state
from proxy.site import Site
from proxy.test_check import iptables
from proxy.test_past_firewalls import DOCKER_28
from toolbox.lab import Lab
from toolbox.running_server import PYTHONPATH
from toolbox.waiting import wait_for

PROXY = """
announce = ["eth0"]
"""


@pytest.fixture
def site(lab: Lab, may_change_rules: None) -> Iterator[Site]:
    with Site(lab, more=PROXY) as made:
        yield made


def clean_up(lab: Lab, folder: Path) -> subprocess.CompletedProcess[str]:
    words = lab.node.command(sys.executable, "-m", "svcdns", "proxy", "--cleanup")
    environment = {"PYTHONPATH": PYTHONPATH, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    return subprocess.run(words, capture_output=True, text=True, cwd=folder, env=environment)


def test_a_machine_that_had_traffic_is_afterwards_as_it_was(
    lab: Lab, may_change_rules: None, tmp_path: Path
) -> None:
    iptables(lab.node, DOCKER_28)
    for name in ("iptables", "ip6tables"):
        said(lab.node, name, "-P", "FORWARD", "ACCEPT")
    before = state(lab.node)
    with Site(lab, more=PROXY, leaves=True) as site:
        web = site.service("web", [lab.a1, lab.b1], type="LoadBalancer")
        for protocol in ("tcp", "udp"):
            site.reaches(
                lab.second, protocol, web.balancer, 80, {"a1", "b1"}
            )  # by ARP, through Docker's rules
            site.reaches(lab.client, protocol, lab.node.addresses[4], web.node_port(protocol), {"a1", "b1"})
        assert clean_up(lab, tmp_path).returncode == 1  # a proxy lives
        site.reaches(lab.second, "tcp", web.balancer, 80, {"a1", "b1"})
    done = clean_up(lab, tmp_path)
    assert done.returncode == 0, done.stdout
    assert "the table ip svcdns is gone" in done.stdout
    after = state(lab.node)
    assert {name for name in before if after[name] != before[name]} == set()
    said(lab.node, "nft", "flush", "ruleset")


def test_docker_that_starts_later_is_no_obstacle_for_long(site: Site, lab: Lab) -> None:
    web = site.service("later", [lab.a1], type="LoadBalancer")
    site.reaches(lab.client, "tcp", lab.node.addresses[4], web.node_port("tcp"), {"a1"})
    iptables(lab.node, DOCKER_28)
    site.reaches(lab.client, "tcp", lab.node.addresses[4], web.node_port("tcp"), {"a1"})
    said(lab.node, "iptables", "-F", "DOCKER-USER")
    wait_for(lambda: "svcdns" in said(lab.node, "iptables", "-S", "DOCKER-USER"), "the jump")
    said(lab.node, "iptables", "-P", "FORWARD", "ACCEPT")


def test_a_network_that_comes_later_is_served_with_its_clients_addresses(site: Site, lab: Lab) -> None:
    web = site.service("fresh", [lab.a1])
    lab.node.ip(
        "link add br-new type bridge",
        "link set br-new up",
        "address add 10.249.0.1/24 dev br-new",
        f"link add veth-new type veth peer name new0 netns {lab.b1.name}",
        "link set veth-new master br-new up",
    )
    lab.b1.ip(
        "link set new0 up", "address add 10.249.0.5/24 dev new0", "route add 10.96.0.0/12 via 10.249.0.1"
    )
    lab.b1.ip("route add 10.244.0.0/24 via 10.249.0.1")
    try:
        wait_for(
            lambda: site.reaches(lab.b1, "tcp", web.cluster_ip(4), 80, {"a1"}) == {"10.249.0.5"},
            "the client's own address to be seen",
        )
    finally:
        lab.node.ip("link del br-new")
        lab.b1.ip("link del new0")
