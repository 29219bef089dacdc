"""Which announced addresses this machine's kernel answers for (ARP, NDP), and how long: a gate of rules.

    arp svcdns_announced, ip6 svcdns_announced:  a question for an address in `gated` that isn't in `answered`
                                                 is dropped before the kernel sees it

Rules:

* elements of `answered` have a timeout: a machine whose proxy died, hangs, or doesn't reach the API stops
  answering by itself, whatever becomes of the proxy.  Nothing else of ours has to happen;
* each call puts all of it in place, in one batch: what somebody took away is there again with the next one;
* without a gate the kernel answers for all that is announced, for ever: so it is with one machine alone.

The gate is apart from the engine's tables: it has nothing to do with what becomes of connections.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator
from contextlib import suppress

from svcdns.netlink import nft_dump, nftables
from svcdns.netlink import nft_statements as say
from svcdns.netlink.nft_statements import ARP, ARP_TARGET, IP6, SOLICITED, Field, Rule
from svcdns.netlink.nft_types import Set
from svcdns.netlink.nftables import Hook
from svcdns.netlink.wire import Malformed, Message, NetlinkError, Socket

from .changes_made import Restored

TABLE = "svcdns_announced"
"""Not of the names of the engine's tables, which it deletes."""
_COMMENT = "who answers for load balancer addresses; made by svcdns proxy"
_GATED, _ANSWERED, _CHAIN = "gated", "answered", "questions"
_BEFORE_CONNECTIONS = -300
_FAMILIES = {4: ARP, 6: IP6.number}
_NO_FAMILY = {errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT}


def set_up(kernel: Socket, gated: Collection[bytes], answered: Collection[bytes], seconds: float) -> None:
    """Answer for `answered` for so long from now on, and for nothing else of `gated`.

    Raises NetlinkError, OSError: then a family is as it was, and what was answered for ends by itself.
    """
    milliseconds = int(seconds * 1000)
    within = [one for one in answered if milliseconds > 0]
    for version, size in ((4, 4), (6, 16)):
        try:
            nftables.commit(kernel, list(_made(version, gated, within, milliseconds)))
        except NetlinkError as wrong:
            if wrong.errno not in _NO_FAMILY or any(len(one) == size for one in gated):
                raise


def remove(kernel: Socket) -> Iterator[Restored]:
    """Take the gate away; yield what came of it where there was one."""
    for family in _FAMILIES.values():
        try:
            if any(one.name == TABLE for one in nft_dump.tables(kernel, family)):
                nftables.commit(kernel, [nftables.delete_table(family, TABLE)])
                yield Restored(f"the table {'arp' if family == ARP else 'ip6'} {TABLE} is gone", True)
        except NetlinkError as wrong:
            if wrong.errno not in {*_NO_FAMILY, errno.ENOENT, errno.EPERM}:
                yield Restored(f"the table {TABLE} stays: {wrong.strerror}", False)


def take_away(kernel: Socket) -> None:
    """Take the gate away, where there is one."""
    with suppress(OSError, Malformed):
        list(remove(kernel))


def _made(
    version: int, gated: Collection[bytes], answered: Collection[bytes], milliseconds: int
) -> Iterator[Message]:
    family, size = _FAMILIES[version], 4 if version == 4 else 16
    target = ARP_TARGET if version == 4 else SOLICITED
    yield nftables.table(family, TABLE, 0, _COMMENT)
    sets = Set(_GATED, (target.type,)), Set(_ANSWERED, (target.type,), timed=True)
    for number, one in enumerate(sets, 1):
        yield nftables.new_set(family, TABLE, one, number)
    yield nftables.base_chain(family, TABLE, _CHAIN, "filter", Hook.PREROUTING, _BEFORE_CONNECTIONS)
    yield nftables.delete_rules(family, TABLE, _CHAIN)
    yield nftables.rule(family, TABLE, _CHAIN, say.rule_octets(_rule(version, target)))
    for one in sets:
        yield nftables.flush_set(family, TABLE, one.name)
    closed = (nftables.element(one) for one in gated if len(one) == size)
    yield from nftables.add_elements(family, TABLE, _GATED, closed)
    opened = (nftables.timed_element(one, milliseconds) for one in answered if len(one) == size)
    yield from nftables.add_elements(family, TABLE, _ANSWERED, opened)


def _rule(version: int, target: Field) -> Rule:
    first = () if version == 4 else (say.solicitation(),)
    return (*first, say.inside((target,), _GATED), say.outside((target,), _ANSWERED), say.drop())
