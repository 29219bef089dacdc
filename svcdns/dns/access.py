"""Who may ask for what: our own names, all other names, whole zones.

    rights = Rights(Access.of(config))
    if rights[client] & NAMES: ...

Rules:

* of the networks that hold an address the longest prefix decides, an address in none is refused
  (svcdns.config.acl says what entries mean);
* a client is known by the text of its address, as a socket gives it.  A worker looks up each client in one
  dict; only the first time does it cost more;
* an IPv4 address that came through an IPv6 socket (::ffff:192.0.2.1) is that IPv4 address; a scope
  (fe80::1%eth0) says nothing about who somebody is;
* where nothing is forwarded nobody may have it, so that RA tells the truth.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from svcdns.config.acl import Rules, rules_of
from svcdns.config.sections import AclConfig, Config, Network

NAMES, FORWARD, TRANSFER = 1, 2, 4
"""Bits of rights: our own names, all other names, zone transfer."""

MOST_REMEMBERED = 65_536
"""Addresses whose rights are remembered; whoever forges more costs a computation each, never memory."""


def counted_as(address: str) -> str:
    """Return whom limits count a client's address as: itself, of IPv6 the 64 bits that one customer has."""
    if ":" not in address:
        return address
    return socket.inet_pton(socket.AF_INET6, address.partition("%")[0])[:8].hex()


class Access:
    """The rights of addresses."""

    def __init__(self, acl: AclConfig, *, forwards: bool, transfer_to: Iterable[Network] = ()) -> None:
        """`forwards`: whether anything is forwarded at all; `transfer_to` is allowed beside acl.transfer."""
        self._tables = (
            (NAMES, _Table(rules_of(acl.names))),
            (FORWARD, _Table(rules_of(acl.forward) if forwards else {})),
            (TRANSFER, _Table(rules_of(acl.transfer, transfer_to))),
        )

    @classmethod
    def of(cls, config: Config) -> Access:
        """Return the rights of a checked configuration."""
        return cls(config.acl, forwards=config.forward.forwards, transfer_to=config.dns.transfer_to)

    def rights(self, address: str) -> int:
        """Return what an address may ask for: bits of NAMES, FORWARD, TRANSFER; 0 for what is no address."""
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return 0
        known = (isinstance(parsed, IPv6Address) and parsed.ipv4_mapped) or parsed
        return sum(bit for bit, table in self._tables if table.allows(known))


class Rights(dict[str, int]):
    """The rights of each client by the text of its address; worked out when first asked for."""

    def __init__(self, access: Access) -> None:
        super().__init__()
        self._access = access

    def __missing__(self, address: str) -> int:
        """Work out and remember the rights of an address."""
        if len(self) >= MOST_REMEMBERED:
            self.clear()
        found = self[address] = self._access.rights(address)
        return found


class _Table:
    """Longest prefix match: by family, a dict of prefixes for each length there is, longest first."""

    def __init__(self, rules: Rules) -> None:
        by_length: dict[int, dict[int, dict[int, bool]]] = {4: {}, 6: {}}
        for network, allowed in rules.items():
            shift = network.max_prefixlen - network.prefixlen
            prefixes = by_length[network.version].setdefault(shift, {})
            prefixes[int(network.network_address) >> shift] = allowed
        self._steps = {version: sorted(steps.items()) for version, steps in by_length.items()}

    def allows(self, address: IPv4Address | IPv6Address) -> bool:
        """Say whether an address is allowed."""
        number = int(address)
        for shift, prefixes in self._steps[address.version]:
            allowed = prefixes.get(number >> shift)
            if allowed is not None:
                return allowed
        return False


EVERYBODY = Rights(Access(AclConfig(), forwards=False))
"""Everybody may ask for our own names, nobody for anything else."""
