"""Proofs that something is not there: the NSEC or NSEC3 records that go with an answer of a signed zone.

Sources: RFC 4035 section 3.1.3 (NSEC), RFC 5155 section 7.2 (NSEC3), RFC 4592 (what a wildcard stands for).
The records come from the zone file; nothing is signed or made here.  A zone whose chain has gaps gives what
it has: its proofs are as incomplete as its file.

The *closest encloser* of a name is its longest ancestor that exists; the *next closer* name is one label
longer.
"""

from __future__ import annotations

from svcdns.names import nsec3, packed
from svcdns.store.snapshot import Zone
from svcdns.wire import codes
from svcdns.wire.key import above, parent_keys, wire_of_key

from .file_zone import ancestors, closest_encloser
from .view import View

Proofs = dict[bytes, bytes]
"""Rows by the keys of their owners, each with an NSEC or NSEC3, in the order in which they are sent."""

_MOST_STEPS = 64
"""Rows without an NSEC that are passed on the way to one; a chain that is whole needs one step."""
_BEHIND_HASHES = b"\xff"


def no_such_name(view: View, zone: Zone, key: bytes) -> Proofs:
    """Prove that neither a name nor a wildcard for it exists (NXDOMAIN)."""
    encloser = closest_encloser(view, zone, key)
    if zone.nsec3 is None:
        return _first_of(_nsec(view, zone, key), _nsec(view, zone, _star(encloser)))
    proofs, encloser = _enclosed(view, zone, key, encloser)
    return proofs | _covering(view, zone, _star(encloser))


def no_such_type(view: View, zone: Zone, key: bytes) -> Proofs:
    """Prove that a name has no such type, or that a delegation is not signed.

    Where opt-out leaves the name out of the chain, the proof is that of its closest encloser that is in there
    (RFC 5155 sections 7.2.4 and 7.2.7).
    """
    if zone.nsec3 is None:
        return _first_of(_nsec(view, zone, key))
    return _matching(view, zone, key) or _enclosed(view, zone, key, above(key))[0]


def no_type_at_wildcard(view: View, zone: Zone, key: bytes, wildcard: bytes) -> Proofs:
    """Prove that a name does not exist and that the wildcard for it has no such type."""
    if zone.nsec3 is None:
        return _first_of(_nsec(view, zone, key), _nsec(view, zone, wildcard))
    proofs, _ = _enclosed(view, zone, key, above(wildcard))
    return proofs | (_matching(view, zone, wildcard) or _covering(view, zone, wildcard))


def no_closer_name(view: View, zone: Zone, key: bytes, wildcard: bytes) -> Proofs:
    """Prove that a wildcard was rightly taken: nothing closer to the name exists."""
    if zone.nsec3 is None:
        return _first_of(_nsec(view, zone, key))
    return _covering(view, zone, _next_closer(key, above(wildcard)))


def owner_of(zone: Zone, stored: bytes) -> bytes:
    """Return the key of the owner name of a row of proofs."""
    return stored[nsec3.PREFIX_OCTETS :] if zone.nsec3 is not None else stored


def _star(encloser: bytes) -> bytes:
    return encloser + b"*\0"


def _next_closer(key: bytes, encloser: bytes) -> bytes:
    return key[: key.index(0, len(encloser)) + 1]


def _first_of(*found: tuple[bytes, bytes] | None) -> Proofs:
    """Put rows together, each once."""
    return dict(filter(None, found))


def _nsec(view: View, zone: Zone, key: bytes) -> tuple[bytes, bytes] | None:
    """Return the row with the NSEC of a name or, where it has none, the one that covers it.

    In the order of keys, which is the canonical one (RFC 4034 section 6.1), that is the closest row before
    it. Only glue has none: its delegation has.
    """
    found = view.row_up_to(zone, key)
    for _ in range(_MOST_STEPS):
        if found is None or packed.find(found[1], codes.NSEC) is not None:
            return found
        cut = next((owner for owner, row in ancestors(view, zone, found[0]) if row[0] & packed.CUT), None)
        found = view.row_up_to(zone, found[0] if cut is None else cut, itself=cut not in (None, found[0]))
    return None


def _enclosed(view: View, zone: Zone, key: bytes, encloser: bytes) -> tuple[Proofs, bytes]:
    """Prove the closest encloser of a name (RFC 5155 section 7.2.1); return the proofs and its key.

    `encloser` is the closest one that exists; above it is the closest that opt-out has left in the chain.
    """
    for ancestor in parent_keys(encloser):
        if len(ancestor) < len(zone.key):
            break
        if proofs := _matching(view, zone, ancestor):
            return proofs | _covering(view, zone, _next_closer(key, ancestor)), ancestor
    return {}, encloser


def _matching(view: View, zone: Zone, key: bytes) -> Proofs:
    """Return the NSEC3 of a name, if it has one."""
    stored = _stored(zone, key)
    row = view.row(zone, stored)
    return {} if row is None else {stored: row}


def _covering(view: View, zone: Zone, key: bytes) -> Proofs:
    """Return the NSEC3 that covers the hash of a name: what comes before the first one is the last one's."""
    found = view.row_up_to(zone, _stored(zone, key))
    if found is None or not found[0].startswith(nsec3.CHAIN):
        found = view.row_up_to(zone, nsec3.CHAIN + zone.key + _BEHIND_HASHES)
    return {} if found is None or not found[0].startswith(nsec3.CHAIN) else _first_of(found)


def _stored(zone: Zone, key: bytes) -> bytes:
    """Return the key of the row that the NSEC3 of a name has or would have."""
    assert zone.nsec3 is not None
    label = nsec3.hashed_label(wire_of_key(key), zone.nsec3.salt, zone.nsec3.iterations)
    return nsec3.CHAIN + zone.key + label + b"\0"
