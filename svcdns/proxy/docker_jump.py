"""The way past Docker's forwarding rules: a jump in DOCKER-USER, to a chain that lets traffic to Services on.

Docker drops what goes to its containers by other ways than its own published ports; DOCKER-USER is where
it wants the rules of others.  Ours accept connections whose destination was translated from an address of
our ranges, or from a node port, and nothing else.  Rules:

* it is made with the `iptables` that Docker's rules were made with: rules of both kinds that iptables cannot
  read would hide the table from everybody who uses it;
* the jump comes behind the user's own rules in DOCKER-USER (before the RETURN that Docker ends it with): what
  those drop stays dropped;
* the jump is known by its comment, which also says (by a digest) to which rules it leads: so whether it
  stands is seen by netlink, without a process each few seconds.  Docker's chain without it gets it again;
  without Docker's chain there is nothing to do, and nothing is done.

https://docs.docker.com/engine/network/packet-filtering-firewalls/
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from svcdns.cluster.traffic_plan import Host
from svcdns.netlink import rulesets, wire

from .changes_made import Restored

DOCKERS_CHAIN = "DOCKER-USER"
OWN_CHAIN = "SVCDNS-FORWARD"
COMMENT = "svcdns: traffic to Services"
_LEGACY_TABLES = {4: Path("/proc/net/ip_tables_names"), 6: Path("/proc/net/ip6_tables_names")}
_FAMILIES = {4: "ip", 6: "ip6"}
_PROGRAMS = {4: "iptables", 6: "ip6tables"}
_SECONDS = 20
"""iptables waits for others that change rules; longer than this is a fault of theirs."""


class NotPossible(Exception):
    """iptables is not there, or refuses; one line."""


@dataclass(frozen=True, slots=True)
class Back:
    """Which iptables made Docker's chain for one family."""

    version: int
    is_legacy: bool


def set_up(kernel: wire.Socket, host: Host, node_ports: range) -> Iterator[str]:
    """Make the jump where Docker's chain is; yield what could not be done, a line each."""
    for back in backs(kernel):
        wanted = wanted_rules(host, node_ports, back.version)
        try:
            if wanted and not _stands(kernel, back, wanted):
                _make(back, wanted)
        except NotPossible as wrong:
            yield f"Docker's rules drop traffic to Services ({_FAMILIES[back.version]}): {wrong}"


def remove(kernel: wire.Socket) -> Iterator[Restored]:
    """Take out the jump and the chain; yield what came of it for each family where they were."""
    for back in backs(kernel, OWN_CHAIN):
        what = f"the jump in {DOCKERS_CHAIN} ({_FAMILIES[back.version]})"
        try:
            _restore(back, _removal(back))
            yield Restored(f"{what} is gone", True)
        except NotPossible as wrong:
            yield Restored(f"{what} stays: {wrong}", False)


def backs(kernel: wire.Socket, chain: str = DOCKERS_CHAIN) -> list[Back]:
    """Return where a chain of iptables' filter table is.  Raises wire.NetlinkError."""
    there = {(one.family, one.table, one.name) for one in rulesets.chains(kernel)}
    found = [
        Back(version, False) for version, family in _FAMILIES.items() if (family, "filter", chain) in there
    ]
    for version, names in _LEGACY_TABLES.items():
        back = Back(version, True)
        with suppress(NotPossible):
            if _has_filter_table(names) and _listed(back, chain) is not None:
                found.append(back)
    return found


def wanted_rules(host: Host, node_ports: range, version: int) -> list[str]:
    """Return the rules of our chain, as iptables reads them."""
    begin, translated = f"-A {OWN_CHAIN}", "-m conntrack --ctstate DNAT"
    rules = [
        f"{begin} {translated} --ctorigdst {one} -j ACCEPT" for one in host.ranges if one.version == version
    ]
    ports = f"{node_ports.start}:{node_ports.stop - 1}"
    own = [ip_address(one) for one in host.node_addresses]
    return rules + [
        f"{begin} {translated} --ctorigdst {one} --ctorigdstport {ports} -j ACCEPT"
        for one in own
        if one.version == version
    ]


def comment(wanted: Iterable[str]) -> str:
    """Return the comment of the jump to these rules."""
    return f"{COMMENT} ({hashlib.sha256(repr(list(wanted)).encode()).hexdigest()[:12]})"


def _stands(kernel: wire.Socket, back: Back, wanted: list[str]) -> bool:
    """Return whether there is one jump, to these rules."""
    said = comment(wanted)
    if back.is_legacy:
        texts = [rule for rule in _listed(back, DOCKERS_CHAIN) or () if COMMENT in rule]
        number = sum(rule.startswith("-A") for rule in _listed(back, OWN_CHAIN) or ())
        return len(texts) == 1 and said in texts[0] and number == len(wanted)
    family = _FAMILIES[back.version]
    octets = [
        rule for rule in rulesets.rules(kernel, family, "filter", DOCKERS_CHAIN) if COMMENT.encode() in rule
    ]
    number = len(rulesets.rules(kernel, family, "filter", OWN_CHAIN))
    return len(octets) == 1 and said.encode() in octets[0] and number == len(wanted)


def _make(back: Back, wanted: list[str]) -> None:
    rules = [rule for rule in _listed(back, DOCKERS_CHAIN) or () if rule.startswith("-A")]
    lines = [f":{OWN_CHAIN} - [0:0]"]  # made, or emptied
    lines += [rule.replace("-A ", "-D ", 1) for rule in rules if COMMENT in rule]
    others = [rule for rule in rules if COMMENT not in rule]
    ends = bool(others) and others[-1] == f"-A {DOCKERS_CHAIN} -j RETURN"
    place = len(others) if ends else len(others) + 1
    jump = f'-I {DOCKERS_CHAIN} {place} -m comment --comment "{comment(wanted)}" -j {OWN_CHAIN}'
    _restore(back, [*lines, *wanted, jump])


def _removal(back: Back) -> list[str]:
    rules = [rule for rule in _listed(back, DOCKERS_CHAIN) or () if rule.startswith("-A") and COMMENT in rule]
    return [
        f":{OWN_CHAIN} - [0:0]",
        *(rule.replace("-A ", "-D ", 1) for rule in rules),
        f"-X {OWN_CHAIN}",
    ]


def _restore(back: Back, lines: Iterable[str]) -> None:
    """Change the filter table in one step.  Raises NotPossible."""
    text = "\n".join(("*filter", *lines, "COMMIT", ""))
    _run(back, "-restore", ["--noflush", "-w", "5"], text)


def _listed(back: Back, chain: str) -> list[str] | None:
    """Return a chain as `iptables -S` writes it; None where it isn't there.  Raises NotPossible."""
    try:
        return _run(back, "", ["-w", "5", "-S", chain]).splitlines()
    except _Refused:
        return None


class _Refused(NotPossible):
    """iptables ran, and said no."""


def _run(back: Back, suffix: str, words: list[str], text: str = "") -> str:
    program = _program(back, suffix)
    try:
        done = subprocess.run([program, *words], input=text, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise NotPossible(f"{program} did not answer in {_SECONDS} s") from None
    except OSError as wrong:
        raise NotPossible(f"{program}: {wrong.strerror}") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        raise _Refused(f"{program}: {said}")
    return done.stdout


def _program(back: Back, suffix: str) -> str:
    """Return the iptables of the back end that Docker used.  Raises NotPossible."""
    name = _PROGRAMS[back.version]
    for one in (f"{name}-{'legacy' if back.is_legacy else 'nft'}{suffix}", f"{name}{suffix}"):
        if shutil.which(one) or Path("/usr/sbin", one).exists():
            return shutil.which(one) or f"/usr/sbin/{one}"
    raise NotPossible(f"{name} is not installed")


def _has_filter_table(names: Path) -> bool:
    try:
        return "filter" in names.read_text().split()
    except OSError:
        return False
