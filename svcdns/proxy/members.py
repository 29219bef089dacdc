"""The nodes whose proxies renew a Lease, and which of them live, as this one sees it.

Rules:

* a node lives as long as a change of its Lease was seen within the time that the Lease gives.  Only this
  machine's own monotonic clock counts, never a time that another one wrote: a clock that jumps does nothing;
* whoever sees a change later than it happened believes a node alive for longer, never for shorter;
* one that has left (its Lease has no holder), or is late, is still known: it may come back;
* one that says that it announces alone answers whatever becomes of its proxy, so it counts as alive until its
  Lease is deleted.

https://kubernetes.io/docs/concepts/architecture/leases/#node-heart-beats
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeVar

from svcdns.cluster.traffic_objects import NO_LEASE_ANNOTATIONS, Lease

NAMESPACE = "kube-node-lease"
DURATION_SECONDS = 15
"""Of a Lease that doesn't say."""

Network = IPv4Network | IPv6Network
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Member:
    """A node, as its Lease was when it changed last."""

    node: str
    version: int
    """The resourceVersion of its Lease."""
    networks: frozenset[Network]
    """Where it announces; none: it doesn't."""
    claims: frozenset[bytes]
    """Addresses that it answers for, or will as soon as no other one does."""
    lasting: bool
    holder: str
    """Who renews it; "": nobody, the proxy has left."""
    ends_at: float
    """Until when it lives, unless its Lease changes before (time.monotonic())."""

    @property
    def has_left(self) -> bool:
        """Whether its proxy has ended in order."""
        return not self.holder

    def lives(self, now: float) -> bool:
        """Return whether it is to be reckoned with."""
        return self.lasting or (not self.has_left and now < self.ends_at)

    def reaches(self, address: bytes) -> bool:
        """Return whether it announces in a network of this address."""
        read = ip_address(address)
        return any(read in one for one in self.networks)


class Members:
    """All that are known, by name."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """There is none yet."""
        self._clock = clock
        self._known: dict[str, Member] = {}

    def __iter__(self) -> Iterator[Member]:
        return iter(self._known.values())

    def get(self, node: str) -> Member | None:
        """Return a node."""
        return self._known.get(node)

    def claiming(self, address: bytes) -> set[str]:
        """Return the living nodes whose Leases say that they announce an address."""
        now = self._clock()
        return {one.node for one in self if address in one.claims and one.lives(now)}

    def put(self, lease: Lease) -> None:
        """Take a Lease as it is now; one that hasn't changed says nothing new."""
        metadata, said = lease.metadata, lease.metadata.annotations or NO_LEASE_ANNOTATIONS
        version = int(metadata.resource_version) if metadata.resource_version.isdecimal() else 0
        known = self._known.get(metadata.name)
        if metadata.namespace != NAMESPACE or (known is not None and known.version == version):
            return
        seconds = max(1, lease.spec.lease_duration_seconds or DURATION_SECONDS)
        self._known[metadata.name] = Member(
            metadata.name,
            version,
            frozenset(_read(said.networks.split(), lambda word: ip_network(word, strict=False))),
            frozenset(_read(said.addresses.split(), lambda word: ip_address(word).packed)),
            said.lasting == "true",
            lease.spec.holder_identity or "",
            self._clock() + seconds,
        )

    def drop(self, key: str) -> None:
        """Forget a node, by NAMESPACE/NAME of its Lease."""
        namespace, _, name = key.partition("/")
        if namespace == NAMESPACE:
            self._known.pop(name, None)

    def keep(self, keys: Sequence[str]) -> None:
        """Forget all but these."""
        for name in self._known.keys() - {key.partition("/")[2] for key in keys}:
            del self._known[name]


def _read(words: Iterable[str], read: Callable[[str], _T]) -> Iterator[_T]:
    """Yield what words say; what another program wrote there and makes no sense is passed over."""
    for word in words:
        try:
            yield read(word)
        except ValueError:
            continue
