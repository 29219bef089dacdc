"""Other people's rules: which of them drop traffic to Services, and what mends it.

    FORWARD    to containers and other hosts
    INPUT      to processes of this host, as endpoints or behind a relay

Rules:

* each chain that packets pass there is judged by itself: to be let through by one is no way past another;
* a chain drops what it isn't told to let on, where that is its policy or its last rule; it lets Services on
  where it accepts all that is wanted: by what was translated, or for a relay by where it is sent;
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
_UFW, _FIREWALLD, _DOCKERS_NFT = "ufw-before-", "firewalld", "docker-bridges"
_ENDS = ("drop", "reject")
_ONLY_SOME = frozenset(("-s", "-i", "-o", "--sport", "--ctstate", "--state", "--limit"))
"""Words of iptables that let a rule apply to some clients or packets only."""


class Way(NamedTuple):
    """A hook that packets to Services pass."""

    chain: str
    """As iptables names it."""
    hook: int
    does: str
    """What a firewall drops there, in words."""

    @property
    def ufw(self) -> str:
        """Return the chain of ufw that is for rules like ours."""
        return f"{_UFW}{self.chain.lower()}"


THROUGH = Way("FORWARD", rulesets.FORWARD, "what is forwarded")
IN = Way("INPUT", rulesets.INPUT, "what comes in")


class Obstacle(NamedTuple):
    """Rules that drop traffic to Services."""

    text: str
    remedy: str
    is_docker: bool = False
    """Rules of Docker's, which a jump in DOCKER-USER is the way past."""


def obstacles(kernel: wire.Socket, way: Way, wanted: Sequence[Target]) -> Iterator[Obstacle]:
    """Yield what drops traffic to these on a way.  Raises wire.NetlinkError."""
    for back in iptables.backs(kernel, way.chain):
        some = [one for one in wanted if one.network.version == back.version]
        if some:
            yield from _in_iptables(back, way, some)
    for chain in rulesets.chains(kernel):
        some = [one for one in wanted if one.network.version in _VERSIONS.get(chain.family, ())]
        is_iptables = (chain.family, chain.table) in _IPTABLES_TABLES
        if some and chain.hook == way.hook and not is_iptables:
            yield from _in_nftables(chain, way, some)


def _in_iptables(back: iptables.Back, way: Way, wanted: Iterable[Target]) -> Iterator[Obstacle]:
    try:
        lines = iptables.saved(back)
    except iptables.NotPossible as wrong:
        yield Obstacle(f"the {way.chain} rules of {back.command} can't be read: {wrong}", "")
        return
    chains = {line[1:].split()[0] for line in lines if line.startswith(":")}
    passed = _passed(lines, way.chain)
    refused = [one for one in wanted if not any(_accepts(line, one) for line in passed)]
    if not refused:
        return
    if way is THROUGH and docker_jump.DOCKERS_CHAIN in chains:
        rules = _remedies(f"{back.command} -I {docker_jump.DOCKERS_CHAIN}", refused)
        yield Obstacle(f"Docker's rules ({back.command}) drop traffic to containers", rules, True)
    elif _drops(lines, way.chain):
        is_ufw = way.ufw in chains
        whose = "ufw" if is_ufw else f"{back.command}: {way.chain}"
        rules = _remedies(f"{back.command} -I {way.ufw if is_ufw else way.chain}", refused)
        keeping = "; to keep them, put them into /etc/ufw/before.rules" if is_ufw else ""
        yield Obstacle(f"{whose} drops {way.does}{keeping}", rules)


def _passed(lines: Sequence[str], chain: str) -> list[str]:
    """Return the rules of a chain, and of all that lead on from there."""
    found: list[str] = []
    known, left = {chain}, [chain]
    while left:
        own = [line for line in lines if line.startswith(f"-A {left[-1]} ")]
        left.pop()
        found += own
        for line in own:
            words = line.split()
            leads = _after(words, "-j") or _after(words, "-g")
            if leads and leads not in known:
                known.add(leads)
                left.append(leads)
    return found


def _accepts(line: str, one: Target) -> bool:
    """Return whether a rule lets all connections to a target on."""
    words = line.split()
    if words[-2:] != ["-j", "ACCEPT"] or "!" in words:
        return False
    if one.protocol:
        return _accepts_sent(words, one)
    if _after(words, "--ctstate") != "DNAT":
        return False
    if set(words) & {"-s", "-d", "-i", "-o", "-p"}:  # only some of them
        return False
    network = _network(_after(words, "--ctorigdst") or "::/0")
    if "--ctorigdst" not in words:
        return True
    ports = _after(words, "--ctorigdstport")
    return network is not None and one.is_in(network, _ports(ports, ":") if ports else None)


def _accepts_sent(words: Sequence[str], one: Target) -> bool:
    if set(words) & _ONLY_SOME:
        return False
    if "-p" in words and _after(words, "-p") != one.protocol:
        return False
    network = _network(_after(words, "-d") or ("0.0.0.0/0" if one.network.version == 4 else "::/0"))
    ports = _after(words, "--dport")
    return network is not None and one.is_in(network, _ports(ports, ":") if ports else None)


def _after(words: Sequence[str], word: str) -> str:
    return words[words.index(word) + 1] if word in words[:-1] else ""


def _drops(lines: Iterable[str], chain: str) -> bool:
    policy = any(line.startswith(f":{chain} DROP") for line in lines)
    last = [line for line in lines if line.startswith(f"-A {chain} ")][-1:]
    return policy or any(line.startswith((f"-A {chain} -j DROP", f"-A {chain} -j REJECT")) for line in last)


def _in_nftables(chain: rulesets.Chain, way: Way, wanted: Sequence[Target]) -> Iterator[Obstacle]:
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
    if chain.table == _FIREWALLD and refused[0].protocol:
        rich = (f"--add-rich-rule='{one.in_firewalld} accept'" for one in refused)
        remedy = f"firewall-cmd --permanent {' '.join(rich)} && firewall-cmd --reload"
        yield Obstacle(f"firewalld drops {way.does}", remedy)
    elif chain.table == _FIREWALLD:
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
    """Return whether a rule accepts all connections to a target."""
    if not rule or "accept" not in rule[-1]:
        return False
    matches = [expression["match"] for expression in rule if "match" in expression]
    return _lets_sent_on(matches, one) if one.protocol else _lets_translated_on(matches, one)


def _lets_sent_on(matches: Iterable[dict[str, Any]], one: Target) -> bool:
    network, ports = one.network, None
    for match in matches:
        about, said = match.get("left"), match.get("right")
        field = about.get("payload") if isinstance(about, dict) else None
        if match.get("op") != "==" or not isinstance(field, dict):
            return False
        if field.get("field") == "daddr":
            found = _network(said)
            if found is None:
                return False
            network = found
        elif (field.get("protocol"), field.get("field")) in ((one.protocol, "dport"), ("th", "dport")):
            ports = _ports(said, "-")
        else:
            return False
    return one.is_in(network, ports)


def _lets_translated_on(matches: Iterable[dict[str, Any]], one: Target) -> bool:
    is_translated, network, ports = False, one.network, None
    for match in matches:
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
