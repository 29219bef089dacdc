"""Which load balancer addresses this node answers for, when others could: decided from all nodes' Leases.

    claim it in the Lease  ──▶  see that claim in the list of Leases, and nobody else's  ──▶  answer
    answer no more         ──▶  take the claim out of the Lease

Rules:

* never two answer for an address.  Whoever wants one writes so before it looks who else does; of two who
  write at once, the second to be written sees the first; and the list is only looked at when it shows one's
  own last writing, so it can't be older than that;
* who answers goes on until it doesn't want to, whatever others claim meanwhile;
* two who claim the same and don't answer: the one whose name is greater takes its claim back;
* who hasn't renewed its Lease in `lifetime` answers no more: that is shorter than the time after which others
  count it as gone, counted from before the renewal was sent;
* a node without others answers without end, and says so in its Lease beforehand.  When another one comes, it
  first gives its answers an end, then says so, and only then the other counts on it.

Pure: no I/O; the time is an argument (time.monotonic()).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from svcdns.cluster.rendezvous import owner

from .members import Member, Members

Candidates = Mapping[bytes, frozenset[str] | None]
"""Addresses that this node could answer for, each with the nodes that may; None: all may."""


class Said(NamedTuple):
    """What a node's Lease says of addresses."""

    claims: frozenset[bytes] = frozenset()
    lasting: bool = False


class Written(NamedTuple):
    """What the Lease of this node says, as the API has acknowledged."""

    said: Said
    version: int
    """Its resourceVersion."""
    sent_at: float
    """When the request was sent (time.monotonic())."""


class Step(NamedTuple):
    """What is to be done now, in this order: answer, then say."""

    answered: frozenset[bytes]
    until: float | None
    """Until when the answers are good; None: without end."""
    said: Said


class Handover:
    """The decisions of one node."""

    def __init__(self, node: str, members: Members, lifetime: float) -> None:
        """`lifetime`: seconds that answers are good for after a renewal; less than the Lease's duration."""
        self._node = node
        self._members = members
        self._lifetime = lifetime
        self.written: Written | None = None
        """The last renewal that was acknowledged."""
        self.answered: frozenset[bytes] = frozenset()
        self._was_listed = False

    def resume(self) -> None:
        """Go on where the proxy before this one left off, if its answers last: no gap then."""
        own = self._members.get(self._node)
        if own is not None and own.lasting:
            self.written = Written(Said(own.claims, True), own.version, 0.0)

    def step(self, now: float, candidates: Candidates) -> Step:
        """Decide anew."""
        others = [one for one in self._members if one.node != self._node and one.networks]
        living = [one for one in others if one.lives(now)]
        wanted = frozenset(one for one, nodes in candidates.items() if self._is_ours(one, nodes, living))
        if self._has_lapsed(now):
            self.written, self.answered = None, frozenset()
        theirs = frozenset(address for one in living for address in one.claims)
        self.answered &= wanted
        self.answered |= (wanted & self._claimed()) - theirs
        return Step(
            self.answered, self._until(now, not others), Said(self._claims(wanted, living), not others)
        )

    def _is_ours(self, address: bytes, nodes: frozenset[str] | None, living: Iterable[Member]) -> bool:
        able = {one.node for one in living if one.reaches(address)} | {self._node}
        return owner(address, able if nodes is None else able & nodes) == self._node

    def _has_lapsed(self, now: float) -> bool:
        was_listed, self._was_listed = self._was_listed, self._members.get(self._node) is not None
        if was_listed and not self._was_listed:  # somebody has deleted the Lease: others count on nothing
            return True
        written = self.written
        return written is None or (not written.said.lasting and now >= written.sent_at + self._lifetime)

    def _claimed(self) -> frozenset[bytes]:
        """Return what is claimed in the list of Leases, as far as that is no older than the last renewal."""
        own = self._members.get(self._node)
        if own is None or self.written is None or own.version < self.written.version:
            return frozenset()
        return own.claims & self.written.said.claims

    def _claims(self, wanted: frozenset[bytes], living: Iterable[Member]) -> frozenset[bytes]:
        known = self._members.get(self._node)
        own = known.claims if known is not None else frozenset()
        refused = {
            address for one in living for address in one.claims if address not in own or one.node < self._node
        }
        return (wanted - refused) | self.answered

    def _until(self, now: float, alone: bool) -> float | None:
        written = self.written
        if alone and (written is None or written.said.lasting):  # without one written, nothing is answered
            return None
        if written is None:
            return now
        return (now if written.said.lasting else written.sent_at) + self._lifetime
