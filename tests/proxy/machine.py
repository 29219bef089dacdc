"""A machine that forwards, with a LAN and a container, and all of it that a proxy might change.

eth0 192.168.77.1, fd77::1    br0 10.244.0.1, fd44::1 with the port veth0
"""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolbox.hosts import Host, remove

_SYSCTLS = Path("/proc/sys/net")
_VOLATILE = re.compile(r"stable_secret$|nf_conntrack_count$|/flush$|_random")
_CHANGES_BY_ITSELF = re.compile(r"\[\d+:\d+\]|\w+_timer +\S+|expires \d+sec|valid_lft.*")


@contextmanager
def machine() -> Iterator[Host]:
    """Make it; raises NotAllowed."""
    lan, made = Host(), Host()
    try:
        made.ip(
            f"link add eth0 type veth peer name port netns {lan.name}",
            "link set eth0 address 02:00:00:00:77:01 addrgenmode none up",
            "address add 192.168.77.1/24 dev eth0",
            "address add fd77::1/64 dev eth0 nodad",
            "link add br0 address 02:00:00:00:44:01 type bridge mcast_snooping 0",
            "link add veth0 type veth peer name other0",
            "link set veth0 master br0 addrgenmode none up",  # no addresses that come a moment later
            "link set other0 addrgenmode none up",
            "link set br0 addrgenmode none up",
            "address add 10.244.0.1/24 dev br0",
            "address add fd44::1/64 dev br0 nodad",
            "route add default via 192.168.77.9",
            "route add default via fd77::9",
        )
        lan.ip("link set port up")
        with made.entered():
            for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                Path(_SYSCTLS, name).write_text("1")
        yield made
    finally:
        remove(made)
        remove(lan)


@contextmanager
def untouched_machine() -> Iterator[Host]:
    """One on which all is to be changed: it forwards nothing, and frames on a bridge pass packet rules."""
    with machine() as made:
        with made.entered():
            for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                Path(_SYSCTLS, name).write_text("0")
            for path in Path(_SYSCTLS, "bridge").glob("bridge-nf-call-ip*"):
                path.write_text("1")
        yield made


def nft(host: Host, text: str) -> None:
    """Load packet rules."""
    subprocess.run(host.command("nft", "-f", "-"), input=text, text=True, check=True)


def said(host: Host, *words: str) -> str:
    """Return what a command says there."""
    return subprocess.run(host.command(*words), capture_output=True, text=True, check=True).stdout


def state(host: Host) -> dict[str, str]:
    """Return all that is compared: addresses, links, routes, rules, neighbours, sysctls."""
    found = {
        " ".join(words): _steady(said(host, *words))
        for words in (
            ["ip", "-d", "link"],
            ["ip", "address"],
            ["ip", "-4", "route", "show", "table", "all"],
            ["ip", "-6", "route", "show", "table", "all"],
            ["ip", "neigh", "show", "proxy"],
            ["ip", "rule"],
            ["nft", "-s", "list", "ruleset"],
            ["iptables-save"],
            ["ip6tables-save"],
        )
    }
    with host.entered():
        found.update(_sysctls())
    return found


def _sysctls() -> Iterator[tuple[str, str]]:
    for folder, _, names in os.walk(_SYSCTLS):
        for name in names:
            path = Path(folder, name)
            if not _VOLATILE.search(str(path)):
                try:
                    yield str(path), path.read_text()
                except OSError:
                    continue


def _steady(text: str) -> str:
    """Leave out what changes by itself: counters, times, timers, addresses that links give themselves."""
    lines = (line for line in text.splitlines() if not line.startswith("#") and "fe80::" not in line)
    return "\n".join(_CHANGES_BY_ITSELF.sub("", line) for line in lines)
