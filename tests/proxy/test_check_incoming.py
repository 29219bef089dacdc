"""What keeps clients from processes of the host, and from a relay, is found, named, and mended as is said."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from proxy.machine import machine, nft, said
from proxy.test_check import FIREWALLD, OWN, PLAIN, SETTINGS, UFW, about, iptables, looked, mend
from toolbox.hosts import Host

from svcdns.proxy.check import OK, WARNING, Finding, check


def incoming(text: str) -> str:
    """The same rules for what comes in."""
    for one, other in (("FORWARD", "INPUT"), ("forward", "input")):
        text = text.replace(one, other)
    return text


@pytest.fixture
def host(may_change_rules: None) -> Iterator[Host]:
    with machine() as made:
        yield made


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        (UFW, "ufw drops what comes in"),
        (PLAIN, "INPUT drops what comes in"),
        (OWN, "inet mine through drops"),
        (FIREWALLD % "", "firewalld drops"),
    ],
)
@pytest.mark.parametrize("engine", ["nft", "user"])
def test_rules_for_what_comes_in_are_a_warning_and_mended(
    host: Host, rules: str, named: str, engine: str
) -> None:
    def found() -> list[Finding]:
        with host.entered():
            return [one for one in about(check(SETTINGS, engine), "rules") if one.level != OK]

    rules = incoming(rules)
    if "COMMIT" in rules:
        iptables(host, rules)
    else:
        nft(host, rules)
    before = found()
    assert {one.level for one in before} == {WARNING}
    assert all(named in one.text for one in before)
    assert all(("no Service here" in one.text) is (engine == "user") for one in before)
    if "firewall-cmd" in before[0].remedy:
        assert ("--add-rich-rule=" in before[0].remedy) is (engine == "user")
        return
    mend(host, before)
    assert found() == []


@pytest.mark.parametrize(
    "rule",
    [
        "iifname eth0 accept",
        "ip daddr 10.96.0.0/13 tcp dport 1-65535 accept",
        "ip daddr 10.96.0.0/12 tcp dport 1-1000 accept",
        "ip daddr != 10.96.0.0/12 accept",
        "ip saddr 10.96.0.0/12 accept",
        "ip daddr 10.96.0.0/12 counter",
    ],
)
def test_a_rule_that_lets_only_some_in_to_a_relay_is_not_enough(host: Host, rule: str) -> None:
    nft(host, incoming(OWN))
    said(host, "nft", "insert", "rule", f"inet mine through {rule}")
    settings = replace(SETTINGS, cluster_ranges=SETTINGS.cluster_ranges[:1])
    with host.entered():
        (found,) = about(check(settings, "user"), "rules")
    assert "ip daddr 10.96.0.0/12" in found.remedy


def test_what_is_let_on_is_not_let_in(host: Host) -> None:
    iptables(host, UFW.replace("COMMIT", "-A ufw-user-forward -m conntrack --ctstate DNAT -j ACCEPT\nCOMMIT"))
    iptables(host, incoming(PLAIN))
    found = about(looked(host), "rules")
    assert [one.level for one in found] == [WARNING, WARNING]
