"""What is to be said, before it is made to fit into a message.

Nearly every name that a reply speaks of stands in the message already: the question's name, and the target
of each CNAME in its RDATA.  So owners are pointers to those places, and only where a chain leads
does an offset depend on what stands before it (the chain comes first and is never reordered; RRSIGs come
behind all other answers).  The owners of proofs (NSEC, NSEC3) are spelt up to an ancestor that stands there.
"""

from __future__ import annotations

import msgspec

from svcdns.names.packed import Section
from svcdns.store.snapshot import Zone
from svcdns.wire import codes, header
from svcdns.wire.key import parent_keys, wire_of_key

from .gathered import Parts


class Name(msgspec.Struct, frozen=True, gc=False):
    """A name that stands in the message at `at`."""

    wire: bytes
    at: int
    key: bytes

    def pointer(self) -> bytes:
        """Return a pointer to it."""
        return header.pointer(self.at)

    def pointer_to_ancestor(self, octets: int) -> bytes:
        """Point to the ancestor whose size on the wire is `octets`."""
        return header.pointer(self.at + len(self.wire) - octets)

    def spell(self, key: bytes) -> bytes:
        """Return another name as an owner: its own labels, and a pointer to the ancestor that both have."""
        wire = wire_of_key(key)
        for ancestor in parent_keys(key):
            if self.key.startswith(ancestor):
                octets = len(wire_of_key(ancestor))
                return wire[: len(wire) - octets] + self.pointer_to_ancestor(octets)
        return wire


class Draft(msgspec.Struct):
    """A reply's sections; `chain` comes first in the answer, then the RRs of `section`, then `signatures`.

    `owner` is the pointer that the RRs of `section` get in place of the question's.
    """

    dnssec: bool = False
    """The question has DO: RRSIGs and proofs go with what signed zones say (RFC 4035 section 3.1)."""
    rcode: int = codes.NOERROR
    authoritative: bool = True
    chain: list[bytes] = []
    section: Section | None = None
    parts: Parts | None = None
    """Where `section` is to be read from, once it is known how much room there is."""
    owner: bytes = header.QUESTION_NAME
    signatures: list[bytes] = []
    """RRSIGs of the answers."""
    authority: list[bytes] = []
    additionals: bytes = b""
    additional_count: int = 0
    additional_signatures: list[bytes] = []
    """RRSIGs of the additionals, each with its owner in full."""
    zone: Zone | None = None
    """The zone of the question's name; None if it is in none of ours."""
    is_referral: bool = False
    outside: Name | None = None
    """The name that upstreams have to be asked for, as our zones have said all they know."""
    dnames: set[bytes] = set()
    """Keys of the owners whose DNAME stands in the chain: none comes twice (RFC 2181 section 5)."""
    proven: set[tuple[int, bytes]] = set()
    """Zone version and key of the rows whose NSEC or NSEC3 stands in the authority section."""
    endless: str = ""
    """Why the chain has no end, where our zones don't come to one."""

    def take(self, section: Section) -> None:
        """Answer with the RRs of a section, and bring its additionals."""
        self.section = section
        self.additionals, self.additional_count = section.additionals, section.additional_count

    @property
    def is_nodata(self) -> bool:
        """Whether it says that the name exists and has no such type."""
        says_something = self.chain or self.section or self.parts or self.is_referral
        return self.rcode == codes.NOERROR and not says_something
