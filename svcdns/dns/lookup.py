"""Looking a question up in our zones: following CNAMEs from name to name, and saying what is found."""

from __future__ import annotations

from svcdns.wire import codes, header
from svcdns.wire.key import key_of_wire
from svcdns.wire.name import MAX_NAME_OCTETS

from . import authority
from .aliases import ALIASES
from .draft import Draft, Name
from .lookup_result import LookupResult, State
from .signed_answers import add_signatures_and_proofs, signatures
from .view import View

MAX_LINKS = 10
"""CNAMEs that are followed for one question."""

_HINFO_RDATA = b"\x0dANY obsoleted\x0cSee RFC 8482"
_ANY_OBSOLETED = header.rr_head(codes.HINFO, 8482, len(_HINFO_RDATA)) + _HINFO_RDATA
"""The one RR, but for its owner, that answers ANY at a name that exists (RFC 8482 section 4.2)."""


def answer_name(
    view: View, name: bytes, key: bytes, rrtype: int, forwards: bool = False, *, dnssec: bool = False
) -> Draft:
    """Look a question of class IN up; `name` is its name on the wire, which stands behind the header.

    With `forwards`, the draft says which name upstreams are to be asked for, if any; `dnssec` is the DO bit.
    """
    draft = Draft(dnssec=dnssec)
    question_end = header.OCTETS + len(name) + header.TYPE_CLASS.size
    _follow(view, draft, Name(name, header.OCTETS, key), question_end, rrtype, forwards)
    return draft


def unknown_name(name: bytes, key: bytes, *, dnssec: bool = False) -> Draft:
    """Return what `answer_name` says of a name that is outside of our zones (`ZoneTable.is_outside`)."""
    return Draft(dnssec=dnssec, outside=Name(name, header.OCTETS, key))


def go_on(view: View, draft: Draft, target: bytes, question_end: int, rrtype: int) -> None:
    """Go on at a name to which an upstream's CNAME has led: the last RR of the chain so far."""
    draft.outside = None
    _follow(view, draft, _target(draft, target, question_end), question_end, rrtype, True)


def _follow(view: View, draft: Draft, here: Name, question_end: int, rrtype: int, forwards: bool) -> None:
    """Let our zones say what they know of a name, and of where it leads."""
    seen: set[bytes] = set()
    while (found := authority.find(view, here.key, rrtype, forwards)) is not None:
        if len(seen) == MAX_LINKS and found.state in (State.CNAME, State.DNAME):
            draft.endless = f"more than {MAX_LINKS} CNAMEs"
            break
        if draft.zone is None:
            draft.zone = found.zone
        if found.state is State.OUTSIDE:
            draft.outside = here
            break
        target = _say(view, draft, found, here, rrtype)
        if draft.dnssec and found.zone.signed:
            add_signatures_and_proofs(view, draft, found, here, rrtype)
        seen.add(here.key)
        if target is None:
            break
        here = _target(draft, target, question_end)
        if here.key in seen:
            draft.endless = "a loop of CNAMEs"
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
    elif found.zone is not ALIASES:
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
        pointer = here.pointer_to_ancestor(found.owner_octets)
        draft.chain.append(pointer + dname[header.POINTER_OCTETS :])
        if draft.dnssec and found.zone.signed:
            draft.signatures += signatures(found.row, codes.DNAME, pointer)
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
