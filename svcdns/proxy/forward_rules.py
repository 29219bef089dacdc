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


def obstacles(kernel: wire.Socket, ranges: Sequence[Network]) -> Iterator[Obstacle]:
    """Yield what drops traffic to these ranges.  Raises wire.NetlinkError."""
    for back in (one for one in iptables.backs(kernel, "FORWARD")):
        some = [one for one in ranges if one.version == back.version]
        if some:
            yield from _in_iptables(back, some)
    for chain in rulesets.chains(kernel):
        some = [one for one in ranges if one.version in _VERSIONS.get(chain.family, ())]
        is_iptables = (chain.family, chain.table) in _IPTABLES_TABLES
        if some and chain.hook == rulesets.FORWARD and not is_iptables:
            yield from _in_nftables(chain, some)


def _in_iptables(back: iptables.Back, ranges: Iterable[Network]) -> Iterator[Obstacle]:
    try:
        lines = iptables.saved(back)
    except iptables.NotPossible as wrong:
        yield Obstacle(f"the forwarding rules of {back.command} can't be read: {wrong}", "")
        return
    chains = {line[1:].split()[0] for line in lines if line.startswith(":")}
    refused = [one for one in ranges if not _accepts(lines, one)]
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


def _accepts(lines: Iterable[str], one: Network) -> bool:
    """Return whether a rule lets connections on that were translated from a range."""
    for line in lines:
        words = line.split()
        if "--ctstate" in words and "DNAT" in words and words[-2:] == ["-j", "ACCEPT"]:
            at = words.index("--ctorigdst") + 1 if "--ctorigdst" in words else 0
            if "!" not in words and (not at or _holds(words[at], one)):
                return True
    return False


def _drops(lines: Iterable[str]) -> bool:
    policy = any(line.startswith(":FORWARD DROP") for line in lines)
    last = [line for line in lines if line.startswith("-A FORWARD ")][-1:]
    return policy or any(line.startswith(("-A FORWARD -j DROP", "-A FORWARD -j REJECT")) for line in last)


def _in_nftables(chain: rulesets.Chain, ranges: Sequence[Network]) -> Iterator[Obstacle]:
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
    refused = [one for one in ranges if not any(_lets_on(rule, one) for rule in rules)]
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
        commands = (
            f"nft insert rule {where} ct status dnat ct original {_word(one)} daddr {one} accept"
            for one in refused
        )
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


def _lets_on(rule: Sequence[dict[str, Any]], one: Network) -> bool:
    """Return whether a rule accepts connections that were translated from a range."""
    if not rule or "accept" not in rule[-1]:
        return False
    is_translated = False
    for match in (expression["match"] for expression in rule if "match" in expression):
        left = match.get("left")
        about = left.get("ct") if isinstance(left, dict) else None
        if not isinstance(about, dict):
            return False
        if about.get("key") == "status" and match.get("right") == "dnat":
            is_translated = True
        elif about.get("dir") != "original" or not _is_range(match.get("right"), one):
            return False
    return is_translated


def _is_range(said: object, one: Network) -> bool:
    prefix = said.get("prefix") if isinstance(said, dict) else None
    text = f"{prefix.get('addr')}/{prefix.get('len')}" if isinstance(prefix, dict) else said
    return isinstance(text, str) and _holds(text, one)


def _holds(text: str, one: Network) -> bool:
    try:
        said = ip_network(text, strict=False)
    except ValueError:
        return False
    return said.version == one.version and one.subnet_of(said)  # type: ignore[arg-type]


def _remedies(begin: str, ranges: Iterable[Network]) -> str:
    rule = "-m conntrack --ctstate DNAT --ctorigdst"
    return " && ".join(f"{begin} {rule} {one} -j ACCEPT" for one in ranges)


def _word(one: Network) -> str:
    return "ip" if one.version == 4 else "ip6"
