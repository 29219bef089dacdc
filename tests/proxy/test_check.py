"""What stands in the way of traffic to Services is found, named, and mended by the command that is given."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from proxy.machine import machine, nft, said, state
from toolbox.hosts import Host

from svcdns.netlink.conntrack import Fill
from svcdns.proxy import check as looking
from svcdns.proxy.check import OK, WARNING, WRONG, Finding, Report, check
from svcdns.proxy.host import HostWatch
from svcdns.proxy.host_settings import HostSettings

SETTINGS = HostSettings(
    cluster_ranges=(ip_network("10.96.0.0/12"), ip_network("fd96::/108")), docker=False, hairpin=False
)
BR_NETFILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
UFW = """*filter
:FORWARD DROP [0:0]
:ufw-before-forward - [0:0]
:ufw-user-forward - [0:0]
-A FORWARD -j ufw-before-forward
-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-forward -j ufw-user-forward
COMMIT
"""
DOCKER = """*filter
:FORWARD ACCEPT [0:0]
:DOCKER-USER - [0:0]
:DOCKER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -j DOCKER
-A DOCKER ! -i docker0 -o docker0 -j DROP
COMMIT
"""
PLAIN = """*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -j REJECT --reject-with icmp-port-unreachable
COMMIT
"""
FIREWALLD = """
table inet firewalld { chain filter_FORWARD { type filter hook forward priority 10; policy accept;
    ct state { established, related } accept
    %s
    reject with icmpx admin-prohibited
  }
}
"""
OWN = """
table inet mine { chain through { type filter hook forward priority 0; policy drop;
    ct state established,related accept
  }
}
"""


@pytest.fixture
def host(may_change_rules: None) -> Iterator[Host]:
    with machine() as made:
        yield made


def looked(host: Host, settings: HostSettings = SETTINGS) -> Report:
    with host.entered():
        return check(settings)


def about(report: Report, word: str) -> list[Finding]:
    return [one for one in report.findings if one.about == word]


def iptables(host: Host, text: str) -> None:
    for name in ("iptables", "ip6tables"):
        family = text.replace("icmp-port", "icmp6-port") if name == "ip6tables" else text
        subprocess.run(host.command(f"{name}-restore", "--noflush"), input=family, text=True, check=True)


def mend(host: Host, findings: list[Finding]) -> None:
    """Do what the findings say."""
    for one in findings:
        subprocess.run(host.command("sh", "-ec", one.remedy), check=True)


def test_a_machine_that_is_fit_is_said_to_be_and_not_changed(host: Host) -> None:
    before = state(host)
    report = looked(host, replace(SETTINGS, hairpin=True))
    assert [one for one in report.findings if one.level != OK] == []
    assert report.code == 0
    assert state(host) == before


@pytest.mark.parametrize(
    ("rules", "named"), [(UFW, "ufw drops"), (DOCKER, "Docker's rules"), (PLAIN, "FORWARD drops")]
)
def test_rules_of_iptables_are_named_and_mended(host: Host, rules: str, named: str) -> None:
    iptables(host, rules)
    report = looked(host)
    found = about(report, "rules")
    assert report.code == 1
    assert [one.level for one in found] == [WRONG, WRONG]  # in both families
    assert all(named in one.text for one in found)
    mend(host, found)
    assert looked(host).code == 0


def test_rules_of_the_legacy_iptables_are_named_and_mended(host: Host, need: Callable[..., str]) -> None:
    need("iptables-legacy")
    text = UFW.replace("conntrack --ctstate RELATED,ESTABLISHED", "state --state RELATED,ESTABLISHED")
    subprocess.run(host.command("iptables-legacy-restore"), input=text, text=True, check=True)
    (found,) = about(looked(host), "rules")
    assert found.level == WRONG and found.remedy.startswith("iptables-legacy -I ufw-before-forward")
    mend(host, [found])
    assert looked(host).code == 0


def test_rules_of_nftables_are_named_and_mended(host: Host) -> None:
    nft(host, OWN)
    (found,) = about(looked(host), "rules")
    assert found.level == WRONG and "inet mine through" in found.text
    mend(host, [found])
    assert looked(host).code == 0


def test_firewalld_lets_services_on_unless_it_is_strict(host: Host) -> None:
    nft(host, FIREWALLD % "ct status dnat accept")
    assert looked(host).code == 0
    nft(host, "delete table inet firewalld\n" + FIREWALLD % "")
    (found,) = about(looked(host), "rules")
    assert found.level == WRONG and "firewalld" in found.text and "StrictForwardPorts=no" in found.remedy


def test_to_be_let_through_by_one_is_no_way_past_another(host: Host) -> None:
    nft(host, FIREWALLD % "ct status dnat accept" + OWN)
    (found,) = about(looked(host), "rules")
    assert "inet mine through" in found.text


def test_a_rule_for_another_range_is_not_enough(host: Host) -> None:
    nft(host, OWN)
    said(
        host,
        "nft",
        "insert",
        "rule",
        "inet mine through ct status dnat ct original ip daddr 10.112.0.0/12 accept",
    )
    assert about(looked(host), "rules")[0].level == WRONG


@pytest.mark.parametrize(
    "rule",
    [
        "iifname eth0 ct status dnat accept",
        "ct status dnat ct original ip daddr 10.96.0.0/13 accept",
        "ct status dnat ct reply ip daddr 10.96.0.0/12 accept",
        "ct state new ct original ip daddr 10.96.0.0/12 accept",
        "ct status dnat tcp dport 80 accept",
        "ct status dnat counter",
    ],
)
def test_a_rule_that_lets_only_some_on_is_not_enough(host: Host, rule: str) -> None:
    nft(host, OWN)
    said(host, "nft", "insert", "rule", f"inet mine through {rule}")
    assert about(looked(host), "rules")[0].level == WRONG


@pytest.mark.parametrize(
    "rule",
    [
        "-s 192.168.77.0/24 -m conntrack --ctstate DNAT -j ACCEPT",
        "-m conntrack ! --ctstate DNAT -j ACCEPT",
        "-m conntrack --ctstate DNAT --ctorigdst 10.96.0.0/13 -j ACCEPT",
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-m conntrack --ctstate DNAT -j RETURN",
    ],
)
def test_a_rule_of_iptables_that_lets_only_some_on_is_not_enough(host: Host, rule: str) -> None:
    text = UFW.replace("COMMIT", f"-A ufw-user-forward {rule}\nCOMMIT")
    subprocess.run(host.command("iptables-restore", "--noflush"), input=text, text=True, check=True)
    assert about(looked(host), "rules")[0].level == WRONG


def test_rules_of_other_families_and_of_other_hooks_are_no_obstacle(host: Host) -> None:
    nft(host, OWN.replace("hook forward", "hook output") + OWN.replace("inet", "ip6"))
    of_ipv4 = replace(
        SETTINGS,
        cluster_ranges=SETTINGS.cluster_ranges[:1],
        node_port_addresses=(ip_network("0.0.0.0/0"),),
    )
    assert looked(host, of_ipv4).code == 0


def test_docker_is_what_the_proxy_has_a_way_past(host: Host, tmp_path: Path) -> None:
    iptables(host, DOCKER)
    report = looked(host, replace(SETTINGS, docker=True))
    assert report.code == 0 and "the proxy makes a way past them" in about(report, "rules")[0].text
    with host.entered(), HostWatch(replace(SETTINGS, docker=True), tmp_path) as watch:
        watch.look()
    assert [one.text for one in about(looked(host), "rules")] == [
        "no other packet rules drop traffic to Services"
    ]


def test_dockers_other_rules_have_no_way_past(host: Host) -> None:
    nft(host, OWN.replace("inet mine", "ip docker-bridges"))
    (found,) = about(looked(host, replace(SETTINGS, docker=True)), "rules")
    assert found.level == WRONG and "firewall-backend" in found.remedy


def test_without_nft_a_policy_is_seen_all_the_same(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    nft(host, OWN)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    (found,) = about(looked(host), "rules")
    assert found.level == WRONG and "inet mine through" in found.text


def test_forwarding_that_is_off_is_mended_and_left_to_the_proxy_where_it_does_that(host: Host) -> None:
    with host.entered():
        for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            Path("/proc/sys/net", name).write_text("0")
    found = about(looked(host), "forwarding")
    assert [one.level for one in found] == [WRONG, WRONG]
    assert looked(host, replace(SETTINGS, forwarding=True)).code == 0
    host.ip("link del br0", "link del veth0")
    assert [one.level for one in about(looked(host), "forwarding")] == [WARNING, WARNING]
    mend(host, found)
    assert [one.level for one in about(looked(host), "forwarding")] == [OK, OK]


@pytest.mark.skipif(not BR_NETFILTER.exists(), reason="this kernel has no br_netfilter")
def test_hairpin_mode_is_mended_and_left_to_the_proxy_where_it_does_that(host: Host) -> None:
    with host.entered():
        BR_NETFILTER.write_text("1")
    (found,) = about(looked(host), "hairpin")
    assert found.level == WARNING and "veth0" in found.text
    assert about(looked(host, replace(SETTINGS, hairpin=True)), "hairpin")[0].level == OK
    mend(host, [found])
    assert about(looked(host), "hairpin")[0].level == OK


def test_a_range_in_use_is_named_and_another_one_proposed(host: Host) -> None:
    host.ip(
        "tuntap add tun7 mode tun",
        "link set tun7 up",
        "route add 10.96.0.0/11 dev tun7",
        "route add fd60::/16 dev tun7",
        "route add fd96::/64 dev tun7",
    )
    four, six = about(looked(host), "ranges")
    assert (four.level, six.level) == (WRONG, WRONG)
    assert "to tun7" in four.text and "10.128.0.0/16" in four.remedy
    assert "fd61:5e::/108" in six.remedy


def test_a_program_on_a_node_port_is_found_and_named(host: Host) -> None:
    with host.entered():
        listening = [
            socket.create_server(("", 30001)),
            socket.create_server(("::", 30002), family=socket.AF_INET6, dualstack_ipv6=True),
            socket.create_server(("127.0.0.1", 30003)),  # no node port is offered there
            socket.create_server(("", 29999)),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        ]
        listening[-1].bind(("192.168.77.1", 30004))
    try:
        program = "from proxy.test_check import print_node_ports; print_node_ports()"
        words = host.command(sys.executable, "-c", program)
        path = ":".join(map(str, (Path(__file__).parents[1], Path(__file__).parents[2])))
        text = subprocess.run(
            [*words],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": path, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        found = json.loads(text.stdout)
    finally:
        for one in listening:
            one.close()
    assert [one["level"] for one in found] == [WARNING] * 3
    for one, place in zip(
        found, ("tcp 0.0.0.0:30001", "tcp [::]:30002", "udp 192.168.77.1:30004"), strict=True
    ):
        assert place in one["text"] and "process " in one["text"]


def print_node_ports() -> None:
    print(json.dumps([one._asdict() for one in about(check(SETTINGS), "node-ports")]))


def test_node_ports_that_clients_get_too_are_mended(host: Host) -> None:
    settings = replace(SETTINGS, node_ports=range(32000, 33000))
    with host.entered():
        Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("32768 60999")
    found = [one for one in about(looked(host, settings), "node-ports") if one.level == WARNING]
    assert "32768-32999" in found[0].text
    mend(host, found)
    assert {one.level for one in about(looked(host, settings), "node-ports")} == {OK}


@pytest.mark.parametrize(
    ("fill", "level"),
    [(Fill(10, 100), OK), (Fill(80, 100), WRONG), (Fill(100, 100), WRONG), (Fill(0, 0), OK), (None, WARNING)],
)
def test_how_full_the_table_of_connections_is(
    fill: Fill | None, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("svcdns.netlink.conntrack.fill", lambda: fill)
    (found,) = about(check(HostSettings()), "connections")
    assert found.level == level
    if fill and level == WRONG:
        assert found.remedy == "sysctl -w net.netfilter.nf_conntrack_max=200"


def test_which_kernels_keep_the_table_from_others() -> None:
    def levels(release: str) -> list[str]:
        return [one.level for one in looking._kernel(release)]

    assert levels("5.10.0-21-amd64") == levels("6.8.12") == [WARNING]
    assert levels("6.9") == levels("7.0.0-rc1") == [OK]


def test_without_rights_that_is_what_is_wrong(host: Host) -> None:
    program = (
        "from svcdns.proxy.check import check, HostSettings\n"
        "report = check(HostSettings())\n"
        "print(report.code, *report.lines(), sep='\\n')"
    )
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
    text = said(host, *words, sys.executable, "-c", program)
    assert text.startswith("1\n") and "wrong:   the engine nft can't be used: it takes CAP_NET_ADMIN" in text


def test_the_report_for_people_begins_with_what_is_wrong_and_that_for_programs_has_all() -> None:
    report = Report(
        (Finding("a", OK, "fine"), Finding("b", WRONG, "bad", "mend it"), Finding("c", WARNING, "hm"))
    )
    assert list(report.lines()) == ["wrong:   bad", "           mend it", "warning: hm", "ok:      fine"]
    assert report.as_json()["findings"][1] == {
        "about": "b",
        "level": "wrong",
        "text": "bad",
        "remedy": "mend it",
    }
    assert (report.as_json()["ok"], report.code) == (False, 1)
