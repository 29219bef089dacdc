"""The way past Docker's forwarding rules: a jump in DOCKER-USER, to a chain that lets traffic to Services on.

Docker drops what goes to its containers by other ways than its own published ports; DOCKER-USER is where
it wants the rules of others.  Ours accept connections whose destination was translated from an address of
our ranges, or from a node port, and nothing else.  Rules:

* it is made with the `iptables` that Docker's rules were made with (`iptables`);
* the jump comes behind the user's own rules in DOCKER-USER (before the RETURN that Docker ends it with): what
  those drop stays dropped;
* the jump is known by its comment, which also says (by a digest) to which rules it leads: so whether it
  stands is seen by netlink, without a process each few seconds.  Docker's chain without it gets it again;
  without Docker's chain there is nothing to do, and nothing is done.

https://docs.docker.com/engine/network/packet-filtering-firewalls/
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from svcdns.cluster.traffic_plan import Host
from svcdns.netlink import rulesets, wire

from . import iptables
from .changes_made import Restored
from .iptables import Back, NotPossible
from .translated import targets

DOCKERS_CHAIN = "DOCKER-USER"
OWN_CHAIN = "SVCDNS-FORWARD"
COMMENT = "svcdns: traffic to Services"


def set_up(kernel: wire.Socket, host: Host, node_ports: range) -> Iterator[str]:
    """Make the jump where Docker's chain is; yield what could not be done, a line each."""
    for back in iptables.backs(kernel, DOCKERS_CHAIN):
        wanted = wanted_rules(host, node_ports, back.version)
        try:
            if wanted and not _stands(kernel, back, wanted):
                _make(back, wanted)
        except NotPossible as wrong:
            yield f"Docker's rules drop traffic to Services ({back.family}): {wrong}"


def remove(kernel: wire.Socket) -> Iterator[Restored]:
    """Take out the jump and the chain; yield what came of it for each family where they were."""
    for back in iptables.backs(kernel, OWN_CHAIN):
        what = f"the jump in {DOCKERS_CHAIN} ({back.family})"
        try:
            jumps = [rule for rule in iptables.listed(back, DOCKERS_CHAIN) or () if COMMENT in rule]
            iptables.change(back, [f":{OWN_CHAIN} - [0:0]", *map(_deletion, jumps), f"-X {OWN_CHAIN}"])
            yield Restored(f"{what} is gone", True)
        except NotPossible as wrong:
            yield Restored(f"{what} stays: {wrong}", False)


def is_here(kernel: wire.Socket) -> bool:
    """Return whether Docker's chain is there.  Raises wire.NetlinkError."""
    return bool(iptables.backs(kernel, DOCKERS_CHAIN))


def wanted_rules(host: Host, node_ports: range, version: int) -> list[str]:
    """Return the rules of our chain, as iptables reads them."""
    wanted = (one for one in targets(host, node_ports) if one.network.version == version)
    return [f"-A {OWN_CHAIN} {one.in_iptables} -j ACCEPT" for one in wanted]


def comment(wanted: Iterable[str]) -> str:
    """Return the comment of the jump to these rules."""
    return f"{COMMENT} ({hashlib.sha256(repr(list(wanted)).encode()).hexdigest()[:12]})"


def _stands(kernel: wire.Socket, back: Back, wanted: list[str]) -> bool:
    """Return whether there is one jump, to these rules."""
    said = comment(wanted)
    if back.is_legacy:
        texts = [rule for rule in iptables.listed(back, DOCKERS_CHAIN) or () if COMMENT in rule]
        number = len(iptables.listed(back, OWN_CHAIN) or ())
        return len(texts) == 1 and said in texts[0] and number == len(wanted)
    there = rulesets.rules(kernel, back.family, "filter", DOCKERS_CHAIN)
    octets = [rule for rule in there if COMMENT.encode() in rule]
    number = len(rulesets.rules(kernel, back.family, "filter", OWN_CHAIN))
    return len(octets) == 1 and said.encode() in octets[0] and number == len(wanted)


def _make(back: Back, wanted: list[str]) -> None:
    rules = iptables.listed(back, DOCKERS_CHAIN) or []
    others = [rule for rule in rules if COMMENT not in rule]
    ends = bool(others) and others[-1] == f"-A {DOCKERS_CHAIN} -j RETURN"
    place = len(others) if ends else len(others) + 1
    jump = f'-I {DOCKERS_CHAIN} {place} -m comment --comment "{comment(wanted)}" -j {OWN_CHAIN}'
    lines = [f":{OWN_CHAIN} - [0:0]"]  # made, or emptied
    lines += [_deletion(rule) for rule in rules if COMMENT in rule]
    iptables.change(back, [*lines, *wanted, jump])


def _deletion(rule: str) -> str:
    return rule.replace("-A ", "-D ", 1)
