"""Which packet rules others have: the chains of all tables, and a chain's rules, as far as a look takes.

Rules:

* one dump of the names of chains, never one of elements: somebody's set may have 50,000 of them;
* what a rule does isn't decoded here: its octets are returned, and who looks for a text in them finds it;
* iptables' own tables are seen where its back end is nf_tables ("nf_tables" in `iptables -V`), as the tables
  that it makes: `ip filter` and so on.

include/uapi/linux/netfilter/nf_tables.h
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from . import wire
from .nftables import Kind, dump

_HEADER_OCTETS = 4
_NUMBER, _SIGNED = struct.Struct("!I"), struct.Struct("!i")
_ALL_FAMILIES = 0
FAMILIES = {"inet": 1, "ip": 2, "arp": 3, "netdev": 5, "bridge": 7, "ip6": 10}
_FAMILY_NAMES = {number: name for name, number in FAMILIES.items()}
PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = range(5)
DROP, ACCEPT = 0, 1
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY = 1, 3, 4, 5
_HOOK_NUMBER, _HOOK_PRIORITY = 1, 2
_RULE_TABLE, _RULE_CHAIN = 1, 2


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of some table."""

    family: str
    table: str
    name: str
    hook: int | None = None
    """Where packets come to it by themselves: FORWARD and so on; None where others jump to it."""
    priority: int = 0
    policy: int = ACCEPT


def chains(kernel: wire.Socket) -> list[Chain]:
    """Return all chains of all tables.  Raises wire.NetlinkError, wire.Malformed."""
    return [read_chain(received.payload) for received in dump(kernel, Kind.GETCHAIN, _ALL_FAMILIES)]


def rules(kernel: wire.Socket, family: str, table: str, chain: str) -> list[bytes]:
    """Return the rules of a chain as octets, in order; [] where it isn't there.  Raises as `chains`."""
    which = wire.text(_RULE_TABLE, table), wire.text(_RULE_CHAIN, chain)
    found = []
    for received in dump(kernel, Kind.GETRULE, FAMILIES[family], *which):
        payload = received.payload[_HEADER_OCTETS:]
        said = dict(wire.attributes(payload))  # an old kernel gives the rules of all chains
        if (_text(said.get(_RULE_TABLE, b"")), _text(said.get(_RULE_CHAIN, b""))) == (table, chain):
            found.append(payload)
    return found


def read_chain(payload: bytes) -> Chain:
    """Return the chain of an NFT_MSG_NEWCHAIN.  Raises wire.Malformed."""
    if len(payload) < _HEADER_OCTETS:
        raise wire.Malformed("a chain without a header")
    family = _FAMILY_NAMES.get(payload[0], str(payload[0]))
    said = dict(wire.attributes(payload[_HEADER_OCTETS:]))
    table, name = _text(said.get(_CHAIN_TABLE, b"")), _text(said.get(_CHAIN_NAME, b""))
    if _CHAIN_HOOK not in said:
        return Chain(family, table, name)
    hook = dict(wire.attributes(said[_CHAIN_HOOK]))
    number = _number(hook.get(_HOOK_NUMBER, b""), _NUMBER)
    priority = _number(hook.get(_HOOK_PRIORITY, b""), _SIGNED)
    policy = _number(said[_CHAIN_POLICY], _NUMBER) if _CHAIN_POLICY in said else ACCEPT
    return Chain(family, table, name, number, priority, policy)


def _number(octets: bytes, form: struct.Struct) -> int:
    if len(octets) != form.size:
        raise wire.Malformed(f"a number of {len(octets)} octets")
    return int(form.unpack(octets)[0])


def _text(octets: bytes) -> str:
    return octets.split(b"\0", 1)[0].decode(errors="replace")
