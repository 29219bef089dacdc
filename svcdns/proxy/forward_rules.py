"""Other people's forwarding rules: which of them drop traffic to Services, and what mends it.

Rules:

* each chain that packets to be forwarded pass is judged by itself: to be let through by one is no way past
  another;
* a chain drops what it isn't told to let on, where that is its policy or its last rule; it lets Services on
  where it accepts translated connections, all of them or those from the ranges;
* iptables' tables are read by iptables, the others by nft, as JSON; without these programs only policies
  are seen, and that is said.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_network
from typing import Any, NamedTuple

from svcdns.netlink import rulesets, wire

from . import docker_jump, iptables
from .host_settings import Network
from .translated import Target

_IPTABLES_TABLES = (("ip", "filter"), ("ip6", "filter"))
_VERSIONS = {"ip": (4,), "ip6": (6,), "inet": (4, 6)}
_UFW, _FIREWALLD, _DOCKERS_NFT = "ufw-before-forward", "firewalld", "docker-bridges"
_ENDS = ("drop", "reject")


class Obstacle(NamedTuple):
    """Rules that drop traffic to Services."""

    text: str
    remedy: str
    is_docker: bool = False
    """Rules of Docker's, which a jump in DOCKER-USER is the way past."""


def obstacles(kernel: wire.Socket, wanted: Sequence[Target]) -> Iterator[Obstacle]:
    """Yield what drops traffic to these.  Raises wire.NetlinkError."""
    for back in iptables.backs(kernel, "FORWARD"):
        some = [one for one in wanted if one.network.version == back.version]
        if some:
            yield from _in_iptables(back, some)
    for chain in rulesets.chains(kernel):
        some = [one for one in wanted if one.network.version in _VERSIONS.get(chain.family, ())]
        is_iptables = (chain.family, chain.table) in _IPTABLES_TABLES
        if some and chain.hook == rulesets.FORWARD and not is_iptables:
            yield from _in_nftables(chain, some)


def _in_iptables(back: iptables.Back, wanted: Iterable[Target]) -> Iterator[Obstacle]:
    try:
        lines = iptables.saved(back)
    except iptables.NotPossible as wrong:
        yield Obstacle(f"the forwarding rules of {back.command} can't be read: {wrong}", "")
        return
    chains = {line[1:].split()[0] for line in lines if line.startswith(":")}
    refused = [one for one in wanted if not any(_accepts(line, one) for line in lines)]
    if not refused:
        return
    if docker_jump.DOCKERS_CHAIN in chains:
        rules = _remedies(f"{back.command} -I {docker_jump.DOCKERS_CHAIN}", refused)
        yield Obstacle(f"Docker's rules ({back.command}) drop traffic to containers", rules, True)
    elif _drops(lines):
        where = _UFW if _UFW in chains else "FORWARD"
        whose = "ufw" if _UFW in chains else f"{back.command}: FORWARD"
        rules = _remedies(f"{back.command} -I {where}", refused)
        keeping = "; to keep them, put them into /etc/ufw/before.rules" if _UFW in chains else ""
        yield Obstacle(f"{whose} drops what is forwarded{keeping}", rules)


def _accepts(line: str, one: Target) -> bool:
    """Return whether a rule lets all connections on that were translated from a target."""
    words = line.split()
    if words[-2:] != ["-j", "ACCEPT"] or "!" in words or _after(words, "--ctstate") != "DNAT":
        return False
    if set(words) & {"-s", "-d", "-i", "-o", "-p"}:  # only some of them
        return False
    network = _network(_after(words, "--ctorigdst") or "::/0")
    if "--ctorigdst" not in words:
        return True
    ports = _after(words, "--ctorigdstport")
    return network is not None and one.is_in(network, _ports(ports, ":") if ports else None)


def _after(words: Sequence[str], word: str) -> str:
    return words[words.index(word) + 1] if word in words[:-1] else ""


def _drops(lines: Iterable[str]) -> bool:
    policy = any(line.startswith(":FORWARD DROP") for line in lines)
    last = [line for line in lines if line.startswith("-A FORWARD ")][-1:]
    return policy or any(line.startswith(("-A FORWARD -j DROP", "-A FORWARD -j REJECT")) for line in last)


def _in_nftables(chain: rulesets.Chain, wanted: Sequence[Target]) -> Iterator[Obstacle]:
    where = f"{chain.family} {chain.table} {chain.name}"
    drops = chain.policy == rulesets.DROP
    rules = _as_json(chain)
    if rules is None:
        if drops:
            yield Obstacle(
                f"the chain {where} drops what it isn't told to let on; nft shows what that is", ""
            )
        return
    if not (drops or (rules and _is_end(rules[-1]))):
        return
    refused = [one for one in wanted if not any(_lets_on(rule, one) for rule in rules)]
    if not refused:
        return
    if chain.table == _FIREWALLD:
        remedy = "sed -i s/^StrictForwardPorts=yes/StrictForwardPorts=no/ /etc/firewalld/firewalld.conf"
        yield Obstacle("firewalld drops translated connections", f"{remedy} && firewall-cmd --reload")
    elif chain.table == _DOCKERS_NFT:
        text = (
            "Docker's nftables rules drop traffic to containers; there is a way past its iptables rules only"
        )
        yield Obstacle(text, 'set "firewall-backend": "iptables" in /etc/docker/daemon.json, restart Docker')
    else:
        commands = (f"nft insert rule {where} '{one.in_nftables} accept'" for one in refused)
        yield Obstacle(f"the chain {where} drops what it isn't told to let on", " && ".join(commands))


def _as_json(chain: rulesets.Chain) -> list[list[dict[str, Any]]] | None:
    """Return the expressions of each rule, as `nft -j` lists them; None where nft doesn't say."""
    program = shutil.which("nft") or shutil.which("nft", path="/usr/sbin:/sbin")
    words = ["-j", "list", "chain", chain.family, chain.table, chain.name]
    try:
        done = subprocess.run([program or "nft", *words], capture_output=True, timeout=30)
        listed = json.loads(done.stdout)["nftables"]
        return [one["rule"]["expr"] for one in listed if "rule" in one]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return None


def _is_end(rule: Sequence[dict[str, Any]]) -> bool:
    """Return whether a rule drops whatever comes to it."""
    words = [word for expression in rule for word in expression]
    return bool(words) and words[-1] in _ENDS and set(words[:-1]) <= {"counter", "log"}


def _lets_on(rule: Sequence[dict[str, Any]], one: Target) -> bool:
    """Return whether a rule accepts all connections that were translated from a target."""
    if not rule or "accept" not in rule[-1]:
        return False
    is_translated, network, ports = False, one.network, None
    for match in (expression["match"] for expression in rule if "match" in expression):
        about, said = match.get("left"), match.get("right")
        if about == {"meta": {"key": "l4proto"}}:
            continue  # of the protocols that Services have
        about = about.get("ct") if isinstance(about, dict) else None
        if not isinstance(about, dict):
            return False
        if about.get("key") == "status" and said == "dnat":
            is_translated = True
        elif about.get("dir") == "original" and str(about.get("key")).endswith("daddr"):
            found = _network(said)
            if found is None:
                return False
            network = found
        elif about.get("dir") == "original" and about.get("key") == "proto-dst":
            ports = _ports(said, "-")
        else:
            return False
    return is_translated and one.is_in(network, ports)


def _network(said: object) -> Network | None:
    """Read a network as iptables and nft -j write it; None for what is none."""
    prefix = said.get("prefix") if isinstance(said, dict) else None
    text = f"{prefix.get('addr')}/{prefix.get('len')}" if isinstance(prefix, dict) else str(said)
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _ports(said: object, between: str) -> range:
    """Read ports as iptables and nft -j write them; none for what is none."""
    some = said.get("range") if isinstance(said, dict) else str(said).split(between)
    try:
        numbers = [int(str(one).split()[0], 0) for one in some or ()]  # nft 1.0.6: "0x7530 [invalid type]"
    except (TypeError, ValueError, IndexError):
        return range(0)
    return range(numbers[0], numbers[-1] + 1) if numbers else range(0)


def _remedies(begin: str, wanted: Iterable[Target]) -> str:
    return " && ".join(f"{begin} {one.in_iptables} -j ACCEPT" for one in wanted)
