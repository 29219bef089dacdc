"""What goes with an answer of a signed zone to a question with DO (RFC 4035 section 3.1): RRSIGs and proofs.

* An RRset goes with its RRSIGs, in the answer, the authority and the additional section; those of
  additionals give way where room is short, without TC.
* What is not there, and that a wildcard was rightly taken, is proven (see `denial`).
* A delegation goes with its DS, or with the proof that it has none.
* The CNAME that follows from a DNAME has no RRSIG (RFC 6672 section 5.3.1), nor has the HINFO that answers
  ANY.

Zones are signed elsewhere: what a file lacks is not made up here, and no signature is checked.
"""

from __future__ import annotations

from svcdns.names import packed
from svcdns.store.snapshot import Zone
from svcdns.wire import codes, header
from svcdns.wire.key import key_of_wire

from . import denial
from .denial import Proofs
from .draft import Draft, Name
from .lookup_result import LookupResult, State
from .truncation import full_owner_rrs
from .view import View

_COVERED_AT = header.POINTED_RR
"""Where a stored RRSIG has the type that it covers."""
_TTL_AT = header.POINTER_OCTETS + header.TTL_AT
_TTL_END = _TTL_AT + 4


def add_signatures_and_proofs(view: View, draft: Draft, found: LookupResult, here: Name, rrtype: int) -> None:
    """Add to a draft what belongs to what a signed zone has just said in it about `here`."""
    state = found.state
    if rrtype == codes.ANY and state in (State.HIT, State.CNAME, State.NODATA):
        return
    if state in (State.HIT, State.CNAME):
        covered = rrtype if state is State.HIT else codes.CNAME
        draft.signatures += signatures(found.row, covered, here.pointer())
        if found.wildcard:
            _prove(draft, found.zone, here, denial.no_closer_name(view, found.zone, here.key, found.wildcard))
    elif state is State.DELEGATION:
        _delegation(view, draft, found, here)
    elif state in (State.NODATA, State.NXDOMAIN):
        _negative(view, draft, found, here)
    draft.additional_signatures = _of_additionals(view, found.zone, draft.additionals)


def signatures(row: bytes, rrtype: int, owner: bytes) -> list[bytes]:
    """Return the RRSIGs in a row that cover a type, with this owner."""
    found = packed.find(row, codes.RRSIG)
    if found is None:
        return []
    covered = rrtype.to_bytes(2)
    return [owner + rr[header.POINTER_OCTETS :] for rr in found.rrs() if rr.startswith(covered, _COVERED_AT)]


def _negative(view: View, draft: Draft, found: LookupResult, here: Name) -> None:
    """Sign the SOA that has just been said, with its TTL, and prove what it says."""
    zone, key = found.zone, here.key
    soa = draft.authority[-1]
    ttl = soa[_TTL_AT:_TTL_END]
    apex = view.row(zone, zone.key)
    assert apex is not None, "it has an SOA"
    signed = signatures(apex, codes.SOA, soa[: header.POINTER_OCTETS])
    draft.authority += [rr[:_TTL_AT] + ttl + rr[_TTL_END:] for rr in signed]
    if found.wildcard:
        proofs = denial.no_type_at_wildcard(view, zone, key, found.wildcard)
    elif found.state is State.NXDOMAIN:
        proofs = denial.no_such_name(view, zone, key)
    else:
        proofs = denial.no_such_type(view, zone, key)
    _prove(draft, zone, here, proofs)


def _delegation(view: View, draft: Draft, found: LookupResult, here: Name) -> None:
    owner = here.pointer_to_ancestor(found.owner_octets)
    ds = packed.find(found.row, codes.DS)
    if ds is not None:
        draft.authority += [owner + rr[header.POINTER_OCTETS :] for rr in ds.rrs()]
        draft.authority += signatures(found.row, codes.DS, owner)
    else:
        cut = key_of_wire(here.wire[-found.owner_octets :])
        _prove(draft, found.zone, here, denial.no_such_type(view, found.zone, cut))


def _prove(draft: Draft, zone: Zone, here: Name, proofs: Proofs) -> None:
    """Put proofs into the authority section, each once."""
    rrtype = codes.NSEC if zone.nsec3 is None else codes.NSEC3
    for stored, row in proofs.items():
        place = zone.version, stored
        section = packed.find(row, rrtype)
        if place not in draft.proven and section is not None:
            draft.proven.add(place)
            owner = here.spell(denial.owner_of(zone, stored))
            draft.authority += [owner + rr[header.POINTER_OCTETS :] for rr in section.rrs()]
            draft.authority += signatures(row, rrtype, owner)


def _of_additionals(view: View, zone: Zone, additionals: bytes) -> list[bytes]:
    """Return the RRSIGs of additional RRsets, their owners in full; glue below a delegation has none."""
    rrsets = dict.fromkeys((owner, int.from_bytes(tail[:2])) for owner, tail in full_owner_rrs(additionals))
    signed: list[bytes] = []
    for owner, rrtype in rrsets:
        if (row := view.row(zone, key_of_wire(owner))) is not None:
            signed += signatures(row, rrtype, owner)
    return signed
