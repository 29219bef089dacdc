"""What is to be said, before it is made to fit into a message: following aliases from name to name.

Every name that a reply speaks of stands in the message already: the question's name, and the target
of each CNAME in its RDATA.  So owners are pointers to those places, and only where a chain leads
does an offset depend on what stands before it (the chain comes first and is never reordered).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from svcdns.names.packed import Section
from svcdns.store.snapshot import Zone
from svcdns.wire import codes, header
from svcdns.wire.key import key_of_wire
from svcdns.wire.name import MAX_NAME_OCTETS

from . import authority
from .gathered import Parts
from .lookup_result import LookupResult, State
from .view import View

MAX_LINKS = 10
"""CNAMEs that are followed for one question."""

_HINFO_RDATA = b"\x0dANY obsoleted\x0cSee RFC 8482"
_ANY_OBSOLETED = header.rr_head(codes.HINFO, 8482, len(_HINFO_RDATA)) + _HINFO_RDATA
"""The one RR, but for its owner, that answers ANY at a name that exists (RFC 8482 section 4.2)."""


@dataclass(frozen=True, slots=True)
class Name:
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


@dataclass(slots=True)
class Draft:
    """A reply's sections; `chain` comes first in the answer, then the RRs of `section`.

    `owner` is the pointer that the RRs of `section` get in place of the question's.
    """

    rcode: int = codes.NOERROR
    authoritative: bool = True
    chain: list[bytes] = field(default_factory=list)
    section: Section | None = None
    parts: Parts | None = None
    """Where `section` is to be read from, once it is known how much room there is."""
    owner: bytes = header.QUESTION_NAME
    authority: list[bytes] = field(default_factory=list)
    additionals: bytes = b""
    additional_count: int = 0
    zone: Zone | None = None
    """The zone of the question's name; None if it is in none of ours."""
    is_referral: bool = False
    outside: Name | None = None
    """The name that upstreams have to be asked for, as our zones have said all they know."""
    dnames: set[bytes] = field(default_factory=set)
    """Keys of the owners whose DNAME stands in the chain: none comes twice (RFC 2181 section 5)."""
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


def answer_name(view: View, name: bytes, key: bytes, rrtype: int, forwards: bool = False) -> Draft:
    """Look a question of class IN up; `name` is its name on the wire, which stands behind the header.

    With `forwards`, the draft says which name upstreams are to be asked for, if any.
    """
    draft = Draft()
    question_end = header.OCTETS + len(name) + header.TYPE_CLASS.size
    _follow(view, draft, Name(name, header.OCTETS, key), question_end, rrtype, forwards)
    return draft


def go_on(view: View, draft: Draft, target: bytes, question_end: int, rrtype: int) -> None:
    """Go on at a name to which an upstream's CNAME has led: the last RR of the chain so far."""
    draft.outside = None
    _follow(view, draft, _target(draft, target, question_end), question_end, rrtype, True)


def _follow(view: View, draft: Draft, here: Name, question_end: int, rrtype: int, forwards: bool) -> None:
    """Let our zones say what they know of a name, and of where it leads."""
    seen: set[bytes] = set()
    while (found := authority.find(view, here.key, rrtype, forwards)) is not None:
        if len(seen) == MAX_LINKS and found.state in (State.CNAME, State.DNAME):
            draft.endless = f"more than {MAX_LINKS} aliases"
            break
        if draft.zone is None:
            draft.zone = found.zone
        if found.state is State.OUTSIDE:
            draft.outside = here
            break
        target = _say(view, draft, found, here, rrtype)
        seen.add(here.key)
        if target is None:
            break
        here = _target(draft, target, question_end)
        if here.key in seen:
            draft.endless = "a loop of aliases"
            break
    else:
        draft.outside = here if forwards else None


def _target(draft: Draft, target: bytes, question_end: int) -> Name:
    """Return the target of the CNAME that has just been said: it ends the last RR so far."""
    end = question_end + sum(map(len, draft.chain))
    return Name(target, end - len(target), key_of_wire(target))


def _say(view: View, draft: Draft, found: LookupResult, here: Name, rrtype: int) -> bytes | None:
    """Put what a zone says about `here` into the draft; return the name to go on with, if any."""
    state, section = found.state, found.section
    if rrtype == codes.ANY and state in (State.HIT, State.CNAME, State.NODATA):
        draft.chain.append(here.pointer() + _ANY_OBSOLETED)
    elif state is State.HIT:
        draft.parts, draft.owner = found.parts, here.pointer()
        if section is not None:
            draft.take(section)
    elif state is State.CNAME:
        assert section is not None
        draft.chain.append(here.pointer() + section.answers[header.POINTER_OCTETS :])
        return section.answers[header.POINTED_RR :]
    elif state is State.DNAME:
        return _rewrite(draft, found, here, rrtype)
    elif state is State.DELEGATION:
        _refer(draft, found, here)
    else:
        soa, octets = view.negative_soa(found.zone)
        draft.authority.append(here.pointer_to_ancestor(octets) + soa)
        draft.rcode = codes.NXDOMAIN if state is State.NXDOMAIN else codes.NOERROR
    return None


def _rewrite(draft: Draft, found: LookupResult, here: Name, rrtype: int) -> bytes | None:
    """Say a DNAME and the CNAME that follows from it (RFC 6672 section 3.1)."""
    assert found.section is not None
    dname = found.section.answers
    owner = key_of_wire(here.wire[-found.owner_octets :])
    if owner not in draft.dnames:
        draft.dnames.add(owner)
        draft.chain.append(here.pointer_to_ancestor(found.owner_octets) + dname[header.POINTER_OCTETS :])
    target = here.wire[: len(here.wire) - found.owner_octets] + dname[header.POINTED_RR :]
    if len(target) > MAX_NAME_OCTETS:
        draft.rcode = codes.YXDOMAIN
        return None
    _, _, ttl, _ = header.RR.unpack_from(dname, header.POINTER_OCTETS)
    draft.chain.append(here.pointer() + header.rr_head(codes.CNAME, ttl, len(target)) + target)
    return None if rrtype in (codes.CNAME, codes.ANY) else target


def _refer(draft: Draft, found: LookupResult, here: Name) -> None:
    """Say that a delegation has the name: its NS set and glue, not authoritative by itself."""
    assert found.section is not None
    owner = here.pointer_to_ancestor(found.owner_octets)
    draft.authority += [owner + rr[header.POINTER_OCTETS :] for rr in found.section.rrs()]
    draft.additionals = found.section.additionals
    draft.additional_count = found.section.additional_count
    draft.is_referral = True
    draft.authoritative = bool(draft.chain)
