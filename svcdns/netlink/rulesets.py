"""Which packet rules others have: tables, chains and rules of nf_tables, as far as a look takes.

Rules:

* one dump of the names of chains, never one of elements: somebody's set may have 50,000 of them;
* what a rule does isn't decoded here: its octets are returned, and who looks for a text in them finds it;
* iptables' own tables are seen where its back end is nf_tables ("nf_tables" in `iptables -V`), as the tables
  that it makes: `ip filter` and so on.

include/uapi/linux/netfilter/nf_tables.h
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass

from . import wire

_SUBSYSTEM = 10
_GET_TABLE, _DELETE_TABLE, _GET_CHAIN, _GET_RULE = (_SUBSYSTEM << 8 | one for one in (1, 2, 4, 7))
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = (_SUBSYSTEM << 8 | one for one in (0, 3, 6))
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_HEADER = struct.Struct("!BBH")
"""Family, version, resource: struct nfgenmsg."""
_NUMBER, _SIGNED = struct.Struct("!I"), struct.Struct("!i")

FAMILIES = {"inet": 1, "ip": 2, "arp": 3, "netdev": 5, "bridge": 7, "ip6": 10}
_FAMILY_NAMES = {number: name for name, number in FAMILIES.items()}
PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = range(5)
DROP, ACCEPT = 0, 1
_TABLE_NAME = 1
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


def tables(kernel: wire.Socket) -> list[tuple[str, str]]:
    """Return the family and the name of each table.  Raises wire.NetlinkError, wire.Malformed."""
    found = []
    for family, payload in _dump(kernel, _GET_TABLE, _NEW_TABLE):
        said = dict(wire.attributes(payload))
        found.append((family, _text(said.get(_TABLE_NAME, b""))))
    return found


def chains(kernel: wire.Socket) -> list[Chain]:
    """Return all chains of all tables.  Raises wire.NetlinkError, wire.Malformed."""
    return [read_chain(family, payload) for family, payload in _dump(kernel, _GET_CHAIN, _NEW_CHAIN)]


def rules(kernel: wire.Socket, family: str, table: str, chain: str) -> list[bytes]:
    """Return the rules of a chain as octets, in order; [] where it isn't there.  Raises as `chains`."""
    which = wire.text(_RULE_TABLE, table) + wire.text(_RULE_CHAIN, chain)
    found = []
    for _, payload in _dump(kernel, _GET_RULE, _NEW_RULE, FAMILIES[family], which):
        said = dict(wire.attributes(payload))  # an old kernel gives the rules of all chains
        if (_text(said.get(_RULE_TABLE, b"")), _text(said.get(_RULE_CHAIN, b""))) == (table, chain):
            found.append(payload)
    return found


def delete_table(kernel: wire.Socket, family: str, name: str) -> bool:
    """Delete a table with all that is in it; return whether it was there.

    Raises wire.NetlinkError: EPERM where a process that owns the table lives, or without CAP_NET_ADMIN.
    """
    batch = _HEADER.pack(0, 0, _SUBSYSTEM)
    deleting = _HEADER.pack(FAMILIES[family], 0, 0) + wire.text(_TABLE_NAME, name)
    try:
        kernel.exchange(
            [
                wire.Message(_BATCH_BEGIN, 0, batch),
                wire.Message(_DELETE_TABLE, wire.ACK, deleting),
                wire.Message(_BATCH_END, 0, batch),
            ]
        )
    except wire.NetlinkError as wrong:
        if wrong.errno == errno.ENOENT:
            return False
        raise
    return True


def _dump(
    kernel: wire.Socket, asked: int, answered: int, family: int = 0, which: bytes = b""
) -> list[tuple[str, bytes]]:
    request = wire.Message(asked, wire.DUMP, _HEADER.pack(family, 0, 0) + which)
    found = []
    for message in kernel.exchange([request]):
        if message.type != answered:
            continue
        if len(message.payload) < _HEADER.size:
            raise wire.Malformed("packet rules without a header")
        number, payload = message.payload[0], message.payload[_HEADER.size :]
        found.append((_FAMILY_NAMES.get(number, str(number)), payload))
    return found


def read_chain(family: str, payload: bytes) -> Chain:
    """Return the chain of an NFT_MSG_NEWCHAIN.  Raises wire.Malformed."""
    said = dict(wire.attributes(payload))
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
